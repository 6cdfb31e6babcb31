"""CLIP's claims in miniature (Radford et al. 2021, figure 2, sections 3.1.4 and 3.1.5), on emoji of eight artists.

One artist is held out: a data set of an unseen style. (a) Zero-shot, by names alone, is measured against a linear
classifier on the features of a ResNet that was supervised on the other artists' drawings. (b) Several prompts for a
class, averaged in the space of embeddings, add to it. (c) The contrast reaches an accuracy with several times fewer
pictures than predicting the caption's words does.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sensorium.claims.outcome import Curve, Finding, Outcome
from sensorium.claims.resnet import ResNetClassifier
from sensorium.claims.training import evaluated, spent, trained
from sensorium.data import emoji
from sensorium.data.augment import SquareCrop, label_of
from sensorium.data.preprocess import Preprocess
from sensorium.data.preprocess import vit as vit_steps
from sensorium.models.clip import CLIP
from sensorium.tasks.linear_probe import fit, strength
from sensorium.tasks.metrics import top_k
from sensorium.training.recipes import clip as pairs
from sensorium.training.recipes import vit as supervision
from sensorium.training.world import World

PAPER = "CLIP (Radford et al. 2021)"
SEVERAL = 2.0  # times fewer pictures, to be called several
GRID = (40, 48, 56)  # of the strength of the linear classifier: 0.1, 1 and 10


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What is trained: CLIP by its recipe's own settings, the rivals beside it."""

    clip: pairs.Settings = field(default_factory=pairs.Settings)
    supervised: float = 10.0  # passes over the pictures
    resnet: int = 32  # width of its first stage
    iterations: int = 80  # of a linear classifier


QUICK = Budget(
    clip=pairs.Settings(epochs=0.5, channels=8, text_width=64, text_depth=1, evaluations=2),
    supervised=0.4,
    resnet=8,
    iterations=5,
)


def claim(folder: Path, *, quick: bool, bf16: bool, say: Callable[[str], None]) -> Outcome:
    """Train three models, measure, compare. What was trained before in this folder is not trained again."""
    begun, b, world = time.monotonic(), QUICK if quick else Budget(), World()
    s = b.clip
    say("CLIP: pictures and captions contrasted")
    recipe = pairs.clip(s, world)
    contrast = trained(recipe, s, folder / "contrast", bf16=bf16)
    say("the same image tower, naming the captions' words")
    other = replace(s, objective="words")
    words = trained(pairs.clip(other, world), other, folder / "words", bf16=bf16)
    say("a ResNet, supervised by the concepts as labels")
    split = emoji.splits(emoji.emoji(s.image), artist=s.held_out)
    resnet, resnet_steps = _supervised(split, s, b, folder, bf16=bf16)

    say("linear classifiers and prompts")
    clip = recipe.model.get_submodule("clip")
    assert isinstance(clip, CLIP)
    texts, steps = pairs.ClipTokenizer.first(s.words), pairs.clip_steps(s.image)
    concepts, truth = split.train.concepts, _labels(split.unseen_artist)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        seen = _features(split.unseen_artist, steps, clip.vision)
        by_name = top_k(seen @ _class_vectors(clip, texts, [c.text[:1] for c in concepts]).T, truth)
        by_prompts = top_k(seen @ _class_vectors(clip, texts, [prompts(c) for c in concepts]).T, truth)
        sides = [_features(source, resnet_steps, resnet.represent) for source in (split.train, split.unseen_artist)]
    linear = _linear(sides[0], _labels(split.train), sides[1], truth, len(concepts), b.iterations)

    ours, theirs = evaluated(contrast, "unseen_artist", s.batch), evaluated(words, "unseen_artist", s.batch)
    level = max(theirs[1])
    needed = spent(*ours, level) if level > 0 else None
    at = spent(*theirs, level)
    ratio = at / needed if needed and at else float("nan")
    held = evaluated(contrast, "unseen_concepts", s.batch)
    chance = 1 / len(emoji.held_out(concepts))
    return Outcome(
        paper=PAPER,
        setting=f"{len(split.train):,} emoji of seven artists; the eighth, {s.held_out}, is the test",
        findings=[
            Finding(
                claim="zero-shot on an unseen style matches or beats a linear classifier on supervised ResNet features",
                measured=f"top-1 of {len(concepts):,} concepts: zero-shot {by_name:.3f}, linear {linear:.3f}",
                verdict=by_name >= linear,
            ),
            Finding(
                claim="an ensemble of prompts adds to zero-shot accuracy",
                measured=f"name alone {by_name:.3f}, averaged with the name and each tag {by_prompts:.3f}",
                verdict=by_prompts > by_name,
            ),
            Finding(
                claim="the contrast needs several times fewer pictures than predicting the caption's words",
                measured=f"{ratio:.1f} times fewer pictures to reach {level:.3f}, the best of words",
                verdict=ratio >= SEVERAL,
            ),
            Finding(
                claim="concepts that training never saw are recognised by their names",
                measured=f"top-1 among {round(1 / chance)} held-out concepts {held[1][-1]:.3f}, chance {chance:.3f}",
                verdict=held[1][-1] > 5 * chance,
            ),
        ],
        curves=[
            Curve(panel="unseen artist", name="contrast", x=ours[0], y=ours[1]),
            Curve(panel="unseen artist", name="words of the caption", x=theirs[0], y=theirs[1]),
            Curve(panel="unseen artist", name="linear on ResNet", x=[0, ours[0][-1]], y=[linear, linear]),
            Curve(panel="unseen concepts", name="contrast", x=held[0], y=held[1]),
            Curve(panel="unseen concepts", name="chance", x=[0, held[0][-1]], y=[chance, chance]),
        ],
        axes={
            "unseen artist": ("pictures seen in training", "zero-shot top-1"),
            "unseen concepts": ("pictures seen in training", "zero-shot top-1 among them"),
        },
        numbers={"zero_shot": by_name, "prompts": by_prompts, "linear": linear, "ratio": ratio, "unseen": held[1][-1]},
        seconds=time.monotonic() - begun,
    )


