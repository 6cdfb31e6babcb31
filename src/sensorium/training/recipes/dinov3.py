"""DINOv3: a student learns from its own moving average, on other crops of the same picture (Siméoni et al. 2025,
sections 3.2 and 4; https://arxiv.org/abs/2508.10104).

    sensorium train dinov3 --data things --run runs/ssl --set precision=bf16 measured=96
    sensorium train dinov3 --data photos --run runs/mine \\
        --set start=dinov3-vit-b-16 size=224 local_size=96 learning_rate=1e-5 precision=bf16
    torchrun --nproc-per-node 8 -m sensorium train dinov3 --data imagenet/train --into runs/b \\
        --set preset=dinov3-vit-b-16 size=256 local_size=112 batch=1024 prototypes=65536,65536 precision=bf16

Cost of the first: 11 minutes on one CPU core with bf16 instructions (150 pictures a second, 20 passes over 4,896 of 291
cut-out things). Expected score: the 20 nearest of them name the thing in 0.447 of 918 others at their full 96 pixels,
0.358 at the 48 of training (raw pixels 0.232, shrunk as suits them best 0.310; random weights 0.127:
benchmarks/raw_pixels.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.data.augment import label_of
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.preprocess import Preprocess
from sensorium.data.sources import open_source
from sensorium.data.standins.things import things
from sensorium.data.stream import Source, Stream
from sensorium.models.dinov3 import DINOv3
from sensorium.nn.neighbours import K, vote
from sensorium.nn.rotary_augmentation import augmented_coordinates
from sensorium.objectives import dinov3 as objective
from sensorium.objectives.distillation import (
    centred_softmax,
    class_distillation,
    mask_weight,
    moved_centre,
    patch_distillation,
    sinkhorn,
)
from sensorium.objectives.koleo import koleo
from sensorium.training.dropout import drop_path
from sensorium.training.ema import follow
from sensorium.training.optimisers import LAST_LAYER, Multipliers, adamw, by_layer
from sensorium.training.parameter_groups import Multiplier
from sensorium.training.recipe import Batch, Recipe
from sensorium.training.recipes.dinov3_crops import Crops, crop_major
from sensorium.training.recipes.dinov3_parts import Branch, Distilled, Settings, export, go_on, is_run, trunk_of
from sensorium.training.recipes.vit import Labels, Prepare, labels_of
from sensorium.training.schedules import Values, cosine, warmup_cosine
from sensorium.training.world import World

BLOCK = 256  # pictures that are measured at a time


def dinov3(s: Settings, world: World) -> Recipe:
    """Self-supervision from pictures alone; the teacher's trunk is written to RUN/model, for `sensorium.load`.

    sensorium train dinov3 --data things --run runs/ssl --set precision=bf16 measured=96

    11 minutes on one CPU core; kNN 0.447 of 291 things (raw pixels 0.232 to 0.310, random weights 0.127).
    """
    torch.manual_seed(s.seed)
    model = Distilled(Branch(trunk_of(s), s))
    if is_run(s.start):
        go_on(model, s.start)
    return self_distillation(model, s, world)


def self_distillation(
    model: Distilled, s: Settings, world: World, *, extra: "Extra | None" = None, crops: Crops | None = None
) -> Recipe:
    """The recipe of a student and a teacher; `extra` adds a term (Gram anchoring), `crops` other sizes of crops."""
    check_groups(s, s.batch // world.size)  # before anything is computed; parts of a step may be smaller yet
    crops = crops or Crops(s, model.student.trunk.config.patch)
    total = steps_of(s, crops)
    warm = int(s.warmup * total)
    momentum = cosine(*s.momentum, total)
    temperature = warmup_cosine(s.temperature[0], s.temperature[1], s.temperature[1], total, warmup=warm)
    rate = rates(s, total)
    depth = model.student.trunk.config.depth
    drop_path(model.student.trunk.blocks, s.drop_path)

    def after(step: int) -> None:
        follow(model.teacher.parameters(), model.student.parameters(), float(momentum[step]))
        if extra is not None:
            extra.after(step)

    return Recipe(
        model=model,
        losses=losses_of(model, crops.steps, s, world, temperature, extra),
        data=crops,
        optimiser=adamw(s.weight_decay, multipliers=multipliers(s, depth)),
        schedule={"learning_rate": rate, LAST_LAYER: thawed(rate, int(s.frozen * total))},
        steps=total,
        batch=s.batch,
        seed=s.seed,
        clip_norm=3.0,
        clipped=lambda _: [model.student.trunk, model.student.dino, model.student.ibot],
        after_step=after,
        evaluate=neighbours(model.teacher.trunk, s, crops.steps, world),
        evaluate_every=max(1, total // max(1, s.evaluations)),
        best="knn",
        export=lambda folder: export(model.teacher.trunk, folder, crops.steps),
    )


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A term that a refinement adds, of the student's patches in large crops."""

    loss: Callable[[Float[Tensor, "b n d"], Batch, int], Tensor]  # the student's patches, the batch, the step
    weight: Values
    local: Values  # the weight of small crops at every step
    after: Callable[[int], None]


