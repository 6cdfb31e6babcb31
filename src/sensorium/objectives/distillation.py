"""Self-distillation (DINO, Caron et al. 2021, https://arxiv.org/abs/2104.14294; iBOT, Zhou et al. 2021,
https://arxiv.org/abs/2111.07832): a student names the prototypes that its own moving average names on another view.

Everything is computed in float32, whatever precision is in force around it. `teacher` always means probabilities.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def _here(x: Tensor) -> Tensor:
    return x


@torch.no_grad()
def sinkhorn(
    logits: Float[Tensor, "*rows prototypes"],
    temperature: float,
    *,
    iterations: int = 3,
    total: Callable[[Tensor], Tensor] = _here,
) -> Float[Tensor, "*rows prototypes"]:
    """Probabilities whose rows sum to one and whose prototypes are used alike (SwAV, Caron et al. 2020, section 3.1).

    All rows are balanced together: both crops of a teacher go in at once; of patches only the masked ones do. Where the
    rows are spread over processes, `total` adds a tensor up over them; how many rows each has may differ, and be none.
    No maximum is subtracted, as in the reference: |logits / temperature| has to stay below 88.
    """
    table = (logits.float().flatten(0, -2) / temperature).exp()
    prototypes = table.shape[1]
    rows = total(table.new_tensor(len(table)))
    table = table / total(table.sum())
    for _ in range(iterations):
        table = table / (total(table.sum(0, keepdim=True)) * prototypes)
        table = table / (table.sum(1, keepdim=True) * rows)
    return (table * rows).view(logits.shape)


@torch.no_grad()
def centred_softmax(
    logits: Float[Tensor, "*rows prototypes"], centre: Float[Tensor, "1 prototypes"], temperature: float
) -> Float[Tensor, "*rows prototypes"]:
    """DINO's first centring: a running mean is taken from the logits (Caron et al. 2021, section 3.1)."""
    return ((logits.float() - centre) / temperature).softmax(-1)


@torch.no_grad()
def moved_centre(
    centre: Float[Tensor, "1 prototypes"],
    logits: Float[Tensor, "*rows prototypes"],
    momentum: float = 0.9,
    *,
    total: Callable[[Tensor], Tensor] = _here,
) -> Float[Tensor, "1 prototypes"]:
    """The running mean after one batch of teacher logits (Caron et al. 2021, equation 4); `total` as for `sinkhorn`."""
    table = logits.float().flatten(0, -2)
    mean = total(table.sum(0, keepdim=True)) / total(table.new_tensor(len(table)))
    return centre * momentum + mean * (1 - momentum)


def class_distillation(
    student: Float[Tensor, "s b prototypes"],
    teacher: Float[Tensor, "t b prototypes"],
    *,
    temperature: float = 0.1,
    ignore_diagonal: bool = False,
) -> Float[Tensor, ""]:
    """DINO: cross-entropy of every student crop with every teacher crop of the same picture, mean over the pairs.

    `ignore_diagonal` leaves out the pairs of a crop with itself, where both saw the same global crops.
    """
    with torch.autocast(student.device.type, enabled=False):
        guess = (student.float() / temperature).log_softmax(-1)
        (s, b), t = guess.shape[:2], len(teacher)
        pairs = -torch.einsum("sbk,tbk->st", guess, teacher.float())
        if not ignore_diagonal:
            return pairs.sum() / (b * s * t)
        same = torch.eye(s, t, dtype=torch.bool, device=pairs.device)
        return pairs.masked_fill(same, 0).sum() / (b * (s * t - min(s, t)))


def mask_weight(masks: Bool[Tensor, "b n"]) -> Float[Tensor, " masked"]:
    """One over the number of masked patches of its picture, for every masked patch in order."""
    count = masks.sum(1, keepdim=True).clamp(min=1)
    return (1 / count.float()).expand(masks.shape)[masks]


def patch_distillation(
    student: Float[Tensor, "masked prototypes"],
    teacher: Float[Tensor, "masked prototypes"],
    weight: Float[Tensor, " masked"],
    pictures: int,
    *,
    temperature: float = 0.1,
) -> Float[Tensor, ""]:
    """IBOT: cross-entropy on the masked patches, weighted by `mask_weight`.

    The divisor counts all `pictures` (crops), those without any mask too, as the reference does.
    """
    with torch.autocast(student.device.type, enabled=False):
        guess = (student.float() / temperature).log_softmax(-1)
        return -((teacher.float() * guess).sum(-1) * weight).sum() / pictures


def masked_indices(masks: Bool[Tensor, "b n"]) -> Int[Tensor, " masked"]:
    """Places of the masked patches among the b·n patches of a batch, in order."""
    return masks.flatten().nonzero()[:, 0]


def pair_shares(global_crops: int, local_crops: int, *, ignore_diagonal: bool = True) -> tuple[float, float]:
    """Share of the (student, teacher) pairs that are global with global and local with global; the sum is one."""
    both = global_crops * (global_crops - 1 if ignore_diagonal else global_crops)
    mixed = global_crops * local_crops
    return both / (both + mixed), mixed / (both + mixed)
