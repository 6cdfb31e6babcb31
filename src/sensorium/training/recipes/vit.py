"""ViT on labelled pictures: pre-training with the MLP head, fine-tuning at a higher resolution with a new linear one
(Dosovitskiy et al. 2020, sections 3.2 and 4.1, appendix B.1).

    sensorium train vit --data emoji --run runs/vit
    sensorium train vit --data imagenet/train --set preset=vit-b-16 validation=imagenet/val batch=4096 --run runs/b16
    sensorium train vit --data flowers/train --set start=vit-b-16-in21k image=384 validation=flowers/test --run runs/ft
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.checkpoints.load import load_model, save_model
from sensorium.data import emoji
from sensorium.data.augment import Augment, ResizedCrop, cutout, label_of, mixup
from sensorium.data.errors import SensoriumError
from sensorium.data.image import read_image
from sensorium.data.preprocess import Preprocess
from sensorium.data.preprocess import vit as vit_steps
from sensorium.data.sources import open_source
from sensorium.data.stream import Sample, Source, Stream
from sensorium.models.vit import PRESETS, ViT, ViTConfig, fine_tuned
from sensorium.nn.positions import GOOGLE, TIMM
from sensorium.training.dropout import dropout
from sensorium.training.optimisers import adamw, sgd
from sensorium.training.recipe import Batch, Recipe
from sensorium.training.schedules import cosine
from sensorium.training.world import World

Evaluate = Callable[[int], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run. With `start` it fine-tunes: momentum SGD, no weight decay, a zero head (appendix B.1.1)."""

    data: str = "emoji"  # or a folder of class folders, a manifest ...: what `sensorium data show` reads
    validation: str = ""
    start: str = ""  # weights to fine-tune: a preset with public weights, a hub id, a folder, a file
    preset: str = ""  # sizes by name, with random weights
    image: int = 0  # 0: the weights' or the preset's own; 64 else
    patch: int = 8
    width: int = 192
    depth: int = 6
    registers: int = 0  # the paper has none; 0 to 16 in Darcet et al. 2024, 4 as published
    batch: int = 256
    epochs: float = 30.0
    learning_rate: float = 1e-3  # fine-tuning: 0.01
    warmup: float = 0.1  # share of the run
    weight_decay: float = 0.1  # 0.3 on ImageNet-1k
    dropout: float = 0.0
    mixup: float = 0.0  # Beta(mixup, mixup); the paper takes none
    cutout: float = 0.0  # side of the square that is taken out, as a share of the picture's
    crop: float = 0.3  # the smallest share of the picture that a crop shows
    flip: bool = True
    held_out: str = "noto"  # the artist whom training on emoji never sees
    evaluations: int = 8
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What is trained on and what is asked afterwards; labels count from 0."""

    train: Source
    test: Source | None
    classes: int
    label: Callable[[Sample], int]


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """A picture with its label: for training a random crop, else what the model reads of it in use."""

    augment: Augment | None
    steps: Preprocess
    label: Callable[[Sample], int]

    def __call__(self, sample: Sample, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Decode and crop."""
        image = sample["image"]
        pixels = self.augment(image, generator) if self.augment else self.steps.pixels(read_image(image))
        return {"image": pixels, "label": torch.tensor(self.label(sample))}


def vit(s: Settings, world: World) -> Recipe:
    """Supervised classification; what it learns is written to RUN/model, for `sensorium.load`.

    sensorium train vit --data emoji --run runs/vit --set precision=bf16 workers=1
    """
    labels = labels_of(s.data, s.validation, s.held_out)
    model, steps = build(s, labels.classes)
    dropout(model, s.dropout)

    def export(folder: Path) -> None:
        save_model(model, folder, naming=naming(model.config), steps=steps)

    return replace(supervised(model, labels, steps, s, world), export=export)


def naming(c: ViTConfig) -> str:
    """Whose names have a place for all that is in a model: only Google's for the hidden layer of the pre-training head,
    only timm's for registers, and for what else timm varies."""
    varied = c.registers or c.layer_scale is not None or c.pool == "mean" or not c.class_position
    return "timm" if varied else "google" if c.representation else "transformers"


