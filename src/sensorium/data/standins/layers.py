"""Pictures with depth and heat: cut-out photographs that stand at a distance and have a temperature.

The photographs are real; where they stand and how warm they are is made up. Depth is exact by construction: a floor
that rises to a wall, things on it, each bulging towards the camera. Heat is GENERATED from a table of temperatures by
kind of thing, blurred and noisy as a small camera's: no package holds real thermal pictures. Drawn once into the
cache, with the same numbers on every machine.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from sensorium.data.emoji import Progress
from sensorium.data.packages import cache_folder
from sensorium.data.sources.clips import Clips, Sense
from sensorium.data.standins.cutouts import Cutout, Pixels, Random, cut, cutouts, ground, on_canvas, paint, placed
from sensorium.data.standins.things import quiet

VERSION = 3  # of what is drawn; another one is drawn anew
SIZE = 96
FOCAL = 110.0  # pixels: a view of 47 degrees
GROUNDS = 12
COUNTS = {"train": 3600, "train pairs": 1600, "test": 600, "unseen": 300, "pairs": 400}
ABOUT = "cut-out photographs set up in depth: depth exact but rendered, heat generated"
AIR = 15.0  # °C
WARMTH = {  # °C of a surface by what stands in the stamp's path; the last that is there holds
    "animals": 22.0,
    "birds": 33.0,
    "mammals": 30.0,
    "marsupials": 29.0,
    "aquatic": 21.0,
    "fish": 11.0,
    "shellfish": 10.0,
    "lizards": 24.0,
    "amphibians": 18.0,
    "insects": 19.0,
    "clothes": 20.0,
    "food": 6.0,
    "hobbies": 17.0,
    "household": 21.0,
    "electronics": 38.0,
    "plants": 12.0,
    "town": 16.0,
    "vehicles": 26.0,
}
LIVING, DRIVEN = {"birds", "mammals", "marsupials"}, {"vehicles", "electronics"}
NOISE = 0.15  # °C


@dataclass(frozen=True, eq=False)
class Layered:
    """A scene: colours (size x size x 3), metres and degrees Celsius (size x size)."""

    pixels: Pixels
    metres: NDArray[np.float32]
    celsius: NDArray[np.float32]


def layers(progress: Progress | None = None) -> Clips:
    """The scenes with their captions, labels and splits; drawn first if need be.

    train    things seen many times, one or two at once
    test     the same things, one at a time, standing otherwise
    unseen   things of which training has neither depth nor heat, nor any scene of two
    pairs    two things of train at once, in company in which they were never seen
    """
    return opened(drawn(progress))


def opened(folder: Path) -> Clips:
    """What `drawn` wrote."""
    said = json.loads((folder / "layers.json").read_text(encoding="utf-8"))
    classes: list[str] = said["classes"]
    rows = [_row(folder, row["name"], row["split"], row["labels"], classes) for row in said["rows"]]
    return Clips("layers", ABOUT, tuple(rows), tuple(classes))


def _row(folder: Path, name: str, split: str, labels: Sequence[int], classes: Sequence[str]) -> Sense:
    return Sense(
        key=name,
        image=folder / "image" / f"{name}.png",
        depth=folder / "depth" / f"{name}.png",
        thermal=folder / "thermal" / f"{name}.png",
        text=caption([classes[label] for label in labels]),
        label=labels[0],
        labels=tuple(labels),
        split=split,
        unit="mm",
        focal=FOCAL,
    )


def caption(captions: Sequence[str]) -> str:
    """ "A dog." and "A violin." as "A dog and a violin." """
    plain = [each.rstrip(". ") for each in captions]
    return " and ".join([plain[0], *(each[:1].lower() + each[1:] for each in plain[1:])]) + "."


def place() -> Path:
    """Where the scenes lie, or will."""
    return cache_folder() / "sets" / f"layers-{SIZE}-{VERSION}"


def drawn(
    progress: Progress | None = None,
    goal: Path | None = None,
    counts: dict[str, int] | None = None,
    parts: dict[str, list[Cutout]] | None = None,
) -> Path:
    """The folder with image, depth and thermal, a PNG each by one name, and layers.json."""
    goal, counts = goal or place(), counts or COUNTS
    if goal.is_dir():
        return goal
    parts = parts or cutouts()
    things, unseen = parts["train"], parts["validation"]
    classes = sorted({thing.caption for thing in (*things, *unseen)})
    number = {text: i for i, text in enumerate(classes)}
    grounds = [quiet(ground(np.random.default_rng([VERSION, i]), 2 * SIZE)) for i in range(GROUNDS)]
    goal.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=goal.parent, prefix=".draw-") as scratch:
        inside = Path(scratch) / "inside"
        for kind in ("image", "depth", "thermal"):
            (inside / kind).mkdir(parents=True)
        for part, (split, count) in enumerate(counts.items()):
            kept = unseen if split == "unseen" else things
            for i in range(count):
                random = np.random.default_rng([VERSION, 1 + part, i])
                some = [kept[i % len(kept)]]
                if split.endswith("pairs"):
                    some.append(_company(random, some[0], things, tested=split == "pairs"))
                made = scene(random, some, grounds)
                name = f"{split.replace(' ', '-')}-{i:05d}"
                Image.fromarray(made.pixels).save(inside / "image" / f"{name}.png", compress_level=1)
                _save16(made.metres * 1000, inside / "depth" / f"{name}.png")
                _save16((made.celsius + 273.15) * 100, inside / "thermal" / f"{name}.png")
                labels = [number[thing.caption] for thing in some]
                rows.append({"name": name, "split": "train" if split == "train pairs" else split, "labels": labels})
                if progress:
                    progress(f"layers {split}", i + 1, count)
        (inside / "depth/depth.json").write_text(json.dumps({"unit": "mm", "focal": FOCAL}), encoding="utf-8")
        (inside / "thermal/thermal.json").write_text('{"unit": "centikelvin"}', encoding="utf-8")
        (inside / "layers.json").write_text(json.dumps({"classes": classes, "rows": rows}), encoding="utf-8")
        if not goal.is_dir():  # another process may have been first
            inside.replace(goal)
    return goal


def _save16(values: NDArray[np.float32], file: Path) -> None:
    Image.fromarray(values.round().clip(0, 65535).astype(np.uint16)).save(file, compress_level=1)


def _company(random: Random, thing: Cutout, things: Sequence[Cutout], *, tested: bool) -> Cutout:
    """Another thing. A fifth of all pairs is never drawn for training: those by the sum of their numbers."""
    order = {each.caption: i for i, each in enumerate(sorted(things, key=lambda each: each.caption))}
    while True:
        other = things[int(random.integers(len(things)))]
        kept = (order[thing.caption] + order[other.caption]) % 5 == 0
        if other.caption != thing.caption and kept == tested:
            return other


def scene(random: Random, things: Sequence[Cutout], grounds: Sequence[NDArray[np.float32]]) -> Layered:
    """One or two things on a floor before a wall, left and right of one another where they are two."""
    base = grounds[int(random.integers(len(grounds)))]
    top, left = (int(random.integers(0, base.shape[0] - SIZE + 1)) for _ in range(2))
    canvas = np.rot90(base[top : top + SIZE, left : left + SIZE], int(random.integers(4))).copy()
    depth = _room(random)
    celsius = np.full((SIZE, SIZE), AIR + random.normal(0, 2), np.float32)
    celsius += np.linspace(0, random.normal(0, 1.5), SIZE, dtype=np.float32)[:, None]
    sides = list(random.permutation(2)) if len(things) == 2 else [None]
    for thing, side in zip(things, sides, strict=True):
        pixels = cut(thing.path)
        pixels = pixels[:, ::-1] if random.random() < 0.5 else pixels
        scale = random.uniform(0.84, 0.96) * SIZE / max(pixels.shape[:2]) * (1 if side is None else 0.6)
        height, width = (each * scale for each in pixels.shape[:2])
        x = SIZE * (0.5 if side is None else 0.25 + 0.5 * side) + random.normal(0, 0.02 * SIZE)
        y = 0.96 * SIZE - height / 2 - abs(random.normal(0, 0.03 * SIZE))
        by = placed(pixels.shape, (x, y), scale, random.normal(0, 0.06))
        where = paint(canvas, pixels, by, random.uniform(0.75, 1.15))
        if not where.any():
            continue
        bulge = _bulge(on_canvas(pixels, by, SIZE)[1])
        foot = int(np.flatnonzero(where.any(1))[-1])
        near = float(depth[foot].max()) * random.uniform(0.75, 0.9)
        depth = np.where(where, near - 0.3 * bulge * near * max(height, width) / FOCAL, depth)
        celsius = np.where(where, _warmth(random, thing, canvas, bulge), celsius)
    return Layered(canvas.clip(0, 255).astype(np.uint8), depth.astype(np.float32), _camera(random, celsius))


def _room(random: Random) -> NDArray[np.float32]:
    """Metres of a floor, seen from above it, that ends at a wall."""
    horizon, tall, wall = random.uniform(-0.2, 0.3) * SIZE, random.uniform(0.8, 1.6), random.uniform(2.5, 6)
    rows = np.arange(SIZE) + 0.5 - horizon
    floor = np.where(rows > 0, tall * FOCAL / np.maximum(rows, 1e-3), np.inf).clip(max=wall)
    slant = 1 + random.normal(0, 0.1) * np.linspace(-1, 1, SIZE)
    return (floor[:, None] * slant).astype(np.float32)


def _bulge(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far a silhouette stands out, 0 to 1: the more, the deeper a pixel lies in it."""
    solid = Image.fromarray((alpha * 255).astype(np.uint8))
    layers = [np.asarray(solid.filter(ImageFilter.GaussianBlur(SIZE / each)), np.float32) for each in (48, 24, 12)]
    return (2 * np.mean(layers, axis=0) / 255 - 1).clip(0, 1).astype(np.float32)


