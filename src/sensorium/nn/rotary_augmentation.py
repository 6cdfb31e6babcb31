"""Places of patches, moved at random while training (Siméoni et al. 2025, https://arxiv.org/abs/2508.10104, section
3.2), so that features do not depend on resolution and aspect."""

from collections.abc import Iterator
from math import log

import torch
from jaxtyping import Float
from torch import Tensor


def augmented_coordinates(
    coordinates: Float[Tensor, "n 2"],
    draws: Iterator[float],
    *,
    shift: float | None = None,
    jitter: float | None = None,
    rescale: float | None = None,
) -> Float[Tensor, "n 2"]:
    """(y, x) shifted by up to `shift`, scaled by up to `jitter` or its inverse an axis, by `rescale` for both.

    `draws` gives numbers of [0, 1): two for the shift, two for the jitter, one for the rescaling, in this order, and
    none for what is None. The reference draws again in every block and for each group of crops.
    """

    def within(bound: float, count: int) -> Tensor:
        drawn = [next(draws) for _ in range(count)]
        return coordinates.new_tensor([bound * (2 * u - 1) for u in drawn])

    if shift is not None:
        coordinates = coordinates + within(shift, 2)
    if jitter is not None:
        coordinates = coordinates * torch.exp(within(log(jitter), 2))
    if rescale is not None:
        coordinates = coordinates * torch.exp(within(log(rescale), 1))
    return coordinates