def supervised(model: nn.Module, labels: Labels, steps: Preprocess, s: Settings, world: World) -> Recipe:
    """The same recipe for whatever gives class scores for pictures: the ResNet of the paper's comparison too."""
    total = max(1, int(s.epochs * len(labels.train) / s.batch))
    augment = ResizedCrop(steps.size, scale=(s.crop, 1.0), flip=s.flip)
    train = Prepare(augment=augment, steps=steps, label=labels.label)

    def losses(batch: Batch, step: int) -> Mapping[str, Tensor]:
        image, label = steps.normalise(batch["image"]), batch["label"]
        if s.cutout:
            image = cutout(image, round(s.cutout * steps.size), torch.default_generator)
        if not s.mixup:
            scores = model(image).float()
            right = (scores.argmax(1) == label).float().mean()
            return {"cross_entropy": F.cross_entropy(scores, label), "_accuracy": right}
        mixed = mixup(image, s.mixup, torch.default_generator)
        scores = model(mixed.pixels).float()
        own, other = (F.cross_entropy(scores, x, reduction="none") for x in (label, label[mixed.partner]))
        return {"cross_entropy": (mixed.share * own + (1 - mixed.share) * other).mean()}

    fine = bool(s.start)
    return Recipe(
        model=model,
        losses=losses,
        data=Stream(sources=[labels.train], prepare=train, seed=s.seed),
        optimiser=sgd() if fine else adamw(s.weight_decay),
        schedule={"learning_rate": cosine(s.learning_rate, 0.0, total, warmup=int(s.warmup * total))},
        steps=total,
        batch=s.batch,
        seed=s.seed,
        clip_norm=1.0,
        evaluate=None if labels.test is None else accuracy(model, labels, steps, world),
        evaluate_every=max(1, total // max(1, s.evaluations)),
        best="accuracy",
    )


def labels_of(data: str, validation: str, held_out: str, *, kind: str = "subgroup") -> Labels:
    """Emoji by subgroup, the test being an artist that training never sees, or a user's own labelled pictures."""
    if data == "emoji":
        split = emoji.splits(emoji.emoji(), artist=held_out, share=0)
        names = sorted({getattr(concept, kind) for concept in split.train.concepts})
        number = {name: i for i, name in enumerate(names)}
        return Labels(
            train=split.train, test=split.unseen_artist, classes=len(names), label=partial(_numbered, number, kind)
        )
    train, test = open_source(data), open_source(validation) if validation else None
    classes = getattr(train, "classes", None)
    if not classes:
        raise SensoriumError(f"data={data}: these samples have no labels")
    if test is not None and getattr(test, "classes", None) != classes:
        raise SensoriumError(f"validation={validation} has other classes than data={data}")
    return Labels(train=train, test=test, classes=len(classes), label=label_of)


def _numbered(number: Mapping[str, int], kind: str, sample: Sample) -> int:
    return number[sample[kind]]


def build(s: Settings, classes: int) -> tuple[ViT, Preprocess]:
    """The model with its preprocessing: loaded for fine-tuning, of a preset's size, or small."""
    torch.manual_seed(s.seed)
    if s.registers < 0:
        raise SensoriumError(f"registers={s.registers}: 0 or more")
    if s.start and s.registers:
        raise SensoriumError("start brings its own registers: leave registers out")
    if s.start:
        loaded = load_model(s.start)
        if not isinstance(loaded.model, ViT) or loaded.preprocess is None:
            raise SensoriumError(f"start={s.start} is {loaded.found}, no ViT")
        model = fine_tuned(loaded.model, classes, image=s.image or None).train()
        return model, replace(loaded.preprocess, size=model.config.image, resize_to=None)
    if s.preset:
        if s.preset not in PRESETS:
            raise SensoriumError(f"preset={s.preset}: no such size; there are {', '.join(PRESETS)}")
        config = PRESETS[s.preset]
        config = replace(config, image=s.image or config.image)
    else:
        config = ViTConfig(
            image=s.image or 64,
            patch=s.patch,
            width=s.width,
            depth=s.depth,
            heads=max(1, s.width // 64),
            mlp=4 * s.width,
        )
    if s.registers:  # timm's line, in which they can be saved: a linear head, no position but the patches'
        line = replace(config, registers=s.registers, class_position=False, eps=1e-6, resampling=TIMM, representation=0)
    else:  # the authors' own, in which the head with a hidden layer can be saved
        line = replace(config, activation="gelu_tanh", eps=1e-6, resampling=GOOGLE, representation=config.width)
    config = replace(line, classes=classes)
    return ViT(config), vit_steps(config.image)


def accuracy(model: nn.Module, labels: Labels, steps: Preprocess, world: World) -> Evaluate:
    """Top-1 on the test pictures, each seen once."""
    assert labels.test is not None
    count, size = len(labels.test), 256
    plain = Prepare(augment=None, steps=steps, label=labels.label)
    test = Stream(sources=[labels.test], prepare=plain, shuffle=False)

    def evaluate(step: int) -> Mapping[str, float]:
        right: list[Float[Tensor, " n"]] = []
        for batch in test.batches(size, start=0, steps=-(-count // size)):
            scores = model(steps.normalise(batch["image"].to(world.device)))
            right.append((scores.argmax(1) == batch["label"].to(world.device)).float())
        return {"accuracy": float(torch.cat(right)[:count].mean())}

    return evaluate
