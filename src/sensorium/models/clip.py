"""CLIP: Learning Transferable Visual Models From Natural Language Supervision (Radford et al. 2021),
https://arxiv.org/abs/2103.00020

Two towers, one space: a picture and its caption should point the same way.
"""

from dataclasses import dataclass, replace
from math import log
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.nn.attention import Attention, Tokens, causal
from sensorium.nn.embeddings import PatchEmbedding, prepend
from sensorium.nn.positions import TRANSFORMERS, resize_positions
from sensorium.nn.ragged import at_the_end
from sensorium.nn.resnet import ResNet
from sensorium.nn.transformer import MLP, PreNorm, QuickGELU, Transformer


@dataclass(frozen=True, kw_only=True)
class ViTTower:
    """An image tower that is a Vision Transformer with a norm before its blocks.

    `registers` are of Darcet et al. 2023, https://arxiv.org/abs/2309.16588; no published CLIP has them.
    """

    image: int = 224
    patch: int = 32
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp: int = 3072
    registers: int = 0
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    eps: float = 1e-5


@dataclass(frozen=True, kw_only=True)
class ResNetTower:
    """An image tower that is a ResNet with three stem convolutions, anti-aliased strides and attention pooling."""

    image: int = 224
    depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64
    heads: int = 32


@dataclass(frozen=True, kw_only=True)
class TextTower:
    """The text transformer. `end` is the id that ends a text; None takes the largest id of each row.

    `bias` is that of queries, keys and values, which dino.txt's tower does without.
    """

    context: int = 77
    words: int = 49408
    width: int = 512
    depth: int = 12
    heads: int = 8
    mlp: int = 2048
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    eps: float = 1e-5
    end: int | None = None
    bias: bool = True


@dataclass(frozen=True, kw_only=True)
class CLIPConfig:
    """Two towers and the width of the space in which they meet."""

    vision: ViTTower | ResNetTower = ViTTower()
    text: TextTower = TextTower()
    embed: int = 512


# Tables 19 and 20 of the paper.
TEXT_512, TEXT_640 = TextTower(), TextTower(width=640, heads=10, mlp=2560)
TEXT_768, TEXT_1024 = TextTower(width=768, heads=12, mlp=3072), TextTower(width=1024, heads=16, mlp=4096)
VIT_L = ViTTower(patch=14, width=1024, depth=24, heads=16, mlp=4096)
VIT_H = replace(VIT_L, width=1280, depth=32, mlp=5120, activation="gelu")

PRESETS = {
    "clip-rn50": CLIPConfig(embed=1024, vision=ResNetTower(), text=TEXT_512),
    "clip-rn101": CLIPConfig(embed=512, vision=ResNetTower(depths=(3, 4, 23, 3)), text=TEXT_512),
    "clip-rn50x4": CLIPConfig(
        embed=640, vision=ResNetTower(image=288, depths=(4, 6, 10, 6), width=80, heads=40), text=TEXT_640
    ),
    "clip-rn50x16": CLIPConfig(
        embed=768, vision=ResNetTower(image=384, depths=(6, 8, 18, 8), width=96, heads=48), text=TEXT_768
    ),
    "clip-rn50x64": CLIPConfig(
        embed=1024, vision=ResNetTower(image=448, depths=(3, 15, 36, 10), width=128, heads=64), text=TEXT_1024
    ),
    "clip-vit-b-32": CLIPConfig(embed=512, vision=ViTTower(), text=TEXT_512),
    "clip-vit-b-16": CLIPConfig(embed=512, vision=ViTTower(patch=16), text=TEXT_512),
    "clip-vit-l-14": CLIPConfig(embed=768, vision=VIT_L, text=TEXT_768),
    "clip-vit-l-14-336": CLIPConfig(embed=768, vision=replace(VIT_L, image=336), text=TEXT_768),
    # The retrainings of OpenCLIP on LAION-2B (Cherti et al. 2022), with the exact GELU.
    "clip-vit-b-32-laion2b": CLIPConfig(
        embed=512, vision=ViTTower(activation="gelu"), text=replace(TEXT_512, activation="gelu")
    ),
    "clip-vit-h-14-laion2b": CLIPConfig(embed=1024, vision=VIT_H, text=replace(TEXT_1024, depth=24, activation="gelu")),
}

ACTIVATIONS = {"quick_gelu": QuickGELU, "gelu": nn.GELU}


def _random(*shape: int, std: float) -> nn.Parameter:
    parameter = nn.Parameter(torch.empty(shape))
    nn.init.normal_(parameter, std=std)
    return parameter


def _transformer(c: ViTTower | TextTower, *, bias: bool = True) -> Transformer:
    def block() -> PreNorm:
        attention = Attention(c.width, c.heads, bias=bias, out_bias=True)
        return PreNorm(attention, MLP(c.width, c.mlp, ACTIVATIONS[c.activation]), c.width, eps=c.eps)

    return Transformer(block() for _ in range(c.depth))


