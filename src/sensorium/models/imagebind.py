"""ImageBind: One Embedding Space To Bind Them All (Girdhar et al. 2023), https://arxiv.org/abs/2305.05665

Every kind of media is trained against pictures alone, and so meets every other kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import log
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from sensorium.models.clip import TextTower, TextTransformer
from sensorium.nn.attention import Attention, Tokens
from sensorium.nn.embeddings import PatchEmbedding, prepend
from sensorium.nn.positions import TRANSFORMERS, resize_positions
from sensorium.nn.transformer import MLP, PreNorm, Transformer

Modality = Literal["vision", "text", "audio", "depth", "thermal", "imu"]
MODALITIES: tuple[Modality, ...] = ("vision", "text", "audio", "depth", "thermal", "imu")
EPS, STEM_EPS = 1e-6, 1e-5


@dataclass(frozen=True, kw_only=True)
class TrunkConfig:
    """What is cut into patches, and the transformer that reads them.

    `sides` and `patch` are (frames, height, width) of a clip, (height, width) of a picture (mel bins and frames of a
    sound), or the steps of a signal. `norm` says what is normed before the blocks: every patch, or all tokens with
    their positions, as in the CLIP that vision was taken from. `null_token` is a key and value of its own per block.
    """

    channels: int
    sides: tuple[int, ...]
    patch: tuple[int, ...]
    stride: tuple[int, ...] | None = None
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp: int = 3072
    norm: Literal["patches", "tokens"] = "patches"
    null_token: bool = True


# The encoders of section 3.4 and the paper's appendix.
VISION = TrunkConfig(
    channels=3,
    sides=(2, 224, 224),
    patch=(2, 14, 14),
    width=1280,
    depth=32,
    heads=16,
    mlp=5120,
    norm="tokens",
    null_token=False,
)
TEXT = TextTower(width=1024, depth=24, heads=16, mlp=4096, activation="gelu", eps=EPS)
AUDIO = TrunkConfig(channels=1, sides=(128, 204), patch=(16, 16), stride=(10, 10))
DEPTH = TrunkConfig(channels=1, sides=(224, 224), patch=(16, 16), width=384, heads=8, mlp=1536)
THERMAL = TrunkConfig(channels=1, sides=(224, 224), patch=(16, 16))
IMU = TrunkConfig(channels=6, sides=(2000,), patch=(8,), width=512, depth=6, heads=8, mlp=2048)


@dataclass(frozen=True, kw_only=True)
class ImageBindConfig:
    """One tower a modality, None where it is left out, and the width of the space in which they meet."""

    vision: TrunkConfig | None = VISION
    text: TextTower | None = TEXT
    audio: TrunkConfig | None = AUDIO
    depth: TrunkConfig | None = DEPTH
    thermal: TrunkConfig | None = THERMAL
    imu: TrunkConfig | None = IMU
    embed: int = 1024

    def __post_init__(self) -> None:
        if not self.towers:
            raise ValueError(f"an ImageBind without any modality; name one of {', '.join(MODALITIES)}")

    @property
    def towers(self) -> dict[Modality, TrunkConfig | TextTower]:
        """The modalities that are there."""
        return {modality: tower for modality in MODALITIES if (tower := getattr(self, modality)) is not None}

    def only(self, *modalities: str) -> "ImageBindConfig":
        """The same sizes with these modalities alone: the others are neither built nor read from a checkpoint."""
        if unknown := set(modalities) - set(MODALITIES):
            raise ValueError(f"no modality {', '.join(sorted(unknown))}; there are {', '.join(MODALITIES)}")
        absent = {field.name: None for field in fields(self) if field.name in set(MODALITIES) - set(modalities)}
        return replace(self, **absent)


def _small(trunk: TrunkConfig, depth: int) -> TrunkConfig:
    return replace(trunk, width=192, depth=depth, heads=3, mlp=768)


PRESETS = {
    "imagebind-huge": ImageBindConfig(),
    # Not the paper's: a size that trains on one machine.
    "imagebind-tiny": ImageBindConfig(
        vision=replace(_small(VISION, 12), patch=(2, 16, 16)),
        text=replace(TEXT, width=256, depth=6, heads=4, mlp=1024),
        audio=_small(AUDIO, 6),
        depth=_small(DEPTH, 6),
        thermal=_small(THERMAL, 6),
        imu=_small(IMU, 3),
        embed=256,
    ),
}

# What the logits of each modality are multiplied by (appendix, training details); pictures are the other side of each.
SCALES = {"text": 1 / 0.07, "audio": 20.0, "depth": 5.0, "thermal": 10.0, "imu": 5.0}
LARGEST_SCALE = 100.0


def _random(*shape: int) -> nn.Parameter:
    parameter = nn.Parameter(torch.empty(shape))
    nn.init.normal_(parameter, std=shape[-1] ** -0.5)
    return parameter


class Trunk(nn.Module):
    """Figure 2's encoder of anything that can be cut into patches, with its head into the common space."""

    def __init__(self, c: TrunkConfig, embed: int) -> None:
        super().__init__()
        self.config = c
        self.patches = PatchEmbedding(c.width, c.patch, c.channels, stride=c.stride, bias=False)
        self.grid = self.patches.grid(*c.sides)
        self.norm_patches = nn.LayerNorm(c.width, STEM_EPS) if c.norm == "patches" else nn.Identity()
        self.cls = _random(1, c.width)
        self.positions = _random(1 + torch.Size(self.grid).numel(), c.width)
        self.norm_in = nn.LayerNorm(c.width, EPS) if c.norm == "tokens" else nn.Identity()
        self.blocks = Transformer(
            PreNorm(Attention(c.width, c.heads, null_token=c.null_token), MLP(c.width, c.mlp), c.width, eps=EPS)
            for _ in range(c.depth)
        )
        self.norm_out = nn.LayerNorm(c.width, EPS)
        self.project = nn.Linear(c.width, embed, bias=False)

    def positions_for(self, *sides: int) -> Float[Tensor, "n width"]:
        """Positions of the class token and the patches. Pictures may have any size, and fewer frames.

        Raises ValueError where a sound, a signal or a one-channel picture has another size than the learned one.
        """
        new = self.patches.grid(*sides)
        if new == self.grid:
            return self.positions
        if len(new) != 3 or not 0 < new[0] <= self.grid[0]:
            raise ValueError(f"this trunk reads inputs of {self.config.sides}, not {sides}")
        frames = self.positions[1:].unflatten(0, (self.grid[0], -1))[: new[0]]
        old, now = (self.grid[1], self.grid[2]), (new[1], new[2])
        return torch.cat([self.positions[:1], *(resize_positions(grid, old, now, TRANSFORMERS) for grid in frames)])

    def embed(self, x: Float[Tensor, "b channels *sides"]) -> Tokens:
        """z_0: [cls, patches] with their positions. A picture given to a trunk of clips is shown for two frames.

        Raises ValueError where the input is none that this trunk reads.
        """
        if x.ndim == 4 and len(self.grid) == 3:
            x = x[:, :, None].expand(-1, -1, 2, -1, -1)
        if x.ndim != 2 + len(self.grid) or x.shape[1] != self.config.channels:
            wanted = (self.config.channels, *self.config.sides)
            raise ValueError(f"this trunk reads batches of {wanted}, not of {tuple(x.shape[1:])}")
        return prepend(self.cls, self.norm_patches(self.patches(x))) + self.positions_for(*x.shape[2:])

    def tokens(self, x: Float[Tensor, "b channels *sides"]) -> Tokens:
        """[cls, patches] after the last block, before the final norm."""
        return self.blocks(self.norm_in(self.embed(x)))

    def represent(self, x: Float[Tensor, "b channels *sides"]) -> Float[Tensor, "b width"]:
        """One vector an input before the projection."""
        return self.norm_out(self.tokens(x)[:, 0])

    def forward(self, x: Float[Tensor, "b channels *sides"]) -> Float[Tensor, "b embed"]:
        """Into the common space, not normalised."""
        return self.project(self.represent(x))


