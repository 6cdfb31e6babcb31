"""A decoded picture in, a model's input tensor out: resize, crop, scale and normalise exactly as the references do.

Two ways lead there. Calling a `Preprocess` repeats the reference operation by operation, with Pillow. `fast` resizes
with torch's uint8 kernel instead: pixels within one level of 255 of Pillow's (two for some 2 in a million), ten times
sooner where the CPU has AVX2 (1024x768 to 224 on one thread: 1.1 ms against 11 ms).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import PIL
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from sensorium.data.errors import SensoriumError
from sensorium.data.image import from_array

Triple = tuple[float, float, float]

CLIP_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Triple = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
HALF: Triple = (0.5, 0.5, 0.5)  # mean and standard deviation that map [0, 1] to [-1, 1]

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
Filter = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]

PILLOW = int(PIL.__version__.split(".")[0])
WHOLE_LIMIT = 1 << 25  # pixels: a resized picture larger than this (aspect ratios beyond 600:1) is made crop only


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the (3, size, size) input of a model.

    resize         "short": the short side becomes `resize_to` and the aspect stays; "squash": both sides do
    resize_to      pixels before the centre crop; None means `size`, so that "squash" needs no crop
    interpolation  filter of the resize, antialiased as Pillow does it
    mean, std      of the RGB channels, for values in [0, 1]
    rgb            whether the conversion to RGB comes before the resize (transformers, timm) or after the crop (OpenAI)
    centre         where an odd margin of the crop goes: "round" half to even (OpenAI, timm) or "floor" (transformers)
    """

    size: int = 224
    resize: Literal["short", "squash"] = "short"
    resize_to: int | None = None
    interpolation: Filter = "bicubic"
    mean: Triple = CLIP_MEAN
    std: Triple = CLIP_STD
    rgb: Literal["before", "after"] = "after"
    centre: Literal["round", "floor"] = "round"

    def __post_init__(self) -> None:
        for name, value in (("size", self.size), ("resize_to", self.resize_to)):
            if value is not None and value < 1:
                raise SensoriumError(f"Preprocess.{name}={value}: must be 1 pixel or more")
        for name, value, allowed in (
            ("resize", self.resize, ("short", "squash")),
            ("interpolation", self.interpolation, tuple(FILTERS)),
            ("rgb", self.rgb, ("before", "after")),
            ("centre", self.centre, ("round", "floor")),
        ):
            if value not in allowed:
                raise SensoriumError(f"Preprocess.{name}={value!r}: must be one of {', '.join(allowed)}")

    def __call__(self, image: Image.Image | np.ndarray[Any, Any]) -> Float[Tensor, "3 size size"]:
        """The normalised input of one picture (PIL, or an array as `from_array` takes it), equal to the reference's."""
        return self.normalise(self.pixels(image))

    def pixels(self, image: Image.Image | np.ndarray[Any, Any]) -> UInt8[Tensor, "3 size size"]:
        """The resized and cropped RGB pixels, equal to the reference's."""
        image = from_array(image) if isinstance(image, np.ndarray) else image
        if self.rgb == "before":
            image = image.convert("RGB")
        width, height = self.resized(image.width, image.height)
        left, top = self.offset(width), self.offset(height)
        filter = FILTERS[self.interpolation]
        if width * height > WHOLE_LIMIT:
            image = self._crop_first(image, width, height)
        else:
            image = image.resize((width, height), filter).crop((left, top, left + self.size, top + self.size))
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()

    def fast(self, image: Image.Image | np.ndarray[Any, Any]) -> UInt8[Tensor, "3 size size"]:
        """The same pixels but for a level, by torch's antialiased uint8 kernel; `normalise` a batch of them at once.

        The picture is converted to RGB first. Filters that torch lacks, and extreme shapes, take the way of `pixels`.
        """
        image = from_array(image) if isinstance(image, np.ndarray) else image
        width, height = self.resized(image.width, image.height)
        if self.interpolation not in ("bilinear", "bicubic") or width * height > WHOLE_LIMIT:
            return self.pixels(image.convert("RGB"))
        source = torch.from_numpy(np.array(image if image.mode == "RGB" else image.convert("RGB")))
        source = source.permute(2, 0, 1)[None]  # a view: channels last is the layout the kernel is fast in
        if _vertical_first(image.size, (width, height)):
            source = F.interpolate(source, size=(height, image.width), mode=self.interpolation, antialias=True)
        if (width, height) != image.size:
            source = F.interpolate(source, size=(height, width), mode=self.interpolation, antialias=True)
        left, top, size = self.offset(width), self.offset(height), self.size
        if left < 0 or top < 0:
            right, bottom = max(size - width - max(-left, 0), 0), max(size - height - max(-top, 0), 0)
            source = F.pad(source, (max(-left, 0), right, max(-top, 0), bottom))
            left, top = max(left, 0), max(top, 0)
        return source[0, :, top : top + size, left : left + size].contiguous()

    def normalise(self, pixels: UInt8[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
        """Scale to [0, 1], subtract the mean, divide by the standard deviation; on the pixels' own device."""
        mean, std = (torch.tensor(v, device=pixels.device).view(3, 1, 1) for v in (self.mean, self.std))
        return pixels.to(torch.float32).div_(255).sub_(mean).div_(std)

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) after the resize of a picture of that size."""
        short = self.resize_to or self.size
        if self.resize == "squash":
            return short, short
        # the long side is cut to an integer, in this order of operations: int(size * long / short)
        if width <= height:
            return short, int(short * height / width)
        return int(short * width / height), short

    def offset(self, length: int) -> int:
        """Where the crop begins on a resized side of `length` pixels; negative where black must be added."""
        margin = length - self.size
        if self.centre == "floor":
            return margin // 2
        return round(margin / 2) if margin >= 0 else -(-margin // 2)

    def _crop_first(self, image: Image.Image, width: int, height: int) -> Image.Image:
        """The crop of a resize to (width, height) without making the rest, which may be gigabytes.

        Equal to the long way but for the rounding of the box to single precision.
        """
        left, top = max(self.offset(width), 0), max(self.offset(height), 0)
        right, bottom = min(left + self.size, width), min(top + self.size, height)
        x, y = image.width / width, image.height / height
        box = (left * x, top * y, min(right * x, image.width), min(bottom * y, image.height))
        crop = image.resize((right - left, bottom - top), FILTERS[self.interpolation], box=box)
        left, top = min(self.offset(width), 0), min(self.offset(height), 0)
        return crop.crop((left, top, left + self.size, top + self.size))


def _vertical_first(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether Pillow resizes columns before rows; torch always begins with the rows.

    The order shows, by up to 28 levels at hard edges, because values are rounded and clipped between the passes.
    Pillow 13 begins with the columns when they shrink by much more (its pull request 9549); earlier ones never do.
    """
    narrowed, lowered = before[0] - after[0], before[1] - after[1]
    return PILLOW >= 13 and lowered > 0 and lowered > 2 * narrowed


def clip(size: int = 224) -> Preprocess:
    """OpenAI's CLIP: short side bicubic, centre crop, then RGB (Radford et al. 2021, clip/clip.py)."""
    return Preprocess(size)


def vit(size: int = 224) -> Preprocess:
    """Google's ViT as transformers runs it: squashed to a square, bilinear, values in [-1, 1]."""
    return Preprocess(size, "squash", interpolation="bilinear", mean=HALF, std=HALF, rgb="before", centre="floor")


def timm(size: int = 224, crop: float = 0.9, *, mean: Triple = HALF, std: Triple = HALF) -> Preprocess:
    """timm's evaluation: short side to floor(size / crop), bicubic, centre crop; its ViTs use 0.9 (at 384: 1.0)."""
    to = math.floor(size / crop)
    return Preprocess(size, resize_to=None if to == size else to, mean=mean, std=std, rgb="before")


def efficientnet_lite(size: int = 224) -> Preprocess:
    """EfficientNet-Lite: 32 pixels of margin before the crop, bicubic, (x - 127) / 128."""
    mean, std = (127 / 255, 127 / 255, 127 / 255), (128 / 255, 128 / 255, 128 / 255)
    return Preprocess(size, resize_to=size + 32, mean=mean, std=std, rgb="before")


# -- as other libraries write it --------------------------------------------------------------------------------------

# what preprocessor_config.json may say beside the steps, without a say in them
BYSTANDERS = frozenset(
    {"image_processor_type", "feature_extractor_type", "processor_class", "auto_map", "return_tensors", "data_format"}
    | {
        "input_data_format",
        "device",
        "disable_grouping",
        "_valid_processor_keys",
        "default_to_square",
        "do_convert_rgb",
    }
    | {"do_resize", "size", "resample", "do_center_crop", "crop_size", "crop_pct", "do_rescale", "rescale_factor"}
    | {"do_normalize", "image_mean", "image_std", "rgb", "centre", "transformers_version", "use_square_size"}
)


def from_transformers(config: Mapping[str, Any]) -> Preprocess:
    """Read the contents of a `preprocessor_config.json`.

    Raises SensoriumError on a step that Preprocess cannot take: it would change the result without a word.
    """
    where = "preprocessor_config.json"
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    clip_like = "CLIP" in kind or "shortest_edge" in _sides(config.get("size")) or "crop_size" in config
    for key, value in config.items():
        if key not in BYSTANDERS and value not in (None, False):
            raise SensoriumError(f"{where}: {key}={value!r} is a step that Preprocess has no field for")
    for key in ("do_resize", "do_rescale"):
        if not config.get(key, True):
            raise SensoriumError(f"{where}: {key} is false, but the model's input has one size and range")
    if not math.isclose(config.get("rescale_factor", 1 / 255), 1 / 255, rel_tol=1e-4):
        raise SensoriumError(f"{where}: rescale_factor={config['rescale_factor']}: only 1/255 is known")
    sides = _sides(config.get("size", 224))
    short = "shortest_edge" in sides or ("side" in sides and clip_like)
    to = _square(sides, where, "size")
    crops = config.get("do_center_crop", clip_like)
    size = _square(_sides(config.get("crop_size", to)), where, "crop_size") if crops else to
    if short and not crops:
        raise SensoriumError(f"{where}: the short side becomes {to} and nothing is cropped, so sizes would vary")
    normalise = config.get("do_normalize", True)
    return Preprocess(
        size,
        "short" if short else "squash",
        None if to == size else to,
        _named(where, config.get("resample", 3 if clip_like else 2)),
        _triple(where, "image_mean", config.get("image_mean") or (CLIP_MEAN if clip_like else HALF), normalise, 0.0),
        _triple(where, "image_std", config.get("image_std") or (CLIP_STD if clip_like else HALF), normalise, 1.0),
        config.get("rgb", "before"),
        config.get("centre", "floor"),
    )


def to_transformers(steps: Preprocess) -> dict[str, Any]:
    """The contents of a `preprocessor_config.json`; two fields that transformers ignores make the way back exact."""
    to = steps.resize_to or steps.size
    crops = steps.resize == "short" or to != steps.size
    return {
        "image_processor_type": "CLIPImageProcessor" if crops else "ViTImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": to} if steps.resize == "short" else {"height": to, "width": to},
        "resample": int(FILTERS[steps.interpolation]),
        "do_center_crop": crops,
        **({"crop_size": {"height": steps.size, "width": steps.size}} if crops else {}),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(steps.mean),
        "image_std": list(steps.std),
        "do_convert_rgb": True,
        "rgb": steps.rgb,
        "centre": steps.centre,
    }


