"""ViT's claims in miniature (Dosovitskiy et al. 2020, section 4), on emoji sorted into Unicode's subgroups.

(a) At the same number of pictures smaller patches are better, and cost more. (b) With few pictures a ResNet of the same
compute is ahead; ViT gains more from data, and passes it. (c) The positions, learned without a notion of two
dimensions, show them. The test is an artist whom training never sees.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from sensorium.claims.outcome import Curve, Finding, Outcome
from sensorium.claims.resnet import ResNetClassifier
from sensorium.claims.training import evaluated, trained
from sensorium.data.emoji import Emoji
from sensorium.data.preprocess import vit as vit_steps
from sensorium.insight.positions import similarity_of
from sensorium.models.vit import ViT
from sensorium.training.recipes.vit import Labels, Settings, build, labels_of, supervised
from sensorium.training.world import World

PAPER = "ViT (Dosovitskiy et al. 2020)"
PATCHES = (8, 16, 32)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Passes over all pictures; smaller sets are passed over more often, for the same number of steps."""

    epochs: float = 7.0
    width: int = 192
    depth: int = 6
    resnet_width: int = 24
    shares: tuple[float, ...] = (1 / 16, 1 / 4, 1.0)


QUICK = Budget(epochs=0.3, width=64, depth=2, resnet_width=8, shares=(1 / 4, 1.0))


def claim(folder: Path, *, quick: bool, bf16: bool, say: Callable[[str], None]) -> Outcome:
    """Train all models, measure, compare. What was trained before in this folder is not trained again."""
    begun, b = time.monotonic(), QUICK if quick else Budget()
    labels = labels_of("emoji", "", Settings.held_out)
    assert isinstance(labels.train, Emoji)
    s = Settings(epochs=b.epochs, width=b.width, depth=b.depth, flip=False, evaluations=2 if quick else 4)
    scores: dict[str, float] = {}
    curves: list[Curve] = []

    def run(name: str, model: nn.Module, some: Labels, settings: Settings) -> float:
        say(name)
        recipe = supervised(model, some, vit_steps(64), settings, World())
        records = trained(recipe, settings, folder / name.replace(" ", "-").replace("/", "-"), bf16=bf16)
        seen, accuracy = evaluated(records, "accuracy", settings.batch)
        if some is labels:
            curves.append(Curve(panel="patch size and the ResNet", name=name, x=seen, y=accuracy))
        return accuracy[-1]

    vits: dict[int, ViT] = {}
    for patch in PATCHES:
        settings = replace(s, patch=patch)
        vits[patch], _ = build(settings, labels.classes)
        scores[f"patch {patch}"] = run(f"ViT with patches of {patch}", vits[patch], labels, settings)
    by_share: dict[str, list[float]] = {"ViT": [], "ResNet": []}
    sizes = [len(_share(labels, share).train) for share in b.shares]
    for share, size in zip(b.shares, sizes, strict=True):
        some = labels if share == 1 else _share(labels, share)
        settings = replace(s, epochs=b.epochs * len(labels.train) / size)
        if share == 1:
            by_share["ViT"].append(scores["patch 8"])
        else:
            by_share["ViT"].append(run(f"ViT on {size} pictures", build(settings, labels.classes)[0], some, settings))
        torch.manual_seed(s.seed)
        resnet = ResNetClassifier(labels.classes, width=b.resnet_width)
        by_share["ResNet"].append(run(f"ResNet on {size} pictures", resnet, some, settings))
    for name, values in by_share.items():
        curves.append(Curve(panel="size of the training set", name=name, x=sizes, y=values))
    gaps = [ours - theirs for ours, theirs in zip(by_share["ViT"], by_share["ResNet"], strict=True)]

    def told(size: int) -> str:
        ours, theirs = by_share["ViT"][size], by_share["ResNet"][size]
        return f"on {sizes[size]:,} pictures ViT {ours:.3f}, ResNet {theirs:.3f}"

    near, far, chance = neighbours(vits[8])
    best = [scores[f"patch {patch}"] for patch in PATCHES]
    return Outcome(
        paper=PAPER,
        setting=f"{len(labels.train):,} emoji of seven artists in {labels.classes} subgroups; the eighth is the test",
        findings=[
            Finding(
                claim="at the same number of pictures smaller patches beat larger ones",
                measured=", ".join(f"{patch} pixels {x:.3f}" for patch, x in zip(PATCHES, best, strict=True)),
                verdict=best == sorted(best, reverse=True),
            ),
            Finding(
                claim="with little data a ResNet of the same compute is ahead",
                measured=told(0),
                verdict=gaps[0] < 0,
            ),
            Finding(
                claim="with more data ViT catches up",
                measured=f"its distance goes from {gaps[0]:+.3f} to {gaps[-1]:+.3f}",
                verdict=gaps[-1] > gaps[0],
            ),
            Finding(
                claim="and passes the ResNet",
                measured=told(-1),
                verdict=gaps[-1] > 0,
            ),
            Finding(
                claim="positions learn the layout in two dimensions",
                measured=f"cosine with the four neighbours {near:.3f}, with all others {far:.3f}; "
                f"the most alike is a neighbour in {chance:.0%} of places",
                verdict=near > far and chance > 0.5,
            ),
        ],
        curves=curves,
        axes={
            "patch size and the ResNet": ("pictures seen in training", "top-1 of the unseen artist"),
            "size of the training set": ("different pictures in training", "top-1 of the unseen artist"),
        },
        numbers=scores | {"near": near, "far": far, "neighbour_is_nearest": chance},
        seconds=time.monotonic() - begun,
    )


def _share(labels: Labels, share: float) -> Labels:
    """Every 1/share-th picture of the training set, which is sorted by artist and concept."""
    assert isinstance(labels.train, Emoji)
    return replace(labels, train=replace(labels.train, rows=labels.train.rows[:: round(1 / share)]))


def neighbours(model: ViT) -> tuple[float, float, float]:
    """Of the learned positions: the mean cosine with the four neighbours, with all others, and how often a neighbour is
    the most alike (figure 7, centre). The mean position is taken off: it tells no place from another."""
    side = model.config.image // model.config.patch
    places = model.positions.detach()[-side * side :]
    alike = similarity_of((places - places.mean(0)).unflatten(0, (side, side)))
    cosine = alike.cosines.flatten(2).flatten(0, 1)
    rows, columns = torch.arange(side * side) // side, torch.arange(side * side) % side
    distance = (rows[:, None] - rows).abs() + (columns[:, None] - columns).abs()
    nearest = cosine.masked_fill(distance == 0, -2).argmax(1)
    hit = (distance.gather(1, nearest[:, None]) == 1).float().mean()
    return alike.neighbours, float(cosine[distance > 1].mean()), float(hit)
