"""Give the answer, where several may be right to a degree, or one of a few is."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def soft_targets(scores: Float[Tensor, "b *n"], targets: Float[Tensor, "b *n"]) -> Float[Tensor, ""]:
    """KL divergence of the targets from the softmax of the scores over the last axis, summed and divided by the batch.

    VisualBERT's loss on VQA (answers, each as right as people gave it) and on Flickr30K (regions for every phrase;
    divided by the pictures, not by the phrases). The targets are taken as they are: they need not sum to 1, and rows
    of zeros count nothing.
    """
    return F.kl_div(scores.log_softmax(-1), targets, reduction="batchmean")


def choice(scores: Float[Tensor, "b n"], answer: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """Cross-entropy where one of n is right: the choices of VCR, true or false of NLVR2."""
    return F.cross_entropy(scores, answer)
