"""Two large and several small crops of one picture, each with colours of its own (DINO, Caron et al. 2021, section 3.1
and its public code; DINOv2 and DINOv3 augment alike).

Crops are cut by torch's uint8 kernel from a picture that is decoded once; colours are Pillow's. The published numbers:
jitter with chance 0.8 of brightness 0.4, contrast 0.4, saturation 0.2, hue 0.1, in any order; grey with 0.2; a blur of
σ from 0.1 to 2 with 1.0 for the first large crop, 0.1 for the second, 0.5 for the small ones; the second is solarised
with 0.2.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torch import Tensor

from sensorium.data.augment import ResizedCrop, chances, cut, decoded
from sensorium.data.image import Source

JITTER, GREY = 0.8, 0.2  # chances
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.2, 0.1
SIGMA = (0.1, 2.0)
SOLARISED_FROM = 128


@dataclass(frozen=True)
class Distortion:
    """Other colours, greys, a blur, a negative of what is bright: what a class does not depend on. Chances of two."""

    blur: float
    solarise: float = 0.0

    def __call__(self, pixels: UInt8[Tensor, "3 h w"], generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
        """Distort a crop; every random number is drawn, whether it is used or not."""
        u = chances(generator, 10)
        order = torch.randperm(4, generator=generator).tolist()
        image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        if u[0] < JITTER:
            for which in order:
                image = _jittered(image, which, 2 * u[1 + which] - 1)
        if u[5] < GREY:
            image = image.convert("L").convert("RGB")
        if u[6] < self.blur:
            image = image.filter(ImageFilter.GaussianBlur(SIGMA[0] + u[7] * (SIGMA[1] - SIGMA[0])))
        if u[8] < self.solarise:
            image = ImageOps.solarize(image, SOLARISED_FROM)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _jittered(image: Image.Image, which: int, by: float) -> Image.Image:
    """One property moved by a number from -1 to 1."""
    if which == 0:
        return ImageEnhance.Brightness(image).enhance(1 + BRIGHTNESS * by)
    if which == 1:
        return ImageEnhance.Contrast(image).enhance(1 + CONTRAST * by)
    if which == 2:
        return ImageEnhance.Color(image).enhance(1 + SATURATION * by)
    turned = np.array(image.convert("HSV"))
    turned[..., 0] += np.uint8(round(255 * HUE * by) % 256)  # the hue is a circle
    return Image.fromarray(turned, "HSV").convert("RGB")


LARGE = (Distortion(1.0), Distortion(0.1, 0.2))
SMALL = Distortion(0.5)


@dataclass(frozen=True, kw_only=True)
class MultiCrop:
    """The crops of one picture: "global" (2, 3, size, size), "local" (n, 3, local_size, local_size), both distorted.

    With `plain_size` there is "plain" (2, 3, plain_size, plain_size) too: the large crops again, undistorted and finer,
    for a teacher that sees more than its student (Gram anchoring at high resolution, DINOv3, section 4.3).
    """

    size: int = 224
    local_size: int = 96
    local: int = 8
    scale: tuple[float, float] = (0.32, 1.0)
    local_scale: tuple[float, float] = (0.05, 0.32)
    flip: bool = True
    plain_size: int = 0

    def __call__(self, source: Source, generator: torch.Generator) -> Mapping[str, UInt8[Tensor, "n 3 h w"]]:
        """The crops of one picture; raises Unreadable."""
        finest = max(self.size, self.plain_size) / math.sqrt(self.scale[0])
        finest = max(finest, self.local_size / math.sqrt(self.local_scale[0]) if self.local else 0)
        pixels, (width, height) = decoded(source, math.ceil(finest))

        def take(scale: tuple[float, float], *sizes: int) -> list[UInt8[Tensor, "3 h w"]]:
            crop = ResizedCrop(scale=scale)
            u = chances(generator, crop.draws)
            box = crop.box(width, height, u)
            found = [cut(pixels, box, size, "bicubic") for size in sizes]
            return [x.flip(-1) for x in found] if self.flip and u[-1] < 0.5 else found

        both = [take(self.scale, self.size, *([self.plain_size] if self.plain_size else [])) for _ in LARGE]
        small = [take(self.local_scale, self.local_size)[0] for _ in range(self.local)]
        crops = {"global": torch.stack([d(x[0], generator) for d, x in zip(LARGE, both, strict=True)])}
        if small:
            crops["local"] = torch.stack([SMALL(x, generator) for x in small])
        if self.plain_size:
            crops["plain"] = torch.stack([x[1] for x in both])
        return crops
