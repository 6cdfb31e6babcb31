"""The pretraining loss of DINOv3 (Siméoni et al. 2025, https://arxiv.org/abs/2508.10104, sections 3.2 and 4): DINO on
classes, iBOT on masked patches, KoLeo on features, and Gram anchoring once dense features need it.

    total = w_dino (share_global · DINO_global + share_local · w_local · DINO_local)
          + w_koleo · Σ_crop KoLeo + w_ibot · iBOT + w_gram · Gram
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.objectives.distillation import pair_shares

Scalar = Float[Tensor, ""]


class Weight(NamedTuple):
    """What each term counts. `local` and `gram` follow schedules in the published refinement (1 to 0.5, 0 to 2)."""

    dino: float = 1.0
    local: float = 1.0
    ibot: float = 1.0
    koleo: float = 0.1
    gram: float = 0.0


PRETRAINING = Weight()


def weights(
    *, local_crops: int, global_crops: int = 2, weight: Weight = PRETRAINING, ignore_diagonal: bool = True
) -> dict[str, float]:
    """What each term of the sum above counts, by name."""
    both, mixed = pair_shares(global_crops, local_crops, ignore_diagonal=ignore_diagonal)
    return {
        "dino_global": weight.dino * both,
        "dino_local": weight.dino * mixed * weight.local,
        "koleo": weight.koleo,
        "ibot": weight.ibot,
        "gram": weight.gram,
    }


def total(
    dino_global: Scalar,
    dino_local: Scalar,
    ibot: Scalar,
    koleo: Float[Tensor, " crops"],
    gram: Scalar | None = None,
    *,
    local_crops: int,
    weight: Weight = PRETRAINING,
    ignore_diagonal: bool = True,
) -> Scalar:
    """The sum above. `koleo` holds one value for each global crop; they add up, as the reference's do.

    A term of weight zero is left out, so that what is not a number there does not spread.
    """
    factors = weights(local_crops=local_crops, global_crops=len(koleo), weight=weight, ignore_diagonal=ignore_diagonal)
    terms = {"dino_global": dino_global, "dino_local": dino_local, "koleo": koleo.sum(), "ibot": ibot}
    if gram is not None:
        terms["gram"] = gram
    elif weight.gram:
        raise ValueError("the Gram term has a weight and no value")
    return torch.stack([factors[name] * term for name, term in terms.items() if factors[name]]).sum()
