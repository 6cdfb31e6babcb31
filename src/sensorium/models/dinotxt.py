"""dino.txt: DINOv2 Meets Text (Jose et al. 2024), https://arxiv.org/abs/2412.16334, as DINOv3 trains it (section 5.3).

A trunk that never read a word is left as it is; two blocks on top of it and a text tower learn to meet. Because a
picture stands there as [class token; mean of its patches], the patches alone can be compared with words, too.
"""

from dataclasses import dataclass
from math import log

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.models.clip import TextTower, TextTransformer
from sensorium.models.dinov3 import PRESETS as TRUNKS
from sensorium.models.dinov3 import DINOv3, DINOv3Config
from sensorium.nn.attention import Attention, Tokens
from sensorium.nn.features import Features, apart
from sensorium.nn.transformer import PreNorm, SwiGLU, Transformer

TEXT = TextTower(width=1280, depth=24, heads=20, mlp=5120, activation="gelu", bias=False)


@dataclass(frozen=True, kw_only=True)
class DINOtxtConfig:
    """The trunk, `blocks` more on top of it whose SwiGLU is `hidden` wide, and CLIP's text tower."""

    trunk: DINOv3Config = TRUNKS["dinov3-vit-l-16"]
    blocks: int = 2
    hidden: int = 2752
    layer_scale: float = 1e-5
    eps: float = 1e-5
    text: TextTower = TEXT

    @property
    def embed(self) -> int:
        """The width of the common space: class token and mean patch side by side."""
        return 2 * self.trunk.width


PRESETS = {"dinov3-vit-l-16-dinotxt": DINOtxtConfig()}


class Vision(nn.Module):
    """The trunk and the blocks that turn its features towards words; these blocks turn nothing by its place."""

    def __init__(self, c: DINOtxtConfig) -> None:
        super().__init__()
        width, heads = c.trunk.width, c.trunk.heads
        self.trunk = DINOv3(c.trunk)
        self.blocks = Transformer(
            PreNorm(
                Attention(width, heads, bias=False, out_bias=True),
                SwiGLU(width, c.hidden),
                width,
                eps=c.eps,
                layer_scale=c.layer_scale,
            )
            for _ in range(c.blocks)
        )
        self.norm = nn.LayerNorm(width, c.eps)

    def features(self, image: Float[Tensor, "b 3 h w"]) -> Features:
        """The class token and patches that can be compared with the two halves of a text's vector."""
        return self.turned(self.trunk.tokens(image))

    def turned(self, tokens: Tokens) -> Features:
        """What the blocks make of the trunk's tokens."""
        return apart(self.norm(self.blocks(tokens)), self.trunk.config.registers)

    def pooled(self, tokens: Tokens) -> Float[Tensor, "b embed"]:
        """[class token; mean patch]: the vector of a picture in the common space, from the trunk's tokens."""
        features = self.turned(tokens)
        return torch.cat([features.cls, features.patches.mean(1)], dim=-1)

    def represent(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b embed"]:
        """The vector of a picture in the common space."""
        return self.pooled(self.trunk.tokens(image))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b embed"]:
        """Pictures into the common space, not normalised."""
        return self.represent(image)


class DINOtxt(nn.Module):
    """Two towers, one space; the loss is CLIP's (`sensorium.objectives.contrastive`)."""

    def __init__(self, config: DINOtxtConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = Vision(config)
        self.text = TextTransformer(config.text, config.embed)
        self.log_scale = nn.Parameter(torch.tensor(log(1 / 0.07)))

    def forward(
        self, image: Float[Tensor, "b 3 h w"], text: Int[Tensor, "t n"]
    ) -> tuple[Float[Tensor, "b embed"], Float[Tensor, "t embed"]]:
        """Pictures and texts on the unit sphere; exp(log_scale) times their cosines are the logits."""
        return F.normalize(self.vision(image), dim=-1), F.normalize(self.text(text), dim=-1)
