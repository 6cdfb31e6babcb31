"""A vector for every place of a picture, at any size and from any layer: what the looks at dense features share.

A transformer's places are its patches, a convolutional network's those of its last map. A picture keeps its shape; one
that is larger than a window is read in windows that overlap, and their vectors are blended where they do.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from sensorium.data.errors import SensoriumError
from sensorium.data.image import PIXEL_LIMIT
from sensorium.data.preprocess import FILTERS, Preprocess
from sensorium.insight.vit_like import ViTLike, find_vit, grid_of
from sensorium.models.clip import VisionResNet
from sensorium.models.convnext import ConvNeXt
from sensorium.models.efficientnet import EfficientNetLite
from sensorium.nn.attention import Tokens
from sensorium.nn.patch_maps import final_norm

Map = Float[Tensor, "rows columns channels"]
STRIDE = 32  # pixels between two places of a convolutional network's last map
WINDOW, OVERLAP = 1024, 256  # pixels along a side that are read at once, and that two windows share at least


class Transformed:
    """The patches of a transformer. `depth` layers to choose from, `step` pixels between two places (down, across)."""

    def __init__(self, vit: ViTLike) -> None:
        self.vit = vit
        self.depth = len(vit.blocks)
        self.step: tuple[int, int] = (vit.patches.stride[-2], vit.patches.stride[-1])

    @torch.inference_mode()
    def features(self, image: Float[Tensor, "1 3 h w"], layer: int | None = None) -> Map:
        """The patches' vectors after a layer (from 1, or from the end where negative); after the last, which None also
        is, normed as the model norms them. Raises SensoriumError where there is no such layer."""
        wanted, kept = numbered(layer, self.depth), list[Tensor]()

        def see(number: int, x: Tokens) -> None:
            if number == wanted:
                kept.append(x)

        with passing(self.vit, see):
            self.vit.tokens(image)
        grid = grid_of(self.vit, *image.shape[-2:])
        patches = kept[0][0, -grid.rows * grid.columns :]
        patches = final_norm(self.vit)(patches) if wanted == self.depth else patches
        return patches.float().unflatten(0, (grid.rows, grid.columns)).cpu()


class Convolved:
    """The last map of a convolutional network; the stages of a ConvNeXt are its layers, the last of them normed."""

    def __init__(self, maps: Callable[[Tensor], list[Tensor]], depth: int = 1, norm: nn.Module | None = None) -> None:
        self.maps, self.depth, self.norm = maps, depth, norm
        self.step = (STRIDE, STRIDE)  # all of ours halve a picture five times

    @torch.inference_mode()
    def features(self, image: Float[Tensor, "1 3 h w"], layer: int | None = None) -> Map:
        """The same; maps of earlier stages are brought to the last one's size by averaging."""
        number = numbered(layer, self.depth)
        found, size = self.maps(image)[number - 1], (image.shape[-2] // STRIDE, image.shape[-1] // STRIDE)
        places = nn.functional.adaptive_avg_pool2d(found, size)[0].permute(1, 2, 0)
        return (places if self.norm is None or number < self.depth else self.norm(places)).float().cpu()


Sight = Transformed | Convolved


def sight_of(model: nn.Module) -> Sight:
    """What sees places in a model: its transformer over patches, or its convolutional network (the first it has).

    Raises SensoriumError where it has neither.
    """
    if (vit := find_vit(model)) is not None:
        return Transformed(vit)
    for module in model.modules():
        if isinstance(module, ConvNeXt):
            return Convolved(module.maps, len(module.stages), module.norm)
        if isinstance(module, EfficientNetLite):
            return Convolved(lambda image, network=module: [network.map(image)])
        if isinstance(module, VisionResNet):
            return Convolved(lambda image, tower=module: [tower.trunk(image)])
    raise SensoriumError(
        f"{type(model).__name__} has no vectors for the places of a picture: this needs a ViT, CLIP, DINOv2 or DINOv3, "
        "ImageBind or `pocket`"
    )


def numbered(layer: int | None, depth: int) -> int:
    """The number of a layer from 1. Raises SensoriumError where there is none."""
    number = depth if layer is None else depth + 1 + layer if layer < 0 else layer
    if not 1 <= number <= depth:
        raise SensoriumError(f"--layer {layer}: this model has layers 1 to {depth}, and -1 is the last")
    return number


@contextmanager
def passing(vit: ViTLike, see: Callable[[int, Tokens], None]) -> Generator[None]:
    """Whatever runs inside the block shows the tokens after every layer (numbered from 1) to `see`, not normed."""

    def hook(number: int) -> Callable[[nn.Module, Any, Tokens], None]:
        return lambda _module, _inputs, x: see(number, x)

    hooks = [block.register_forward_hook(hook(number)) for number, block in enumerate(vit.blocks, 1)]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


# -- any size ---------------------------------------------------------------------------------------------------------


def fitted_to(
    image: Image.Image, steps: Preprocess, step: tuple[int, int], short: int | None = None
) -> UInt8[Tensor, "3 h w"]:
    """The whole picture, its short side of about `short` pixels (twice the model's own size if None).

    Both sides become multiples of the model's step, which changes the shape by half a step at most. Raises
    SensoriumError where that would be too many pixels.
    """
    import numpy as np

    scale = (short or 2 * steps.size) / min(image.size)
    down, across = step
    width = max(1, round(image.width * scale / across)) * across
    height = max(1, round(image.height * scale / down)) * down
    if width * height > PIXEL_LIMIT:
        raise SensoriumError(f"the picture would have {width:,} x {height:,} pixels: ask for a smaller --size")
    resized = image.convert("RGB").resize((width, height), FILTERS[steps.interpolation])
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)


