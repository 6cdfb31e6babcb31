"""What training does to pictures: CLIP's random square crop (Radford et al. 2021, section 2.4) and ViT's random resized
crop with a flip (Szegedy et al. 2015, as big_vision's ViT recipes have it); mixup (https://arxiv.org/abs/1710.09412)
and cutout (https://arxiv.org/abs/1708.04552) for whole batches.

Pictures stay uint8 until the model's device has them: a quarter of the memory to move, and torch's uint8 kernel resizes
ten times sooner than Pillow (see `preprocess`). Every random number comes from the sample's own generator.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.data.errors import Unreadable
from sensorium.data.image import Source, read_pixels
from sensorium.data.preprocess import Filter
from sensorium.data.stream import Sample

MARGIN = 1.5  # a JPEG may be decoded at a reduced scale at which the crop still has this many times the result's sides
TRIES = 10  # of a random rectangle that fits, before the whole picture is taken


class Augment(Protocol):
    """A picture in, its training pixels out; or its test pixels, where there is no generator."""

    @property
    def size(self) -> int:
        """Sides of the result in pixels."""
        ...

    def __call__(self, source: Source, generator: torch.Generator | None = None) -> UInt8[Tensor, "3 size size"]:
        """The pixels of one picture; raises Unreadable."""
        ...


@dataclass(frozen=True)
class SquareCrop:
    """CLIP's: the short side becomes `size` times a number from 1 to `zoom`; a random square of it is taken.

    Without a generator the middle is, of the picture whose short side is `size`. CLIP's own zoom is 1: the crop moves
    along the long side only, so a square picture is never changed.
    """

    size: int = 224
    zoom: float = 1.0
    interpolation: Filter = "bicubic"

    def __call__(self, source: Source, generator: torch.Generator | None = None) -> UInt8[Tensor, "3 size size"]:
        """The pixels of one picture; raises Unreadable."""
        across, along, stretch = chances(generator, 3) if generator is not None else (0.5, 0.5, 0.0)
        part = 1 / (1 + stretch * (self.zoom - 1))  # of the short side that is seen
        pixels, (width, height) = decoded(source, math.ceil(MARGIN * self.size / part))
        side = part * min(width, height)
        return cut(
            pixels, (across * (width - side), along * (height - side), side, side), self.size, self.interpolation
        )


@dataclass(frozen=True)
class ResizedCrop:
    """ViT's: a random rectangle of `scale` of the area and `ratio` of sides is squeezed into a square, flipped or not.

    Without a generator the middle square is taken, as `SquareCrop` does.
    """

    size: int = 224
    scale: tuple[float, float] = (0.05, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True
    interpolation: Filter = "bilinear"

    def __call__(self, source: Source, generator: torch.Generator | None = None) -> UInt8[Tensor, "3 size size"]:
        """The pixels of one picture; raises Unreadable."""
        if generator is None:
            return SquareCrop(self.size, interpolation=self.interpolation)(source)
        chance = chances(generator, self.draws)
        area = self.scale[0] + chance[0] * (self.scale[1] - self.scale[0])
        pixels, (width, height) = decoded(source, math.ceil(MARGIN * self.size * math.sqrt(self.ratio[1] / area)))
        crop = cut(pixels, self.box(width, height, chance), self.size, self.interpolation)
        return crop.flip(-1) if self.flip and chance[-1] < 0.5 else crop

    @property
    def draws(self) -> int:
        """How many random numbers a crop takes; the last one decides on the flip."""
        return 4 * TRIES + 1

    def box(self, width: float, height: float, chance: list[float]) -> tuple[float, float, float, float]:
        """Left, top, width, height of the rectangle; the ratio is even on a logarithmic scale."""
        low, high = (math.log(value) for value in self.ratio)
        for i in range(0, 4 * TRIES, 4):
            area = width * height * (self.scale[0] + chance[i] * (self.scale[1] - self.scale[0]))
            ratio = math.exp(low + chance[i + 1] * (high - low))
            across, down = math.sqrt(area * ratio), math.sqrt(area / ratio)
            if across <= width and down <= height:
                return chance[i + 2] * (width - across), chance[i + 3] * (height - down), across, down
        across, down = min(width, height * self.ratio[1]), min(height, width / self.ratio[0])
        return (width - across) / 2, (height - down) / 2, across, down


def chances(generator: torch.Generator, count: int) -> list[float]:
    """Random numbers from 0 to 1, one after another."""
    return torch.rand(count, generator=generator).tolist()


def decoded(source: Source, at_least: int) -> tuple[UInt8[Tensor, "1 3 h w"], tuple[int, int]]:
    """A picture's pixels, decoded no finer than a short side of `at_least` needs, and its (width, height) so."""
    if isinstance(source, np.ndarray) and source.dtype == np.uint8 and source.ndim == 3 and source.shape[2] == 3:
        array: np.ndarray[Any, Any] = np.array(source)  # as sources map it into memory: not to be written to
    else:
        array = read_pixels(source, at_least=at_least)
    pixels = torch.from_numpy(array).permute(2, 0, 1)[None]  # a view: channels last is the layout the kernel is fast in
    return pixels, (pixels.shape[3], pixels.shape[2])


