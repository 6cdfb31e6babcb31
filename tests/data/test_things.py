"""Pictures of one thing each: drawn alike every time, with a truth at every pixel, each thing in both parts."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sensorium.data.errors import SensoriumError
from sensorium.data.standins import things
from sensorium.data.standins.cutouts import Cutout

COLOURS = {"a red disc": (255, 0, 0), "a blue box": (0, 0, 255)}
VIEWS = {"train": 3, "validation": 2}


@pytest.fixture(autouse=True)
def stamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cut-outs, one of each part, that stand for Tux Paint's."""
    found: list[Cutout] = []
    for number, (caption, colour) in enumerate(COLOURS.items()):
        image = Image.new("RGBA", (120, 100))
        draw = ImageDraw.Draw(image)
        (draw.ellipse, draw.rectangle)[number]((10, 10, 100, 90), fill=(*colour, 255))
        image.save(tmp_path / f"{number}.png")
        found.append(Cutout(tmp_path / f"{number}.png", number + 3, caption))
    monkeypatch.setattr(things, "cutouts", lambda: {"train": found[:1], "validation": found[1:]})
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))


def opened(folder: Path, part: str) -> things.Things:
    said = json.loads((folder / "things.json").read_text())
    return things.Things(f"things {part}", folder / part, tuple(said["captions"]), tuple(said["kinds"]))


def test_every_thing_is_in_both_parts_and_its_pixels_are_known(tmp_path: Path) -> None:
    folder = things.drawn(None, tmp_path / "drawn", VIEWS)
    for part, count in VIEWS.items():
        source = opened(folder, part)
        assert len(source) == 2 * count
        assert sorted(source[i]["text"] for i in range(len(source))) == sorted([*COLOURS] * count)
        seen = source.segmented()
        for i in range(len(source)):
            sample, truth = source[i], seen[i].labels().numpy()
            kind = source.kinds[sample["label"]]
            assert set(np.unique(truth)) == {0, kind}
            inside = sample["image"][truth == kind].astype(int)
            expected = np.array(COLOURS[sample["text"]])
            assert (inside.mean(0)[expected > 0] > 120).all(), "the thing is where it is said to be"
            assert np.ptp(sample["image"][truth == 0].mean(0)) < 40, "the ground is quiet"
    pixels = [np.load(folder / part / "pixels.npy") for part in VIEWS]
    assert not (pixels[0][:2] == pixels[1][:2]).all(), "the parts show other views"


def test_it_is_drawn_alike_and_once(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    folders = [things.drawn(lambda *said: told.append(said), tmp_path / name, VIEWS) for name in ("a", "b")]
    for part in VIEWS:
        for name in ("pixels", "mask", "label"):
            files = [(folder / part / f"{name}.npy").read_bytes() for folder in folders]
            assert files[0] == files[1]
    assert told[-1] == ("things validation", 4, 4)
    before = len(told)
    things.drawn(lambda *said: told.append(said), tmp_path / "a", VIEWS)
    assert len(told) == before
    with pytest.raises(SensoriumError, match="things has no part 'test': train, validation"):
        things.things("test")
