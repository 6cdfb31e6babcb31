"""Residual trunks as detectors use them (He et al. 2015, https://arxiv.org/abs/1512.03385): batch norms are frozen.

With groups they are ResNeXt (Xie et al. 2016, https://arxiv.org/abs/1611.05431). Stem and stages are separate, so that
a detector may stop before the last stage and apply that one to each region.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class FrozenBatchNorm2d(nn.Module):
    """A batch norm that learned its numbers elsewhere: all four are buffers, in training too."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Buffer(torch.ones(width)), nn.Buffer(torch.zeros(width))
        self.running_mean, self.running_var = nn.Buffer(torch.zeros(width)), nn.Buffer(torch.ones(width))

    def forward(self, x: Float[Tensor, "b width h w"]) -> Float[Tensor, "b width h w"]:
        """Scale and shift every channel."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


class ConvNorm(nn.Module):
    """A convolution without bias, then a frozen norm."""

    def __init__(
        self, inputs: int, outputs: int, side: int, stride: int = 1, *, groups: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        around = side // 2 * dilation
        self.conv = nn.Conv2d(inputs, outputs, side, stride, around, dilation, groups=groups, bias=False)
        self.norm = FrozenBatchNorm2d(outputs)

    def forward(self, x: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h2 w2"]:
        """Convolve and norm."""
        return self.norm(self.conv(x))


class Stem(nn.Module):
    """7×7 stride 2, then a max-pool of 3×3 stride 2; `pool` takes its place (Caffe's has no padding but a ceiling)."""

    def __init__(self, width: int, pool: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = ConvNorm(3, width, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, padding=1) if pool is None else pool

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b width h4 w4"]:
        """The first map, a quarter of the picture's size."""
        return self.pool(F.relu(self.conv(image)))


class Bottleneck(nn.Module):
    """1×1 narrow, 3×3 in `groups`, 1×1 widen, added to a shortcut.

    The stride is the 3×3 convolution's (ResNeXt) or, with `stride_first`, the first 1×1's (Caffe's ResNet).
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        outputs: int,
        stride: int = 1,
        *,
        groups: int = 1,
        stride_first: bool = False,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_first else (1, stride)
        self.conv1 = ConvNorm(inputs, width, 1, first)
        self.conv2 = ConvNorm(width, width, 3, second, groups=groups, dilation=dilation)
        self.conv3 = ConvNorm(width, outputs, 1)
        self.shortcut = ConvNorm(inputs, outputs, 1, stride) if inputs != outputs else nn.Identity()

    def forward(self, x: Float[Tensor, "b inputs h w"]) -> Float[Tensor, "b outputs h2 w2"]:
        """Narrow, look around, widen, add."""
        y = F.relu(self.conv2(F.relu(self.conv1(x))))
        return F.relu(self.conv3(y) + self.shortcut(x))


class Stage(nn.Sequential):
    """`depth` bottlenecks of one size; the first one changes width and size."""

    def __init__(
        self,
        depth: int,
        inputs: int,
        width: int,
        outputs: int,
        stride: int,
        *,
        groups: int = 1,
        stride_first: bool = False,
        dilation: int = 1,
    ) -> None:
        super().__init__(
            *(
                Bottleneck(
                    outputs if index else inputs,
                    width,
                    outputs,
                    1 if index else stride,
                    groups=groups,
                    stride_first=stride_first,
                    dilation=dilation,
                )
                for index in range(depth)
            )
        )


def stages(
    depths: Sequence[int], inputs: int, width: int, outputs: int, *, groups: int = 1, stride_first: bool = False
) -> list[Stage]:
    """res2, res3, ...: from the second on each halves the map and doubles `width` (inside) and `outputs`."""
    made: list[Stage] = []
    for level, depth in enumerate(depths):
        scale, stride = 1 << level, 2 if level else 1
        made.append(
            Stage(depth, inputs, width * scale, outputs * scale, stride, groups=groups, stride_first=stride_first)
        )
        inputs = outputs * scale
    return made


class FrozenResNet(nn.Module):
    """A stem and as many stages as wanted; gives the map of every stage."""

    def __init__(self, stem: Stem, stages: Sequence[Stage]) -> None:
        super().__init__()
        self.stem, self.stages = stem, nn.ModuleList(stages)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """res2, res3, ...: maps of 1/4, 1/8, ... of the picture's size."""
        maps = [self.stem(image)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]
