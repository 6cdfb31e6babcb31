"""DINOv2 with registers: Vision Transformers Need Registers (Darcet et al. 2023), https://arxiv.org/abs/2309.16588

Large ViTs that learn without labels turn patches of little content into scratch paper. Give them tokens that have no
place in the picture to write on, and every patch keeps speaking of what it shows.

Without registers: DINOv2: Learning Robust Visual Features without Supervision (Oquab et al. 2023),
https://arxiv.org/abs/2304.07193
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sensorium.nn.attention import Attention, Tokens
from sensorium.nn.embeddings import PatchEmbedding, prepend
from sensorium.nn.features import Features, apart
from sensorium.nn.positions import DINOV2, TIMM, Resampling, resize_positions
from sensorium.nn.transformer import MLP, PreNorm, SwiGLU, Transformer

Picture = Float[Tensor, "b channels h w"]
Hidden = Bool[Tensor, "b patches"]


@dataclass(frozen=True, kw_only=True)
class DINOv2Config:
    """Sizes; `hidden` is the width inside the MLP, which is a SwiGLU where `gated`."""

    image: int = 518
    patch: int = 14
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    gated: bool = False
    channels: int = 3
    registers: int = 4
    layer_scale: float = 1.0
    eps: float = 1e-6
    resampling: Resampling = TIMM


SIZES = {
    "s": DINOv2Config(width=384, heads=6, hidden=1536),
    "b": DINOv2Config(),
    "l": DINOv2Config(width=1024, depth=24, heads=16, hidden=4096),
    "g": DINOv2Config(width=1536, depth=40, heads=24, hidden=4096, gated=True),
}
PRESETS = {f"dinov2-vit-{size}-14-reg": c for size, c in SIZES.items()} | {
    f"dinov2-vit-{size}-14": replace(c, registers=0, resampling=DINOV2) for size, c in SIZES.items()
}


class DINOv2(nn.Module):
    """Figure 6 of the paper: [cls], registers and patches through a plain ViT; the registers' output is thrown away."""

    def __init__(self, config: DINOv2Config) -> None:
        super().__init__()
        c = self.config = config
        width, side = c.width, c.image // c.patch
        self.patches = PatchEmbedding(width, (c.patch, c.patch), c.channels)
        self.cls = nn.Parameter(torch.zeros(1, width))
        self.mask = nn.Parameter(torch.zeros(1, width))
        self.registers = nn.Parameter(torch.zeros(c.registers, width))
        self.positions = nn.Parameter(torch.zeros(1 + side * side, width))
        for tokens, std in ((self.cls, 1e-6), (self.registers, 1e-6), (self.positions, 0.02)):
            nn.init.normal_(tokens, std=std)
        self.blocks = Transformer(
            PreNorm(
                Attention(width, c.heads),
                SwiGLU(width, c.hidden) if c.gated else MLP(width, c.hidden),
                width,
                eps=c.eps,
                layer_scale=c.layer_scale,
            )
            for _ in range(c.depth)
        )
        self.norm = nn.LayerNorm(width, c.eps)
        self.dim = width

    @property
    def prefix(self) -> int:
        """How many tokens come before the patches: the class token and the registers."""
        return 1 + self.config.registers

    def positions_for(self, height: int, width: int) -> Float[Tensor, "n width"]:
        """Positions of [cls, patches] for a picture of this size in pixels."""
        side = self.config.image // self.config.patch
        rows, columns = self.patches.grid(height, width)
        return resize_positions(self.positions, (side, side), (rows, columns), self.config.resampling, prefix=1)

    def embed(self, image: Picture, mask: Hidden | None = None) -> Tokens:
        """[cls, registers, patches]; the mask token stands for patches where `mask` is True."""
        x = self.patches(image)
        if mask is not None:
            x = torch.where(mask[..., None], self.mask, x)
        positions = self.positions_for(*image.shape[-2:])
        return prepend(torch.cat([self.cls + positions[:1], self.registers]), x + positions[1:])

    def states(self, image: Picture, mask: Hidden | None = None) -> list[Tokens]:
        """The tokens before the first block and after every block, before the final norm."""
        return self.blocks.trace(self.embed(image, mask))

    def tokens(self, image: Picture, mask: Hidden | None = None) -> Tokens:
        """Every output token, [cls, registers, patches], after the final norm."""
        return self.norm(self.blocks(self.embed(image, mask)))

    def layers(self, image: Picture, which: Sequence[int], *, norm: bool = True) -> list[Features]:
        """The features after the named blocks (from 0, or from the end where negative), normed as the last ones are.

        Raises IndexError where there is no such block.
        """
        states = self.blocks.after(self.embed(image), which)
        return [apart(self.norm(x) if norm else x, self.config.registers) for x in states]

    def represent(self, image: Picture) -> Float[Tensor, "b width"]:
        """One vector a picture: the class token."""
        return self.norm(self.blocks(self.embed(image))[:, 0])

    def forward(self, image: Picture, mask: Hidden | None = None) -> Features:
        """The features of a picture, its patches hidden where `mask` is True."""
        return apart(self.tokens(image, mask), self.config.registers)
