"""Heat in, the one-channel picture of ImageBind out (Girdhar et al. 2023, section 4: LLVIP, https://arxiv.org/abs/2108.10831).

LLVIP's pictures are 8-bit gray as the camera spreads them, warm is bright, and no absolute temperature is left in
them. So a radiometric file is spread over its own coldest and warmest part, unless a range in degrees is asked for.
The authors' loader was not released: values stay in [0, 1], with which a user came to 62.4% where the paper has 63.4%
(pull request 73 of its repository); with a normalisation like a picture's it was 55.2%.
"""

import os
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.depth import fill, square
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.media import facts_beside
from sensorium.data.rasters import read_raster

Unit = Literal["centikelvin", "decikelvin", "kelvin", "celsius"]
KELVIN = {"centikelvin": 0.01, "decikelvin": 0.1, "kelvin": 1.0}
ZERO = 273.15  # kelvin
POSSIBLE = (-90.0, 3000.0)  # degrees Celsius that a thermal camera may see
EDGES = (0.001, 0.999)  # the part of the pixels that fills the window: single hot or dead ones would take it all
LEAST = 0.05
FACTS = ("unit", "celsius", "array")


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Warmth of every pixel in [0, 1]; degrees Celsius where the file's unit is known; and in words what it was."""

    warmth: Float[Tensor, "h w"]
    celsius: Float[Tensor, "h w"] | None
    got: str


@dataclass(frozen=True)
class ThermalSteps:
    """How warmth becomes ImageBind's input: short side to `size`, middle square, as it is."""

    size: int = 224
    mean: float = 0.0
    std: float = 1.0

    def __call__(self, warmth: Float[Tensor, "h w"]) -> Float[Tensor, "1 size size"]:
        """The input of one picture of warmth in [0, 1]."""
        return (square(warmth, self.size) - self.mean) / self.std

    def read(
        self,
        path: str | os.PathLike[str],
        *,
        unit: Unit | None = None,
        celsius: tuple[float, float] | None = None,
        box: tuple[int, int, int, int] | None = None,
    ) -> Float[Tensor, "1 size size"]:
        """The input of a file, as `read_thermal` reads it; raises Unreadable and SensoriumError.

        `box` is what is cut out of it: left, top, right, bottom in pixels.
        """
        warmth = read_thermal(path, unit=unit, celsius=celsius).warmth
        left, top, right, low = box or (0, 0, warmth.shape[1], warmth.shape[0])
        if not (0 <= left < right <= warmth.shape[1] and 0 <= top < low <= warmth.shape[0]):
            raise Unreadable(path, f"a box {box} of {warmth.shape[1]} x {warmth.shape[0]} pixels")
        return self(warmth[top:low, left:right])


def read_thermal(
    path: str | os.PathLike[str],
    *,
    unit: Unit | None = None,
    celsius: tuple[float, float] | None = None,
    array: str | None = None,
) -> HeatMap:
    """A thermal picture: 8-bit gray as a camera shows it, or a radiometric 16-bit PNG or TIFF, float TIFF, EXR, NPY.

    unit     of a radiometric file: centikelvin (FLIR's TLinear, 0.01 K a step), decikelvin (0.1 K), kelvin, celsius.
             Only a range needs it: the coldest stays the coldest in any of them
    celsius  the degrees that become 0 and 1; without it the window is the picture's own
    array    which array of an NPZ, or channel of an EXR

    What is not passed is taken from thermal.json in the same folder. Pixels that are NaN take the warmth around them.

    Raises SensoriumError where a range is asked of a file without unit, Unreadable for a file that is no thermal
    picture, shows false colours, or whose temperatures are impossible in that unit.
    """
    facts: dict[str, Any] = facts_beside(path, "thermal.json", FACTS)
    given = {"unit": unit, "celsius": celsius, "array": array}
    facts |= {key: value for key, value in given.items() if value is not None}
    name, unit, window = os.fsdecode(path), facts.get("unit"), facts.get("celsius")
    if unit is not None and unit not in get_args(Unit):
        raise SensoriumError(f"{name}: unit {unit!r} is unknown; known are {', '.join(get_args(Unit))}")
    raster = read_raster(path, array=facts.get("array"))
    stored = torch.from_numpy(raster.values.astype(np.float32))
    seen = stored.isfinite()
    if float(seen.float().mean()) < LEAST:
        raise Unreadable(name, "hardly any pixel was measured (NaN or infinite)")
    stored = fill(stored.where(seen, torch.tensor(0.0)), seen)
    got = f"{raster.kind}, {stored.shape[1]} x {stored.shape[0]}"
    if raster.values.dtype == np.uint8:
        if unit is not None or window is not None:
            raise SensoriumError(f"{name}: 8 bits hold a camera's picture, no temperatures: leave unit and range out")
        return HeatMap(stored / 255, None, f"{got}, as the camera shows it")
    degrees = None if unit is None else stored if unit == "celsius" else stored * KELVIN[unit] - ZERO
    if degrees is not None:
        low, high = float(degrees.min()), float(degrees.max())
        if not POSSIBLE[0] <= float(degrees.median()) <= POSSIBLE[1]:
            raise Unreadable(name, f"{low:.0f} to {high:.0f} °C if the unit is {unit}: is it another one?")
        got += f", {unit}, {low:.1f} to {high:.1f} °C"
    if window is not None:
        if degrees is None:
            raise SensoriumError(
                f"{name}: {raster.kind} states no unit, which a range in °C needs: pass unit= "
                f'({", ".join(get_args(Unit))}), or put thermal.json beside it: {{"unit": "centikelvin"}}'
            )
        low, high = _range(name, window)
        return HeatMap(
            ((degrees - low) / (high - low)).clamp(0, 1), degrees, f"{got}, shown from {low:g} to {high:g} °C"
        )
    low, high = (float(edge) for edge in np.quantile(stored.numpy(), EDGES))
    return HeatMap(
        ((stored - low) / max(high - low, 1e-9)).clamp(0, 1), degrees, f"{got}, shown from its coldest to its warmest"
    )


def _range(name: str, window: Any) -> tuple[float, float]:
    if isinstance(window, list | tuple) and len(window) == 2 and all(isinstance(v, int | float) for v in window):
        low, high = float(window[0]), float(window[1])
        if low < high:
            return low, high
    raise SensoriumError(f"{name}: celsius is {window!r}: two numbers are needed, the colder first, such as (10, 40)")
