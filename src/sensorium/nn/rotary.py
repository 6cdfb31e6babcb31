"""Rotary positions in the plane (Su et al. 2021, https://arxiv.org/abs/2104.09864; axial form: Siméoni et al. 2025,
https://arxiv.org/abs/2508.10104, section 3.2).

Queries and keys are turned by angles that grow with their place, so that a score depends on the way between two
patches. Half of the pairs of channels turn with the row, half with the column.
"""

from math import pi
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.nn.attention import Rotation

Coordinates = Float[Tensor, "n 2"]
Angles = Float[Tensor, "n half"]
Normalisation = Literal["separate", "max", "min"]


def geometric_periods(
    head_width: int, base: float = 100.0, dtype: torch.dtype = torch.float32
) -> Float[Tensor, " quarter"]:
    """base^(4i / head_width), one period for each pair of channels of one axis.

    Raises ValueError where a head does not divide into pairs of channels for two axes.
    """
    if head_width % 4:
        raise ValueError(f"heads of {head_width} channels do not divide into pairs for rows and columns")
    return base ** (2 * torch.arange(head_width // 4, dtype=dtype) / (head_width // 2))


def spaced_periods(
    head_width: int, shortest: float, longest: float, dtype: torch.dtype = torch.float32
) -> Float[Tensor, " quarter"]:
    """Periods from `shortest` to `longest`, each end included, in geometric steps."""
    ratio = longest / shortest
    return ratio ** torch.linspace(0, 1, head_width // 4, dtype=dtype) / ratio * longest


def grid_coordinates(
    rows: int,
    columns: int,
    *,
    normalise: Normalisation = "separate",
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Coordinates:
    """(y, x) of the centre of every patch in raster order, from -1 to 1.

    `normalise` says by what centres are divided: each axis by its own length, or both by the longer or shorter one.
    """
    longest, shortest = max(rows, columns), min(rows, columns)
    lengths = {"separate": (rows, columns), "max": (longest, longest), "min": (shortest, shortest)}[normalise]
    axes = (
        torch.arange(0.5, n, dtype=dtype, device=device) / length
        for n, length in zip((rows, columns), lengths, strict=True)
    )
    return 2 * torch.cartesian_prod(*axes) - 1


def rotary_table(coordinates: Coordinates, periods: Float[Tensor, " quarter"]) -> tuple[Angles, Angles]:
    """Sine and cosine of 2π·coordinate / period: first the angles of y, then those of x.

    The table covers half the channels of a head: channels k and k + half form the pair that one angle turns.
    """
    angles = (2 * pi * coordinates[:, :, None] / periods).flatten(1)
    return angles.sin(), angles.cos()


def rotation(table: tuple[Angles, Angles], *, prefix: int = 0) -> Rotation:
    """What turns (b, heads, prefix + n, head width) by a table; the first `prefix` tokens have no place and stay."""
    sin, cos = table
    if prefix:  # turned by nothing, exactly: cheaper than taking every tensor apart and joining it again
        sin = torch.cat([sin.new_zeros(prefix, sin.shape[1]), sin])
        cos = torch.cat([cos.new_ones(prefix, cos.shape[1]), cos])
    twice = torch.cat([cos, cos], dim=1)

    def rotate(x: Tensor) -> Tensor:
        plain = torch.compiler.is_compiling() or not (x.requires_grad and torch.is_grad_enabled())
        return _turned(x, sin, twice) if plain or sin.requires_grad else _Turn.apply(x, sin, twice)

    return rotate


def _turned(
    x: Float[Tensor, "b h n d"], sin: Float[Tensor, "n half"], twice: Float[Tensor, "n d"], sign: int = 1
) -> Float[Tensor, "b h n d"]:
    """Both halves of every head turned, in the precision of the table; backwards where `sign` is -1."""
    wide, half = x.to(sin.dtype, memory_format=torch.contiguous_format), sin.shape[1]
    turned = wide * twice
    turned[..., :half].addcmul_(wide[..., half:], sin, value=-sign)
    turned[..., half:].addcmul_(wide[..., :half], sin, value=sign)
    return turned.to(x.dtype)


class _Turn(torch.autograd.Function):
    """A rotation whose gradient is the rotation back: autograd's own, through the writes in place, takes five times as
    long."""

    @staticmethod
    def forward(x: Tensor, sin: Tensor, twice: Tensor) -> Tensor:
        return _turned(x, sin, twice)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        sin, twice = ctx.saved_tensors
        return _turned(gradients[0], sin, twice, -1), None, None
