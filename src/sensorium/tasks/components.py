"""Which patches hang together: the connected part of a mask around one of them."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sensorium.data.errors import SensoriumError


def component(mask: Bool[Tensor, "rows columns"], seed: int) -> Bool[Tensor, "rows columns"]:
    """The part of the mask that is reached from the seed (its number in raster order) over common edges.

    Raises SensoriumError where the seed is not in the mask.
    """
    if not mask.flatten()[seed]:
        raise SensoriumError(f"patch {seed} is not in the mask")
    found = torch.zeros_like(mask)
    found.view(-1)[seed] = True
    while True:
        wide = F.pad(found, (1, 1, 1, 1))
        near = wide[1:-1, :-2] | wide[1:-1, 2:] | wide[:-2, 1:-1] | wide[2:, 1:-1]
        grown = found | (near & mask)
        if torch.equal(grown, found):
            return found
        found = grown


def box_of(mask: Bool[Tensor, "rows columns"]) -> Float[Tensor, "4"]:
    """Left, top, right, bottom of the mask in patches, right and bottom just outside."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    return torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