def from_open_clip(config: Mapping[str, Any]) -> Preprocess:
    """Read the `preprocess_cfg` of an `open_clip_config.json`. Raises SensoriumError on what Preprocess cannot do."""
    where = "open_clip_config.json: preprocess_cfg"
    known = {"size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color"}
    if unknown := sorted(set(config) - known):
        raise SensoriumError(f"{where}: {unknown[0]}={config[unknown[0]]!r} is a step that Preprocess has no field for")
    if config.get("mode", "RGB") != "RGB":
        raise SensoriumError(f"{where}: mode={config['mode']!r}: only RGB is known")
    resize = {"shortest": "short", "squash": "squash"}.get(config.get("resize_mode") or "shortest")
    if resize is None:
        raise SensoriumError(f"{where}: resize_mode={config['resize_mode']!r}: shortest and squash are known")
    interpolation = config.get("interpolation") or "bicubic"
    return Preprocess(
        _square(_sides(config.get("size", 224)), where, "size"),
        "squash" if resize == "squash" else "short",
        None,
        _named(where, "bicubic" if interpolation == "random" else interpolation),
        _triple(where, "mean", config.get("mean") or CLIP_MEAN),
        _triple(where, "std", config.get("std") or CLIP_STD),
    )


def to_open_clip(steps: Preprocess) -> dict[str, Any]:
    """The `preprocess_cfg` of an `open_clip_config.json`. Raises SensoriumError where open_clip has no such step."""
    if steps.resize_to not in (None, steps.size):
        raise SensoriumError(
            f"open_clip cannot resize to {steps.resize_to} and crop to {steps.size}: it knows one size"
        )
    return {
        "size": steps.size,
        "mode": "RGB",
        "mean": list(steps.mean),
        "std": list(steps.std),
        "interpolation": steps.interpolation,
        "resize_mode": "shortest" if steps.resize == "short" else "squash",
    }


