"""EfficientNet-Lite (Tan & Le 2019, https://arxiv.org/abs/1905.11946; lite variants: tensorflow/tpu, 2020).

Inverted bottlenecks scaled in width, depth and resolution together; "lite" drops squeeze-and-excitation, swaps swish
for ReLU6 and leaves stem and head unscaled, so that the network stays fast on plain CPUs.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.same_conv import SameConv

# (repeats, kernel, stride, expansion, out channels): table 1 of the paper, the B0 network every size is scaled from
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, HEAD = 32, 1280


@dataclass(frozen=True)
class EfficientNetLiteConfig:
    """`width` and `depth` multiply channels and repeats of B0; `size` is the training resolution in pixels."""

    width: float = 1.0
    depth: float = 1.0
    size: int = 224
    classes: int = 1000
    eps: float = 1e-3


PRESETS = {
    "efficientnet-lite0": EfficientNetLiteConfig(1.0, 1.0, 224),
    "efficientnet-lite1": EfficientNetLiteConfig(1.0, 1.1, 240),
    "efficientnet-lite2": EfficientNetLiteConfig(1.1, 1.2, 260),
}


class ConvNorm(nn.Module):
    """Convolution without bias, then batch norm."""

    def __init__(self, inp: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1, eps: float) -> None:
        super().__init__()
        self.conv = SameConv(inp, out, kernel, stride, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out, eps)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Convolve and normalise."""
        return self.norm(self.conv(x))


class Bottleneck(nn.Module):
    """Expand, filter each channel, project back without activation; residual where the shape allows."""

    def __init__(self, inp: int, out: int, kernel: int, stride: int, expansion: int, eps: float) -> None:
        super().__init__()
        inner = inp * expansion
        self.expand = ConvNorm(inp, inner, 1, eps=eps) if expansion != 1 else None
        self.filter = ConvNorm(inner, inner, kernel, stride=stride, groups=inner, eps=eps)
        self.project = ConvNorm(inner, out, 1, eps=eps)
        self.residual = stride == 1 and inp == out

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """One block."""
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.filter(y), inplace=True))
        return x + y if self.residual else y


def scaled_channels(channels: int, width: float) -> int:
    """Channels times width, rounded to the nearest multiple of 8 but never down by more than a tenth."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


class EfficientNetLite(nn.Module):
    """Pixels (normalised with mean 127/255, std 128/255) to pooled features and ImageNet-1k logits."""

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = ConvNorm(3, STEM, 3, stride=2, eps=config.eps)
        blocks: list[nn.Module] = []
        inp = STEM
        for stage, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
            out = scaled_channels(channels, config.width)
            ends = stage in (0, len(STAGES) - 1)  # lite keeps the first and last stage at one block
            for repeat in range(repeats if ends else math.ceil(repeats * config.depth)):
                blocks.append(Bottleneck(inp, out, kernel, stride if repeat == 0 else 1, expansion, config.eps))
                inp = out
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(inp, HEAD, 1, eps=config.eps)
        self.classifier = nn.Linear(HEAD, config.classes)

    def map(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1280 h2 w2"]:
        """The features of every place, 32 pixels apart."""
        x = F.relu6(self.stem(pixels), inplace=True)
        return F.relu6(self.head(self.blocks(x)), inplace=True)

    def features(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1280"]:
        """Globally pooled features, the classifier's input."""
        return self.map(pixels).mean(dim=(2, 3))

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """ImageNet-1k logits."""
        return self.classifier(self.features(pixels))


def fold_norms(model: EfficientNetLite) -> EfficientNetLite:
    """Batch norms folded into the convolutions before them, in place: same numbers, a third less time on a CPU.

    For inference only: the folded network keeps no running statistics and no longer matches the published names.
    """
    for module in model.modules():
        if isinstance(module, ConvNorm) and isinstance(module.norm, nn.BatchNorm2d):
            norm, conv = module.norm, module.conv
            assert norm.running_var is not None
            assert norm.running_mean is not None
            with torch.no_grad():
                gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                weight = conv.weight * gain[:, None, None, None]
                # channels last: the layout in which a CPU convolves soonest
                conv.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), requires_grad=False)
                conv.bias = nn.Parameter(norm.bias - norm.running_mean * gain, requires_grad=False)
            module.norm = nn.Identity()
    return model
