"""Depth in, ImageBind's disparity out (Girdhar et al. 2023, section 4 and appendix; Omnivore, Girdhar et al. 2022,
https://arxiv.org/abs/2201.08377, whose SUN RGB-D recipe it takes).

Disparity is what a stereo camera would see: baseline x focal length / depth, in pixels. So near is large, and the same
scene through a longer lens is larger. Neither paper's loader was released; the numbers are those that the authors of
Omnivore gave (its issue 12, and its demo), read with one correction. SUN RGB-D's PNGs hold millimetres rotated left by
three bits, eightfold; that code takes them for millimetres. So its 75 pixels, by which disparity is divided, are 600
true ones, and its farthest 50 m are 6.25. That this is the reading agrees with what others measured: a public loader
of SUN RGB-D that turns the bits back (as ImageBind's issue 134 does) has a mean of 24.8 pixels; 0.0418 x 600 is 25.1.
"""

import os
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.media import facts_beside
from sensorium.data.rasters import Raster, read_raster

Unit = Literal["mm", "cm", "m", "sun", "disparity", "relative"]
METRES = {"mm": 1e-3, "cm": 1e-2, "m": 1.0, "sun": 1e-3}
KINECT = 0.075  # metres: the baseline of SUN RGB-D's Kinects, taken for every camera whose own does not matter
FULL, MEAN, STD = 600.0, 0.0418, 0.0295
NEAREST, FARTHEST = 0.01 / 8, 50 / 8  # metres
PLAUSIBLE = (0.05, 100.0)  # metres: a median depth beyond these is in another unit
LEAST = 0.05  # the share of pixels that must have been measured
FACTS = ("unit", "scale", "focal", "baseline", "array")
EXPECTED = (
    "a depth map states no unit: pass unit= (mm, cm, m; sun for SUN RGB-D's PNGs; disparity in pixels; relative for "
    'what a network guessed), or put depth.json beside it: {"unit": "mm", "focal": 525}'
)


@dataclass(frozen=True, eq=False)
class DepthMap:
    """Disparity of every pixel, holes filled; the share that was holes; in words what the file was taken for; and where
    its unit is a length, metres as they were measured, holes NaN."""

    disparity: Float[Tensor, "h w"]
    missing: float
    got: str
    metres: Float[Tensor, "h w"] | None = None


@dataclass(frozen=True)
class DepthSteps:
    """How disparity becomes ImageBind's input: by `full` into [0, 1], short side to `size`, middle square, normalised.

    `mean` and `std` are those of SUN RGB-D after the division.
    """

    size: int = 224
    full: float = FULL
    mean: float = MEAN
    std: float = STD

    def __call__(self, disparity: Float[Tensor, "h w"]) -> Float[Tensor, "1 size size"]:
        """The input of one map of disparities in pixels."""
        return (square((disparity / self.full).clamp(0, 1), self.size) - self.mean) / self.std

    def read(
        self,
        path: str | os.PathLike[str],
        *,
        unit: Unit | None = None,
        focal: float | None = None,
        scale: float | None = None,
        baseline: float | None = None,
    ) -> Float[Tensor, "1 size size"]:
        """The input of a file, as `read_depth` reads it; raises Unreadable and SensoriumError."""
        return self(read_depth(path, unit=unit, focal=focal, scale=scale, baseline=baseline).disparity)


