"""Text and picture as one: does the one describe the other, and which answers does the pair of them allow?"""

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def swapped_caption(logits: Float[Tensor, "b 2"], swapped: Bool[Tensor, " b"]) -> Float[Tensor, ""]:
    """Multi-modal alignment (ViLBERT, section 2.2): cross-entropy; class 1 is a pair whose caption was replaced."""
    return F.cross_entropy(logits, swapped.long())


def of_true_pairs(labels: Int[Tensor, "b n"], swapped: Bool[Tensor, " b"], *, ignore: int) -> Int[Tensor, "b n"]:
    """Labels of masked words or regions with `ignore` on swapped pairs: a wrong caption says nothing of the picture.

    So were the published weights trained (objective 1 of the authors' code).
    """
    return labels.masked_fill(swapped[:, None], ignore)


def allowed_answers(scores: Float[Tensor, "b n"], targets: Float[Tensor, "b n"]) -> Float[Tensor, ""]:
    """Binary cross-entropy summed over the n answers (VQA, GQA) or regions (grounding), averaged over the batch.

    `targets` say from 0 to 1 how right each of them is. The mean over all, times n, as the authors' code has it.
    """
    return F.binary_cross_entropy_with_logits(scores, targets, reduction="sum") / len(scores)


def verdict(scores: Float[Tensor, "b classes"], targets: Float[Tensor, "b classes"]) -> Float[Tensor, ""]:
    """Binary cross-entropy averaged over rows and classes (NLVR2, visual entailment: the reference has no factor)."""
    return F.binary_cross_entropy_with_logits(scores, targets)
