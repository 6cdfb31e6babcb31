"""DINOv3: a student learns from its own moving average, on other crops of the same picture (Siméoni et al. 2025,
sections 3.2 and 4; https://arxiv.org/abs/2508.10104).

    sensorium train dinov3 --data emoji --run runs/ssl --set precision=bf16
    sensorium train dinov3 --data photos --run runs/mine \\
        --set start=dinov3-vit-b-16 size=224 local_size=96 learning_rate=1e-5 precision=bf16
    torchrun --nproc-per-node 8 -m sensorium train dinov3 --data imagenet/train --into runs/b \\
        --set preset=dinov3-vit-b-16 size=256 local_size=112 batch=1024 prototypes=65536,65536 precision=bf16
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.checkpoints.load import load_model, save_model
from sensorium.data.augment import label_of
from sensorium.data.block_masking import batch_masks
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.multicrop import MultiCrop
from sensorium.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from sensorium.data.sources import open_source
from sensorium.data.standins.things import things
from sensorium.data.stream import Batches as RowsOfSteps
from sensorium.data.stream import Sample, Source, Stream, mix
from sensorium.models.dinov3 import PRESETS, DINOHead, DINOv3, DINOv3Config
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
from sensorium.training.recipe import Batch, Batches, Recipe
from sensorium.training.recipes.vit import Labels, Prepare, labels_of
from sensorium.training.run_folder import RunFolder
from sensorium.training.saving import MANIFEST, found, read_weights
from sensorium.training.schedules import Values, cosine, warmup_cosine
from sensorium.training.settings import from_json, has
from sensorium.training.world import World

Decay = Literal["cosine", "none"]
BLOCK = 256  # pictures that are measured at a time


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run. Sizes are those of a trunk for small pictures, unless `preset` or `start` names others."""

    data: str = "things"  # or a folder, manifest, tar pattern ...: what `sensorium data show` reads; no labels needed
    validation: str = ""  # labelled pictures whose neighbours among labelled `data` are asked from time to time
    start: str = ""  # to go on from: a run of this recipe (a folder or one checkpoint), which brings its own sizes; or
    # weights of a trunk (a preset with public weights, a hub id, a folder, a file), whose heads begin anew
    preset: str = ""  # sizes by name, with random weights
    patch: int = 8
    width: int = 128
    depth: int = 4
    registers: int = 4  # 0 to 16 in Darcet et al. 2024
    layer_scale: float = 1.0  # of a trunk that begins anew; DINOv3's long runs begin with 1e-5
    size: int = 48  # of large crops
    local_size: int = 24
    local: int = 4  # small crops a picture
    scale: tuple[float, float] = (0.4, 1.0)  # 0.32 to 1 in DINOv3, as areas; small crops 0.05 to 0.32
    local_scale: tuple[float, float] = (0.1, 0.4)
    flip: bool = True
    prototypes: tuple[int, int] = (512, 512)  # of DINO's head and of iBOT's
    hidden: int = 256  # of both heads
    bottleneck: int = 64
    centring: Literal["sinkhorn", "softmax"] = "sinkhorn"
    koleo: float = 0.1  # the weight
    koleo_group: int = 16  # pictures that are spread among themselves; 0: all of a process
    batch: int = 64
    epochs: float = 40.0
    learning_rate: float = 1e-3
    decay: Decay = "cosine"  # of the rate; DINOv3 keeps its constant
    warmup: float = 0.05  # share of the run, for the rate and the teacher's temperature
    weight_decay: float = 0.04
    layer_decay: float = 1.0  # 0.98 for 7B
    momentum: tuple[float, float] = (0.98, 0.999)  # of the teacher, at first and at last
    temperature: tuple[float, float] = (0.04, 0.05)  # of the teacher, at first and after the warm-up
    frozen: float = 0.01  # share of the run in which the prototypes stay as they began
    drop_path: float = 0.0
    rescale: float = 0.0  # places of patches are scaled by up to this or its inverse; 2 in DINOv3, 0: not at all
    held_out: str = "noto"  # the artist whom training on emoji never sees
    evaluations: int = 4
    seed: int = 0


