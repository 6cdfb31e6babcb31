"""Referring expressions (RefCOCO+): which region is meant (ViLBERT, Lu et al. 2019, section 3.2)."""

from jaxtyping import Bool, Float
from torch import Tensor

ENOUGH = 0.5


def found(scores: Float[Tensor, "b m"], overlap: Float[Tensor, "b m"]) -> Bool[Tensor, " b"]:
    """Whether the best-scored region overlaps the box that is meant (intersection over union) by more than half."""
    return overlap.gather(1, scores.argmax(1, keepdim=True))[:, 0] > ENOUGH
