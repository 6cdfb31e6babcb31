"""The crops that self-supervision sees of its pictures, and what it does not see of them (Siméoni et al. 2025, section
3.2)."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from sensorium.data.block_masking import batch_masks
from sensorium.data.errors import SensoriumError
from sensorium.data.multicrop import MultiCrop
from sensorium.data.sources import open_source
from sensorium.data.stream import Batches as RowsOfSteps
from sensorium.data.stream import Sample, Stream, mix
from sensorium.training.recipe import Batch, Batches
from sensorium.training.recipes.dinov3_parts import Settings, steps_for
from sensorium.training.recipes.vit import labels_of


def crop_major(x: Tensor) -> Tensor:
    """(pictures, crops, ...) as (crops · pictures, ...): the first crop of all pictures, then the second."""
    return x.transpose(0, 1).flatten(0, 1)


@dataclass(frozen=True, kw_only=True)
class Cropped:
    """A picture, cropped many times."""

    crops: MultiCrop

    def __call__(self, sample: Sample, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Decode, crop, distort."""
        return self.crops(sample["image"], generator)


class Crops:
    """Crops of pictures, with the patches that the student does not see: masks follow from the step alone, for all
    processes together, since how many patches are hidden in a batch is fixed (block masking).

    `sizes` are pairs of large and small crops, of which every step has one, by chance, the same on all processes.
    `finer` is how many times larger a teacher sees the large crops that are not distorted; 0: there are none.
    """

    def __init__(self, s: Settings, patch: int, *, sizes: Sequence[tuple[int, int]] = (), finer: float = 0.0) -> None:
        self.seed, self.patch = s.seed, patch
        for size in (each for pair in sizes or [(s.size, s.local_size)] for each in pair):
            if size < self.patch or size % self.patch:
                raise SensoriumError(f"crops of {size} pixels: take a multiple of the patch, which is {self.patch}")
        if s.local < 1:
            raise SensoriumError("local: one small crop or more")
        self.source = labels_of("emoji", "", s.held_out).train if s.data == "emoji" else open_source(s.data)
        self.steps = steps_for(s.size)
        self.streams = [
            Stream(sources=[self.source], prepare=Cropped(crops=crops), seed=s.seed)
            for crops in (
                MultiCrop(
                    size=large,
                    local_size=small,
                    local=s.local,
                    scale=s.scale,
                    local_scale=s.local_scale,
                    flip=s.flip,
                    plain_size=round(finer * large / self.patch) * self.patch,
                )
                for large, small in sizes or [(s.size, s.local_size)]
            )
        ]

    def batches(
        self, batch: int, *, start: int, steps: int, rank: int = 0, world: int = 1, workers: int = 0
    ) -> Batches:
        """See `Data`; every batch has "mask" (pictures, 2, patches) beside its crops."""
        taken = _ByStep(self.streams, batch, self.seed)
        rows = RowsOfSteps(taken, batch, range(start, steps), rank=rank, world=world, workers=workers)
        return _Masked(rows, self, batch, start, rank)

    def masks(self, batch: int, size: int, step: int) -> Bool[Tensor, "pictures 2 patches"]:
        """What is hidden of the large crops of a step's whole batch."""
        side = size // self.patch
        key = mix(self.seed, step)
        masks = batch_masks(
            2 * batch,
            (side, side),
            largest=0.5 * side * side,
            draws=random.Random(key),
            choice=np.random.RandomState(key % (1 << 32)),
        ).masks
        return masks.unflatten(0, (2, batch)).transpose(0, 1)


@dataclass(frozen=True)
class _ByStep:
    """One of several streams for each step, the same for all its rows."""

    streams: Sequence[Stream]
    batch: int
    seed: int

    def take(self, position: int, damaged: dict[str, str]) -> Mapping[str, Tensor]:
        which = mix(self.seed, 1, position // self.batch) % len(self.streams)
        return self.streams[which].take(position, damaged)


class _Masked:
    def __init__(self, rows: Batches, crops: Crops, batch: int, start: int, rank: int) -> None:
        self.rows, self.crops, self.batch, self.start, self.rank = rows, crops, batch, start, rank

    @property
    def damaged(self) -> Mapping[str, str]:
        return self.rows.damaged

    def __iter__(self) -> Iterator[Batch]:
        for step, batch in enumerate(self.rows, self.start):
            count, size = len(batch["global"]), batch["global"].shape[-1]
            masks = self.crops.masks(self.batch, size, step)
            yield {**batch, "mask": masks[self.rank * count : (self.rank + 1) * count].contiguous()}