class Targets(NamedTuple):
    """What a teacher says of the large crops: probabilities of prototypes, for classes and for hidden patches."""

    classes: Float[Tensor, "2 b prototypes"]
    patches: Float[Tensor, "masked prototypes"]


@dataclass(frozen=True, kw_only=True)
class Views:
    """The crops of a batch, crop by crop: the first large one of all pictures, then the second; so the small ones."""

    large: Float[Tensor, "n 3 h w"]
    small: Float[Tensor, "m 3 h w"]
    hidden: Bool[Tensor, "n patches"]
    pictures: int

    @classmethod
    def of(cls, batch: Batch, steps: Preprocess) -> "Views":
        """Those of a batch of `Crops`, normalised."""
        large, small, hidden = (crop_major(batch[name]) for name in ("global", "local", "mask"))
        return cls(
            large=steps.normalise(large), small=steps.normalise(small), hidden=hidden, pictures=len(batch["global"])
        )

    def apart(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "crops pictures d"]:
        """The rows of each crop."""
        return x.unflatten(0, (-1, self.pictures))


def losses_of(
    model: Distilled, steps: Preprocess, s: Settings, world: World, temperature: Values, extra: Extra | None
) -> Callable[[Batch, int], Mapping[str, Tensor]]:
    """The sum of section 3.2, and what a refinement adds to it."""
    balance = balanced_by(s, world, (model.centre, model.patch_centre))

    def losses(batch: Batch, step: int) -> Mapping[str, Tensor]:
        views = Views.of(batch, steps)
        targets = say(model.teacher, views, balance, float(temperature[step]))
        terms, patches = guess(model.student, views, targets, s, local=float(extra.local[step]) if extra else 1.0)
        if extra is not None:
            terms["gram"] = float(extra.weight[step]) * extra.loss(patches, batch, step)
        return terms | {"_prototypes": in_use(targets.classes)}

    return losses


Balance = Callable[[Tensor, int, float], Tensor]


def balanced_by(s: Settings, world: World, centres: tuple[Tensor, Tensor]) -> Balance:
    """From a teacher's scores to probabilities that use all prototypes, over all processes; `which` head's centre."""

    def balance(logits: Tensor, which: int, temperature: float) -> Tensor:
        if s.centring == "sinkhorn":
            return sinkhorn(logits, temperature, total=world.sum)
        chosen = centred_softmax(logits, centres[which], temperature)
        centres[which].copy_(moved_centre(centres[which], logits, total=world.sum))  # for the next step
        return chosen

    return balance


@torch.no_grad()
def say(teacher: Branch, views: Views, balance: Balance, temperature: float) -> Targets:
    """What the teacher makes of the large crops, of which it sees everything."""
    seen = teacher.trunk(views.large)
    return Targets(
        balance(views.apart(teacher.dino(seen.cls)), 0, temperature),
        balance(teacher.ibot(seen.patches[views.hidden]), 1, temperature),
    )


