"""How the Visual Genome detector sees a picture: large, in BGR, with the means of its Caffe trunk subtracted."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.data.image import Source, read_image

MEANS = (102.9801, 115.9465, 122.7717)  # blue, green, red
SHORTEST, LONGEST = 800, 1333  # Anderson et al. (2018) took 600 and 1000


class DetectorPicture(NamedTuple):
    """`pixels` (3, h, w) float32 for the detector; `width` and `height` of the picture as it was decoded."""

    pixels: Tensor
    width: int
    height: int

    @property
    def scale(self) -> tuple[float, float]:
        """What x and y are multiplied by to come back to the picture's own pixels."""
        return self.width / self.pixels.shape[2], self.height / self.pixels.shape[1]


def detector_size(width: int, height: int, shortest: int = SHORTEST, longest: int = LONGEST) -> tuple[int, int]:
    """(width, height) with the short side at `shortest`, or less where the long one would pass `longest`."""
    scale = min(shortest / min(width, height), longest / max(width, height))
    return max(int(width * scale + 0.5), 1), max(int(height * scale + 0.5), 1)


def detector_picture(source: Source, shortest: int = SHORTEST, longest: int = LONGEST) -> DetectorPicture:
    """Decode, resize bilinearly without antialiasing (as the reference does), BGR, 0 to 255 less MEANS.

    Raises Unreadable.
    """
    image = read_image(source)
    width, height = detector_size(image.width, image.height, shortest, longest)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).flip(0).float()
    pixels = F.interpolate(pixels[None], (height, width), mode="bilinear", align_corners=False)[0]
    return DetectorPicture(pixels - torch.tensor(MEANS)[:, None, None], image.width, image.height)
