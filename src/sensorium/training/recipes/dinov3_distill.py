"""Distillation: one frozen teacher, and students of any number that learn at once from what it says, which is computed
once for all (Siméoni et al. 2025, section 5.2; https://arxiv.org/abs/2508.10104).

    sensorium train dinov3-distill --data things --set teacher=runs/ssl students=64x4 --run runs/small
    torchrun --nproc-per-node 8 -m sensorium train dinov3-distill --data photos --into runs/family \\
        --set teacher=runs/large students=dinov3-vit-s-16,dinov3-vit-b-16 batch=1024 precision=bf16

The authors give each student a group of processes, sized so that all are ready at once. Here every process trains all
students on its own pictures: it has as much to do as any other whatever the students' sizes, and the teacher's answers
need not travel.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from sensorium.data.errors import SensoriumError
from sensorium.models.dinov3 import PRESETS, DINOv3
from sensorium.objectives.distillation import sinkhorn
from sensorium.training.ema import follow
from sensorium.training.optimisers import LAST_LAYER, adamw
from sensorium.training.parameter_groups import Multiplier
from sensorium.training.recipe import Batch, Recipe
from sensorium.training.recipes import dinov3 as ssl
from sensorium.training.recipes import dinov3_parts as parts
from sensorium.training.recipes.dinov3_crops import Crops
from sensorium.training.saving import read_weights
from sensorium.training.schedules import cosine
from sensorium.training.world import World


@dataclass(frozen=True, kw_only=True)
class Settings(parts.Settings):
    """One run. The teacher brings its patch and heads; a student is a preset, or WIDTHxDEPTH."""

    teacher: str = ""  # a run of `dinov3` or `dinov3-gram`, or one of its checkpoints: trunks without heads say nothing
    students: tuple[str, ...] = ("64x4",)
    momentum: tuple[float, float] = (0.99, 1.0)  # of the average of a student, which is what is measured and written
    temperature: tuple[float, float] = (0.05, 0.05)


class Class(nn.Module):
    """A teacher that has learned, its students, and the moving average of each."""

    def __init__(self, teacher: parts.Branch, students: list[parts.Branch]) -> None:
        super().__init__()
        self.teacher = teacher
        self.students = nn.ModuleList(students)
        self.averages = nn.ModuleList(deepcopy(student.trunk) for student in students)
        for frozen in (self.teacher, self.averages):
            frozen.eval().requires_grad_(False)


def dinov3_distill(s: Settings, world: World) -> Recipe:
    """Small trunks learn from a large one; each student's average is written to RUN/model, or RUN/model/STUDENT where
    there are several.

    sensorium train dinov3-distill --data things --set teacher=runs/ssl students=64x4 --run runs/small
    """
    if not parts.is_run(s.teacher):
        raise SensoriumError("teacher: name a run of dinov3, whose heads say what its students learn")
    if not s.students or len(set(s.students)) != len(s.students):
        raise SensoriumError(f"students={','.join(s.students)}: name one or more, each once")
    own = parts.sizes(parts.settings_of(s.teacher))
    torch.manual_seed(s.seed)
    teacher = parts.Branch(DINOv3(parts.trunk_config(own)), own)
    parts.take(teacher, s.teacher, read_weights(parts.checkpoint_of(s.teacher)), "teacher.")
    sized = [student_of(s, own, name) for name in s.students]
    for name, each in zip(s.students, sized, strict=True):
        if (patch := parts.trunk_config(each).patch) != teacher.trunk.config.patch:
            raise SensoriumError(f"students: {name} has patches of {patch} pixels, its teacher of {own.patch}")
    model = Class(teacher, [parts.Branch(parts.trunk_of(each), each).train() for each in sized])
    ssl.check_groups(s, s.batch // world.size)
    crops = Crops(s, teacher.trunk.config.patch)
    total = ssl.steps_of(s, crops)
    momentum = cosine(*s.momentum, total)

    def balance(logits: Tensor, which: int, temperature: float) -> Tensor:
        return sinkhorn(logits, temperature, total=world.sum)

    def losses(batch: Batch, step: int) -> Mapping[str, Tensor]:
        views = ssl.Views.of(batch, crops.steps)
        targets = ssl.say(model.teacher, views, balance, s.temperature[1])
        terms: dict[str, Tensor] = {}
        for name, student, each in zip(s.students, branches(model), sized, strict=True):
            found, _ = ssl.guess(student, views, targets, each)
            terms |= {f"{name}/{term}": value for term, value in found.items()}
        return terms | {"_prototypes": ssl.in_use(targets.classes)}

    def after(step: int) -> None:
        for average, student in zip(model.averages, branches(model), strict=True):
            follow(average.parameters(), student.trunk.parameters(), float(momentum[step]))

    measures = {
        name: ssl.neighbours(average, s, crops.steps, world)
        for name, average in zip(s.students, averages(model), strict=True)
    }
    asked = {name: measure for name, measure in measures.items() if measure is not None}

    def evaluate(done: int) -> Mapping[str, float]:
        found = {name: measure(done)["knn"] for name, measure in asked.items()}
        return {"knn" if len(found) == 1 else f"knn of {name}": value for name, value in found.items()}

    def export(folder: Path) -> None:
        for name, average in zip(s.students, averages(model), strict=True):
            parts.export(average, folder if len(s.students) == 1 else folder / name, crops.steps)

    layered = [ssl.multipliers(s, student.trunk.config.depth) for student in branches(model)]

    def by_student(name: str, parameter: Tensor) -> Multiplier:
        return layered[int(name.split(".")[1])](name, parameter)  # "students.0.trunk..."

    rate = ssl.rates(s, total)
    return Recipe(
        model=model,
        losses=losses,
        data=crops,
        optimiser=adamw(s.weight_decay, multipliers=by_student),
        schedule={"learning_rate": rate, LAST_LAYER: ssl.thawed(rate, int(s.frozen * total))},
        steps=total,
        batch=s.batch,
        seed=s.seed,
        clip_norm=3.0,
        clipped=lambda _: [part for x in branches(model) for part in (x.trunk, x.dino, x.ibot)],
        after_step=after,
        evaluate=evaluate if asked else None,
        evaluate_every=max(1, total // max(1, s.evaluations)),
        export=export,
    )


def student_of(s: Settings, teacher: parts.Settings, name: str) -> parts.Settings:
    """The settings of a student by its name, with the teacher's patch and prototypes."""
    heads = {key: getattr(teacher, key) for key in ("prototypes", "hidden", "bottleneck")}
    width, _, depth = name.partition("x")
    if name in PRESETS:
        return replace(s, start="", preset=name, **heads)
    if not (width.isdecimal() and depth.isdecimal() and int(width) % 64 == 0 and int(depth) > 0):
        raise SensoriumError(f"students: {name!r} is no preset and no WIDTHxDEPTH with a width of heads of 64: 128x6")
    patch = parts.trunk_config(teacher).patch
    return replace(s, start="", preset="", patch=patch, width=int(width), depth=int(depth), **heads)


def branches(model: Class) -> list[parts.Branch]:
    """The students."""
    return [student for student in model.students if isinstance(student, parts.Branch)]


def averages(model: Class) -> list[DINOv3]:
    """The moving average of each student."""
    return [average for average in model.averages if isinstance(average, DINOv3)]
