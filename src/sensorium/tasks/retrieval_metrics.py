"""How well one kind of thing finds another: recall at k, median rank, multiple choice."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

BLOCK = 1024  # rows whose scores against everything else are in memory at once


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


def caption_ranks(
    images: Float[Tensor, "n d"], captions: Float[Tensor, "m d"], owner: Int[Tensor, " m"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " m"]]:
    """Ranks where a picture has any number of captions, of which `owner` says whose each is.

    Of each picture's best own caption among all captions, its other own ones left out; and of each caption's picture
    among all pictures. By dot products; a tie counts half a place. Raises ValueError for a picture without captions.
    """
    if len(owner.unique()) != len(images):
        raise ValueError("every picture needs at least one caption")
    first: list[Tensor] = []
    for start in range(0, len(images), BLOCK):
        scores = images[start : start + BLOCK] @ captions.T
        own = owner == torch.arange(start, start + len(scores), device=owner.device)[:, None]
        best = scores.masked_fill(~own, -torch.inf).amax(1, keepdim=True)
        first.append(_rank(scores.masked_fill(own, -torch.inf), best))
    second: list[Tensor] = []
    for start in range(0, len(captions), BLOCK):
        scores, whose = captions[start : start + BLOCK] @ images.T, owner[start : start + BLOCK, None]
        best = scores.gather(1, whose)
        second.append(_rank(scores.scatter(1, whose, -torch.inf), best))
    return torch.cat(first), torch.cat(second)


def _rank(others: Float[Tensor, "n m"], own: Float[Tensor, "n 1"]) -> Float[Tensor, " n"]:
    return 1 + (others > own).sum(1) + (others == own).sum(1) / 2


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
