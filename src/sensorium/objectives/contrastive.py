"""Contrastive objectives: what belongs together points the same way, what does not points elsewhere."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def contrastive(
    a: Float[Tensor, "b d"],
    b: Float[Tensor, "b d"],
    scale: Float[Tensor, ""],
    *,
    all_a: Float[Tensor, "all d"] | None = None,
    all_b: Float[Tensor, "all d"] | None = None,
    offset: int = 0,
) -> Float[Tensor, ""]:
    """InfoNCE, both ways (CLIP, figure 3): row i of `a` belongs to row i of `b`, the rest of the batch does not.

    `a` and `b` are on the unit sphere; `scale` is the inverse temperature, exp(s) in CLIP. Where the batch is spread
    over processes, `all_a` and `all_b` are its rows on all of them, of which these are the ones from `offset` on; the
    mean of all processes' losses is the loss of the whole batch.
    """
    towards_b, towards_a = (
        scale * a @ (b if all_b is None else all_b).mT,
        scale * b @ (a if all_a is None else all_a).mT,
    )
    match = torch.arange(offset, offset + len(a), device=a.device)
    return (F.cross_entropy(towards_b, match) + F.cross_entropy(towards_a, match)) / 2


def one_way(query: Float[Tensor, "b d"], key: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """InfoNCE in one direction, on raw dot products: every query picks its own key from the batch.

    VideoCLIP (section 3.2) sums text to video and video to text; VLM fine-tunes with one of them.
    """
    return F.cross_entropy(query @ key.mT, torch.arange(len(query), device=query.device))


def sigmoid(
    a: Float[Tensor, "b d"],
    b: Float[Tensor, "b d"],
    scale: Float[Tensor, ""],
    bias: Float[Tensor, ""],
    *,
    all_b: Float[Tensor, "all d"] | None = None,
    offset: int = 0,
) -> Float[Tensor, ""]:
    """The pairwise alternative (SigLIP, Zhai et al. 2023, algorithm 1): every pair is a yes or a no of its own.

    `all_b` and `offset` as for `contrastive`.
    """
    logits = scale * a @ (b if all_b is None else all_b).mT + bias
    own = torch.arange(len(a), device=a.device)
    sign = torch.full_like(logits, -1).index_put((own, own + offset), logits.new_ones(()))
    return -F.logsigmoid(sign * logits).sum() / len(a)


def overlapping(
    a: Float[Tensor, "n d"],
    b: Float[Tensor, "m d"],
    scale: Float[Tensor, ""],
    affinity: Float[Tensor, "n m"],
) -> Float[Tensor, ""]:
    """InfoNCE, both ways, where several of `b` may belong to one of `a`, each to its degree (Khosla et al. 2020).

    `affinity` is not negative; rows and columns are brought to sum 1, and those without any partner are left out.
    """
    logits = scale * a @ b.mT
    return (_towards(logits, affinity) + _towards(logits.mT, affinity.mT)) / 2


def _towards(logits: Float[Tensor, "n m"], affinity: Float[Tensor, "n m"]) -> Float[Tensor, ""]:
    total = affinity.sum(1, keepdim=True)
    loss = -(affinity / total.clamp(min=1e-6) * logits.log_softmax(1)).sum(1)
    return loss.sum() / (total[:, 0] > 0).sum().clamp(min=1)
