"""What a model must have to be looked into: any transformer over the patches of a picture, whatever its paper."""

from math import isqrt
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from sensorium.data.errors import SensoriumError
from sensorium.nn.vit_like import ViTLike
from sensorium.nn.vit_like import filter_bank as filter_bank
from sensorium.nn.vit_like import find_vit as find_vit


class Grid(NamedTuple):
    """How many patches a picture has, and how many pixels lie between their centres."""

    rows: int
    columns: int
    step: tuple[int, int]


def vit_like(model: nn.Module) -> ViTLike:
    """The part of the model that reads pictures as patches: itself, or a tower of it.

    Raises SensoriumError where nothing does.
    """
    if (found := find_vit(model)) is not None:
        return found
    raise SensoriumError(
        f"{type(model).__name__} does not read pictures as patches: this needs a ViT, a CLIP whose image tower is one, "
        "a DINOv2 or DINOv3, or ImageBind"
    )


def grid_of(vit: ViTLike, height: int, width: int) -> Grid:
    """The grid of a picture of this size in pixels; a model of clips is shown one moment.

    Raises SensoriumError where the picture is smaller than a patch.
    """
    patch, stride = vit.patches.patch, vit.patches.stride
    rows, columns = vit.patches.grid(*patch[:-2], height, width)[-2:]
    if rows < 1 or columns < 1:
        raise SensoriumError(f"a picture of {height} x {width} pixels is smaller than a patch of {patch[-2:]}")
    return Grid(rows, columns, (stride[-2], stride[-1]))


def learned_positions(model: nn.Module) -> Float[Tensor, "rows columns width"]:
    """The learned position embeddings of the patches, without those of other tokens, at the size they were learned.

    Raises SensoriumError where the model learns none, or not for a square of patches.
    """
    vit = vit_like(model)
    positions = getattr(vit, "positions", None)
    if not isinstance(positions, Tensor):
        raise SensoriumError(
            f"{type(vit).__name__} has no learned positions: it turns queries and keys by their place. "
            f"What can be looked at: {', '.join(visible(model))}"
        )
    side = isqrt(len(positions))
    first = len(positions) - side * side
    if first > 1:
        raise SensoriumError(
            f"{len(positions)} learned positions are no square of patches with or without a class token"
        )
    return positions.detach()[first:].unflatten(0, (side, side)).float()


def patch_side(model: nn.Module) -> int | None:
    """The longer side of a patch in pixels; None where the model has no patches."""
    found = find_vit(model)
    return None if found is None else max(found.patches.patch[-2:])


def visible(model: nn.Module) -> tuple[str, ...]:
    """The names of what can be looked at in this model's way to see."""
    found = find_vit(model)
    if found is None:
        return ()
    learned = isinstance(getattr(found, "positions", None), Tensor)
    places = ("attention", "pca", "cosine", "norms", "gram")
    return ("filters", *(["positions"] if learned else []), "distance", "rollout", *places)