def guess(
    student: Branch, views: Views, targets: Targets, s: Settings, *, local: float = 1.0
) -> tuple[dict[str, Tensor], Float[Tensor, "n patches d"]]:
    """The student's weighted losses, and its patches of the large crops, hidden ones too.

    Raises SensoriumError where KoLeo's groups do not divide the pictures.
    """
    rows = views.pictures
    check_groups(s, rows)

    def augment(places: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        return augmented_coordinates(places, iter(lambda: float(torch.rand(())), None), rescale=s.rescale)

    whole, parts = student.trunk.several(
        [views.large, views.small],
        [views.hidden, None],
        local=[False, True],
        augment=augment if s.rescale else None,
    )
    large, small = (views.apart(student.dino(x.cls)) for x in (whole, parts))
    patches = student.ibot(whole.patches[views.hidden])
    groups = whole.cls.unflatten(0, (2, -1, s.koleo_group or rows)).flatten(0, 1)
    terms = {
        "dino_global": class_distillation(large, targets.classes, ignore_diagonal=True),
        "dino_local": class_distillation(small, targets.classes),
        "ibot": patch_distillation(patches, targets.patches, mask_weight(views.hidden), 2 * rows),
        "koleo": 2 * torch.stack([koleo(group) for group in groups]).mean(),  # of both large crops
    }
    weight = objective.weights(local_crops=len(small), weight=objective.Weight(koleo=s.koleo, local=local))
    return {name: weight[name] * term for name, term in terms.items()}, whole.patches


def check_groups(s: Settings, rows: int) -> None:
    """Raises SensoriumError where KoLeo's groups do not divide the pictures that a process sees at a time."""
    if s.koleo_group and rows % s.koleo_group:
        raise SensoriumError(
            f"koleo_group={s.koleo_group} does not divide the {rows} pictures that a process sees at a time"
        )


def in_use(classes: Float[Tensor, "2 b prototypes"]) -> Float[Tensor, ""]:
    """How many prototypes the teacher uses: the exponential of the entropy of what it says on average. 1: collapse."""
    mean = classes.mean((0, 1))
    return (-(mean * mean.clamp(min=1e-12).log()).sum()).exp()


# -- schedules and groups ---------------------------------------------------------------------------------------------


def steps_of(s: Settings, crops: Crops) -> int:
    """The steps of a run."""
    return max(1, int(s.epochs * len(crops.source) / s.batch))


def rates(s: Settings, total: int) -> Values:
    """The learning rate: a line up, then a cosine down or a constant."""
    warm = int(s.warmup * total)
    return warmup_cosine(0.0, s.learning_rate, 0.0 if s.decay == "cosine" else s.learning_rate, total, warmup=warm)


def thawed(rate: Values, frozen: int) -> Values:
    """The rate of the prototypes, which stay as they are at first."""
    late = rate.clone()
    late[:frozen] = 0
    return late


def multipliers(s: Settings, depth: int) -> Multipliers:
    """Layers learn by `layer_decay`, patches five times slower, prototypes are thawed later; heads have no layers."""
    layers = by_layer(s.layer_decay, depth, heads=("dino", "ibot"))

    def of(name: str, parameter: Tensor) -> Multiplier:
        m = layers(name, parameter)
        slow = 0.2 if ".patches." in name else 1.0
        return m._replace(learning_rate=slow * m.learning_rate, last_layer="prototypes" in name)

    return of


# -- measuring --------------------------------------------------------------------------------------------------------


def labelled(s: Settings) -> Labels | None:
    """What a trunk is asked about: the set's own test, or `validation` with the classes of `data`, named or numbered;
    None without. Raises SensoriumError where one side has no labels, or means others by them."""
    if s.data == "things":
        train = things("train")
        return Labels(train=train, test=things("validation"), classes=len(train.classes), label=label_of)
    if s.data == "emoji":
        return labels_of(s.data, s.validation, s.held_out)
    if not s.validation:
        return None
    train, test = open_source(s.data), open_source(s.validation)
    for setting, place, source in (("data", s.data, train), ("validation", s.validation, test)):
        if not _any_label(source):
            raise SensoriumError(f"{setting}={place} has no labels to measure with: leave validation out")
    if train.classes and test.classes and train.classes != test.classes:
        raise SensoriumError(f"validation={s.validation} has other classes than data={s.data}")
    return Labels(train=train, test=test, classes=len(train.classes), label=label_of)


def neighbours(
    trunk: DINOv3, s: Settings, steps: Preprocess, world: World
) -> Callable[[int], Mapping[str, float]] | None:
    """How often the 20 nearest training pictures know a test picture's class (section 6.2); None without labels."""
    if s.measured % trunk.config.patch:
        raise SensoriumError(f"measured={s.measured}: take a multiple of the patch, which is {trunk.config.patch}")
    steps = replace(steps, size=s.measured or steps.size)
    if (labels := labelled(s)) is None or labels.test is None:
        return None
    prepare = Prepare(augment=None, steps=steps, label=labels.label)
    sources = (labels.train, labels.test)
    parts = [Stream(sources=[source], prepare=prepare, shuffle=False) for source in sources]
    counts = [len(source) for source in sources]

    def read(part: Stream, count: int) -> tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]:
        vectors: list[Tensor] = []
        known: list[Tensor] = []
        for batch in part.batches(BLOCK, start=0, steps=-(-count // BLOCK)):
            vectors.append(trunk(steps.normalise(batch["image"].to(world.device))).cls.float())
            known.append(batch["label"].to(world.device))
        return torch.cat(vectors)[:count], torch.cat(known)[:count]

    def evaluate(step: int) -> Mapping[str, float]:
        (memory, known), (asked, truth) = (read(*part) for part in zip(parts, counts, strict=True))
        classes = 1 + int(torch.cat([known, truth]).max())
        scores = vote(memory, known, asked, classes, k=min(K, len(memory)))
        return {"knn": float((scores.argmax(1) == truth).float().mean())}

    return evaluate


def _any_label(source: Source) -> bool:
    for index in range(min(len(source), 100)):
        try:
            return "label" in source[index]
        except Unreadable:
            continue
    return False
