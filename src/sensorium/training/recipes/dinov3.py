"""DINOv3: a student learns from its own moving average, on other crops of the same picture (Siméoni et al. 2025,
sections 3.2 and 4; https://arxiv.org/abs/2508.10104).

    sensorium train dinov3 --data emoji --run runs/ssl --set precision=bf16
    sensorium train dinov3 --data photos --set start=dinov3-vit-b-16 learning_rate=1e-5 --run runs/mine
    torchrun --nproc-per-node 8 -m sensorium train dinov3 --data imagenet/train --into runs/b \
        --set preset=dinov3-vit-b-16 size=256 local_size=112 batch=1024 prototypes=65536,65536 precision=bf16
"""

import random
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.checkpoints.load import load_model, save_model
from sensorium.data.block_masking import batch_masks
from sensorium.data.errors import SensoriumError
from sensorium.data.multicrop import MultiCrop
from sensorium.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from sensorium.data.sources import open_source
from sensorium.data.stream import Sample, Stream, mix
from sensorium.models.dinov3 import PRESETS, DINOHead, DINOv3, DINOv3Config
from sensorium.nn.neighbours import vote
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
from sensorium.training.recipes.vit import Prepare, labels_of
from sensorium.training.run_folder import RunFolder
from sensorium.training.saving import found, read_weights
from sensorium.training.schedules import Values, cosine, warmup_cosine
from sensorium.training.world import World

