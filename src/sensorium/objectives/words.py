"""Predicting the words of a caption from its picture, in any order: what CLIP's contrast is measured against."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def bag(ids: Int[Tensor, "b n"], read: Bool[Tensor, "b n"], words: int) -> Float[Tensor, "b words"]:
    """Which words each caption has, a row that sums to 1; `read` is False on padding and on what is no word."""
    counts = torch.zeros(len(ids), words, device=ids.device)
    present = counts.scatter_add(1, ids, read.to(counts.dtype)).clamp(max=1)
    return present / present.sum(1, keepdim=True).clamp(min=1)


def bag_of_words(logits: Float[Tensor, "b words"], bag: Float[Tensor, "b words"]) -> Float[Tensor, ""]:
    """Cross-entropy between a softmax over the vocabulary and the caption's words (Joulin et al. 2016,
    https://arxiv.org/abs/1511.02251, section 2; the baseline of CLIP's figure 2)."""
    return -(bag * logits.float().log_softmax(-1)).sum(1).mean()
