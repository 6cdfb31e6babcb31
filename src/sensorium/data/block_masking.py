"""Which patches a student does not see: blocks (BEiT, Bao et al. 2021, https://arxiv.org/abs/2106.08254, algorithm 1),
filled up at random to an exact count (DINOv3, Siméoni et al. 2025)."""

import math
import random
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SMALLEST = 4  # patches of a block
ASPECT = (math.log(0.3), math.log(1 / 0.3))  # of a block, height to width
TRIES = 10


class Masks(NamedTuple):
    """The masks of a batch of crops, and where their patches lie among all patches of the batch."""

    masks: Bool[Tensor, "crops n"]
    indices: Int[Tensor, " masked"]
    weight: Float[Tensor, " masked"]
    """One over the number of masked patches of the same crop."""
    upper_bound: int
    """The sum of the targets: how many patches can be masked at most."""


def block_mask(
    grid: tuple[int, int],
    target: int,
    *,
    largest: float,
    draws: random.Random,
    choice: np.random.RandomState,
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """A mask (rows, columns) of exactly `target` patches: blocks of 4 to `largest` patches, the rest anywhere.

    `draws` and `choice` are used in the reference's order. Raises ValueError where the grid holds fewer patches.
    """
    rows, columns = grid
    if not 0 <= target <= rows * columns:
        raise ValueError(f"{target} patches cannot be masked in a grid of {rows} x {columns}")
    mask = np.zeros(grid, dtype=bool)
    count = 0
    while count < target:
        added = _add_block(mask, min(target - count, largest), draws)
        if not added:
            break
        count += added
    flat = mask.reshape(-1)
    flat[choice.choice(np.flatnonzero(~flat), size=target - count, replace=False)] = True
    return mask


def _add_block(mask: np.ndarray[Any, np.dtype[np.bool_]], room: float, draws: random.Random) -> int:
    rows, columns = mask.shape
    for _ in range(TRIES):
        area = draws.uniform(SMALLEST, room)
        aspect = math.exp(draws.uniform(*ASPECT))
        height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if height >= rows or width >= columns:
            continue
        top, left = draws.randint(0, rows - height), draws.randint(0, columns - width)
        block = mask[top : top + height, left : left + width]
        added = block.size - int(block.sum())
        if 0 < added <= room:
            block[:] = True
            return added
    return 0


def batch_masks(
    crops: int,
    grid: tuple[int, int],
    *,
    ratio: tuple[float, float] = (0.1, 0.5),
    probability: float = 0.5,
    largest: float,
    draws: random.Random,
    choice: np.random.RandomState,
) -> Masks:
    """Masks for `crops` global crops: int(crops · probability) of them are masked, in random places of the batch.

    Their ratios are the upper edges of equal steps between the two of `ratio`, so that the sum is always the same.
    """
    patches, masked = grid[0] * grid[1], int(crops * probability)
    edges = torch.linspace(*ratio, masked + 1).tolist()[1:]
    targets = [int(patches * edge) for edge in edges] + [0] * (crops - masked)
    drawn = [block_mask(grid, target, largest=largest, draws=draws, choice=choice) for target in targets]
    draws.shuffle(drawn)
    masks = torch.from_numpy(np.stack(drawn).reshape(crops, patches))
    weight = (1 / masks.sum(1, keepdim=True).clamp(min=1).float()).expand(masks.shape)[masks]
    return Masks(masks, masks.flatten().nonzero()[:, 0], weight, sum(targets))
