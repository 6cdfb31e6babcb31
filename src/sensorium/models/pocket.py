"""The embedded default: frozen image classifiers and a frozen sentence encoder, bound into one space.

Picture and sentence are both read as distributions over the same things: the 1000 classes that the classifiers know,
and some that they lack, each known by a few drawn pictures. Distributions are compared by their square roots
(Bhattacharyya 1943), less what is common to all, and trained projections bring both sides to one short vector, as
ImageBind binds frozen encoders (Girdhar et al. 2023, https://arxiv.org/abs/2305.05665).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.models.bert import Bert
from sensorium.models.efficientnet import EfficientNetLite

SMALL_SIDE = 224  # pixels that the smaller classifier was trained with


@dataclass(frozen=True)
class PocketConfig:
    """Sizes of the binding, and the constants that calibrate what is not trained.

    `extra` things are known by pictures alone, through `rank` directions of both classifiers' `features`. `short` and
    `short_extra` are the dimensions that the projections leave to classes and to extra things. `sharpness` turns
    cosines between sentences and names into logits, `kinship` those between features and pictures. `larger` is the
    larger classifier's share in the logits, `heat` divides them. `common` and `kin_common` are the parts of a flat
    distribution's root taken off; `tail` is the weight of the logits themselves beside the roots, counted from `floor`
    and `kin_floor` above their mean. `trust` is the share of the trained reader beside plain cosines, `weight` that of
    the extra things in a score.
    """

    classes: int = 1000
    extra: int = 1393
    width: int = 384
    features: int = 1280
    rank: int = 160
    hidden: int = 512
    short: int = 768
    short_extra: int = 256
    sharpness: float = 12.0
    kinship: float = 25.0
    larger: float = 0.6
    heat: float = 1.0
    common: float = 0.8
    kin_common: float = 0.9
    floor: float = 1.0
    kin_floor: float = 4.0
    tail: float = 2.0
    trust: float = 0.4
    weight: float = 0.5

    @property
    def embed(self) -> int:
        """Dimensions of the shared space."""
        return self.short + self.short_extra


class Shortening(nn.Module):
    """A trained projection of one side: classes and extra things each on their own, for their products add up."""

    def __init__(self, config: PocketConfig) -> None:
        super().__init__()
        self.classes = nn.Linear(config.classes, config.short, bias=False)
        self.extra = nn.Linear(config.extra, config.short_extra, bias=False)

    def forward(self, things: Float[Tensor, "b things"]) -> Float[Tensor, "b embed"]:
        """`things` as `Binding.seen` and `Binding.meant` give them; not normalised."""
        classes, extra = things.split([self.classes.in_features, self.extra.in_features], dim=-1)
        return torch.cat([self.classes(classes), self.extra(extra)], dim=-1)


class Binding(nn.Module):
    """What is trained or collected: from the trunks' outputs to the shared space."""

    names: Tensor
    captions: Tensor
    basis: Tensor
    feature_mean: Tensor
    prototypes: Tensor
    text_mean: Tensor
    scale: Tensor

    def __init__(self, config: PocketConfig) -> None:
        super().__init__()
        self.config = config
        both = config.classes + config.extra
        self.reader = nn.Sequential(
            nn.Linear(config.width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.classes)
        )
        self.image, self.text = Shortening(config), Shortening(config)
        self.register_buffer("names", torch.zeros(config.classes, config.width))  # sentence vectors of the classes
        self.register_buffer("captions", torch.zeros(config.extra, config.width))  # and of the extra things
        self.register_buffer("basis", torch.zeros(2 * config.features, config.rank))
        self.register_buffer("feature_mean", torch.zeros(2 * config.features))
        self.register_buffer("prototypes", torch.zeros(config.extra, config.rank))  # the extra things' pictures
        self.register_buffer("text_mean", torch.zeros(both))
        self.register_buffer("scale", torch.tensor(1.0))  # inverse temperature for zero-shot probabilities

    def spread(self, features: Float[Tensor, "b both"]) -> Float[Tensor, "b both"]:
        """Features of both classifiers, each brought to length 1; roots tame the few that are very large."""
        roots = (features.sqrt() - self.feature_mean).unflatten(-1, (2, -1))
        return F.normalize(roots, dim=-1).flatten(-2)

    def place(self, features: Float[Tensor, "b both"]) -> Float[Tensor, "b rank"]:
        """Where a picture lies among the drawn ones."""
        return F.normalize(self.spread(features) @ self.basis, dim=-1)

    def cosines(self, sentence: Float[Tensor, "b width"]) -> Float[Tensor, "b classes"]:
        """Logits over the classes by likeness to their names alone."""
        return self.config.sharpness * sentence @ self.names.T

    def read(self, sentence: Float[Tensor, "b width"]) -> Float[Tensor, "b classes"]:
        """Logits over the classes that a sentence (a unit vector) speaks of, from the trained reader."""
        # a unit vector's entries are of size 1/√width: brought to 1 for the network
        return self.cosines(sentence) + self.reader(sentence * self.config.width**0.5)

    def seen(self, logits: Float[Tensor, "b classes"], features: Float[Tensor, "b both"]) -> Float[Tensor, "b things"]:
        """What a picture shows: classes, then extra things."""
        c = self.config
        kin = c.kinship * self.place(features) @ self.prototypes.T
        classes = self._shown(logits, c.heat, c.common, c.floor)
        return self._joined(classes, self._shown(kin, 1.0, c.kin_common, c.kin_floor))

    def _shown(self, logits: Float[Tensor, "b n"], heat: float, common: float, floor: float) -> Float[Tensor, "b n"]:
        """Roots of probabilities, less the common part, and the larger logits beside them: the roots say what it is,
        the logits what else it is like, which is all there is to go by where it is none of the n."""
        roots = (logits / heat).softmax(-1).sqrt() - common * logits.shape[-1] ** -0.5
        tail = F.relu(logits - logits.mean(-1, keepdim=True) - floor)
        tail = tail - tail.mean(-1, keepdim=True)
        return F.normalize(roots, dim=-1) + self.config.tail * F.normalize(tail, dim=-1)

    def meant(self, sentence: Float[Tensor, "b width"]) -> Float[Tensor, "b things"]:
        """Roots of what a sentence speaks of, less the common part: classes, then extra things."""
        classes, extra = self.meant_roots(sentence).split([self.config.classes, self.config.extra], dim=-1)
        means = self.text_mean.split([self.config.classes, self.config.extra])
        return self._joined(classes - means[0], extra - means[1])

    def meant_roots(self, sentence: Float[Tensor, "b width"]) -> Float[Tensor, "b things"]:
        """The same with the common part still in it."""
        plain, trained = self.cosines(sentence).softmax(-1), self.read(sentence).softmax(-1)
        extra = (self.config.sharpness * sentence @ self.captions.T).softmax(-1)
        return torch.cat([torch.lerp(plain, trained, self.config.trust), extra], dim=-1).sqrt()

    def _joined(self, classes: Tensor, extra: Tensor) -> Tensor:
        # √weight on both sides: their product is a weighted sum of two cosines
        return torch.cat([F.normalize(classes, dim=-1), F.normalize(extra, dim=-1) * self.config.weight**0.5], dim=-1)

    def embed_image(
        self, logits: Float[Tensor, "b classes"], features: Float[Tensor, "b both"]
    ) -> Float[Tensor, "b embed"]:
        """The classifiers' logits and features to unit vectors."""
        return F.normalize(self.image(self.seen(logits, features)), dim=-1)

    def embed_text(self, sentence: Float[Tensor, "b width"]) -> Float[Tensor, "b embed"]:
        """Sentence vectors to unit vectors."""
        return F.normalize(self.text(self.meant(sentence)), dim=-1)


