"""Files whose pixels are numbers, not colours: maps of classes and of depth, read exactly as they were written."""

import io
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sensorium.data.errors import Unreadable, system_reason
from sensorium.data.media import regular_file

PIXEL_LIMIT = 80_000_000  # of one map; Cityscapes has two million
HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
MILLIMETRES = 1000.0


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """A regular file, whole. Raises Unreadable."""
    name = regular_file(path)
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise Unreadable(name, system_reason(error)) from error


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a list that are not empty, stripped. Raises Unreadable."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(path, "not UTF-8 text") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds. Raises Unreadable."""
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise Unreadable(path, f"not JSON ({str(error)[:60]})") from error


def read_numbers(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The samples of a PNG as stored, uint8 or uint16: numbers of the palette, or gray; colours are refused.

    Raises Unreadable.
    """
    data, name = read_bytes(path), os.fspath(path)
    if not data.startswith(HEAD) or len(data) < 33:
        raise Unreadable(path, "not a PNG" if data else "empty file")
    width, height = struct.unpack(">II", data[16:24])
    if width * height > PIXEL_LIMIT:
        raise Unreadable(name, f"too many pixels: {width} x {height}, the limit is {PIXEL_LIMIT // 1_000_000} million")
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            mode = image.mode
            values = np.asarray(image) if mode in ("1", "L", "P", "I;16") else None
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        raise Unreadable(name, "truncated" if b"IEND" not in data[-64:] else "damaged") from error
    if values is None:
        raise Unreadable(name, f"holds colours ({mode}), not a number at each pixel: gray or palette is expected")
    return values.astype(np.uint8) if mode == "1" else values


def read_labels(path: str | os.PathLike[str], table: NDArray[np.int16] | None = None) -> UInt8[Tensor, "h w"]:
    """A map of classes. `table` (256) says what each stored number becomes, -1 where it may not occur.

    Raises Unreadable.
    """
    values = read_numbers(path)
    if values.dtype != np.uint8:
        if values.max(initial=0) > 255:
            raise Unreadable(path, f"class {values.max()}: 254 is the highest number that a class can have here")
        values = values.astype(np.uint8)
    if table is None:
        return torch.from_numpy(values.copy())
    classes = table[values]
    if classes.min(initial=0) < 0:
        raise Unreadable(path, f"class {values[classes < 0][0]}, which the set does not have")
    return torch.from_numpy(classes.astype(np.uint8))


def read_depth(path: str | os.PathLike[str], *, per_metre: float = MILLIMETRES) -> Float[Tensor, "h w"]:
    """A map of depth in metres, 0 where unknown: a PNG with `per_metre` steps a metre, or a .npy of metres.

    Raises Unreadable.
    """
    if os.fspath(path).endswith(".npy"):
        try:
            values: NDArray[Any] = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise Unreadable(path, f"no .npy file of numbers ({str(error)[:60]})") from error
        if values.ndim != 2 or values.dtype.kind not in "fiu":
            raise Unreadable(path, f"holds {values.dtype} {values.shape}, and metres (height, width) are expected")
        return metres(values)
    return metres(read_numbers(path).astype(np.float32) / np.float32(per_metre))


def metres(values: NDArray[Any]) -> Float[Tensor, "h w"]:
    """Depth as a tensor of its own: float32, and 0 for all that is no distance."""
    values = values.astype(np.float32)
    return torch.from_numpy(np.where(np.isfinite(values) & (values > 0), values, np.float32(0)))
