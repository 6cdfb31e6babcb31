"""Values over the iterations of a run, as float64 vectors: a warm-up, half a cosine, a constant end."""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

Values = Float64[Tensor, " iterations"]


def _line(start: float, end: float, steps: int) -> Values:
    return torch.linspace(start, end, steps, dtype=torch.float64)


def cosine(
    base: float,
    final: float,
    total: int,
    *,
    warmup: int = 0,
    start: float = 0.0,
    frozen: int = 0,
    truncated: float = 0.0,
) -> Values:
    """DINO's first schedule: `frozen` zeros, a line from `start` that ends on `base`, a cosine that stops short of
    `final` (which is what holds past the end).

    `truncated` cuts a cosine that is longer by that fraction, stretched so that it ends exactly on `final`.
    Raises ValueError where `total` is too short.
    """
    steps = total - warmup - frozen
    if steps < 0:
        raise ValueError(f"{frozen} frozen and {warmup} warm-up iterations do not fit in {total}")
    if truncated:
        fall = 1 + _line(0, math.pi, int((1 + truncated) * steps))[:steps].cos()
        fall = (fall - fall[-1]) / (fall[0] - fall[-1])
    else:
        fall = (1 + (math.pi * torch.arange(steps, dtype=torch.float64) / max(steps, 1)).cos()) / 2
    return torch.cat(
        [torch.zeros(frozen, dtype=torch.float64), _line(start, base, warmup), final + (base - final) * fall]
    )


def warmup_cosine(
    start: float, peak: float, end: float, total: int, *, warmup: int, decay: int | None = None
) -> Values:
    """DINOv3's schedule: a line that reaches `peak` just after `warmup`, `decay` steps of a cosine with both ends on
    it, then `end`.

    `decay` is the rest where none is given. Raises ValueError where `total` is too short.
    """
    decay = total - warmup if decay is None else decay
    rest = total - warmup - decay
    if rest < 0:
        raise ValueError(f"{warmup} warm-up and {decay} cosine iterations do not fit in {total}")
    fall = end + (peak - end) * (1 + _line(0, math.pi, decay).cos()) / 2
    return torch.cat([_line(start, peak, warmup + 1)[:-1], fall, torch.full((rest,), end, dtype=torch.float64)])


def sqrt_wrt_1024(batch: int) -> float:
    """What a learning rate is multiplied by for a whole batch of `batch` pictures: 4·sqrt(batch / 1024)."""
    return 4 * math.sqrt(batch / 1024)
