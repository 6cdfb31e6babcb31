"""Which moment of a video a sentence is about (DiDeMo, Hendricks et al. 2017, https://arxiv.org/abs/1708.01641).

A video is six chunks of five seconds; a moment is a run of chunks (first, last), both included.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Moment = tuple[int, int]

CHUNK = 5  # seconds
CHUNKS = 6
# Single chunks first: what ties stay in this order.
MOMENTS: tuple[Moment, ...] = (
    *((i, i) for i in range(CHUNKS)),
    *((i, j) for i in range(CHUNKS) for j in range(i + 1, CHUNKS)),
)


def rank_moments(
    seconds: Float[Tensor, "t d"], mask: Bool[Tensor, "t"], text: Float[Tensor, "d"], *, padding: bool = False
) -> list[Moment]:
    """The moments, best first: the mean of the seconds' vectors times the text's; those without a second drop out.

    `mask` is False on padding. With `padding` the mean is also over the padded seconds of a moment that has a real
    one, as the reference takes it.
    """
    score = seconds @ text
    found: list[tuple[float, Moment]] = []
    for first, last in MOMENTS:
        span = slice(first * CHUNK, (last + 1) * CHUNK)
        if mask[span].any():
            found.append((float((score[span] if padding else score[span][mask[span]]).mean()), (first, last)))
    return [moment for _, moment in sorted(found, key=lambda pair: -pair[0])]


def overlap(a: Moment, b: Moment) -> float:
    """Intersection over union, in chunks."""
    shared = max(0, min(a[1], b[1]) + 1 - max(a[0], b[0]))
    return shared / (max(a[1], b[1]) + 1 - min(a[0], b[0]))


@dataclass(frozen=True)
class Moments:
    """Rank@1 and rank@5 as fractions, and the mean intersection over union of the first moment."""

    rank1: float
    rank5: float
    miou: float


def moments(rankings: Sequence[Sequence[Moment]], annotated: Sequence[Sequence[Moment]]) -> Moments:
    """DiDeMo's measures: of four annotators the three that agree best with the ranking count.

    A moment that is not in a ranking counts as one place after its end.
    """
    ranks: list[float] = []
    overlaps: list[float] = []
    for ranking, people in zip(rankings, annotated, strict=True):
        places = [ranking.index(moment) + 1 if moment in ranking else len(ranking) + 1 for moment in people]
        best = sorted(places)[:3]
        ranks.append(sum(best) / len(best))
        shared = sorted(overlap(ranking[0], moment) for moment in people)[-3:]
        overlaps.append(sum(shared) / len(shared))
    place = torch.tensor(ranks)
    return Moments(
        (place <= 1).double().mean().item(), (place <= 5).double().mean().item(), sum(overlaps) / len(overlaps)
    )
