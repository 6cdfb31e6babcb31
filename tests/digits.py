"""Real handwritten digits as picture files in class folders, as people keep data sets."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def write_digits(folder: Path, *, start: int, count: int, size: int = 32) -> Path:
    """Class folders 0 to 9 with `count` of scikit-learn's digits, from the one numbered `start` on."""
    digits = load_digits()
    for number in range(start, start + count):
        place = folder / str(digits.target[number])
        place.mkdir(parents=True, exist_ok=True)
        gray = Image.fromarray((digits.images[number] * 255 / 16).astype(np.uint8))
        gray.resize((size, size), Image.Resampling.BICUBIC).save(place / f"{number:04}.png")
    return folder
