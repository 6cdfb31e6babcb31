"""Train pocket's binding, the part between frozen trunks that is shipped with Sensorium.

    python -m sensorium.training.recipes.pocket --out pocket.safetensors

Cost: 290 MB of packages (fetched once; apt-get, npm and pip are needed) and about 15 minutes on two CPU cores.
Expected score, `python benchmarks/stamps.py`: R@1 0.36, R@10 0.70 (both directions averaged); see docs/pocket.md.

Three steps. A reader learns which classes a sentence speaks of, from the wordings and the tree of WordNet: a contrast
between a sentence and all class names. Things that the classifiers lack are collected from drawn pictures. Two
projections are then fitted so that pictures and sentences of a batch contrast in 1,024 dimensions as they do in all.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.checkpoints.pocket import (
    PREPROCESS,
    load_language,
    load_second,
    load_tokenizer,
    load_vision,
    save_binding,
)
from sensorium.data.errors import Unreadable
from sensorium.data.image import read_image
from sensorium.data.imagenet import imagenet_names
from sensorium.models.efficientnet import fold_norms
from sensorium.models.pocket import Binding, Pocket, PocketConfig
from sensorium.objectives.contrastive import overlapping
from sensorium.training.recipes.pocket_data import Drawing, Hierarchy, drawings, wordings, wordnet

NAME_TEMPLATES = ("{}", "a photo of a {}.", "A {}.", "a picture of the {}")
SHARES = (0.3, 0.15, 0.1, 0.1, 0.1, 0.25)  # of the six wordings
Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run: two runs with equal settings on one machine give equal weights."""

    model: PocketConfig = field(default_factory=PocketConfig)
    seed: int = 0
    batch: int = 384
    reader_steps: int = 1200
    reader_rate: float = 1e-3
    decay: float = 0.05
    drop: float = 0.2  # of the reader's hidden units
    noise: float = 0.01  # added to the entries of sentence vectors
    tree: float = 2.0  # how sharply closeness on WordNet's tree turns into a share of a class
    likeness: float = 6.0  # and likeness of gloss and class name
    remote: float = 2.0  # concepts whose nearest class is less close than this, in nats, are left out
    known: float = 0.7  # drawings whose caption is nearer than this to a class name teach nothing new
    projection_steps: int = 120
    projection_batch: int = 512
    projection_rate: float = 0.01  # of a projection's typical entry
    scale: float = 20.0  # inverse temperature of the contrast


