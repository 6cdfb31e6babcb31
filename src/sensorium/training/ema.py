"""A teacher that is the moving average of its student (Mean Teacher, Tarvainen & Valpola 2017,
https://arxiv.org/abs/1703.01780)."""

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def follow(teacher: Iterable[Tensor], student: Iterable[Tensor], momentum: float) -> None:
    """Teacher ← momentum · teacher + (1 − momentum) · student, in place, after the optimiser's step.

    Momentum 0 makes a copy: so the Gram teacher is replaced. Raises ValueError where the two do not pair up.
    """
    targets, sources = list(teacher), list(student)
    if [x.shape for x in targets] != [x.shape for x in sources]:
        raise ValueError("teacher and student are not of one shape")
    for target, source in zip(targets, sources, strict=True):
        target.mul_(momentum).add_(source, alpha=1 - momentum)


def gram_update_due(iteration: int, *, first: int, every: int, at_most: int, done: int) -> bool:
    """Whether the Gram teacher is replaced after `iteration` (from 0), having been replaced `done` times."""
    return iteration + 1 >= first and (iteration + 1) % every == 0 and done < at_most
