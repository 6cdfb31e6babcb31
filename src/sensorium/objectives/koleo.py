"""KoLeo (Sablayrolles et al. 2018, https://arxiv.org/abs/1806.03198): features spread evenly over the sphere when no
two are close, which keeps a batch from collapsing."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-8  # of the norm, of every difference and of the logarithm, as in the reference


def koleo(
    x: Float[Tensor, "n d"], *, neighbours: int = 1, others: Float[Tensor, "m d"] | None = None, offset: int = 0
) -> Float[Tensor, ""]:
    """Minus the mean logarithm of the distance from each row to its nearest ones, all on the unit sphere.

    `others` are the rows of a larger batch, gathered from all processes, in which `x` begins at row `offset`.
    Computed in float32 also under autocast. Rows that coincide give a large, finite loss.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = F.normalize(x.float(), eps=EPSILON)
        pool = x if others is None else F.normalize(others.float(), eps=EPSILON)
        with torch.no_grad():
            similarity = x @ pool.mT
            row = torch.arange(len(x), device=x.device)
            similarity[row, row + offset] = -1
            nearest = similarity.topk(neighbours, dim=1).indices
        distance = F.pairwise_distance(x[:, None], pool[nearest], eps=EPSILON)
        return -(distance + EPSILON).log().mean()
