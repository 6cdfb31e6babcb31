"""ConvNeXt: A ConvNet for the 2020s (Liu et al. 2022), https://arxiv.org/abs/2201.03545

A ResNet that learned its manners from transformers: patches at the door, few norms, wide kernels for looking around
and an MLP for thinking. Its presets are the students that DINOv3 distilled (https://arxiv.org/abs/2508.10104).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.features import Features


@dataclass(frozen=True, kw_only=True)
class ConvNeXtConfig:
    """Blocks and channels of the four stages."""

    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    channels: int = 3
    layer_scale: float = 1e-6
    eps: float = 1e-6


PRESETS = {
    "dinov3-convnext-tiny": ConvNeXtConfig(),
    "dinov3-convnext-small": ConvNeXtConfig(depths=(3, 3, 27, 3)),
    "dinov3-convnext-base": ConvNeXtConfig(depths=(3, 3, 27, 3), widths=(128, 256, 512, 1024)),
    "dinov3-convnext-large": ConvNeXtConfig(depths=(3, 3, 27, 3), widths=(192, 384, 768, 1536)),
}

Picture = Float[Tensor, "b channels height width"]
Map = Float[Tensor, "b c h w"]


class MapNorm(nn.LayerNorm):
    """LayerNorm over the channels of every place of a feature map."""

    def forward(self, input: Map) -> Map:
        """The same map, each place normed alone."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Figure 4 of the paper: a 7×7 convolution of each channel, norm, widen, GELU, narrow."""

    def __init__(self, width: int, layer_scale: float, eps: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gain = nn.Parameter(torch.full((width,), layer_scale))

    def forward(self, x: Map) -> Map:
        """Look around, then think at every place alone."""
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))  # no copy: maps lie with their channels last
        y = self.gain * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """A stem of 4×4 patches and four stages, each half the size of the one before."""

    def __init__(self, config: ConvNeXtConfig) -> None:
        super().__init__()
        c = self.config = config
        self.shrink, self.stages = nn.ModuleList(), nn.ModuleList()
        inputs = c.channels
        for level, (depth, width) in enumerate(zip(c.depths, c.widths, strict=True)):
            steps = [MapNorm(inputs, c.eps), nn.Conv2d(inputs, width, 2, 2)]
            stem = [nn.Conv2d(inputs, width, 4, 4), MapNorm(width, c.eps)]
            self.shrink.append(nn.Sequential(*(steps if level else stem)))
            self.stages.append(nn.Sequential(*(Block(width, c.layer_scale, c.eps) for _ in range(depth))))
            inputs = width
        self.norm = nn.LayerNorm(inputs, c.eps)
        self.dim = inputs

    def maps(self, image: Picture) -> list[Map]:
        """The feature map of every stage, from 1/4 to 1/32 of the picture's size, not normed."""
        x = image.contiguous(memory_format=torch.channels_last)
        maps: list[Map] = []
        for shrink, stage in zip(self.shrink, self.stages, strict=True):
            x = stage(shrink(x))
            maps.append(x)
        return maps

    def layers(
        self,
        image: Picture,
        which: Sequence[int],
        *,
        norm: bool = True,
        patch: int | None = None,
    ) -> list[Features]:
        """The features after the named stages (from 0, or from the end where negative); `cls` is the mean of the map.

        `norm` touches only the last stage's. With `patch`, maps are resized to the grid of a ViT with such patches
        (for teachers and heads made for one). Raises IndexError where there is no such stage.
        """
        maps = self.maps(image)
        found: list[Features] = []
        for stage in which:
            x = maps[stage]
            cls = x.mean((2, 3))
            if patch is not None:
                size = (image.shape[2] // patch, image.shape[3] // patch)
                x = F.interpolate(x, size=size, mode="bilinear", antialias=True)
            patches = x.flatten(2).mT
            if norm and range(len(maps))[stage] == len(maps) - 1:
                patches, cls = self.norm(patches), self.norm(cls)
            found.append(Features(cls, patches[:, :0], patches))
        return found

    def represent(self, image: Picture) -> Float[Tensor, "b dim"]:
        """One vector a picture: the norm of the mean of the last map."""
        return self.norm(self.maps(image)[-1].mean((2, 3)))

    def forward(self, image: Picture) -> Features:
        """The features of a picture; `registers` is empty."""
        return self.layers(image, [-1])[0]
