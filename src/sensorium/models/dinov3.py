"""DINOv3 (Siméoni et al. 2025), https://arxiv.org/abs/2508.10104

A ViT that learns from pictures alone, long enough that dense features would decay, were they not anchored to the
similarities an earlier teacher saw (Gram anchoring: `sensorium.objectives`). Its patches know their place by rotation
(section 3.2), so that one trunk reads pictures of any size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sensorium.nn.attention import Attention, Rotation, Tokens
from sensorium.nn.embeddings import PatchEmbedding, prepend
from sensorium.nn.features import Features, apart
from sensorium.nn.ragged import Groups
from sensorium.nn.rotary import (
    Coordinates,
    Normalisation,
    geometric_periods,
    grid_coordinates,
    rotary_table,
    rotation,
)
from sensorium.nn.transformer import MLP, PreNorm, SwiGLU, Transformer

Picture = Float[Tensor, "b channels h w"]
Hidden = Bool[Tensor, "b patches"]
Pictures = Sequence[Float[Tensor, "_ channels _ _"]]  # batches whose sizes differ
Augment = Callable[[Coordinates], Coordinates]


@dataclass(frozen=True, kw_only=True)
class DINOv3Config:
    """Sizes of the trunk, and the choices in which its published lines differ.

    `hidden` is the width inside the MLP, which is a SwiGLU where `gated`. `bias` is that of queries and values. Keys
    have none of effect: official files store one that is "masked" by zeros; "plain" is one that counts. `untied` norms
    [cls, registers] apart from patches; `local_norm` adds a norm for [cls, registers] of local crops. `base` spaces the
    periods of the rotation, on a picture whose sides go from -1 to 1 as `normalise` says.
    """

    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    gated: bool = False
    channels: int = 3
    registers: int = 4
    bias: bool = True
    key_bias: Literal["masked", "none", "plain"] = "masked"
    out_bias: bool = True
    mlp_bias: bool = True
    norm: Literal["layer", "rms"] = "layer"
    eps: float = 1e-5
    layer_scale: float = 1e-5
    untied: bool = False
    local_norm: bool = False
    base: float = 100.0
    normalise: Normalisation = "separate"


S = DINOv3Config(width=384, heads=6, hidden=1536)
S_PLUS = DINOv3Config(width=384, heads=6, hidden=1536, gated=True)
L = DINOv3Config(width=1024, depth=24, heads=16, hidden=4096)
L_PLUS = DINOv3Config(width=1024, depth=24, heads=16, hidden=4096, gated=True)
L_SATELLITE = DINOv3Config(width=1024, depth=24, heads=16, hidden=4096, local_norm=True)
H_PLUS = DINOv3Config(width=1280, depth=32, heads=20, hidden=5120, gated=True)
SEVEN_BILLION = DINOv3Config(
    width=4096, depth=40, heads=32, hidden=8192, gated=True, bias=False, key_bias="none", local_norm=True
)
PRESETS = {
    "dinov3-vit-s-16": S,
    "dinov3-vit-s-plus-16": S_PLUS,
    "dinov3-vit-b-16": DINOv3Config(),
    "dinov3-vit-l-16": L,
    "dinov3-vit-l-plus-16": L_PLUS,
    "dinov3-vit-h-plus-16": H_PLUS,
    "dinov3-vit-7b-16": SEVEN_BILLION,
    "dinov3-vit-l-16-sat493m": L_SATELLITE,
    "dinov3-vit-7b-16-sat493m": SEVEN_BILLION,
}

NORMS = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}


class MaskedBias(nn.Module):
    """The keys' bias in official files, and the zeros it is multiplied by: published, unused, and given back."""

    mask: Tensor

    def __init__(self, width: int, *, stored: bool) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width if stored else 0), requires_grad=False)
        self.register_buffer("mask", torch.zeros(width))


