"""Gram anchoring: dense features that a long training has spoilt are brought back, by holding how patches resemble each
other to what an early teacher saw (Siméoni et al. 2025, section 4; https://arxiv.org/abs/2508.10104).

    sensorium train dinov3-gram --data things --run runs/gram \\
        --set start=runs/ssl early=runs/ssl/checkpoints/step-00000500 epochs=4
    torchrun --nproc-per-node 8 -m sensorium train dinov3-gram --data photos --into runs/mine \\
        --set start=dinov3-vit-l-16 size=224 local_size=96 batch=256 learning_rate=1e-5 precision=bf16
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.errors import SensoriumError
from sensorium.models.dinov3 import DINOv3
from sensorium.objectives.gram import gram, resized_patches
from sensorium.training.ema import follow, gram_update_due
from sensorium.training.recipe import Batch, Recipe
from sensorium.training.recipes import dinov3 as ssl
from sensorium.training.recipes import dinov3_parts as parts
from sensorium.training.recipes.dinov3_crops import Crops, crop_major
from sensorium.training.schedules import warmup_cosine
from sensorium.training.world import World


@dataclass(frozen=True, kw_only=True)
class Settings(parts.Settings):
    """A refinement. Without `early` the Gram teacher is the trunk that it starts from, as good as that one is."""

    early: str = ""  # the Gram teacher: an early checkpoint of the run (which `keep` must have kept), or weights; "" is
    # the one in `start`
    gram: float = 2.0  # the weight of the term
    finer: float = 2.0  # how many times larger the Gram teacher sees the crops (section 4.3); 1: as the student
    ramp: float = 0.02  # share of the run in which the weight grows and that of small crops falls to a half
    replace_first: float = 0.25  # share of the run after which the Gram teacher first becomes the teacher of then
    replace_every: float = 0.25
    replacements: int = 3
    decay: parts.Decay = "none"
    warmup: float = 0.02
    frozen: float = 0.0
    momentum: tuple[float, float] = (0.999, 0.999)
    temperature: tuple[float, float] = (0.05, 0.05)


def dinov3_gram(s: Settings, world: World) -> Recipe:
    """Self-supervision with Gram anchoring, from a run of `dinov3` or from published weights (whose heads begin anew).

    sensorium train dinov3-gram --data things --set start=runs/ssl early=runs/ssl/checkpoints/step-00000500 --run runs/g
    """
    return refined(s, world)


def refined(s: Settings, world: World, sizes: Sequence[tuple[int, int]] = ()) -> Recipe:
    """The same on crops of several sizes, pairs of large and small ones."""
    if not s.start:
        raise SensoriumError("start: name the run, or the weights, that is refined")
    torch.manual_seed(s.seed)
    student = parts.Branch(parts.trunk_of(s), s)
    model = parts.Distilled(student, anchor=deepcopy(student.trunk))
    if parts.is_run(s.start):
        parts.go_on(model, s.start)
    anchor = model.anchor
    assert anchor is not None
    anchor.load_state_dict(model.teacher.trunk.state_dict())
    if s.early:
        anchor.load_state_dict(early_trunk(s.early, anchor))
    crops = Crops(s, anchor.config.patch, sizes=sizes, finer=s.finer)
    return ssl.self_distillation(model, s, world, crops=crops, extra=anchored(model, anchor, crops, s))


def early_trunk(place: str, like: DINOv3) -> dict[str, Tensor]:
    """The weights of a Gram teacher: the teacher's of a run, or a model's. Raises SensoriumError where it is another
    size."""
    state = parts.taught(place)[0].state_dict()
    parts.check_shapes(place, like.state_dict(), state)
    return state


def anchored(model: parts.Distilled, anchor: DINOv3, crops: Crops, s: Settings) -> ssl.Extra:
    """The term, its weight over the run, and when its teacher is replaced."""
    total = ssl.steps_of(s, crops)
    ramp = min(total, max(2, int(s.ramp * total)))
    due = replaced_after(s, total)

    def loss(patches: Float[Tensor, "b n d"], batch: Batch, step: int) -> Tensor:
        plain = crops.steps.normalise(crop_major(batch["plain"]))
        with torch.no_grad():
            seen = anchor(plain).patches
        side, own = (size // crops.patch for size in (plain.shape[-1], batch["global"].shape[-1]))
        return gram(patches, resized_patches(seen, (side, side), (own, own)))

    def after(step: int) -> None:
        if step in due:
            follow(anchor.parameters(), model.teacher.trunk.parameters(), 0.0)

    return ssl.Extra(
        loss=loss,
        weight=warmup_cosine(0.0, 0.0, s.gram, total, warmup=0, decay=ramp),
        local=warmup_cosine(1.0, 1.0, 0.5, total, warmup=0, decay=ramp),
        after=after,
    )


def replaced_after(s: Settings, total: int) -> frozenset[int]:
    """The steps after which the Gram teacher becomes the teacher of then: it follows from the step, so that a run that
    is resumed knows it too."""
    first, every = (max(1, int(share * total)) for share in (s.replace_first, s.replace_every))
    found: list[int] = []
    for step in range(total):
        if gram_update_due(step, first=first, every=every, at_most=s.replacements, done=len(found)):
            found.append(step)
    return frozenset(found)