def _warmth(random: Random, thing: Cutout, canvas: NDArray[np.float32], bulge: NDArray[np.float32]) -> NDArray[Any]:
    kinds = [part for part in thing.path.parts if part in WARMTH]
    celsius = WARMTH[kinds[-1]] + random.normal(0, 1.0)
    dark = 1 - canvas.mean(2) / 255
    spread = 4.0 if LIVING & set(kinds) else 1.0
    warm = celsius + spread * (bulge - 0.6) + 2.0 * (dark - 0.5)
    if DRIVEN & set(kinds):  # an engine, somewhere low
        rows, columns = np.nonzero(bulge > 0.3)
        if len(rows):
            at = rows.argsort()[-1 - int(random.integers(max(1, len(rows) // 3)))]
            away = (np.arange(SIZE)[:, None] - rows[at]) ** 2 + (np.arange(SIZE) - columns[at]) ** 2
            warm = warm + 22 * np.exp(-away / (2 * (SIZE / 14) ** 2))
    return warm


def _camera(random: Random, celsius: NDArray[Any]) -> NDArray[np.float32]:
    """As the lens blurs it and the sensor reads it."""
    seen = Image.fromarray(celsius.astype(np.float32))
    low, high = float(celsius.min()), max(float(celsius.max()), float(celsius.min()) + 1)
    gray = Image.fromarray(((np.asarray(seen) - low) / (high - low) * 65535).astype(np.float32))
    soft = gray.resize((SIZE // 2, SIZE // 2), Image.Resampling.BOX).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    values = np.asarray(soft) / 65535 * (high - low) + low
    return (values + random.normal(0, NOISE, values.shape)).astype(np.float32)