class DINOv3(nn.Module):
    """[cls], registers and patches through a ViT that turns the patches' queries and keys by their place."""

    periods: Tensor

    def __init__(self, config: DINOv3Config) -> None:
        super().__init__()
        c = self.config = config
        width = c.width
        self.patches = PatchEmbedding(width, (c.patch, c.patch), c.channels)
        self.cls = nn.Parameter(torch.zeros(1, width))
        self.mask = nn.Parameter(torch.zeros(1, width))
        self.registers = nn.Parameter(torch.zeros(c.registers, width))
        nn.init.normal_(self.cls, std=0.02)
        nn.init.normal_(self.registers, std=0.02)
        self.register_buffer("periods", geometric_periods(width // c.heads, c.base))
        self.blocks = Transformer(self._block(c) for _ in range(c.depth))
        masked = c.bias and c.key_bias != "plain"
        self.unused = nn.ModuleList(
            MaskedBias(width, stored=c.key_bias == "masked") for _ in range(c.depth if masked else 0)
        )
        self.norm = NORMS[c.norm](width, c.eps)
        self.dim = width
        self.cls_norm = NORMS[c.norm](width, c.eps) if c.untied else None
        self.local_norm = NORMS[c.norm](width, c.eps) if c.local_norm else None

    @staticmethod
    def _block(c: DINOv3Config) -> PreNorm:
        attention = Attention(c.width, c.heads, bias=c.bias, key_bias=c.key_bias == "plain", out_bias=c.out_bias)
        mlp = (SwiGLU if c.gated else MLP)(c.width, c.hidden, bias=c.mlp_bias)
        return PreNorm(attention, mlp, c.width, eps=c.eps, layer_scale=c.layer_scale, norm=NORMS[c.norm])

    @property
    def prefix(self) -> int:
        """How many tokens come before the patches: the class token and the registers."""
        return 1 + self.config.registers

    def turn(self, coordinates: Coordinates) -> Rotation:
        """The rotation of patches at these places, (y, x) from -1 to 1; [cls, registers] have no place and stay."""
        return rotation(rotary_table(coordinates, self.periods.float()), prefix=self.prefix)

    def places(self, image: Picture) -> Coordinates:
        """Where the patches of a picture are."""
        rows, columns = self.patches.grid(*image.shape[-2:])
        return grid_coordinates(rows, columns, normalise=self.config.normalise, device=self.periods.device)

    def embed(self, image: Picture, mask: Hidden | None = None) -> Tokens:
        """[cls, registers, patches]; the mask token stands for patches where `mask` is True."""
        x = self.patches(image)
        if mask is not None:
            x = torch.where(mask[..., None], self.mask, x)
        return prepend(torch.cat([self.cls, self.registers]), x)

    def last_state(
        self,
        image: Picture,
        mask: Hidden | None = None,
        *,
        augment: Augment | None = None,
    ) -> Tokens:
        """The tokens after the last block, before the final norm.

        `augment` (training, section 3.2) moves the coordinates: it is drawn anew in every block, as in the reference.
        """
        x, places = self.embed(image, mask), self.places(image)
        if augment is None:
            return self.blocks(x, rotate=self.turn(places))
        for block in self.blocks:
            x = block(x, rotate=self.turn(augment(places)))
        return x

    def normed(self, x: Tokens, *, local: bool = False) -> Features:
        """The features of a state; `local` takes the norm of local crops for [cls, registers] where there is one."""
        apart_norm = self.local_norm if local and self.local_norm is not None else self.cls_norm
        if apart_norm is None:
            return apart(self.norm(x), self.config.registers)
        first = apart_norm(x[:, : self.prefix])
        return Features(first[:, 0], first[:, 1:], self.norm(x[:, self.prefix :]))

    def tokens(self, image: Picture, mask: Hidden | None = None) -> Tokens:
        """Every output token, [cls, registers, patches], after the final norm."""
        cls, registers, patches = self(image, mask)
        return torch.cat([cls[:, None], registers, patches], dim=1)

    def states(self, image: Picture, mask: Hidden | None = None) -> list[Tokens]:
        """The tokens before the first block and after every block, before the final norm."""
        return self.blocks.trace(self.embed(image, mask), rotate=self.turn(self.places(image)))

    def layers(self, image: Picture, which: Sequence[int], *, norm: bool = True) -> list[Features]:
        """The features after the named blocks (from 0, or from the end where negative), normed as the last ones are.

        Raises IndexError where there is no such block.
        """
        states = self.blocks.after(self.embed(image), which, rotate=self.turn(self.places(image)))
        return [self.normed(x) if norm else apart(x, self.config.registers) for x in states]

    def represent(self, image: Picture) -> Float[Tensor, "b width"]:
        """One vector a picture: the class token."""
        x = self.last_state(image)[:, 0]
        return self.norm(x) if self.cls_norm is None else self.cls_norm(x)

    def forward(
        self,
        image: Picture,
        mask: Hidden | None = None,
        *,
        local: bool = False,
        augment: Augment | None = None,
    ) -> Features:
        """The features of a picture. `mask` hides patches, `local` says that it is a small crop (training only)."""
        return self.normed(self.last_state(image, mask, augment=augment), local=local)

    def several(
        self,
        images: Pictures,
        masks: Sequence[Bool[Tensor, "_ _"] | None] | None = None,
        *,
        local: Sequence[bool] | None = None,
        augment: Augment | None = None,
    ) -> list[Features]:
        """The features of batches of different sizes, as `forward` gives them one by one, in one pass for all.

        Every linear layer sees all tokens at once, attention every picture alone. `augment` is drawn anew for every
        batch in every block, block by block, as in the reference. Raises ValueError where there are not as many masks,
        or answers to whether crops are local, as batches.
        """
        masks = [None] * len(images) if masks is None else masks
        local = [False] * len(images) if local is None else local
        if not len(images) == len(masks) == len(local) > 0:
            raise ValueError(f"{len(images)} batches, {len(masks)} masks, {len(local)} local: one each is needed")
        batches = [self.embed(image, mask) for image, mask in zip(images, masks, strict=True)]
        shapes, places = [(len(x), x.shape[1]) for x in batches], [self.places(image) for image in images]
        groups = Groups(shapes, [self.turn(each) for each in places])
        x = groups.pack(batches)
        if augment is None:
            x = self.blocks(x, mask=groups)
        else:
            for block in self.blocks:
                x = block(x, mask=Groups(shapes, [self.turn(augment(each)) for each in places]))
        return [self.normed(each, local=small) for each, small in zip(groups.unpack(x), local, strict=True)]


class DINOHead(nn.Module):
    """From features to scores for prototypes, of DINO (class token) and of iBOT (masked patches); section 3.2.

    An MLP of `layers` linear layers, a unit vector of `bottleneck` channels, and its product with every prototype.
    """

    def __init__(self, width: int, prototypes: int, *, hidden: int = 2048, bottleneck: int = 256, layers: int = 3):
        super().__init__()
        widths = [width, *[hidden] * (layers - 1), bottleneck]
        steps: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            steps += [nn.Linear(inputs, outputs), nn.GELU()]
        self.mlp = nn.Sequential(*steps[:-1])
        self.prototypes = nn.Linear(bottleneck, prototypes, bias=False)

    def embed(self, x: Float[Tensor, "*b width"]) -> Float[Tensor, "*b bottleneck"]:
        """The unit vector that is compared with the prototypes."""
        return F.normalize(self.mlp(x), dim=-1)

    def forward(self, x: Float[Tensor, "*b width"]) -> Float[Tensor, "*b prototypes"]:
        """A score for every prototype."""
        return self.prototypes(self.embed(x))
