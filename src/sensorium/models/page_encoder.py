"""The look of a page: ResNeXt-101 (Xie et al. 2016, https://arxiv.org/abs/1611.05431) under a feature pyramid.

The trunk of a Mask R-CNN that learned on PubLayNet (Zhong et al. 2019, https://arxiv.org/abs/1908.07836) to find text,
titles, lists, tables and figures. LayoutLMv2 sees through it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.feature_pyramid import FeaturePyramid
from sensorium.nn.frozen_resnet import DEPTHS, FrozenResNet, Stem, stages

PIXEL_MEAN, PIXEL_DEVIATION = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)  # blue, green, red


@dataclass(frozen=True, kw_only=True)
class PageConfig:
    """The page encoder: ResNeXt-101 32×8d with a feature pyramid. `width` is what the first stage's blocks are inside.

    `statistics` = False leaves out the mean and deviation of pixels that the authors' files store: they are constants.
    """

    depths: tuple[int, ...] = DEPTHS[101]
    groups: int = 32
    width: int = 256
    stem: int = 64
    stage: int = 256
    pyramid: int = 256
    statistics: bool = True


class PageEncoder(nn.Module):
    """The look of the page as a small grid of features, one an area."""

    def __init__(self, c: PageConfig, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        mean, deviation = (PIXEL_MEAN, PIXEL_DEVIATION) if c.statistics else ((), ())
        self.mean, self.deviation = nn.Buffer(torch.tensor(mean)), nn.Buffer(torch.tensor(deviation))
        self.trunk = FrozenResNet(Stem(c.stem), stages(c.depths, c.stem, c.width, c.stage, groups=c.groups))
        self.pyramid = FeaturePyramid([c.stage << level for level in range(len(c.depths))], c.pyramid)

    def maps(self, image: Tensor) -> list[Float[Tensor, "b _ _ _"]]:
        """res2 ... res5 of a page in blue, green, red, 0..255."""
        mean, deviation = self.mean, self.deviation
        if not mean.numel():
            mean, deviation = (deviation.new_tensor(numbers) for numbers in (PIXEL_MEAN, PIXEL_DEVIATION))
        return self.trunk((image - mean[:, None, None]) / deviation[:, None, None])

    def forward(self, image: Tensor) -> Float[Tensor, "b cells pyramid"]:
        """One vector a cell of the grid, row by row."""
        return F.adaptive_avg_pool2d(self.pyramid.finest(self.maps(image)), self.grid).flatten(2).mT