Decay = Literal["cosine", "none"]
BLOCK = 256  # pictures that are measured at a time


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run. Sizes are those of a trunk for small pictures, unless `preset` or `start` names others."""

    data: str = "emoji"  # or a folder, manifest, tar pattern ...: what `sensorium data show` reads; no labels needed
    validation: str = ""  # labelled pictures whose neighbours among labelled `data` are asked from time to time
    start: str = ""  # weights to go on from: a run of this recipe (a folder or one checkpoint), a preset, a hub id ...
    preset: str = ""  # sizes by name, with random weights
    patch: int = 8
    width: int = 192
    depth: int = 6
    registers: int = 4  # 0 to 16 in Darcet et al. 2024
    layer_scale: float = 0.1  # of a trunk that begins anew; DINOv3's long runs begin with 1e-5
    size: int = 64  # of large crops
    local_size: int = 32
    local: int = 6  # small crops a picture
    scale: tuple[float, float] = (0.32, 1.0)
    local_scale: tuple[float, float] = (0.05, 0.32)
    flip: bool = True
    prototypes: tuple[int, int] = (2048, 2048)  # of DINO's head and of iBOT's
    hidden: int = 768  # of both heads
    bottleneck: int = 128
    centring: Literal["sinkhorn", "softmax"] = "sinkhorn"
    koleo: float = 0.1  # the weight
    koleo_group: int = 16  # pictures that are spread among themselves; 0: all of a process
    batch: int = 64
    epochs: float = 20.0
    learning_rate: float = 1e-3
    decay: Decay = "cosine"  # of the rate; DINOv3 keeps its constant
    warmup: float = 0.1  # share of the run, for the rate and the teacher's temperature
    weight_decay: float = 0.04
    layer_decay: float = 1.0  # 0.98 for 7B
    momentum: tuple[float, float] = (0.994, 1.0)  # of the teacher, at first and at last
    temperature: tuple[float, float] = (0.04, 0.07)  # of the teacher, at first and after the warm-up
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
        self.trunk = trunk
        self.dino, self.ibot = (
            DINOHead(trunk.dim, count, hidden=s.hidden, bottleneck=s.bottleneck) for count in s.prototypes
        )


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


def losses_of(
    model: Distilled, steps: Preprocess, s: Settings, world: World, temperature: Values, extra: Extra | None
) -> Callable[[Batch, int], Mapping[str, Tensor]]:
    """The sum of section 3.2, and what a refinement adds to it."""
    student, teacher = model.student, model.teacher

    def augment(places: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        return augmented_coordinates(places, iter(lambda: float(torch.rand(())), None), rescale=s.rescale)

    def balanced(logits: Tensor, centre: Tensor, at: float) -> Tensor:
        if s.centring == "sinkhorn":
            return sinkhorn(logits, at, total=world.sum)
        chosen = centred_softmax(logits, centre, at)
        centre.copy_(moved_centre(centre, logits, total=world.sum))  # for the next step
        return chosen

    def losses(batch: Batch, step: int) -> Mapping[str, Tensor]:
        large, small, hidden = (crop_major(batch[name]) for name in ("global", "local", "mask"))
        rows = len(batch["global"])
        if s.koleo_group and rows % s.koleo_group:
            raise SensoriumError(
                f"koleo_group={s.koleo_group} does not divide the {rows} pictures that a process sees at a time"
            )
        large, small, at = steps.normalise(large), steps.normalise(small), float(temperature[step])
        with torch.no_grad():
            seen = teacher.trunk(large)
            classes = balanced(teacher.dino(seen.cls).unflatten(0, (-1, rows)), model.centre, at)
            patches = balanced(teacher.ibot(seen.patches[hidden]), model.patch_centre, at)
        whole, parts = student.trunk.several(
            [large, small], [hidden, None], local=[False, True], augment=augment if s.rescale else None
        )
        guess, guess_local = (student.dino(x.cls).unflatten(0, (-1, rows)) for x in (whole, parts))
        groups = whole.cls.unflatten(0, (2, -1, s.koleo_group or rows)).flatten(0, 1)
        spread = torch.stack([koleo(group) for group in groups]).unflatten(0, (2, -1)).mean(1)
        terms = {
            "dino_global": class_distillation(guess, classes, ignore_diagonal=True),
            "dino_local": class_distillation(guess_local, classes),
            "ibot": patch_distillation(student.ibot(whole.patches[hidden]), patches, mask_weight(hidden), 2 * rows),
            "koleo": spread.sum(),
        }
        weight = objective.weights(
            local_crops=len(guess_local),
            weight=objective.Weight(koleo=s.koleo, local=float(extra.local[step]) if extra else 1.0),
        )
        weighted = {name: weight[name] * term for name, term in terms.items()}
        if extra is not None:
            weighted["gram"] = float(extra.weight[step]) * extra.loss(whole.patches, batch, step)
        entropy = -(classes.mean((0, 1)) * classes.mean((0, 1)).clamp(min=1e-12).log()).sum()
        return weighted | {"_prototypes": entropy.exp()}

    return losses


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
    processes together, since how many patches are hidden in a batch is fixed (block masking)."""

    def __init__(self, s: Settings, *, plain_size: int = 0) -> None:
        self.seed = s.seed
        self.patch = trunk_config(s).patch
        for name, size in (("size", s.size), ("local_size", s.local_size)):
            if size < self.patch or size % self.patch:
                raise SensoriumError(f"{name}={size}: a crop has to be a multiple of the patch, {self.patch} pixels")
        self.source = labels_of("emoji", "", s.held_out).train if s.data == "emoji" else open_source(s.data)
        self.steps = Preprocess(size=s.size, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        crops = MultiCrop(
            size=s.size,
            local_size=s.local_size,
            local=s.local,
            scale=s.scale,
            local_scale=s.local_scale,
            flip=s.flip,
            plain_size=plain_size,
        )
        self.stream = Stream(sources=[self.source], prepare=Cropped(crops=crops), seed=s.seed)

    def batches(
        self, batch: int, *, start: int, steps: int, rank: int = 0, world: int = 1, workers: int = 0
    ) -> Batches:
        """See `Data`; every batch has "mask" (pictures, 2, patches) beside its crops."""
        rows = self.stream.batches(batch, start=start, steps=steps, rank=rank, world=world, workers=workers)
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
    if s.preset and s.preset not in PRESETS:
        raise SensoriumError(f"preset={s.preset}: no such size; there are {', '.join(PRESETS)}")
    if s.preset:
        return PRESETS[s.preset]
    if s.start and not is_run(s.start):
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
    loaded = load_model(source)
    if not isinstance(loaded.model, DINOv3):
        raise SensoriumError(f"{source} is {loaded.found}, no DINOv3 ViT")
    return loaded.model


def is_run(place: str) -> bool:
    """Whether a run's folder, or one of its checkpoints, is there: not only a trunk, but heads and teacher too."""
    return bool(place) and (RunFolder(Path(place)).config.exists() or (Path(place) / "checkpoint.json").exists())


def state_of(place: str) -> dict[str, Tensor]:
    """The whole model of a run: of its last checkpoint, or of the one that is named."""
    path = Path(place)
    if not (path / "checkpoint.json").exists():
        checkpoints = found(RunFolder(path))
        if not checkpoints:
            raise SensoriumError(f"{place} has no checkpoint yet")
        path = checkpoints[-1]
    return read_weights(path)


def go_on(model: nn.Module, place: str) -> None:
    """Take over the student, the teacher and their heads from a run of this recipe."""
    state = state_of(place)
    mine = model.state_dict()
    names = sorted(name for name in mine if not name.startswith("anchor."))
    wrong = [name for name in names if name not in state or state[name].shape != mine[name].shape]
    if wrong:
        raise SensoriumError(f"{place} does not fit these settings: {', '.join(wrong[:5])} and {len(wrong)} in all")
    model.load_state_dict(mine | {name: state[name] for name in names})


def export(trunk: DINOv3, folder: Path, steps: Preprocess) -> None:
    """The trunk as its authors name its weights."""
    save_model(trunk, folder, naming="official", steps=steps)


# -- measuring --------------------------------------------------------------------------------------------------------


def neighbours(
    trunk: DINOv3, s: Settings, steps: Preprocess, world: World
) -> Callable[[int], Mapping[str, float]] | None:
    """How often the 20 nearest training pictures know a test picture's class (section 6.2); None without labels."""
    if s.data != "emoji" and not s.validation:
        return None
    labels = labels_of(s.data, s.validation, s.held_out)
    assert labels.test is not None
    prepare = Prepare(augment=None, steps=steps, label=labels.label)
    parts = [Stream(sources=[source], prepare=prepare, shuffle=False) for source in (labels.train, labels.test)]
    counts = (len(labels.train), len(labels.test))

    def read(part: Stream, count: int) -> tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]:
        vectors: list[Tensor] = []
        known: list[Tensor] = []
        for batch in part.batches(BLOCK, start=0, steps=-(-count // BLOCK)):
            vectors.append(trunk(steps.normalise(batch["image"].to(world.device))).cls.float())
            known.append(batch["label"].to(world.device))
        return torch.cat(vectors)[:count], torch.cat(known)[:count]

    def evaluate(step: int) -> Mapping[str, float]:
        (memory, known), (asked, truth) = (read(*part) for part in zip(parts, counts, strict=True))
        scores = vote(memory, known, asked, labels.classes)
        return {"knn": float((scores.argmax(1) == truth).float().mean())}

    return evaluate