def over_windows(
    pixels: UInt8[Tensor, "3 h w"],
    step: tuple[int, int],
    read: Callable[[UInt8[Tensor, "1 3 _ _"]], Map],
    *,
    window: int = WINDOW,
    overlap: int = OVERLAP,
) -> Map:
    """What `read` says of every place, of a picture of any size.

    A side of more than `window` pixels is read in equal windows that share `overlap` pixels or more; there each one's
    say fades linearly towards its edge, and all say sums to 1. Memory: one window's, and the result twice.
    """
    across = [spread(side // s, window // s, overlap // s) for side, s in zip(pixels.shape[1:], step, strict=True)]
    if len(across[0]) == len(across[1]) == 1:
        return read(pixels[None])
    whole: Tensor | None = None
    for top, down_weights in across[0]:
        for left, across_weights in across[1]:
            rows, columns = len(down_weights), len(across_weights)
            part = pixels[
                None,
                :,
                top * step[0] : (top + rows) * step[0],
                left * step[1] : (left + columns) * step[1],
            ]
            found = read(part) * (down_weights[:, None] * across_weights)[..., None]
            if whole is None:
                whole = found.new_zeros(pixels.shape[1] // step[0], pixels.shape[2] // step[1], found.shape[-1])
            whole[top : top + rows, left : left + columns] += found
    assert whole is not None
    return whole


def spread(places: int, window: int, overlap: int) -> list[tuple[int, Float[Tensor, " n"]]]:
    """Where windows begin along a side of so many places, and the weight of each of their places."""
    size = min(places, window)
    count = 1 if places <= window else -(-(places - overlap) // (window - overlap))
    starts = [round(i * (places - size) / max(count - 1, 1)) for i in range(count)]
    weights = torch.zeros(count, places)
    for i, start in enumerate(starts):
        rise = torch.arange(1, size + 1).clamp(max=overlap) if i else torch.full((size,), overlap)
        fall = torch.arange(size, 0, -1).clamp(max=overlap) if i < count - 1 else torch.full((size,), overlap)
        weights[i, start : start + size] = torch.minimum(rise, fall).float()
    weights /= weights.sum(0)
    return [(start, weights[i, start : start + size]) for i, start in enumerate(starts)]


def features_of(
    sight: Sight,
    pixels: UInt8[Tensor, "3 h w"],
    steps: Preprocess,
    device: torch.device,
    layer: int | None = None,
) -> Map:
    """The vectors of every place of a picture of any size, on the CPU; the pixels are as `fitted_to` gives them."""
    return over_windows(pixels, sight.step, lambda part: sight.features(steps.normalise(part.to(device)), layer))
