"""Guess what was covered: words (BERT, Devlin et al. 2018, section 3.1) in every model that grew out of it."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def masked_words(
    logits: Float[Tensor, "b n words"], labels: Int[Tensor, "b n"], *, ignore: int = -100
) -> Float[Tensor, ""]:
    """Mean cross-entropy over the tokens whose label is not `ignore`; 0 where every token is ignored."""
    total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=ignore, reduction="sum")
    return total / (labels != ignore).sum().clamp(min=1)