class Scale(nn.Module):
    """What a modality's unit vectors are multiplied by; only that of text is learned."""

    def __init__(self, init: float, *, learned: bool) -> None:
        super().__init__()
        value = torch.tensor(log(init))
        if learned:
            self.log = nn.Parameter(value)
        else:
            self.register_buffer("log", value)

    def forward(self, x: Float[Tensor, "*b embed"]) -> Float[Tensor, "*b embed"]:
        """Scale, by 100 at most."""
        return x * self.log.exp().clamp(max=LARGEST_SCALE)


class ImageBind(nn.Module):
    """Figure 2 of the paper: a tower a modality, one space. Any subset of the modalities makes a model."""

    def __init__(self, config: ImageBindConfig) -> None:
        super().__init__()
        self.config = config
        self.towers = nn.ModuleDict(
            {
                modality: TextTransformer(c, config.embed) if isinstance(c, TextTower) else Trunk(c, config.embed)
                for modality, c in config.towers.items()
            }
        )
        self.scales = nn.ModuleDict(
            {m: Scale(SCALES[m], learned=m == "text") for m in config.towers if m in SCALES},
        )

    def project(self, modality: Modality, x: Shaped[Tensor, "b *input"]) -> Float[Tensor, "b embed"]:
        """Unit vectors times the modality's scale, one an input."""
        if modality not in self.towers:
            raise ValueError(f"this model was built without {modality}; it has {', '.join(self.towers)}")
        y = F.normalize(self.towers[modality](x), dim=-1)
        return self.scales[modality](y) if modality in self.scales else y

    def embed(self, modality: Modality, x: Shaped[Tensor, "b *input"]) -> Float[Tensor, "b embed"]:
        """The reference's embedding of a batch.

        vision     pictures (b, 3, h, w), their crops (b, clips, 3, h, w), clips (b, clips, 3, frames, h, w)
        text       ids (b, n)
        audio      log-mel spectrograms (b, 1, bins, frames) or clips of them (b, clips, 1, bins, frames)
        depth, thermal  (b, 1, h, w) or (b, clips, 1, h, w)
        imu        (b, 6, steps) or (b, clips, 6, steps)

        Clips are averaged as they come out of `project`: unit vectors times the scale; the mean is not normalised.
        Raises ValueError where the model was built without the modality.
        """
        plain = {"text": 2, "imu": 3}.get(modality, 4)
        if x.ndim <= plain:
            return self.project(modality, x)
        return self.project(modality, x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(1)

    def forward(self, inputs: Mapping[Modality, Tensor]) -> dict[Modality, Tensor]:
        """The embedding of every modality that is given; products of a picture's with another's are logits."""
        return {modality: self.embed(modality, x) for modality, x in inputs.items()}