class Branch(nn.Module):
    """A trunk, and what turns its features into scores for prototypes: of classes (DINO) and of patches (iBOT)."""

    def __init__(self, trunk: DINOv3, s: Settings) -> None:
        super().__init__()
        s = sizes(s)
        self.trunk = trunk
        self.dino, self.ibot = (
            DINOHead(trunk.dim, count, hidden=s.hidden, bottleneck=s.bottleneck).apply(begun) for count in s.prototypes
        )
        for head in (self.dino, self.ibot):
            # of length 1, as DINO holds them by weight norm: shorter ones make a teacher of few steps say nothing
            nn.init.normal_(head.prototypes.weight, std=s.bottleneck**-0.5)


class Distilled(nn.Module):
    """A student and its teacher, of one shape, and where dense features are anchored an earlier teacher's trunk. Only
    the student has gradients."""

    centre: Tensor
    patch_centre: Tensor

    def __init__(self, student: Branch, anchor: DINOv3 | None = None) -> None:
        super().__init__()
        self.student, self.teacher, self.anchor = student.train(), deepcopy(student), anchor
        for frozen in (self.teacher, anchor):
            if frozen is not None:
                frozen.eval().requires_grad_(False)
        self.register_buffer("centre", torch.zeros(1, student.dino.prototypes.out_features))
        self.register_buffer("patch_centre", torch.zeros(1, student.ibot.prototypes.out_features))


def dinov3(s: Settings, world: World) -> Recipe:
    """Self-supervision from pictures alone; the teacher's trunk is written to RUN/model, for `sensorium.load`.

    sensorium train dinov3 --data emoji --run runs/ssl --set precision=bf16
    """
    torch.manual_seed(s.seed)
    model = Distilled(Branch(trunk_of(s), s))
    if is_run(s.start):
        go_on(model, s.start)
    return self_distillation(model, s, world)


