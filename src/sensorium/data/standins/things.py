"""Pictures with one subject: a photographed thing, cut out, many times over on one of a few grounds.

What self-supervision is trained and measured on where no photographs can be had. A class is one thing, by its caption,
seen larger or smaller, turned, elsewhere, in another light, on grounds that recur as those of real collections do. The
truth at every pixel is known. The same numbers are drawn on every machine; the pictures are kept in the user's cache.
"""

import json
import tempfile
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sensorium.data.dense import Segmented, SegmentedPicture
from sensorium.data.emoji import Progress
from sensorium.data.errors import SensoriumError
from sensorium.data.packages import cache_folder
from sensorium.data.standins.cutouts import CLASSES, Cutout, cut, cutouts, ground, paint, placed
from sensorium.data.stream import Sample

VERSION = 1  # of what is drawn; another one is drawn anew
SIZE = 96
GROUNDS = 6
VIEWS = {"train": 16, "validation": 3}  # of every thing
ABOUT = "one cut-out photograph a picture, on recurring textures: no photographs of real scenes"
Files = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Things:
    """A source: picture (96 x 96 x 3), text and label of its thing, key. The parts show the same things otherwise."""

    name: str
    folder: Path
    classes: tuple[str, ...]  # captions
    kinds: tuple[int, ...]  # of each class, its number among the CLASSES of `segmented`
    kind: str = "pictures of one thing each"
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(_files(self.folder)["label"])

    def __getitem__(self, index: int, /) -> Sample:
        files = _files(self.folder)
        label = int(files["label"][index])
        return {
            "image": files["pixels"][index],
            "text": self.classes[label],
            "label": label,
            "key": f"{self.name}:{index}",
        }

    def segmented(self) -> Segmented:
        """The same pictures with the folder of the thing as the class of its pixels; 0 is the ground."""
        return Segmented(name=self.name, length=len(self), at=partial(_segmented, self), classes=CLASSES, about=ABOUT)


def things(split: str = "train", progress: Progress | None = None) -> Things:
    """The pictures of a part, "train" or "validation", drawn first if need be."""
    if split not in VIEWS:
        raise SensoriumError(f"things has no part {split!r}: {', '.join(VIEWS)}")
    folder = drawn(progress)
    said = json.loads((folder / "things.json").read_text(encoding="utf-8"))
    return Things(f"things {split}", folder / split, tuple(said["captions"]), tuple(said["kinds"]))


def place() -> Path:
    """Where the pictures lie, or will."""
    return cache_folder() / "sets" / f"things-{SIZE}-{VERSION}"


def drawn(progress: Progress | None = None, goal: Path | None = None, views: dict[str, int] | None = None) -> Path:
    """The folder with a folder a part: pixels.npy, mask.npy, label.npy; things.json beside them."""
    goal, views = goal or place(), views or VIEWS
    if goal.is_dir():
        return goal
    parts = cutouts()
    every = [*parts["train"], *parts["validation"]]
    captions = sorted({thing.caption for thing in every})
    number = {caption: i for i, caption in enumerate(captions)}
    grounds = [quiet(ground(np.random.default_rng([VERSION, i]), 2 * SIZE)) for i in range(GROUNDS)]
    goal.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=goal.parent, prefix=".draw-") as scratch:
        inside = Path(scratch) / "inside"
        for part, (name, count) in enumerate(views.items()):
            (inside / name).mkdir(parents=True)
            total = count * len(every)
            pixels = np.empty((total, SIZE, SIZE, 3), np.uint8)
            mask = np.empty((total, SIZE, SIZE), np.bool_)
            for i in range(total):
                random = np.random.default_rng([VERSION, part, i])
                pixels[i], mask[i] = view(random, every[i % len(every)], grounds)
                if progress:
                    progress(f"things {name}", i + 1, total)
            label = np.array([number[every[i % len(every)].caption] for i in range(total)])
            for file, values in {"pixels": pixels, "mask": mask, "label": label}.items():
                np.save(inside / name / f"{file}.npy", values)
        kinds = {thing.caption: thing.label for thing in every}
        said = {"captions": captions, "kinds": [kinds[caption] for caption in captions]}
        (inside / "things.json").write_text(json.dumps(said), encoding="utf-8")
        if not goal.is_dir():  # another process may have been first
            inside.replace(goal)
    return goal


def quiet(texture: NDArray[np.float32]) -> NDArray[np.float32]:
    """A ground of little colour: a loud one would be all that crops of a picture have in common."""
    grey = texture.mean(2, keepdims=True)
    return 150 + 0.4 * (grey - grey.mean()) + 0.2 * (texture - grey)


def view(
    random: np.random.Generator, thing: Cutout, grounds: list[NDArray[np.float32]]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The thing on a part of one of the grounds, at most as large as the picture; and where it is."""
    base = grounds[int(random.integers(len(grounds)))]
    top, left = (int(random.integers(0, base.shape[0] - SIZE + 1)) for _ in range(2))
    canvas = np.rot90(base[top : top + SIZE, left : left + SIZE], int(random.integers(4))).copy()
    pixels = cut(thing.path)
    pixels = pixels[:, ::-1] if random.random() < 0.5 else pixels
    scale = random.uniform(0.5, 1.0) * SIZE / max(pixels.shape[:2])
    sides = [side * scale for side in pixels.shape[1::-1]]
    x, y = (float(random.uniform(side / 2, SIZE - side / 2)) for side in sides)
    by = placed(pixels.shape, (x, y), scale, random.uniform(-0.6, 0.6))
    where = paint(canvas, pixels, by, random.uniform(0.75, 1.15))
    return canvas.clip(0, 255).astype(np.uint8), where


@cache
def _files(folder: Path) -> Files:
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("pixels", "mask", "label")}


def _segmented(source: Things, index: int) -> SegmentedPicture:
    files = _files(source.folder)
    kind = source.kinds[int(files["label"][index])]
    return SegmentedPicture(
        image=np.array(files["pixels"][index]),
        key=f"{source.name}:{index}",
        read=lambda: torch.from_numpy(np.where(files["mask"][index], kind, 0).astype(np.uint8)),
    )