def cut(
    pixels: UInt8[Tensor, "1 3 h w"], box: tuple[float, float, float, float], size: int, interpolation: Filter
) -> UInt8[Tensor, "3 size size"]:
    """The part of a picture in a box, resized with antialiasing."""
    left, top = round(box[0]), round(box[1])
    width, height = max(1, round(box[2])), max(1, round(box[3]))
    left, top = min(left, pixels.shape[3] - width), min(top, pixels.shape[2] - height)
    part = pixels[:, :, top : top + height, left : left + width]
    if (width, height) == (size, size):
        return part[0].contiguous()
    if interpolation not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolation={interpolation!r}: torch antialiases bilinear and bicubic")
    return F.interpolate(part, size=(size, size), mode=interpolation, antialias=True)[0].contiguous()


def texts_of(sample: Mapping[str, Any]) -> tuple[str, ...]:
    """All of a sample's texts; none where it has none."""
    found = sample.get("text", ())
    return (found,) if isinstance(found, str) else tuple(found)


def one_text(sample: Sample, generator: torch.Generator | None = None) -> str:
    """A sample's text: one of several by chance, or the first without a generator. Raises Unreadable where none is."""
    texts = texts_of(sample)
    if not texts:
        raise Unreadable(str(sample.get("key", "sample")), "has no text")
    if generator is None or len(texts) == 1:
        return texts[0]
    return texts[int(torch.randint(len(texts), (), generator=generator))]


def label_of(sample: Sample) -> int:
    """The number of a sample's class. Raises Unreadable where it has none."""
    if "label" not in sample:
        raise Unreadable(str(sample.get("key", "sample")), "has no label")
    return int(sample["label"])


# -- batches ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mixed:
    """Mixed pictures, and the targets that they are mixed of: first * share + second * (1 - share)."""

    pixels: Float[Tensor, "b 3 h w"]
    share: Float[Tensor, " b"]
    partner: Tensor = field(repr=False)


def mixup(pixels: Float[Tensor, "b 3 h w"], alpha: float, generator: torch.Generator) -> Mixed:
    """Each picture blended with another of the batch; its share is at least one half (Zhang et al. 2018).

    Targets: `share * loss(own) + (1 - share) * loss(own[partner])`. Shares follow Beta(alpha, alpha), one a picture.
    """
    count = len(pixels)
    chance = np.random.default_rng(int(torch.randint(1 << 62, (), generator=generator)))  # torch's takes no generator
    drawn = torch.from_numpy(chance.beta(alpha, alpha, count)).float()
    share = torch.maximum(drawn, 1 - drawn).to(pixels.device)
    partner = torch.randperm(count, generator=generator).to(pixels.device)
    by = share.view(-1, 1, 1, 1).to(pixels.dtype)
    return Mixed(pixels * by + pixels[partner] * (1 - by), share, partner)


def cutout(pixels: Float[Tensor, "b 3 h w"], side: int, generator: torch.Generator) -> Float[Tensor, "b 3 h w"]:
    """A square of every picture becomes 0, which is the mean; its middle is anywhere, so parts may lie outside."""
    count, _, height, width = pixels.shape
    at = torch.rand(2, count, 1, 1, generator=generator).to(pixels.device)
    rows = torch.arange(height, device=pixels.device).view(1, -1, 1) - (at[0] * height).floor() + side // 2
    columns = torch.arange(width, device=pixels.device).view(1, 1, -1) - (at[1] * width).floor() + side // 2
    inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
    return pixels.masked_fill(inside[:, None], 0)
