"""Where a token is, when the picture has another size than the one the positions were learned at."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How a line of checkpoints resizes its grid of learned positions.

    With an `offset` the grid is stretched by (new + offset) / old, not by new / old: DINOv2's guard against rounding.
    """

    mode: Literal["bilinear", "bicubic"]
    antialias: bool = False
    align_corners: bool = False
    offset: float = 0.0


GOOGLE = Resampling(mode="bilinear", align_corners=True)  # scipy.ndimage.zoom(order=1): end points stay in place
TIMM_NPZ = Resampling(mode="bilinear")  # timm, once, when it reads Google's files
TIMM = Resampling(mode="bicubic", antialias=True)  # timm at run time; DINOv2 with registers
TRANSFORMERS = Resampling(mode="bicubic")
DINOV2 = Resampling(mode="bicubic", offset=0.1)  # without registers


def resize_positions(
    positions: Float[Tensor, "n width"], old: tuple[int, int], new: tuple[int, int], how: Resampling, *, prefix: int = 0
) -> Float[Tensor, "m width"]:
    """Interpolate learned positions from a grid of `old` (rows, columns) to `new` (ViT, section 3.2).

    The first `prefix` positions belong to tokens that have no place in the picture and stay as they are.
    """
    if old == new:
        return positions
    still, grid = positions[:prefix], positions[prefix:]
    picture = grid.unflatten(0, old).permute(2, 0, 1)[None].float()
    stretch = [(n + how.offset) / o for n, o in zip(new, old, strict=True)] if how.offset else None
    picture = F.interpolate(
        picture,
        size=None if stretch else new,
        scale_factor=stretch,
        mode=how.mode,
        antialias=how.antialias,
        align_corners=how.align_corners,
    )
    return torch.cat([still, picture[0].flatten(1).mT.to(positions.dtype)])