class VisionTransformer(nn.Module):
    """The ViT image tower (section 2.4)."""

    def __init__(self, c: ViTTower, embed: int) -> None:
        super().__init__()
        width, self.side = c.width, c.image // c.patch
        self.patches = PatchEmbedding(width, (c.patch, c.patch), bias=False)
        self.cls = _random(1, width, std=width**-0.5)
        self.registers = _random(c.registers, width, std=width**-0.5)
        self.positions = _random(self.side**2 + 1, width, std=width**-0.5)
        self.norm_in = nn.LayerNorm(width, c.eps)
        self.blocks = _transformer(c)
        self.norm_out = nn.LayerNorm(width, c.eps)
        self.project = nn.Linear(width, embed, bias=False)

    def tokens(self, image: Float[Tensor, "b 3 h w"]) -> Tokens:
        """[cls, registers, patches] after the last block, before the final norm; pictures of any size."""
        rows, columns = self.patches.grid(*image.shape[-2:])
        old = (self.side, self.side)
        positions = resize_positions(self.positions, old, (rows, columns), TRANSFORMERS, prefix=1)
        first = torch.cat([self.cls + positions[:1], self.registers])
        return self.blocks(self.norm_in(prepend(first, self.patches(image) + positions[1:])))

    def represent(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b width"]:
        """One vector a picture before the projection: what linear probes read (section 3.2)."""
        return self.norm_out(self.tokens(image)[:, 0])

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b embed"]:
        """Pictures into the common space, not normalised."""
        return self.project(self.represent(image))


class Stem(nn.Sequential):
    """Three convolutions and an average pool in place of ResNet's one large convolution (section 2.4)."""

    def __init__(self, width: int) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs, stride in ((3, width // 2, 2), (width // 2, width // 2, 1), (width // 2, width, 1)):
            convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
        super().__init__(*layers, nn.AvgPool2d(2))


class AttentionPool(nn.Module):
    """Global pooling by attention: the mean of the map looks at every place of it (section 2.4)."""

    def __init__(self, side: int, width: int, heads: int, embed: int) -> None:
        super().__init__()
        self.side = side
        self.positions = _random(side**2 + 1, width, std=width**-0.5)
        self.attention = Attention(width, heads)
        self.attention.out = nn.Linear(width, embed)  # the projection into the common space

    def forward(self, x: Float[Tensor, "b width h w"]) -> Float[Tensor, "b embed"]:
        """One vector a picture."""
        old, new = (self.side, self.side), (x.shape[2], x.shape[3])
        places = x.flatten(2).mT
        places = torch.cat([places.mean(1, keepdim=True), places], dim=1)
        places = places + resize_positions(self.positions, old, new, TRANSFORMERS, prefix=1)
        return self.attention(places[:, :1], places)[:, 0]


class VisionResNet(nn.Module):
    """The ResNet image tower (section 2.4)."""

    def __init__(self, c: ResNetTower, embed: int) -> None:
        super().__init__()
        self.trunk = ResNet(Stem(c.width), c.width, c.depths, c.width, antialias=True)
        self.pool = AttentionPool(c.image // 32, self.trunk.outputs, c.heads, embed)

    def represent(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b embed"]:
        """The pooled vector: this tower has no other projection."""
        return self.pool(self.trunk(image))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b embed"]:
        """Pictures into the common space, not normalised."""
        return self.pool(self.trunk(image))


class TextTransformer(nn.Module):
    """The text tower: a GPT whose state at the end of the text stands for the text (section 2.4)."""

    def __init__(self, c: TextTower, embed: int) -> None:
        super().__init__()
        self.end = c.end
        self.words = nn.Embedding(c.words, c.width)
        self.positions = _random(c.context, c.width, std=0.01)
        self.blocks = _transformer(c, bias=c.bias)
        self.norm_out = nn.LayerNorm(c.width, c.eps)
        self.project = nn.Linear(c.width, embed, bias=False)

    def ends(self, ids: Int[Tensor, "b n"]) -> Int[Tensor, " b"]:
        """Where each text ends: the first end id, or the largest id where the vocabulary has it last."""
        return ids.argmax(-1) if self.end is None else (ids == self.end).int().argmax(-1)

    def embed(self, ids: Int[Tensor, "b n"]) -> Tokens:
        """Words with their positions; raises ValueError for more than the tower reads."""
        n = ids.shape[1]
        if n > len(self.positions):
            raise ValueError(f"text of {n} tokens: this tower reads {len(self.positions)}; truncate when tokenising")
        return self.words(ids) + self.positions[:n]

    def tokens(self, ids: Int[Tensor, "b n"]) -> Tokens:
        """Every token after the final norm."""
        return self.norm_out(self.blocks(self.embed(ids), mask=causal(ids.shape[1], ids.device)))

    def forward(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b embed"]:
        """Texts into the common space, not normalised."""
        return self.project(self.norm_out(at_the_end(self.blocks, self.embed(ids), self.ends(ids))))


class CLIP(nn.Module):
    """Figure 3 of the paper; its loss is `sensorium.objectives.contrastive`."""

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.config = c = config
        self.vision = (
            VisionResNet(c.vision, c.embed)
            if isinstance(c.vision, ResNetTower)
            else VisionTransformer(c.vision, c.embed)
        )
        self.text = TextTransformer(c.text, c.embed)
        self.log_scale = nn.Parameter(torch.tensor(log(1 / 0.07)))

    def forward(
        self, image: Float[Tensor, "b 3 h w"], text: Int[Tensor, "t n"]
    ) -> tuple[Float[Tensor, "b embed"], Float[Tensor, "t embed"]]:
        """Pictures and texts on the unit sphere; exp(log_scale) times their cosines are the logits."""
        return F.normalize(self.vision(image), dim=-1), F.normalize(self.text(text), dim=-1)