def from_timm(config: Mapping[str, Any], size: int, crop: float, *, mean: Triple, std: Triple) -> Preprocess:
    """Read timm's `config.json` for pictures of `size`; the other arguments hold where it is silent.

    Raises SensoriumError on a crop that Preprocess cannot do.
    """
    given: Mapping[str, Any] = {**config, **(config.get("pretrained_cfg") or {})}
    where = "config.json: pretrained_cfg"
    resize = {"center": "short", "squash": "squash"}.get(given.get("crop_mode") or "center")
    if resize is None:
        raise SensoriumError(f"{where}: crop_mode={given['crop_mode']!r}: center and squash are known")
    steps = timm(
        size,
        float(given.get("crop_pct") or crop),
        mean=_triple(where, "mean", given.get("mean") or mean),
        std=_triple(where, "std", given.get("std") or std),
    )
    interpolation = _named(where, given.get("interpolation") or steps.interpolation)
    return replace(steps, resize="squash" if resize == "squash" else "short", interpolation=interpolation)


def to_timm(steps: Preprocess) -> dict[str, Any]:
    """What timm's `pretrained_cfg` says of pictures. It always makes them RGB first."""
    to = steps.resize_to or steps.size
    crop = steps.size / to
    return {
        "input_size": [3, steps.size, steps.size],
        "interpolation": steps.interpolation,
        "crop_pct": crop if math.floor(steps.size / crop) == to else steps.size / (to + 0.5),  # timm rounds down
        "crop_mode": "center" if steps.resize == "short" else "squash",
        "mean": list(steps.mean),
        "std": list(steps.std),
    }


