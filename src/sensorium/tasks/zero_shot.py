"""Zero-shot classification (Radford et al. 2021, section 3.1): the classes are sentences, so no training is needed."""

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class Classified:
    """Probabilities over the labels, a row for each readable picture; `readable` says which pictures those are."""

    labels: tuple[str, ...]
    probabilities: Float[Tensor, "n labels"]
    readable: list[bool]


def class_vectors(
    embedder: Embedder, labels: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> Float[Tensor, "labels d"]:
    """One unit vector a label: its sentences averaged in the space of embeddings (section 3.1.4).

    Raises SensoriumError for an empty or repeated label, for no template, and for one without `{}`.
    """
    names = [label.strip() for label in labels]
    if not names or not all(names):
        raise SensoriumError("labels: at least one, and none empty (cat,dog,car)")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise SensoriumError(f"labels: {', '.join(repeated)} stands there more than once")
    if not templates:
        raise SensoriumError("templates: at least one, such as 'a photo of a {}.'")
    if wrong := [template for template in templates if template.count("{}") != 1]:
        raise SensoriumError(f"templates: {wrong[0]!r} needs exactly one {{}} where the label goes")
    sentences = [template.replace("{}", name) for name in names for template in templates]
    vectors = embedder.embed(text=sentences)["text"].unflatten(0, (len(names), len(templates)))
    return F.normalize(vectors.mean(1), dim=-1)


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
