"""The embedded default: a frozen image classifier and a frozen sentence encoder, bound into one space.

Both trunks are read as distributions over the same 1000 things. The classifier says which of them it sees; a trained
reader says which of them a sentence speaks of. Two distributions are compared by their square roots (Bhattacharyya
1943), less what is common to all, and trained projections bring them to one short vector, as ImageBind binds frozen
encoders (Girdhar et al. 2023, https://arxiv.org/abs/2305.05665).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.models.bert import Bert
from sensorium.models.efficientnet import EfficientNetLite


@dataclass(frozen=True)
class PocketConfig:
    """Sizes of the trained part; the two constants calibrate the parts that are not trained.

    `sharpness` turns cosines between a sentence and the class names into logits. `trust` is the share of the trained
    reader in the sentence's distribution, beside those plain cosines.
    """

    classes: int = 1000
    width: int = 384  # of a sentence vector
    hidden: int = 512
    embed: int = 512
    sharpness: float = 10.0
    trust: float = 0.5


class Binding(nn.Module):
    """What is trained: from class logits and from sentence vectors to the shared space."""

    names: Tensor
    image_mean: Tensor
    text_mean: Tensor
    scale: Tensor

    def __init__(self, config: PocketConfig) -> None:
        super().__init__()
        self.config = config
        self.reader = nn.Sequential(
            nn.Linear(config.width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.classes)
        )
        self.image = nn.Linear(config.classes, config.embed, bias=False)
        self.text = nn.Linear(config.classes, config.embed, bias=False)
        self.register_buffer("names", torch.zeros(config.classes, config.width))  # sentence vectors of class names
        self.register_buffer("image_mean", torch.zeros(config.classes))
        self.register_buffer("text_mean", torch.zeros(config.classes))
        self.register_buffer("scale", torch.tensor(1.0))  # inverse temperature for zero-shot probabilities

    def seen(self, logits: Float[Tensor, "b classes"]) -> Float[Tensor, "b classes"]:
        """The root of what the classifier sees, less the common part."""
        return logits.softmax(-1).sqrt() - self.image_mean

    def read(self, sentence: Float[Tensor, "b width"]) -> Float[Tensor, "b classes"]:
        """Logits over the classes that a sentence (a unit vector) speaks of, from the trained reader."""
        # unit vectors have entries of 1/√width: brought to unit variance for the network
        return self.cosines(sentence) + self.reader(sentence * self.config.width**0.5)

    def cosines(self, sentence: Float[Tensor, "b width"]) -> Float[Tensor, "b classes"]:
        """Logits over the classes by likeness to their names alone."""
        return self.config.sharpness * sentence @ self.names.T

    def meant(self, sentence: Float[Tensor, "b width"]) -> Float[Tensor, "b classes"]:
        """The root of what a sentence speaks of, less the common part."""
        plain, trained = self.cosines(sentence).softmax(-1), self.read(sentence).softmax(-1)
        return torch.lerp(plain, trained, self.config.trust).sqrt() - self.text_mean

    def embed_image(self, logits: Float[Tensor, "b classes"]) -> Float[Tensor, "b embed"]:
        """Class logits to unit vectors."""
        return F.normalize(self.image(self.seen(logits)), dim=-1)

    def embed_text(self, sentence: Float[Tensor, "b width"]) -> Float[Tensor, "b embed"]:
        """Sentence vectors to unit vectors."""
        return F.normalize(self.text(self.meant(sentence)), dim=-1)


class Pocket(nn.Module):
    """Pixels and words to unit vectors of one space; compare them by cosine."""

    def __init__(self, vision: EfficientNetLite, language: Bert, config: PocketConfig | None = None) -> None:
        super().__init__()
        self.config = config or PocketConfig()
        self.vision, self.language, self.binding = vision, language, Binding(self.config)

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied by before a softmax over candidate texts."""
        return float(self.binding.scale)

    def embed_image(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b embed"]:
        """Normalised pixels (mean 127/255, std 128/255; 260×260 as trained) to unit vectors."""
        return self.binding.embed_image(self.vision(pixels))

    def embed_text(self, ids: Int[Tensor, "b n"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b embed"]:
        """WordPiece ids, `mask` False on padding, to unit vectors."""
        return self.binding.embed_text(self.language.sentence(ids, mask))
