"""ViT: An Image is Worth 16x16 Words (Dosovitskiy et al. 2020), https://arxiv.org/abs/2010.11929

A picture is cut into patches, and a plain transformer reads them as words.

With `registers`: Vision Transformers Need Registers (Darcet et al. 2023), https://arxiv.org/abs/2309.16588:
extra tokens without a place in the picture, where the model may keep notes.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.attention import Attention, Tokens
from sensorium.nn.embeddings import PatchEmbedding, prepend
from sensorium.nn.heads import Pooler
from sensorium.nn.positions import TIMM, TRANSFORMERS, Resampling, resize_positions
from sensorium.nn.transformer import MLP, PreNorm, TanhGELU, Transformer


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Sizes of a Vision Transformer (table 1 of the paper), and the choices in which its published lines differ.

    `classes` = 0 leaves the head away. `representation` is the width of the pre-training head's hidden
    layer; 0 is the single linear layer of fine-tuning. `pool` = "mean" has no class token: it averages the
    patches and norms the average. `class_position` = False leaves the class token without a position.
    """

    image: int = 224
    patch: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp: int = 3072
    channels: int = 3
    classes: int = 1000
    representation: int = 0
    registers: int = 0
    pool: Literal["cls", "mean"] = "cls"
    class_position: bool = True
    layer_scale: float | None = None
    activation: Literal["gelu", "gelu_tanh"] = "gelu"
    eps: float = 1e-6
    resampling: Resampling = TIMM


SIZES = {
    "ti": ViTConfig(width=192, depth=12, heads=3, mlp=768),
    "s": ViTConfig(width=384, depth=12, heads=6, mlp=1536),
    "b": ViTConfig(width=768, depth=12, heads=12, mlp=3072),
    "l": ViTConfig(width=1024, depth=24, heads=16, mlp=4096),
    "h": ViTConfig(width=1280, depth=32, heads=16, mlp=5120),
}
# Google's larger models are published best in transformers' line, with its epsilon and its way to resize.
TRANSFORMERS_LINE = {name: replace(SIZES[name], eps=1e-12, resampling=TRANSFORMERS) for name in "blh"}

PRESETS = (
    {f"vit-{size}-{patch}": replace(c, patch=patch) for size, c in SIZES.items() for patch in (8, 14, 16, 32)}
    | {f"vit-{size}-16": replace(c, patch=16) for size, c in TRANSFORMERS_LINE.items() if size != "h"}
    | {
        f"vit-{size}-{patch}-384": replace(TRANSFORMERS_LINE[size], patch=patch, image=384)
        for size in "bl"
        for patch in (16, 32)
    }
    | {
        f"vit-{size}-{patch}-in21k": replace(c, patch=patch, classes=0, representation=c.width)
        for size, c in TRANSFORMERS_LINE.items()
        for patch in ((14,) if size == "h" else (16, 32))
    }
)

ACTIVATIONS = {"gelu": nn.GELU, "gelu_tanh": TanhGELU}


class ViT(nn.Module):
    """Figure 1 of the paper: patches, positions, transformer, head."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        c = self.config = config
        side, width = c.image // c.patch, c.width
        prefix = int(c.pool == "cls")
        self.patches = PatchEmbedding(width, (c.patch, c.patch), c.channels)
        self.cls = nn.Parameter(torch.zeros(prefix, width))
        self.registers = nn.Parameter(torch.zeros(c.registers, width))
        self.positions = nn.Parameter(torch.empty(side * side + (prefix if c.class_position else 0), width))
        for tokens in (self.registers, self.positions):  # registers that begin alike would stay alike
            nn.init.normal_(tokens, std=0.02)
        self.blocks = Transformer(
            PreNorm(
                Attention(width, c.heads),
                MLP(width, c.mlp, ACTIVATIONS[c.activation]),
                width,
                eps=c.eps,
                layer_scale=c.layer_scale,
            )
            for _ in range(c.depth)
        )
        self.norm = nn.LayerNorm(width, c.eps)
        self.dim = width
        self.pooler = Pooler(width, c.representation) if c.representation else nn.Identity()
        self.head = nn.Linear(c.representation or width, c.classes) if c.classes else nn.Identity()

    @property
    def prefix(self) -> int:
        """How many tokens come before the patches: the class token and the registers."""
        return len(self.cls) + len(self.registers)

    def positions_for(self, height: int, width: int) -> Float[Tensor, "n width"]:
        """Positions for a picture of this size in pixels, interpolated where it is not the learned one."""
        side = self.config.image // self.config.patch
        placed = len(self.positions) - side * side
        new = self.patches.grid(height, width)
        return resize_positions(self.positions, (side, side), (new[0], new[1]), self.config.resampling, prefix=placed)

    def embed(self, image: Float[Tensor, "b channels h w"]) -> Tokens:
        """z_0 (equation 1): [cls, registers, patches], with positions on what has one."""
        positions = self.positions_for(*image.shape[-2:])
        x = self.patches(image)
        if self.config.class_position:
            x = prepend(self.cls, x) + positions
            cls, x = x[:, : len(self.cls)], x[:, len(self.cls) :]
        else:
            x = x + positions
            cls = self.cls.expand(x.shape[0], -1, -1)
        return torch.cat([cls, self.registers.expand(x.shape[0], -1, -1), x], dim=1)

    def states(self, image: Float[Tensor, "b channels h w"]) -> list[Tokens]:
        """z_0 ... z_L (equations 1-3): the tokens between the blocks, before the final norm."""
        return self.blocks.trace(self.embed(image))

    def tokens(self, image: Float[Tensor, "b channels h w"]) -> Tokens:
        """Every output token, [cls, registers, patches]; normed where the class token is the picture."""
        x = self.blocks(self.embed(image))
        return self.norm(x) if self.config.pool == "cls" else x

    def represent(self, image: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b width"]:
        """y (equation 4): one vector a picture, before any head."""
        x = self.tokens(image)
        return x[:, 0] if self.config.pool == "cls" else self.norm(x[:, self.prefix :].mean(1))

    def forward(self, image: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b out"]:
        """Class scores; without a head, the representation (through the pooler where there is one)."""
        return self.head(self.pooler(self.represent(image)))


def fine_tuned(model: ViT, classes: int, *, image: int | None = None) -> ViT:
    """A copy as fine-tuning begins (section 3.2): one linear layer of zeros in place of the pre-training head.

    With another `image` size the patches stay as large as they were, and the learned positions are interpolated.
    """
    size = image or model.config.image
    begun = ViT(replace(model.config, classes=classes, representation=0, image=size))
    trunk = {name: x for name, x in model.state_dict().items() if not name.startswith(("head.", "pooler."))}
    trunk["positions"] = model.positions_for(size, size).detach()
    head = {"head.weight": torch.zeros(classes, model.dim), "head.bias": torch.zeros(classes)}
    begun.load_state_dict(trunk | head)
    return begun
