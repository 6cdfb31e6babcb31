"""Zero-shot classification (Radford et al. 2021, section 3.1): the classes are sentences, so no training is needed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sensorium.data.errors import SensoriumError
from sensorium.tasks.embedding import Embedder, Picture

# The seven templates that the authors found to carry most of the ensemble of eighty (their prompt notebook).
TEMPLATES = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)
BLOCK = 50  # labels whose sentences are embedded together


@dataclass(frozen=True, kw_only=True)
class Classified:
    """Probabilities over the labels, a row for each readable picture; `readable` says which pictures those are."""

    labels: tuple[str, ...]
    probabilities: Float[Tensor, "n labels"]
    readable: list[bool]


def class_vectors(
    embedder: Embedder,
    labels: Sequence[str],
    templates: Sequence[str] = TEMPLATES,
    *,
    repeats: bool = False,
    done: Callable[[int], None] = lambda number: None,
) -> Float[Tensor, "labels d"]:
    """One unit vector a label: its sentences averaged in the space of embeddings (section 3.1.4).

    `done` is told how many labels have theirs. Raises SensoriumError for an empty label, for no template, for one
    without `{}`, and for a repeated label unless `repeats`: two of ImageNet's names stand twice.
    """
    names = [label.strip() for label in labels]
    if not names or not all(names):
        raise SensoriumError("labels: at least one, and none empty (cat,dog,car)")
    if not repeats and (repeated := sorted({name for name in names if names.count(name) > 1})):
        raise SensoriumError(f"labels: {', '.join(repeated)} stands there more than once")
    check_templates(templates)
    means: list[Tensor] = []
    for start in range(0, len(names), BLOCK):
        some = names[start : start + BLOCK]
        sentences = [template.replace("{}", name) for name in some for template in templates]
        vectors = embedder.embed(text=sentences)["text"].unflatten(0, (len(some), len(templates)))
        means.append(vectors.mean(1))
        done(start + len(some))
    return F.normalize(torch.cat(means), dim=-1)


def check_templates(templates: Sequence[str]) -> None:
    """Raises SensoriumError for no template, and for one without exactly one `{}`."""
    if not templates:
        raise SensoriumError("templates: at least one, such as 'a photo of a {}.'")
    if wrong := [template for template in templates if template.count("{}") != 1]:
        raise SensoriumError(f"templates: {wrong[0]!r} needs exactly one {{}} where the label goes")


def classify(
    embedder: Embedder, images: Sequence[Picture], labels: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> Classified:
    """Probabilities of each label for each picture: a softmax over cosines times the model's temperature."""
    classes = class_vectors(embedder, labels, templates)
    embedded = embedder.embed(images=images, unreadable="mask")
    logits = embedder.logit_scale * embedded["images"][embedded["readable"]] @ classes.T
    return Classified(
        labels=tuple(label.strip() for label in labels),
        probabilities=logits.softmax(-1),
        readable=[bool(good) for good in embedded["readable"]],
    )
