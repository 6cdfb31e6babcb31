"""Phrases to regions (Flickr30K Entities, Plummer et al. 2015): are the best regions those that the phrase names?"""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Grounded:
    """Recall over `phrases` phrases, and the most that these regions allow: some phrases match none."""

    recall: float
    bound: float
    phrases: int


def recall(
    scores: Float[Tensor, "b p m"], targets: Float[Tensor, "b p m"], places: Int[Tensor, "b p"], *, at: int = 1
) -> Grounded:
    """Whether one of the `at` regions with the highest scores is among the phrase's own, which share a target of 1.

    `places` are where the phrases stand in their texts; -1 is no phrase. VisualBERT reports recall at 1, 5 and 10.
    """
    count = int((places >= 0).sum())
    best = scores.topk(min(at, scores.shape[2]), dim=2).indices
    hits = (targets.gather(2, best) > 0).any(2).sum()
    return Grounded(recall=float(hits) / max(count, 1), bound=float(targets.sum()) / max(count, 1), phrases=count)