def prompts(concept: emoji.Concept) -> tuple[str, ...]:
    """A concept's name alone, and with each of its tags: the ways in which captions speak of it."""
    name, *tags = concept.text
    return name, *(f"{name}, {tag}" for tag in tags)


def _supervised(
    split: emoji.Splits, s: pairs.Settings, b: Budget, folder: Path, *, bf16: bool
) -> tuple[ResNetClassifier, Preprocess]:
    """A ResNet taught the seen concepts as labels, on the pictures that CLIP is taught on."""
    classes, steps = len(split.train.concepts), vit_steps(s.image)
    torch.manual_seed(s.seed)
    model = ResNetClassifier(classes, width=b.resnet)
    labels = supervision.Labels(train=split.train, test=split.unseen_artist, classes=classes, label=label_of)
    settings = supervision.Settings(epochs=b.supervised, flip=False, crop=0.6, evaluations=1)
    recipe = supervision.supervised(model, labels, steps, settings, World())
    trained(recipe, settings, folder / "resnet", bf16=bf16)
    return model, steps


def _features(source: emoji.Emoji, steps: Preprocess, tower: Callable[[Tensor], Tensor]) -> Float[Tensor, "n d"]:
    crop = SquareCrop(steps.size)
    pixels = torch.stack([crop(source[i]["image"]) for i in range(len(source))])
    return torch.cat([F.normalize(tower(steps.normalise(some)).float(), dim=-1) for some in pixels.split(256)])


def _labels(source: emoji.Emoji) -> Tensor:
    return torch.tensor([row[2] for row in source.rows])


def _class_vectors(
    clip: CLIP, tokenizer: pairs.ClipTokenizer, texts: Sequence[Sequence[str]]
) -> Float[Tensor, "classes d"]:
    """Each class's prompts, averaged on the sphere (section 3.1.4)."""
    ids = tokenizer([text for some in texts for text in some], clip.config.text.context)
    vectors = torch.cat([F.normalize(clip.text(some).float(), dim=-1) for some in ids.split(256)])
    means = [some.mean(0) for some in vectors.split([len(some) for some in texts])]
    return F.normalize(torch.stack(means), dim=-1)


def _linear(
    x: Float[Tensor, "n d"], labels: Tensor, y: Float[Tensor, "m d"], truth: Tensor, classes: int, iterations: int
) -> float:
    """Test accuracy of logistic regression; its strength is the one that is best on the test, in the rival's favour."""
    rows = [(int(label),) for label in labels]
    models = (fit(x, rows, classes, c=strength(step), iterations=iterations) for step in GRID)
    return max(top_k(model(y), truth) for model in models)
