"""A linear layer on frozen patches, as DINOv2 and DINOv3 probe dense features: batch norm, then one product a patch.

AdamW, the learning rate rising over the first 1,500 steps and falling in a straight line to 0 (Oquab et al. 2023, the
authors' configuration). Differences from the authors' trainings, which augment: features are computed once, of whole
pictures, and a step looks at some labelled pixels of each picture, drawn at random: the same loss in the mean.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.data.dense import DenseSet
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.tasks.dense_features import Named, Patches, Pictured, Seen
from sensorium.tasks.features import Progress, Report, silent

WARM_UP = 1500
CLIP = 35.0  # the length that gradients are cut to (DINOv3's evaluation)

MEMORY = 4 << 30  # bytes of features that are held without a folder to keep them in
TRUTHS = 2 << 30  # bytes of labels or depths that are held

Pixels = Int[Tensor, "n 2"]  # row and column


@dataclass(frozen=True, kw_only=True)
class Training:
    """Steps of `batch` pictures with `pixels` of each, AdamW's learning rate and weight decay."""

    steps: int = 40_000
    batch: int = 16
    rate: float = 1e-3
    decay: float = 1e-4
    pixels: int = 4096
    seed: int = 0


class Bank(Sequence[Seen]):
    """What a model saw in the pictures of a set, in any order: held in memory, or in the folder that keeps it.

    `rows` says which items of the set these are, `unreadable` why others are not there. Raises SensoriumError where
    none can be read, where memory would not do, and for a kept file that goes away.
    """

    def __init__(self, patches: Patches, data: DenseSet[Pictured], *, progress: Report = silent, stage: str) -> None:
        self.patches = patches
        self.rows: list[int] = []
        self.unreadable: list[Unreadable] = []
        self.held: list[Seen | Path] = []
        self.width = 0

        def read(row: int) -> tuple[tuple[int, Path | None], Named]:
            item = data[row]
            return (row, patches.file((item.key, item.image))), (item.key, item.image)

        for found in patches.over(range(len(data)), read, progress=progress, stage=stage):
            if isinstance(found, Unreadable):
                self.unreadable.append(found)
                continue
            (row, file), seen = found
            self.rows.append(row)
            self.held.append(file or seen)
            self.width = len(seen.stored)
            needed = len(data) * seen.stored.numel() * seen.stored.element_size()
            if file is None and needed > MEMORY:
                raise SensoriumError(
                    f"features of {len(data):,} pictures take about {needed / 1e9:.0f} GB: name a folder for them "
                    "with --keep"
                )
        if not self.rows:
            first = f": {self.unreadable[0]}" if self.unreadable else ""
            raise SensoriumError(f"{data.name}: none of the {len(data)} pictures could be read{first}")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Seen:  # pyright: ignore[reportIncompatibleMethodOverride]: no slices
        held = self.held[index]
        seen = self.patches.kept(held) if isinstance(held, Path) else held
        if seen is None:
            raise SensoriumError(f"{held}: the features kept there are gone or damaged; begin again")
        return seen


class Truths:
    """What a set says of its pictures, by their number: read once where memory allows, None where it cannot be read."""

    def __init__(self, read: Callable[[int], Tensor]) -> None:
        self.read, self.room = read, TRUTHS
        self.known: dict[int, Tensor] = {}
        self.unreadable: dict[int, Unreadable] = {}

    def __call__(self, row: int) -> Tensor | None:
        """The truth of one picture."""
        if row in self.unreadable:
            return None
        if row in self.known:
            return self.known[row]
        try:
            truth = self.read(row)
        except Unreadable as error:
            self.unreadable[row] = error
            return None
        self.room -= truth.numel() * truth.element_size()
        if self.room > 0:
            self.known[row] = truth
        return truth


class DenseLinear(nn.Module):
    """Batch norm over all patches of a batch, and a 1x1 convolution."""

    def __init__(self, width: int, outputs: int, *, seed: int = 0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.linear = nn.Linear(width, outputs)
        nn.init.normal_(self.linear.weight, std=0.01, generator=torch.Generator().manual_seed(seed))
        nn.init.zeros_(self.linear.bias)

    def forward(self, maps: Sequence[Float[Tensor, "width _ _"]]) -> list[Float[Tensor, "outputs _ _"]]:
        """The output at every patch of pictures of any size."""
        found = self.linear(self.norm(torch.cat([each.flatten(1).mT for each in maps])))
        parts = found.split([each[0].numel() for each in maps])
        return [part.mT.unflatten(1, each.shape[1:]) for part, each in zip(parts, maps, strict=True)]


def pixel_places(pixels: Pixels, size: Sequence[int]) -> Float[Tensor, "n 2"]:
    """The middles of pixels of a map of `size` (height, width), as `sample_map` takes them."""
    y, x = pixels.float().T
    return torch.stack([(2 * x + 1) / size[1] - 1, (2 * y + 1) / size[0] - 1], 1)


def upsampled(x: Float[Tensor, "outputs rows columns"], size: Sequence[int]) -> Float[Tensor, "outputs h w"]:
    """Stretched to height and width, bilinearly."""
    return F.interpolate(x[None], size=(size[0], size[1]), mode="bilinear", align_corners=False)[0]


def some_of(valid: Pixels, number: int, generator: torch.Generator) -> Int[Tensor, "some 2"]:
    """So many of the pixels, drawn at random without putting back; all where there are no more."""
    if len(valid) <= number:
        return valid
    return valid[torch.randperm(len(valid), generator=generator)[:number]]


def learn(
    head: DenseLinear,
    bank: Bank,
    loss: Callable[[Sequence[Float[Tensor, "outputs _ _"]], Sequence[int], torch.Generator], Tensor | None],
    how: Training,
    *,
    device: torch.device,
    progress: Report = silent,
) -> None:
    """Train on what `bank` holds; `loss` gets the outputs of some pictures and which these are, None where none counts.

    Raises SensoriumError where there is nothing to learn from.
    """
    generator = torch.Generator().manual_seed(how.seed)
    head.to(device).train()
    optimiser = torch.optim.AdamW(head.parameters(), lr=how.rate, weight_decay=how.decay)
    warm = min(WARM_UP, max(1, how.steps // 10))
    order: list[int] = []
    learned = False
    for step in range(how.steps):
        while len(order) < min(how.batch, len(bank)):
            order += torch.randperm(len(bank), generator=generator).tolist()
        chosen, order = order[: how.batch], order[how.batch :]
        seen: list[Seen] = [bank[index] for index in chosen]
        wrong = loss(head([each.patches.to(device) for each in seen]), chosen, generator)
        optimiser.zero_grad()
        if wrong is not None:
            learned = True
            for group in optimiser.param_groups:
                group["lr"] = how.rate * min((step + 1) / warm, 1.0) * (1 - step / how.steps)
            wrong.backward()
            nn.utils.clip_grad_norm_(head.parameters(), CLIP)
            optimiser.step()
        progress(Progress(stage="fitting", done=step + 1, total=how.steps, rate=0.0, seconds_left=None))
    if not learned:
        raise SensoriumError("no training picture has a pixel that counts: nothing to learn from")
    head.eval()
