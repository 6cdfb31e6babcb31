"""A linear layer on frozen patches, as DINOv2 and DINOv3 probe dense features: batch norm, then one product a patch.

AdamW, the learning rate rising over the first 1,500 steps and falling in a straight line to 0 (Oquab et al. 2023, the
authors' configuration). Differences from the authors' trainings, which augment: features are computed once, of whole
pictures, and a step looks at some labelled pixels of each picture, drawn at random: the same loss in the mean.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.data.errors import SensoriumError
from sensorium.tasks.dense_features import Bank, Seen
from sensorium.tasks.features import Progress, Report, silent

WARM_UP = 1500
CLIP = 35.0  # the length that gradients are cut to (DINOv3's evaluation)

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


class DenseLinear(nn.Module):
    """Batch norm over all patches of a batch, and a 1x1 convolution."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.linear = nn.Linear(width, outputs)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, maps: Sequence[Float[Tensor, "width _ _"]]) -> list[Float[Tensor, "outputs _ _"]]:
        """The output at every patch of pictures of any size."""
        found = self.linear(self.norm(torch.cat([each.flatten(1).mT for each in maps])))
        parts = found.split([each[0].numel() for each in maps])
        return [part.mT.unflatten(1, each.shape[1:]) for part, each in zip(parts, maps, strict=True)]


def pixel_places(pixels: Pixels, size: tuple[int, int]) -> Float[Tensor, "n 2"]:
    """The middles of pixels of a map of `size` (height, width), as `sample_map` takes them."""
    y, x = pixels.float().T
    return torch.stack([(2 * x + 1) / size[1] - 1, (2 * y + 1) / size[0] - 1], 1)


def upsampled(x: Float[Tensor, "outputs rows columns"], size: tuple[int, int]) -> Float[Tensor, "outputs h w"]:
    """Stretched to height and width, bilinearly."""
    return F.interpolate(x[None], size=size, mode="bilinear", align_corners=False)[0]


def some_of(valid: Pixels, number: int, generator: torch.Generator) -> Pixels:
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
) -> DenseLinear:
    """Train on what `bank` holds; `loss` gets the outputs of some pictures and which these are, None where none counts.

    Raises SensoriumError where there is nothing to learn from.
    """
    generator = torch.Generator().manual_seed(how.seed)
    head.to(device).train()
    optimiser = torch.optim.AdamW(head.parameters(), lr=how.rate, weight_decay=how.decay)
    warm = min(WARM_UP, max(1, how.steps // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, 1.0) * (1 - step / how.steps)
    )
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
            wrong.backward()
            nn.utils.clip_grad_norm_(head.parameters(), CLIP)
            optimiser.step()
        schedule.step()
        progress(Progress(stage="fitting", done=step + 1, total=how.steps, rate=0.0, seconds_left=None))
    if not learned:
        raise SensoriumError("no training picture has a pixel that counts: nothing to learn from")
    return head.eval()
