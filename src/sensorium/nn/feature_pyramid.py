"""Feature Pyramid Networks for Object Detection (Lin et al. 2017), https://arxiv.org/abs/1612.03144

Coarse maps know what, fine maps know where: each finer map gets the coarser one's meaning added.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Map = Float[Tensor, "b _ _ _"]


class FeaturePyramid(nn.Module):
    """Figure 3 of the paper: 1×1 laterals, top-down sums of nearest neighbours, 3×3 outputs; finest map first."""

    def __init__(self, inputs: Sequence[int], width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in inputs)
        self.outputs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in inputs)

    def top_down(self, maps: Sequence[Map]) -> list[Map]:
        """The summed maps before the output convolutions, finest first."""
        summed = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        for level in range(len(summed) - 2, -1, -1):
            size = summed[level].shape[-2:]
            summed[level] = summed[level] + F.interpolate(summed[level + 1], size=size, mode="nearest")
        return summed

    def finest(self, maps: Sequence[Map]) -> Map:
        """The finest output alone: no other output convolution is computed."""
        return self.outputs[0](self.top_down(maps)[0])

    def forward(self, maps: Sequence[Map]) -> list[Map]:
        """One output a map (p2, p3, ...), and the coarsest once more, halved."""
        outputs = [output(x) for output, x in zip(self.outputs, self.top_down(maps), strict=True)]
        return [*outputs, F.max_pool2d(outputs[-1], 1, stride=2)]
