"""A small stand-in for `things`: squares of a few colours, a class each, on two grounds."""

from pathlib import Path

import numpy as np
import torch

from sensorium.data.dense import Boxed, BoxedPicture
from sensorium.data.standins.cutouts import CLASSES
from sensorium.data.standins.things import SIZE, Things

COLOURS = ((220, 30, 30), (30, 200, 40), (40, 60, 230), (220, 200, 30))


def make(folder: Path, count: int = 48) -> dict[str, Things]:
    """Two parts, written once."""
    found: dict[str, Things] = {}
    for seed, part in enumerate(("train", "validation")):
        dice, place = np.random.default_rng(seed), folder / part
        place.mkdir(parents=True, exist_ok=True)
        pixels = dice.integers(0, 60, (count, SIZE, SIZE, 3), dtype=np.uint8)
        pixels[::2] += 90
        mask, label = np.zeros((count, SIZE, SIZE), np.bool_), np.arange(count) % len(COLOURS)
        for row in range(count):
            side = int(dice.integers(30, 60))
            top, left = (int(each) for each in dice.integers(0, SIZE - side, 2))
            mask[row, top : top + side, left : left + side] = True
            pixels[row][mask[row]] = COLOURS[label[row]]
        for name, values in {"pixels": pixels, "mask": mask, "label": label}.items():
            np.save(place / f"{name}.npy", values)
        kinds = tuple(1 + i % (len(CLASSES) - 1) for i in range(len(COLOURS)))
        found[part] = Things(f"things {part}", place, ("red", "green", "blue", "yellow"), kinds)
    return found


def boxed(source: Things, count: int) -> Boxed:
    """The same pictures with the boxes of their squares."""

    def at(index: int) -> BoxedPicture:
        mask = source.segmented()[index].labels() > 0
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        box = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
        return BoxedPicture(image=np.array(source[index]["image"]), key=f"{source.name}:{index}", boxes=box[None])

    return Boxed(name=source.name, length=count, at=at)
