"""Small stand-ins for stamp-sounds, layers and exercises: twelve things, each with a colour, a pitch and a warmth."""

from pathlib import Path

import numpy as np
from PIL import Image

from sensorium.data.sets import Pictures
from sensorium.data.sources.clips import Clips
from sensorium.data.standins import exercises, layers
from sensorium.data.standins.cutouts import Cutout
from sensorium.data.standins.figures import POSES

VOICES = ("", "es", "fr", "ca", "ru", "bg", "ro", "el")
COUNTS = {"train": 20, "train pairs": 60, "test": 10, "unseen": 4, "pairs": 20}


def caption(number: int) -> str:
    """Of a thing: every other one is warm."""
    return f"A {'warm' if number % 2 == 0 else 'cold'} {number}."


def recorded(file: Path, seconds: float, pitch: float) -> None:
    """A tone in a file."""
    import soundfile

    soundfile.write(file, 0.3 * np.sin(pitch * np.arange(int(8000 * seconds)) / 8000), 8000)


def stamps(folder: Path, count: int, seconds: float = 0.8) -> Pictures:
    """Things with their own sound, 5 s long, and a name in eight voices."""
    place = folder / "animals"
    place.mkdir(parents=True)
    rows: list[tuple[Path, tuple[str, ...], int]] = []
    for i in range(count):
        picture = place / f"thing{i}.png"
        Image.new("RGBA", (8, 8), (20 * i % 256, 90, 255 - 9 * i % 256, 255)).save(picture)
        for j, each in enumerate(VOICES):
            recorded(place / f"thing{i}_desc{'_' if each else ''}{each}.wav", seconds, 100 + 40 * i + j)
        recorded(place / f"thing{i}.wav", 5.0, 3000 + i)
        rows.append((picture, (caption(i),), i))
    return Pictures("stamps", tuple(rows), tuple(caption(i) for i in range(count)))


def scenes(folder: Path, counts: dict[str, int] | None = None) -> Clips:
    """Layers of twelve squares, the last two of which training does not have."""
    parts: dict[str, list[Cutout]] = {"train": [], "validation": []}
    for i in range(12):
        file = folder / "stamps" / ("mammals" if i % 2 == 0 else "food") / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((70, 80, 4), 20 * i, np.uint8)
        pixels[..., 3] = 255
        Image.fromarray(pixels).save(file)
        parts["validation" if i >= 10 else "train"].append(Cutout(file, 1, caption(i)))
    return layers.opened(layers.drawn(goal=folder / "layers", counts=counts or COUNTS, parts=parts))


def recordings(count: int) -> list[exercises.Recording]:
    """Noise of ten seconds, a third of it of people kept for the test."""
    dice = np.random.default_rng(0)
    return [
        exercises.Recording(
            name=f"r{i}",
            kind=POSES[i % len(POSES)].name,
            split="test" if i % 3 == 0 else "train",
            left=i % 2 == 0,
            rate=10.0,
            readings=dice.normal(size=(100, 6)),
        )
        for i in range(count)
    ]
