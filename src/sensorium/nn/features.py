"""What a trunk says about a picture, in parts: one vector for the whole, notes, and one vector for every patch."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Features(NamedTuple):
    """The output of a trunk, or of one of its layers; `registers` has no tokens where the trunk keeps no notes."""

    cls: Float[Tensor, "b width"]
    registers: Float[Tensor, "b r width"]
    patches: Float[Tensor, "b n width"]

    def map(self, grid: tuple[int, int]) -> Float[Tensor, "b width rows columns"]:
        """The patches as a picture of `grid` (rows, columns); raises RuntimeError where that is not their number."""
        return self.patches.mT.unflatten(2, grid)


def apart(x: Float[Tensor, "b n width"], registers: int) -> Features:
    """Take [cls, registers, patches] apart; nothing is copied."""
    return Features(x[:, 0], x[:, 1 : 1 + registers], x[:, 1 + registers :])