def _sides(size: Any) -> dict[str, int]:
    """A size however it is written: 224, [224, 224], {"shortest_edge": 224}, {"height": 224, "width": 224}."""
    if isinstance(size, Mapping):
        return {str(key): value for key, value in size.items() if value is not None}
    if isinstance(size, list | tuple):
        return {"side": size[0]} if len(set(size)) == 1 else {"height": size[0], "width": size[-1]}
    return {} if size is None else {"side": size}


def _square(sides: Mapping[str, int], where: str, key: str) -> int:
    values = set(sides.values())
    if len(values) != 1 or not set(sides) <= {"side", "shortest_edge", "height", "width"}:
        raise SensoriumError(f"{where}: {key}={dict(sides)}: only square inputs are known")
    return int(values.pop())


def _named(where: str, filter: int | str) -> Filter:
    names: dict[int | str, Filter] = {
        0: "nearest",
        1: "lanczos",
        2: "bilinear",
        3: "bicubic",
        4: "box",
        5: "hamming",
        "nearest": "nearest",
        "bilinear": "bilinear",
        "bicubic": "bicubic",
        "lanczos": "lanczos",
    }
    if filter not in names:
        raise SensoriumError(f"{where}: interpolation {filter!r} is not one of Pillow's filters")
    return names[filter]


def _triple(where: str, key: str, values: Any, used: bool = True, unused: float = 0.0) -> Triple:
    if not used:
        return (unused, unused, unused)
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise SensoriumError(f"{where}: {key}={values!r}: one number a channel is needed, for RGB")
    return (float(values[0]), float(values[1]), float(values[2]))
