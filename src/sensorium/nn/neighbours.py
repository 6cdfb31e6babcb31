"""Weighted k nearest neighbours, as self-supervised models are measured (Wu et al. 2018; DINO, Caron et al. 2021).

The k training pictures with the largest cosines vote for their classes, each with exp(cosine / T).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

K, TEMPERATURE = 20, 0.07
BLOCK = 1024  # pictures compared with all training pictures at once


def vote(
    train: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    test: Float[Tensor, "m d"],
    classes: int,
    *,
    k: int = K,
    temperature: float = TEMPERATURE,
) -> Float[Tensor, "m classes"]:
    """The share of the votes that each class gets; vectors need not be of length 1.

    There have to be k training pictures. Computed as precisely as they are also under autocast.
    """
    with torch.autocast(train.device.type, enabled=False):
        memory = F.normalize(train, dim=-1)
        scores: list[Tensor] = []
        for some in test.split(BLOCK):
            near, which = (F.normalize(some, dim=-1) @ memory.T).topk(k, dim=1)
            weights = (near / temperature).softmax(1)  # the exponentials, divided by their sum: it changes no order
            votes = some.new_zeros(len(some), classes)
            scores.append(votes.scatter_add_(1, labels[which], weights))
        return torch.cat(scores)
