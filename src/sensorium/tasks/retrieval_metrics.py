"""How well one kind of thing finds another: recall at k, median rank, multiple choice."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Retrieval:
    """Recall at 1, 5 and 10 as fractions, and the median rank, which is 1 at best."""

    r1: float
    r5: float
    r10: float
    median: float


def ranks(scores: Float[Tensor, "n n"]) -> Float[Tensor, "n"]:
    """The rank of each row's own column (the diagonal), from 1; a tie counts half a place, whoever comes first."""
    own = scores.diagonal()[:, None]
    return 1 + (scores > own).sum(1) + ((scores == own).sum(1) - 1) / 2


def ranks_with_ties(scores: Float[Tensor, "n n"]) -> Float[Tensor, "entries"]:
    """VideoCLIP's ranks: a row with k further scores equal to its own adds k entries to the list.

    More entries than rows move every fraction: for comparison with published numbers only, not a fair rank.
    """
    own = scores.diagonal()[:, None]
    above, equal = (scores > own).sum(1), (scores == own).sum(1)
    lists = [torch.arange(int(a) + 1, int(a + e) + 1) for a, e in zip(above, equal, strict=True)]
    return torch.cat(lists).to(scores)


def retrieval(ranks: Float[Tensor, "n"]) -> Retrieval:
    """Recalls and median of a list of ranks; the median of an even count is the mean of the middle two."""
    r1, r5, r10 = ((ranks <= k).double().mean().item() for k in (1, 5, 10))
    return Retrieval(r1, r5, r10, ranks.double().quantile(0.5).item())


def choose(video: Float[Tensor, "n d"], answers: Float[Tensor, "n options d"]) -> Int[Tensor, "n"]:
    """Multiple choice (MSR-VTT QA): the answer whose vector has the largest dot product with the video's."""
    return (answers @ video[..., None])[..., 0].argmax(1)


def accuracy(predicted: Int[Tensor, "n"], truth: Int[Tensor, "n"]) -> float:
    """The fraction that is right."""
    return (predicted == truth).double().mean().item()