def read_depth(
    path: str | os.PathLike[str],
    *,
    unit: Unit | None = None,
    focal: float | None = None,
    scale: float | None = None,
    baseline: float | None = None,
    array: str | None = None,
) -> DepthMap:
    """A depth map as disparity: 16-bit PNG, TIFF, EXR, NPY or NPZ.

    unit      what a stored number times `scale` is: mm, cm or m along the camera's axis; sun for SUN RGB-D's rotated
              millimetres; disparity in pixels; relative for inverse depth of unknown scale and shift, larger is nearer,
              as monocular networks give it: it is brought to the mean and deviation of SUN RGB-D's disparity
    scale     of the stored numbers: 1/5000 with unit m for TUM's PNGs, 1/256 with unit disparity for KITTI's
    focal     the camera's focal length in pixels of this picture; needed for depth, not for disparity
    baseline  metres between the eyes of the camera that is imagined; ImageBind's is 0.075
    array     which array of an NPZ, or channel of an EXR

    What is not passed is taken from depth.json in the same folder. Holes (0, NaN, infinite) are filled from around
    them, by averages of ever larger surroundings (push and pull, Gortler et al. 1996, section 3.4.2).

    Raises SensoriumError where unit or focal length are not known, Unreadable for a file that is no depth map, is
    hardly measured at all, or whose depth is implausible in that unit.
    """
    facts: dict[str, Any] = facts_beside(path, "depth.json", FACTS)
    given = {"unit": unit, "focal": focal, "scale": scale, "baseline": baseline, "array": array}
    facts |= {key: value for key, value in given.items() if value is not None}
    name, unit = os.fsdecode(path), facts.get("unit")
    if unit is None:
        raise SensoriumError(f"{name}: {EXPECTED}")
    if unit not in get_args(Unit):
        raise SensoriumError(f"{name}: unit {unit!r} is unknown; known are {', '.join(get_args(Unit))}")
    scale, baseline = (
        _positive(name, key, facts.get(key, usual)) for key, usual in (("scale", 1), ("baseline", KINECT))
    )
    raster = read_raster(path, array=facts.get("array"))
    values = torch.from_numpy(_numbers(name, raster, unit) * np.float32(scale))
    measured = values.isfinite() & ((values > 0) | torch.tensor(unit == "relative"))
    missing = 1 - float(measured.float().mean())
    if missing > 1 - LEAST:
        raise Unreadable(name, f"{missing:.0%} of the pixels were not measured (0, NaN or infinite)")
    values = values.where(measured, torch.tensor(0.0))
    height, width = values.shape
    lengths: Tensor | None = None
    got = f"{raster.kind}, {width} x {height}, {unit}"
    if unit in METRES:
        if "focal" not in facts:
            raise SensoriumError(
                f"{name}: disparity depends on the lens: pass focal=, in pixels of this picture (Kinect 520 at 640 "
                'wide; width / 2 / tan(angle of view / 2)), or put it into depth.json beside it: {"focal": 520}'
            )
        focal = _positive(name, "focal", facts["focal"])
        metres = values * METRES[unit]
        _check_plausible(name, unit, float(metres[measured].median()))
        low, high = float(metres[measured].min()), float(metres[measured].max())
        got += f", {low:.2f} to {high:.2f} m, focal length {focal:g} px, baseline {baseline:g} m"
        values = baseline * focal / metres.clamp(NEAREST, FARTHEST)
        lengths = metres.where(measured, torch.tensor(float("nan")))
    elif unit == "relative":
        seen = values[measured]
        values = (values - seen.mean()) / seen.std(correction=0).clamp(min=1e-9)
        values = (values * STD + MEAN).clamp(min=0) * FULL
    return DepthMap(fill(values, measured), missing, f"{got}, {missing:.0%} missing", lengths)


def _numbers(name: str, raster: Raster, unit: str) -> np.ndarray[Any, Any]:
    """The stored numbers as floats. Eight bits are too few for lengths; SUN RGB-D's sixteen are turned back."""
    values = raster.values
    if values.dtype.itemsize == 1 and unit not in ("disparity", "relative"):
        raise Unreadable(name, f"{raster.kind}: eight bits hold no depth in {unit}; is it a picture of one (relative)?")
    if unit == "sun":
        if values.dtype != np.uint16:
            raise Unreadable(name, f"{raster.kind}: SUN RGB-D's depth is a 16-bit PNG")
        values = (values >> 3) | (values << 13)
    return values.astype(np.float32)


def _positive(name: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise SensoriumError(f"{name}: {key} is {value!r}: it must be a number above 0")
    return float(value)


def _check_plausible(name: str, unit: str, median: float) -> None:
    if PLAUSIBLE[0] <= median <= PLAUSIBLE[1]:
        return
    fitting = [each for each in ("mm", "cm", "m") if PLAUSIBLE[0] <= median / METRES[unit] * METRES[each] <= 20]
    hint = f"; in {fitting[0]} it would be {median / METRES[unit] * METRES[fitting[0]]:.2g} m" if fitting else ""
    raise Unreadable(name, f"the median depth is {median:.3g} m if the unit is {unit}{hint}")


def fill(values: Float[Tensor, "h w"], known: Bool[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """Holes filled from the nearest scale at which anything around them is known; what is known stays as it is."""
    if bool(known.all()):
        return values
    if not bool(known.any()):
        raise SensoriumError("nothing is known, so nothing can be filled")
    weight = known.float()
    coarse, seen = (F.avg_pool2d(x[None, None], 2, ceil_mode=True)[0, 0] for x in (values * weight, weight))
    below = fill(coarse / seen.clamp(min=1e-9), seen > 0)
    spread = below.repeat_interleave(2, 0).repeat_interleave(2, 1)[: values.shape[0], : values.shape[1]]
    return values.where(known, spread)


def square(values: Float[Tensor, "h w"], size: int) -> Float[Tensor, "1 size size"]:
    """The short side to `size` (bilinear, antialiased), and the middle square of it."""
    height, width = values.shape
    sides = (size, max(size, size * width // height)) if height <= width else (max(size, size * height // width), size)
    resized = F.interpolate(values[None, None], size=sides, mode="bilinear", antialias=True)[0]
    top, left = (sides[0] - size) // 2, (sides[1] - size) // 2
    return resized[:, top : top + size, left : left + size].contiguous()
