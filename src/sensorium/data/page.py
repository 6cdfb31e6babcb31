"""Pages as LayoutLMv2 is shown them: a small picture, and boxes in thousandths of the page."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from sensorium.data.preprocess import Preprocess

Box = tuple[int, int, int, int]
SQUASH = Preprocess(size=224, resize="squash", interpolation="bilinear", rgb="before")


def page_picture(image: Image.Image | np.ndarray[Any, Any]) -> Float[Tensor, "3 224 224"]:
    """The page squashed to a square, in blue, green, red, 0..255: the model normalises it itself."""
    return SQUASH.pixels(image).flip(0).float()


def thousandths(box: Sequence[float], width: float, height: float) -> Box:
    """A box (x0, y0, x1, y1) on a page of this size, in whole thousandths rounded down (the authors' reference).

    What lies beyond the page's edge is brought back to it: an OCR engine may go a little over. Raises ValueError for a
    page without a size.
    """
    if not (width > 0 and height > 0):
        raise ValueError(f"a page of {width} x {height} has no places")
    x0, y0, x1, y1 = (
        min(max(int(1000 * (place / side)), 0), 1000)
        for place, side in zip(box, (width, height, width, height), strict=True)
    )
    return x0, y0, max(x0, x1), max(y0, y1)