class Pocket(nn.Module):
    """Pixels and words to unit vectors of one space; compare them by cosine.

    `vision` takes the pixels as they come, `second` a smaller copy of them; their logits are averaged.
    """

    def __init__(
        self, vision: EfficientNetLite, second: EfficientNetLite, language: Bert, config: PocketConfig | None = None
    ) -> None:
        super().__init__()
        self.config = config or PocketConfig()
        self.vision, self.second, self.language = vision, second, language
        self.binding = Binding(self.config)

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied by before a softmax over candidate texts."""
        return float(self.binding.scale)

    def look(self, pixels: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b classes"], Float[Tensor, "b both"]]:
        """The two classifiers' logits, averaged, and their features one after the other."""
        features = self.vision.features(pixels)
        # bicubic, as all pictures were that both were trained with: bilinear finds fewer (docs/pocket.md)
        small = F.interpolate(pixels, (SMALL_SIDE, SMALL_SIDE), mode="bicubic", antialias=True)
        others = self.second.features(small)
        logits = torch.lerp(self.second.classifier(others), self.vision.classifier(features), self.config.larger)
        return logits, torch.cat([features, others], dim=-1)

    def embed_image(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b embed"]:
        """Normalised pixels (mean 127/255, std 128/255; 260×260 as trained) to unit vectors."""
        return self.binding.embed_image(*self.look(pixels))

    def embed_text(self, ids: Int[Tensor, "b n"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b embed"]:
        """WordPiece ids, `mask` False on padding, to unit vectors."""
        return self.binding.embed_text(self.language.sentence(ids, mask))
