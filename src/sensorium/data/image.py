"""Pictures in, RGB pixels out: whatever a folder holds is either decoded rightly or named with the reason it cannot be."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sensorium.data.errors import Unreadable

Source = str | os.PathLike[str] | bytes | Image.Image | np.ndarray[Any, Any]


def from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    """A picture from uint8 or bool values, or floats in [0, 1]; (height, width) or (height, width, 1 to 4 channels).

    Raises Unreadable, naming what is wrong with the array and the remedy.
    """
    def refuse(reason: str) -> Unreadable:
        return Unreadable(f"array {array.dtype} {array.shape}", reason)

    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (2, 3, 4)):
        raise refuse("must be (height, width) or (height, width, channels) with 1 to 4 channels")
    if array.size == 0:
        raise refuse("holds no pixels")
    if array.dtype == np.bool_:
        array = array * np.uint8(255)
    elif np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):  # written so that NaN fails too
            raise refuse("floats must lie in [0, 1]: divide by the largest possible value")
        array = (array * 255).round().astype(np.uint8)
    elif array.dtype != np.uint8:
        raise refuse("must be uint8, bool or floats in [0, 1]")
    return Image.fromarray(np.ascontiguousarray(array))