@dataclass(frozen=True, kw_only=True)
class Concepts:
    """Sentence vectors of every wording of every concept, the share of each class in it, and how often it is drawn."""

    views: Float[Tensor, "k v width"]
    classes: Float[Tensor, "k classes"]
    weight: Float[Tensor, "k"]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What the classifiers make of the drawings, and the vectors of their captions (`caption` indexes `sentences`)."""

    logits: Float[Tensor, "n classes"]
    features: Float[Tensor, "n both"]
    caption: Int[Tensor, "n"]
    sentences: Float[Tensor, "m width"]


Sentences = Callable[[Sequence[str]], Float[Tensor, "n width"]]


def concepts(hierarchy: Hierarchy, offsets: Sequence[str], names: Tensor, embed: Sentences, s: Settings) -> Concepts:
    """Concepts that stand near some class. A class, or what stands above classes, is spread evenly over them."""
    near = torch.tensor([hierarchy.closeness(offset) for offset in offsets])
    kept = near.amax(1) >= s.remote
    near, offsets = near[kept], [offset for offset, keep in zip(offsets, kept.tolist(), strict=True) if keep]
    dice = random.Random(s.seed)
    texts = [text for offset in offsets for text in wordings(hierarchy.synsets[offset], dice)]
    views = embed(texts).unflatten(0, (len(offsets), -1))
    own = (near >= hierarchy.top).float()
    above = own.sum(1) > 0
    glossed = views[:, 4]
    spread = torch.softmax(s.tree * near + s.likeness * glossed @ names.T, dim=-1)
    classes = torch.where(above[:, None], own / own.sum(1, keepdim=True).clamp(min=1), spread)
    weight = torch.where(above, 6.0, near.amax(1) / hierarchy.top)
    return Concepts(views=views, classes=classes, weight=weight)


def pictures(found: Sequence[Drawing], model: Pocket, embed: Sentences, report: Report) -> Pictures:
    """Look at every drawing once; those that cannot be read are named and left out."""
    logits: list[Tensor] = []
    features: list[Tensor] = []
    captions: list[str] = []
    for index, drawing in enumerate(found):
        try:
            pixels = PREPROCESS(read_image(drawing.path))
        except Unreadable as error:
            report(f"left out: {error}")
            continue
        seen, felt = model.look(pixels[None])
        logits.append(seen[0])
        features.append(felt[0])
        captions.append(drawing.caption)
        if index % 500 == 0:
            report(f"looked at {index} of {len(found)} drawings")
    texts = sorted(set(captions))
    number = {text: i for i, text in enumerate(texts)}
    return Pictures(
        logits=torch.stack(logits),
        features=torch.stack(features),
        caption=torch.tensor([number[caption] for caption in captions]),
        sentences=embed(texts),
    )


def start(names: Float[Tensor, "classes width"], found: Pictures, s: Settings) -> Binding:
    """A binding whose untrained parts are in place: names, and the drawn things that are none of the classes."""
    new = ((found.sentences @ names.T).amax(1) < s.known).nonzero()[:, 0]
    binding = Binding(replace(s.model, extra=len(new)))
    member = F.one_hot(found.caption, len(found.sentences)).float()[:, new]
    with torch.no_grad():
        binding.names.copy_(names)
        binding.captions.copy_(found.sentences[new])
        binding.feature_mean.copy_(found.features.sqrt().mean(0))
        _, values, directions = torch.linalg.svd(binding.spread(found.features[member.sum(1) > 0]), full_matrices=False)
        # half whitened: how drawings differ as drawings fills the first directions
        binding.basis.copy_(directions[: s.model.rank].T * (values[0] / values[: s.model.rank]).sqrt())
        binding.prototypes.copy_(F.normalize(member.T @ binding.place(found.features), dim=-1))
        binding.scale.fill_(s.scale)
        last = binding.reader[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)  # the reader starts from plain likeness to the names
        nn.init.zeros_(last.bias)
    return binding


def train_reader(binding: Binding, data: Concepts, s: Settings, report: Report) -> list[float]:
    """Teach the reader which classes a sentence speaks of; returns the loss of every step."""
    dice = torch.Generator().manual_seed(s.seed)
    optimiser = torch.optim.AdamW(binding.reader.parameters(), lr=s.reader_rate, weight_decay=s.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, s.reader_rate, max(s.reader_steps, 10), pct_start=0.1)
    hidden, last = binding.reader[:-1], binding.reader[-1]
    shares = torch.tensor(SHARES)
    losses: list[float] = []
    for step in range(s.reader_steps):
        which = torch.multinomial(data.weight, s.batch, True, generator=dice)
        sentence = data.views[which, torch.multinomial(shares, s.batch, True, generator=dice)]
        noise = s.noise * torch.randn(sentence.shape, generator=dice)
        sentence = F.normalize(sentence + noise, dim=-1)
        inner = hidden(sentence * s.model.width**0.5)
        kept = (torch.rand(inner.shape, generator=dice) >= s.drop) / (1 - s.drop)
        read = binding.cosines(sentence) + last(inner * kept)
        loss = F.cross_entropy(read, data.classes[which])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % 200 == 0:
            report(f"reader {step}: {losses[-1]:.3f}")
    return losses


class Sampler:
    """Endless pictures and sentences, as the binding sees and means them, for fitting the projections."""

    def __init__(self, binding: Binding, data: Concepts, found: Pictures, likeness: Tensor, seed: int) -> None:
        self.binding, self.data, self.found, self.likeness = binding, data, found, likeness
        self.dice = torch.Generator().manual_seed(seed)

    def images(self, n: int) -> Float[Tensor, "n things"]:
        """Drawings, seven in ten shown to resemble one class as that class's weight row resembles the others."""
        pick = torch.randint(len(self.found.logits), (n,), generator=self.dice)
        features = self.found.features[pick]
        features = features * (1 + 0.2 * torch.randn(features.shape, generator=self.dice)).clamp(min=0)
        logits = self.found.logits[pick] * (0.6 + 0.6 * self._uniform(n))
        mixed = (self._uniform(n) < 0.7).float()
        classes = torch.randint(len(self.likeness), (n,), generator=self.dice)
        resembles = self.likeness[classes] * (6 + 10 * self._uniform(n))
        resembles = resembles + 0.5 * torch.randn(resembles.shape, generator=self.dice)
        logits = logits * (1 - 0.7 * mixed * self._uniform(n)) + mixed * resembles
        return self.binding.seen(logits, features)

    def texts(self, n: int) -> Float[Tensor, "n things"]:
        """Names, second names and prompts of concepts, and one in six the caption of a drawing."""
        which = torch.randint(len(self.data.views), (n - n // 6,), generator=self.dice)
        view = torch.tensor([0, 1, 5])[torch.randint(3, which.shape, generator=self.dice)]
        caption = torch.randint(len(self.found.sentences), (n // 6,), generator=self.dice)
        return self.binding.meant(torch.cat([self.data.views[which, view], self.found.sentences[caption]]))

    def _uniform(self, n: int) -> Float[Tensor, "n 1"]:
        return torch.rand(n, 1, generator=self.dice)


def power(matrix: Float[Tensor, "n n"], exponent: float) -> Float[Tensor, "n n"]:
    """A power of a symmetric positive matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=1e-7) ** exponent) @ vectors.T


def start_projections(binding: Binding, sampler: Sampler) -> None:
    """The linear maps that lose least of the products between the two sides, each side's spread halved (a quarter
    power of its covariance), so that frequent things do not take all dimensions."""
    image = torch.cat([sampler.images(2000) for _ in range(4)])
    text = torch.cat([sampler.texts(2000) for _ in range(4)])
    parts = [binding.config.classes, binding.config.extra]
    for a, b, left, right in zip(
        image.split(parts, dim=-1),
        text.split(parts, dim=-1),
        (binding.image.classes, binding.image.extra),
        (binding.text.classes, binding.text.extra),
        strict=True,
    ):
        ridge = 1e-5 * torch.eye(a.shape[1])
        first, second = a.T @ a / len(a) + ridge, b.T @ b / len(b) + ridge
        u, values, v = torch.linalg.svd(power(first, 0.25) @ power(second, 0.25))
        roots = values[: len(left.weight)].sqrt()
        left.weight.copy_((power(first, -0.25) @ u[:, : len(roots)] * roots).T)
        right.weight.copy_((power(second, -0.25) @ v[: len(roots)].T * roots).T)
    for side in (binding.image, binding.text):  # their products keep their proportion, and steps one size
        size = torch.cat([weight.flatten() for weight in side.parameters()]).pow(2).mean().sqrt()
        for weight in side.parameters():
            weight.div_(size)


def train_projections(binding: Binding, sampler: Sampler, s: Settings, report: Report) -> list[float]:
    """Contrast pictures and sentences in the short space as in the full one; returns the loss of every step."""
    weights = [*binding.image.parameters(), *binding.text.parameters()]
    optimiser = torch.optim.Adam(weights, lr=s.projection_rate)
    steps = max(s.projection_steps, 10)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, s.projection_rate, steps, pct_start=0.1)
    scale = torch.tensor(s.scale)
    losses: list[float] = []
    for step in range(s.projection_steps):
        with torch.no_grad():
            image, text = sampler.images(s.projection_batch), sampler.texts(s.projection_batch)
            full = F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
        a, b = F.normalize(binding.image(image), dim=-1), F.normalize(binding.text(text), dim=-1)
        loss = 2 * overlapping(a, b, scale, (scale * full).exp()) + 100 * F.mse_loss(a @ b.T, full)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % 100 == 0:
            report(f"projections {step}: {losses[-1]:.3f}")
    return losses


def bind(data: Concepts, found: Pictures, names: Tensor, rows: Tensor, s: Settings, report: Report) -> Binding:
    """All three steps; `rows` are the classifier's weights, whose likeness stands for that of the classes."""
    torch.manual_seed(s.seed)
    binding = start(names, found, s)
    train_reader(binding, data, s, report)
    centred = F.normalize(rows - rows.mean(0), dim=-1)
    sampler = Sampler(binding, data, found, centred @ centred.T, s.seed)
    with torch.no_grad():
        binding.text_mean.copy_(binding.meant_roots(data.views[::6, [0, 5]].flatten(0, 1)).mean(0))
        start_projections(binding, sampler)
    train_projections(binding, sampler, s, report)
    return binding


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch, train, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="where the binding is written (safetensors)")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    settings, begun = Settings(seed=chosen.seed), time.monotonic()

    def report(line: str) -> None:
        print(f"[{time.monotonic() - begun:6.0f} s] {line}", file=sys.stderr)

    hierarchy, offsets = wordnet()
    nouns = {name.lower() for synset in hierarchy.synsets.values() for name in synset.names}
    found = drawings(nouns)
    vision, language, tokenizer = load_vision(), load_language(), load_tokenizer()
    rows = vision.classifier.weight.detach().clone()
    model = Pocket(fold_norms(vision), fold_norms(load_second()), language).eval()

    @torch.no_grad()
    def embed(texts: Sequence[str]) -> Float[Tensor, "n width"]:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # alike lengths, little padding
        vectors = torch.zeros(len(texts), settings.model.width)
        for first in range(0, len(order), 256):
            batch = order[first : first + 256]
            vectors[batch] = language.sentence(*tokenizer([texts[i] for i in batch], max_tokens=64))
            if first % 25600 == 0:
                report(f"read {first} of {len(texts)} sentences")
        return vectors

    prompts = [template.format(name) for name in imagenet_names() for template in NAME_TEMPLATES]
    names = F.normalize(embed(prompts).unflatten(0, (-1, len(NAME_TEMPLATES))).mean(1), dim=-1)
    data = concepts(hierarchy, offsets, names, embed, settings)
    with torch.no_grad():
        seen = pictures(found, model, embed, report)
    binding = bind(data, seen, names, rows, settings, report)
    save_binding(binding, chosen.out)
    report(f"{len(data.views)} concepts, {binding.config.extra} drawn things: {chosen.out}")


if __name__ == "__main__":
    main()
