"""Residual convolutional trunks (He et al. 2015, https://arxiv.org/abs/1512.03385)."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

EXPANSION = 4


class Shortcut(nn.Module):
    """The way around a bottleneck where width or size changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, antialias: bool) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(stride) if antialias and stride > 1 else nn.Identity()
        self.conv = nn.Conv2d(inputs, outputs, 1, 1 if antialias else stride, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h2 w2"]:
        """Bring `x` to the shape of the bottleneck's result."""
        return self.norm(self.conv(self.pool(x)))


class Bottleneck(nn.Module):
    """1×1 narrow, 3×3, 1×1 widen, added to a shortcut.

    With `antialias` a stride is an average pool before the next convolution (CLIP, section 2.4);
    without, the 3×3 convolution strides.
    """

    def __init__(self, inputs: int, width: int, stride: int = 1, *, antialias: bool = False) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.conv1, self.norm1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1 if antialias else stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.pool = nn.AvgPool2d(stride) if antialias and stride > 1 else nn.Identity()
        self.conv3, self.norm3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        changes = stride > 1 or inputs != outputs
        self.shortcut = Shortcut(inputs, outputs, stride, antialias=antialias) if changes else nn.Identity()

    def forward(self, x: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h2 w2"]:
        """Narrow, look around, widen, add."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(self.pool(y)))
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """A stem that shrinks the picture four times, then stages of bottlenecks that each halve it (but the first)."""

    def __init__(self, stem: nn.Module, inputs: int, depths: Sequence[int], width: int, *, antialias: bool = False):
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList()
        for level, depth in enumerate(depths):
            blocks: list[nn.Module] = []
            for index in range(depth):
                stride = 2 if level and not index else 1
                blocks.append(Bottleneck(inputs, width << level, stride, antialias=antialias))
                inputs = (width << level) * EXPANSION
            self.stages.append(nn.Sequential(*blocks))
        self.outputs = inputs

    def maps(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """The feature map of every stage, from 1/4 to 1/32 of the picture's size."""
        maps = [self.stem(image)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b outputs h32 w32"]:
        """The last feature map."""
        return self.maps(image)[-1]
