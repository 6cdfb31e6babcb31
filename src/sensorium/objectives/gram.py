"""Gram anchoring (Siméoni et al. 2025, https://arxiv.org/abs/2508.10104, section 4): how patches resemble each other
is held to what an early teacher saw, while the features themselves stay free to move."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def gram(
    student: Float[Tensor, "b n d"],
    teacher: Float[Tensor, "b n d"],
    *,
    normalise: bool = True,
    batch: bool = False,
    keep: Literal["all", "positive", "positive_teacher"] = "all",
) -> Float[Tensor, ""]:
    """Mean squared difference of the two matrices of patch similarities, in float32 also under autocast.

    `batch` compares the patches of all pictures, not only those of one. `keep` sets negative similarities to zero: of
    both ("positive"), or of the teacher alone. The published runs keep all.
    """
    with torch.autocast(student.device.type, enabled=False):
        ours, theirs = (_similarity(x.float(), normalise, batch) for x in (student, teacher))
        if keep != "all":
            theirs = theirs.clamp(min=0)
        if keep == "positive":
            ours = ours.clamp(min=0)
        return F.mse_loss(ours, theirs)


def _similarity(x: Float[Tensor, "b n d"], normalise: bool, batch: bool) -> Tensor:
    x = F.normalize(x, dim=-1) if normalise else x
    x = x.flatten(0, 1) if batch else x
    return x @ x.mT


@torch.no_grad()
def resized_patches(
    patches: Float[Tensor, "b n d"], source: tuple[int, int], target: tuple[int, int], *, antialias: bool = False
) -> Float[Tensor, "b m d"]:
    """Patch features of a `source` grid (rows, columns) at a `target` grid, bicubic: a larger crop's teacher map.

    The published runs do not antialias.
    """
    grid = patches.mT.unflatten(2, source)
    resized = F.interpolate(grid, size=target, mode="bicubic", align_corners=False, antialias=antialias)
    return resized.flatten(2).mT
