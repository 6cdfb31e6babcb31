"""Phrases to regions (Flickr30K Entities, Plummer et al. 2015): is the best region one that the phrase names?"""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Grounded:
    """Recall at 1 over `phrases` phrases, and the most that these regions allow: some phrases match none."""

    recall: float
    bound: float
    phrases: int


def recall_at_1(
    scores: Float[Tensor, "b p m"], targets: Float[Tensor, "b p m"], places: Int[Tensor, "b p"]
) -> Grounded:
    """Whether the region with the highest score is among the phrase's own, which share a target of 1.

    `places` are where the phrases stand in their texts; -1 is no phrase.
    """
    count = int((places >= 0).sum())
    hits = (targets.gather(2, scores.argmax(2, keepdim=True)) > 0).sum()
    return Grounded(recall=float(hits) / max(count, 1), bound=float(targets.sum()) / max(count, 1), phrases=count)
