"""What recipes on pictures with captions share: a pair made ready, the contrast over all processes, and exams."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from sensorium.data import emoji
from sensorium.data.augment import SquareCrop, one_text
from sensorium.data.preprocess import Preprocess
from sensorium.data.sources import open_source
from sensorium.data.stream import Sample, Source, Stream
from sensorium.data.tokenizer import ClipTokenizer
from sensorium.models.clip import CLIP
from sensorium.models.dinotxt import DINOtxt
from sensorium.objectives.contrastive import contrastive
from sensorium.training.recipe import Batch, Losses
from sensorium.training.world import World

LARGEST_SCALE = 100.0  # of exp(s): CLIP, section 2.5
VALIDATED = 2000  # pairs of a validation set that find each other

Towers = CLIP | DINOtxt  # two towers and a scale
Evaluate = Callable[[int], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """A pair for training: a random square of the picture, CLIP's only augmentation (section 2.4), and one caption."""

    tokenizer: ClipTokenizer
    context: int
    crop: SquareCrop
    tags: bool = False  # whether a sample's texts are a name and its tags, or captions of which any will do

    def __call__(self, sample: Sample, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Decode, crop, choose, tokenise."""
        image = self.crop(sample["image"], generator)
        return {"image": image, "text": self.tokenizer([self.caption(sample, generator)], self.context)[0]}

    def caption(self, sample: Sample, generator: torch.Generator) -> str:
        """One of the captions; of a name with tags, half the time the name alone, else some tags with or without it."""
        if not self.tags:
            return one_text(sample, generator)
        name, *tags = sample["text"]
        kind, many = torch.rand(2, generator=generator).tolist()
        order = torch.randperm(len(tags), generator=generator).tolist()
        some = [tags[i] for i in order[: 1 + int(4 * many)]]
        return name if kind < 0.5 or not some else ", ".join(some if kind > 0.8 else [name, *some])


def contrast(
    model: Towers, embed: Callable[[Batch], tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]], world: World
) -> Losses:
    """CLIP, section 2.3: the whole batch, over all processes, is each pair's contrast. `embed` gives both sides of this
    process's pairs on the unit sphere, in fp32: a cosine of bf16 is too coarse for a scale of 100."""

    def losses(batch: Batch, step: int) -> Mapping[str, Tensor]:
        image, text = embed(batch)
        scale = model.log_scale.exp()
        return {"contrast": contrasted(image, text, scale, world), "_scale": scale.detach()}

    return losses


def contrasted(
    a: Float[Tensor, "b d"], b: Float[Tensor, "b d"], scale: Float[Tensor, ""], world: World
) -> Float[Tensor, ""]:
    """This process's share of the contrast of all processes' pairs, given on the unit sphere."""
    everybody = world.gather(torch.cat([a, b], dim=-1)) if world.size > 1 else None
    all_a, all_b = (None, None) if everybody is None else everybody.chunk(2, dim=-1)
    return contrastive(a, b, scale, all_a=all_a, all_b=all_b, offset=world.rank * len(a))


def clamped(model: Towers) -> Callable[[int], None]:
    """What keeps the scale from passing a hundred, after every step."""

    def clamp(step: int) -> None:
        model.log_scale.clamp_(max=math.log(LARGEST_SCALE))

    return clamp


@dataclass(frozen=True, kw_only=True)
class Sides:
    """A model as an exam sees it: normalised pictures to vectors, ids of texts to vectors, whose products say how well
    the two fit."""

    image: Callable[[Float[Tensor, "n 3 h w"]], Float[Tensor, "n d"]]
    text: Callable[[Int[Tensor, "n k"]], Float[Tensor, "n d"]]
    tokenizer: ClipTokenizer
    context: int
    steps: Preprocess
    device: torch.device

    def pictures(self, pixels: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """The vectors of many pictures."""
        return self._batched(lambda part: self.image(self.steps.normalise(part)), pixels)

    def texts(self, ids: Int[Tensor, "n k"]) -> Float[Tensor, "n d"]:
        """The vectors of many texts."""
        return self._batched(self.text, ids)

    def names(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """The same of words."""
        return self.texts(self.tokenizer(texts, self.context))

    def _batched(self, function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        return torch.cat([function(part.to(self.device)) for part in rows.split(256)])


def data(place: str, validation: str, held_out: str, sides: Sides) -> tuple[Source, bool, Evaluate | None]:
    """What is trained on, whether its texts are a name with tags, and how the model is judged: by the emoji that
    training never sees, or by how often the pairs of `validation` find one another."""
    if place == "emoji":
        split = emoji.splits(emoji.emoji(sides.steps.size), artist=held_out)
        exam = EmojiExam(split=split, sides=sides)
        return split.train, True, lambda step: exam.scores()
    if not validation:
        return open_source(place), False, None
    pairs = open_source(validation)
    plain = Prepare(tokenizer=sides.tokenizer, context=sides.context, crop=SquareCrop(sides.steps.size))
    held = Stream(sources=[pairs], prepare=plain, shuffle=False)

    def recall(step: int) -> Mapping[str, float]:
        rows = next(held.batches(min(VALIDATED, len(pairs)), start=0, steps=1))
        image, text = sides.pictures(rows["image"]), sides.texts(rows["text"])
        own, scores = torch.arange(len(image), device=sides.device), image @ text.T
        return {
            "image_to_text_r1": float((scores.argmax(1) == own).float().mean()),
            "text_to_image_r1": float((scores.argmax(0) == own).float().mean()),
        }

    return open_source(place), False, recall


@dataclass(frozen=True, kw_only=True)
class EmojiExam:
    """Zero-shot on what training never saw: an artist's style, and concepts. Each name is one text."""

    split: emoji.Splits
    sides: Sides

    def scores(self) -> dict[str, float]:
        """Top-1 of the unseen artist over all concepts; of the unseen concepts over themselves, and over all."""
        concepts = self.split.train.concepts
        held = torch.tensor(sorted(emoji.held_out(concepts)), device=self.sides.device)
        names = self.sides.names([concept.text[0] for concept in concepts])
        found: dict[str, float] = {}
        for name, source in (
            ("unseen_artist", self.split.unseen_artist),
            ("unseen_concepts", self.split.unseen_concepts),
        ):
            scores, label = self.logits(source, names)
            found[name] = float((scores.argmax(1) == label).float().mean())
            if name == "unseen_concepts":
                found["unseen_concepts_among_all"] = found[name]
                found[name] = float((held[scores[:, held].argmax(1)] == label).float().mean())
        return found

    def logits(
        self, source: emoji.Emoji, names: Float[Tensor, "n d"]
    ) -> tuple[Float[Tensor, "m n"], Int[Tensor, " m"]]:
        """How well every name fits every picture, and the right one of each."""
        rows = [source[i] for i in range(len(source))]
        pixels = torch.stack([SquareCrop(self.sides.steps.size)(row["image"]) for row in rows])
        label = torch.tensor([row["label"] for row in rows], device=self.sides.device)
        return self.sides.pictures(pixels) @ names.T, label
