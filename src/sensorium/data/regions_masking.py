"""Regions of a picture as ViLBERT reads them (Lu et al. 2019, section 2.2): where they are, which are covered.

Boxes are (x1, y1, x2, y2) in pixels, of which x grows to the right and y downwards.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

WHOLE_PICTURE = (0.0, 0.0, 1.0, 1.0, 1.0)  # the location of the region that stands for the picture
CHANCE, ZEROED, OVERLAP = 0.15, 0.9, 0.4  # of being drawn, of a drawn one to lose its feature, to be flagged with it


def location(boxes: Float[Tensor, "*b m 4"], width: float, height: float) -> Float[Tensor, "*b m 5"]:
    """Corners as fractions of the picture's sides, and the fraction of its area that the box covers."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    area = (x2 - x1) * (y2 - y1) / (width * height)
    return torch.stack([x1 / width, y1 / height, x2 / width, y2 / height, area], dim=-1)


def box_overlap(a: Float[Tensor, "m 4"], b: Float[Tensor, "n 4"]) -> Float[Tensor, "m n"]:
    """Intersection over union of all pairs, where a box holds its last pixel too: sides are x2 - x1 + 1."""
    low, high = torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low + 1).clamp(min=0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2] + 1).prod(-1) for boxes in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


class Masked(NamedTuple):
    """Regions after masking: `drawn` are to be guessed; `flagged` are they and all that overlap them."""

    features: Float[Tensor, "m width"]
    drawn: Bool[Tensor, " m"]
    flagged: Bool[Tensor, " m"]


def mask_regions(
    features: Float[Tensor, "m width"], overlap: Float[Tensor, "m m"], draws: Float[Tensor, " m"]
) -> Masked:
    """Cover the regions whose draw from [0, 1) is below 15%; a tenth of them, drawn last, keep their feature.

    `overlap` is `box_overlap` of the regions with each other. Those over 0.4 with a drawn one are only flagged: their
    features stay, as in the authors' code, and `picture_feature` leaves them out of its count.
    """
    drawn = draws < CHANCE
    zeroed = drawn & (draws / CHANCE < ZEROED)
    flagged = drawn | (overlap[drawn] > OVERLAP).any(0)
    return Masked(features * ~zeroed[:, None], drawn, flagged)


def picture_feature(features: Float[Tensor, "m width"], counted: Bool[Tensor, " m"]) -> Float[Tensor, " width"]:
    """The feature of the region that stands for the picture: the sum of all, over the number of `counted`.

    Pretraining counts every slot that is not flagged, padding among them; the tasks count the boxes.
    """
    return features.sum(0) / counted.sum().clamp(min=1)