def self_distillation(
    model: Distilled, s: Settings, world: World, *, extra: "Extra | None" = None, crops: "Crops | None" = None
) -> Recipe:
    """The recipe of a student and a teacher; `extra` adds a term (Gram anchoring), `crops` other sizes of crops."""
    check_groups(s, s.batch // world.size)  # before anything is computed; parts of a step may be smaller yet
    crops = crops or Crops(s)
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


def crop_major(x: Tensor) -> Tensor:
    """(pictures, crops, ...) as (crops · pictures, ...): the first crop of all pictures, then the second."""
    return x.transpose(0, 1).flatten(0, 1)


# -- data -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Cropped:
    """A picture, cropped many times."""

    crops: MultiCrop

    def __call__(self, sample: Sample, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Decode, crop, distort."""
        return self.crops(sample["image"], generator)


class Crops:
    """Crops of pictures, with the patches that the student does not see: masks follow from the step alone, for all
    processes together, since how many patches are hidden in a batch is fixed (block masking).

    `sizes` are pairs of large and small crops, of which every step has one, by chance, the same on all processes.
    `finer` is how many times larger a teacher sees the large crops that are not distorted; 0: there are none.
    """

    def __init__(self, s: Settings, *, sizes: Sequence[tuple[int, int]] = (), finer: float = 0.0) -> None:
        self.seed, self.patch = s.seed, trunk_config(s).patch
        for size in (each for pair in sizes or [(s.size, s.local_size)] for each in pair):
            if size < self.patch or size % self.patch:
                raise SensoriumError(f"crops of {size} pixels: take a multiple of the patch, which is {self.patch}")
        if s.local < 1:
            raise SensoriumError("local: one small crop or more")
        self.source = labels_of("emoji", "", s.held_out).train if s.data == "emoji" else open_source(s.data)
        self.steps = steps_for(s.size)
        self.streams = [
            Stream(sources=[self.source], prepare=Cropped(crops=crops), seed=s.seed)
            for crops in (
                MultiCrop(
                    size=large,
                    local_size=small,
                    local=s.local,
                    scale=s.scale,
                    local_scale=s.local_scale,
                    flip=s.flip,
                    plain_size=round(finer * large / self.patch) * self.patch,
                )
                for large, small in sizes or [(s.size, s.local_size)]
            )
        ]

    def batches(
        self, batch: int, *, start: int, steps: int, rank: int = 0, world: int = 1, workers: int = 0
    ) -> Batches:
        """See `Data`; every batch has "mask" (pictures, 2, patches) beside its crops."""
        taken = _ByStep(self.streams, batch, self.seed)
        rows = RowsOfSteps(taken, batch, range(start, steps), rank=rank, world=world, workers=workers)
        return _Masked(rows, self, batch, start, rank)

    def masks(self, batch: int, size: int, step: int) -> Bool[Tensor, "pictures 2 patches"]:
        """What is hidden of the large crops of a step's whole batch."""
        side = size // self.patch
        key = mix(self.seed, step)
        masks = batch_masks(
            2 * batch,
            (side, side),
            largest=0.5 * side * side,
            draws=random.Random(key),
            choice=np.random.RandomState(key % (1 << 32)),
        ).masks
        return masks.unflatten(0, (2, batch)).transpose(0, 1)


@dataclass(frozen=True)
class _ByStep:
    """One of several streams for each step, the same for all its rows."""

    streams: Sequence[Stream]
    batch: int
    seed: int

    def take(self, position: int, damaged: dict[str, str]) -> Mapping[str, Tensor]:
        which = mix(self.seed, 1, position // self.batch) % len(self.streams)
        return self.streams[which].take(position, damaged)


class _Masked:
    def __init__(self, rows: Batches, crops: Crops, batch: int, start: int, rank: int) -> None:
        self.rows, self.crops, self.batch, self.start, self.rank = rows, crops, batch, start, rank

    @property
    def damaged(self) -> Mapping[str, str]:
        return self.rows.damaged

    def __iter__(self) -> Iterator[Batch]:
        for step, batch in enumerate(self.rows, self.start):
            count, size = len(batch["global"]), batch["global"].shape[-1]
            masks = self.crops.masks(self.batch, size, step)
            yield {**batch, "mask": masks[self.rank * count : (self.rank + 1) * count].contiguous()}


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


# -- models -----------------------------------------------------------------------------------------------------------


def trunk_config(s: Settings) -> DINOv3Config:
    """The sizes of the trunk."""
    s = sizes(s)
    if s.preset and s.preset not in PRESETS:
        raise SensoriumError(f"preset={s.preset}: no such size; there are {', '.join(PRESETS)}")
    if s.preset:
        return PRESETS[s.preset]
    if s.start:
        return loaded_trunk(s.start).config
    return DINOv3Config(
        patch=s.patch,
        width=s.width,
        depth=s.depth,
        heads=max(1, s.width // 64),
        hidden=4 * s.width,
        registers=s.registers,
        layer_scale=s.layer_scale,
        local_norm=True,
    )


def trunk_of(s: Settings) -> DINOv3:
    """A trunk with random weights, or the one that a run starts from."""
    if s.start and s.preset:
        raise SensoriumError("start brings its own sizes: leave preset out")
    if s.start and not is_run(s.start):
        return loaded_trunk(s.start)
    return DINOv3(trunk_config(s)).apply(begun)


def begun(module: nn.Module) -> None:
    """How numbers begin: linear layers with deviation 0.02 and no bias, as the authors'."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if (bias := getattr(module, "bias", None)) is not None:
            nn.init.zeros_(bias)


def loaded_trunk(source: str) -> DINOv3:
    """A DINOv3 ViT with published or own weights. Raises SensoriumError where it is another model."""
    return taught(source)[0]


def taught(source: str) -> tuple[DINOv3, Preprocess]:
    """The trunk of a run's teacher, or of a model, in eval mode, and how it is shown pictures. Raises SensoriumError
    where it is another model."""
    if not is_run(source):
        loaded = load_model(source)
        if not isinstance(loaded.model, DINOv3) or loaded.preprocess is None:
            raise SensoriumError(f"{source} is {loaded.found}, no DINOv3 ViT")
        return loaded.model, loaded.preprocess
    prefix, state = "teacher.trunk.", read_weights(checkpoint_of(source))
    if not any(name.startswith("student.trunk.") for name in state):  # of another recipe, or of several students
        raise SensoriumError(f"{source} is no run of self-supervision: name a model that it wrote, in RUN/model")
    state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    s = settings_of(source)
    trunk = DINOv3(trunk_config(s))
    check_shapes(source, trunk.state_dict(), state)
    trunk.load_state_dict(state)
    return trunk.eval().requires_grad_(False), steps_for(s.size)


def steps_for(size: int) -> Preprocess:
    """How pictures are shown to what learns here."""
    return Preprocess(size=size, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def is_run(place: str) -> bool:
    """Whether a run's folder, or one of its checkpoints, is there: not only a trunk, but heads and teacher too."""
    return bool(place) and (RunFolder(Path(place)).begun or (Path(place) / MANIFEST).exists())


def checkpoint_of(place: str) -> Path:
    """The last checkpoint of a run, or the one that is named. Raises SensoriumError where there is none yet."""
    path = Path(place)
    if (path / MANIFEST).exists():
        return path
    checkpoints = found(RunFolder(path))
    if not checkpoints:
        raise SensoriumError(f"{place} has no checkpoint yet")
    return checkpoints[-1]


def settings_of(place: str) -> Settings:
    """What a run was begun with, as far as it is a setting of this recipe."""
    run = RunFolder(checkpoint_of(place).parent.parent)
    known = {name: value for name, value in run.read_config()["settings"].items() if has(Settings, name)}
    return from_json(Settings, known, f"{run.config}: settings")


def sizes(s: Settings) -> Settings:
    """The settings that say the sizes: those of the run that this one goes on from, or its own."""
    while is_run(s.start):
        s = settings_of(s.start)
    return s


def go_on(model: Distilled, place: str) -> None:
    """Take over the student, the teacher, their heads and centres from a run of this recipe."""
    state, mine = read_weights(checkpoint_of(place)), model.state_dict()
    names = [name for name in mine if not name.startswith("anchor.")]
    check_shapes(place, {name: mine[name] for name in names}, {name: state[name] for name in names if name in state})
    model.load_state_dict(mine | {name: state[name] for name in names})


def check_shapes(place: str, mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    """Raises SensoriumError, naming what differs, unless both have the same names and shapes."""
    wrong = sorted(
        name
        for name in mine.keys() | theirs.keys()
        if name not in mine or name not in theirs or mine[name].shape != theirs[name].shape
    )
    if wrong:
        raise SensoriumError(f"{place} is of another model: {', '.join(wrong[:5])}; {len(wrong)} weights in all")


def export(trunk: DINOv3, folder: Path, steps: Preprocess) -> None:
    """The trunk as its authors name its weights."""
    save_model(trunk, folder, naming="official", steps=steps)


# -- measuring --------------------------------------------------------------------------------------------------------


def labelled(s: Settings) -> Labels | None:
    """What a trunk is asked about: the set's own test, or `validation` with the classes of `data`, named or numbered;
    None without. Raises SensoriumError where one side has no labels, or means others by them."""
    if s.data == "things":
        return Labels(train=things("train"), test=things("validation"), classes=len(things().classes), label=label_of)
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
