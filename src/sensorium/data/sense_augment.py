"""What training does to sounds, depth and heat beside cutting them: SpecAugment (Park et al. 2019,
https://arxiv.org/abs/1904.08779, section 2) and random erasing (Zhong et al. 2017, https://arxiv.org/abs/1708.04896,
algorithm 1), as ImageBind's appendix names them. Every random number comes from the sample's own generator.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.augment import TRIES, chances

AREA, RATIO = (0.02, 0.33), (0.3, 3.3)  # of what is erased: a share of the picture, height to width


def spec_augment(
    spectrogram: Float[Tensor, "1 bins frames"], generator: torch.Generator, *, bins: int, frames: int
) -> Float[Tensor, "1 bins frames"]:
    """One band of up to `bins` mel bins and one stretch of up to `frames` frames become 0, the mean of what is
    normalised. Widths and places are even; where the widest would not leave half of the axis, it is half of it."""
    masked = spectrogram.clone()
    for axis, widest in ((1, bins), (2, frames)):
        length = masked.shape[axis]
        how_wide, where = chances(generator, 2)
        width = int(how_wide * (min(widest, length // 2) + 1))
        masked.narrow(axis, int(where * (length - width + 1)), width).zero_()
    return masked


def erase(picture: Float[Tensor, "c h w"], generator: torch.Generator, *, chance: float) -> Float[Tensor, "c h w"]:
    """With this chance, a rectangle of 2 to 33% of the area becomes 0. Where none of ten fits, nothing does."""
    height, width = picture.shape[-2:]
    drawn = chances(generator, 1 + 4 * TRIES)
    if drawn[0] >= chance:
        return picture
    low, high = (math.log(value) for value in RATIO)
    for i in range(1, 1 + 4 * TRIES, 4):
        area = height * width * (AREA[0] + drawn[i] * (AREA[1] - AREA[0]))
        ratio = math.exp(low + drawn[i + 1] * (high - low))
        down, across = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < down < height and 0 < across < width:
            top, left = int(drawn[i + 2] * (height - down + 1)), int(drawn[i + 3] * (width - across + 1))
            erased = picture.clone()
            erased[..., top : top + down, left : left + across] = 0
            return erased
    return picture
