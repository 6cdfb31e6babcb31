"""Measured pictures: one number a pixel, as the file stores it, for depth and heat.

16-bit PNG, TIFF (8, 16 and 32 bits, floats), EXR, NPY and NPZ; whatever else Pillow reads is taken where it is gray.
Nothing is scaled here: what a number means is for `depth` and `thermal` to be told.
"""

import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from PIL import Image

from sensorium.data.errors import Unreadable, printable, system_reason
from sensorium.data.image import FILE_LIMIT, PIXEL_LIMIT, image_format, quiet
from sensorium.data.media import regular_file

EXR, NPY, NPZ = b"\x76\x2f\x31\x01", b"\x93NUMPY", b"PK\x03\x04"
PREFERRED = ("Z", "depth.Z", "Depth.Z", "Y", "V", "depth", "Depth")  # channels of an EXR that hold one measured number
NO_ARRAY = (ValueError, EOFError, OSError, MemoryError, OverflowError, SyntaxError, TypeError, TokenError)  # of NumPy
COLOURED = 3.0  # levels of 255 by which colours differ in the mean where a picture is not gray (JPEG alone makes 1)


@dataclass(frozen=True, eq=False)
class Raster:
    """(height, width) numbers as stored, and in words the kind of file that they come from."""

    values: np.ndarray[Any, Any]
    kind: str


def read_raster(path: str | os.PathLike[str], *, array: str | None = None) -> Raster:
    """The numbers of a measured picture.

    `array` names the array of an NPZ, or the channel of an EXR, where there are several. Raises Unreadable, also for
    pictures in false colours.
    """
    name = regular_file(path)
    try:
        if os.path.getsize(name) > FILE_LIMIT:
            raise Unreadable(name, f"larger than {FILE_LIMIT >> 20} MiB")
        data = Path(name).read_bytes()
    except OSError as error:
        raise Unreadable(name, system_reason(error)) from error
    if not data:
        raise Unreadable(name, "empty file")
    if data.startswith(EXR):
        raster = _exr(name, array)
    elif data.startswith(NPY):
        raster = Raster(_array(name, data), "NPY")
    elif data.startswith(NPZ):
        raster = _npz(name, data, array)
    else:
        raster = _picture(name, data)
    values = raster.values
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values.squeeze(2 if values.shape[2] == 1 else 0)
    if values.ndim != 2 or not values.size or values.dtype.kind not in "uif":
        raise Unreadable(name, f"holds {values.dtype} numbers of shape {raster.values.shape}, not (height, width)")
    if values.size > PIXEL_LIMIT:
        raise Unreadable(name, f"too many pixels: {values.shape[1]} x {values.shape[0]}")
    return Raster(values, raster.kind)


def _exr(name: str, channel: str | None) -> Raster:
    try:
        import OpenEXR  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise Unreadable(name, "EXR needs one more package: pip install 'sensorium[depth]'") from None
    try:
        low, high = OpenEXR.File(name, header_only=True).header()["dataWindow"]
        if int(high[0] - low[0] + 1) * int(high[1] - low[1] + 1) > PIXEL_LIMIT:
            raise Unreadable(name, "too many pixels")
        channels: dict[str, Any] = OpenEXR.File(name, separate_channels=True).channels()
    except (RuntimeError, KeyError, ValueError, TypeError) as error:
        raise Unreadable(name, f"no EXR that can be decoded ({str(error)[:60]})") from error
    names = list(channels)
    if channel is None:
        channel = next((each for each in PREFERRED if each in channels), names[0] if len(names) == 1 else None)
    if channel is None and {"R", "G", "B"} <= channels.keys():
        red, green, blue = (channels[each].pixels for each in "RGB")
        channel = "R" if np.array_equal(red, green) and np.array_equal(red, blue) else None
    if channel is None or channel not in channels:
        raise Unreadable(name, f"has channels {', '.join(map(printable, names))}: name the one that measures (array=)")
    return Raster(np.asarray(channels[channel].pixels), f"EXR, channel {channel}")


def _array(name: str, data: bytes) -> np.ndarray[Any, Any]:
    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except NO_ARRAY as error:
        raise Unreadable(name, f"no array that can be read ({str(error)[:60]})") from error


def _npz(name: str, data: bytes, array: str | None) -> Raster:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            sizes = {part.filename.removesuffix(".npy"): part.file_size for part in parts.infolist()}
            chosen = array or next(iter(sizes)) if len(sizes) == 1 else array
            if chosen not in sizes:
                there = ", ".join(map(printable, sizes)) or "nothing"
                raise Unreadable(name, f"has arrays {there}: name the one that measures (array=)")
            if sizes[chosen] > FILE_LIMIT:
                raise Unreadable(name, f"array {printable(chosen)} is larger than {FILE_LIMIT >> 20} MiB")
            return Raster(_array(name, parts.read(f"{chosen}.npy")), f"NPZ, array {printable(chosen)}")
    except (zipfile.BadZipFile, KeyError, OSError, NotImplementedError, RuntimeError) as error:
        raise Unreadable(name, f"no NPZ that can be read ({str(error)[:60]})") from error


def _picture(name: str, data: bytes) -> Raster:
    format = image_format(data[:64])
    if format is None or format in ("HEIF", "JPEG XL"):
        raise Unreadable(name, "no measured picture: 16-bit PNG, TIFF, EXR, NPY and NPZ are read")
    with quiet():
        try:
            image = Image.open(io.BytesIO(data), formats=(format,))
            if image.width * image.height > PIXEL_LIMIT:
                raise Unreadable(name, f"too many pixels: {image.width} x {image.height}")
            image.load()
        except Unreadable:
            raise
        except Exception as error:  # decoders raise nearly every kind, as in `image`
            raise Unreadable(name, f"truncated or damaged ({str(error)[:60]})") from error
        if image.mode.startswith("I;16") or image.mode in ("I", "F", "L"):
            values = np.asarray(image)
        else:
            colours = np.asarray(image.convert("RGB")).astype(np.float32)
            apart = float(np.abs(colours[..., :2] - colours[..., 1:]).mean())
            if apart > COLOURED:
                raise Unreadable(name, "shows false colours, not measurements: export it gray, or radiometric")
            values = colours.mean(2).round().astype(np.uint8)
    if image.mode == "I" and format == "PNG":  # earlier Pillows widen 16 bits
        values = values.astype(np.uint16)
    bits = "float" if values.dtype.kind == "f" else f"{values.dtype.itemsize * 8}-bit"
    return Raster(values, f"{bits} {format}")
