"""The tests' model of colours, taking every kind of picture that a page sends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from sensorium.data.image import read_image
from tests.search import fake


@dataclass(frozen=True)
class Colours(fake.Colours):
    kinds = ("picture",)

    def embed(self, *, images: Sequence[Any] | None = None, text: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        embedded = super().embed(text=text)
        if images is not None:
            small = [read_image(image).resize((4, 4), Image.Resampling.BOX) for image in images]
            embedded["images"] = np.stack([fake.unit(np.asarray(image)) for image in small])
        return embedded
