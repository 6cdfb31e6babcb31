"""What a ViT says of every patch, laid out as the picture: the output of its blocks, or what its attention compares."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.vit_like import ViTLike

Kind = Literal["tokens", "queries", "keys", "values"]
LINEAR = {"queries": "query", "keys": "key", "values": "value"}


def patch_maps(
    vit: ViTLike, image: Float[Tensor, "b 3 h w"], *, what: Kind = "tokens", blocks: Sequence[int] = (-1,)
) -> list[Float[Tensor, "b width rows columns"]]:
    """A map for every named block, counted from 0, or from the end where negative; class token and registers left out.

    "tokens" are the block's output under the model's final norm. "queries", "keys" and "values" are its attention's,
    all heads side by side, as their linear layers give them: not yet turned by their place. Raises IndexError where
    there is no such block.
    """
    patch = vit.patches.patch
    rows, columns = vit.patches.grid(*patch[:-2], image.shape[-2], image.shape[-1])[-2:]
    seen: dict[int, Tensor] = {}
    layers = [vit.blocks[block] for block in blocks]
    if what != "tokens":
        layers = [layer.get_submodule(f"attention.{LINEAR[what]}") for layer in layers]
    hooks = [layer.register_forward_hook(_into(seen, number)) for number, layer in enumerate(layers)]
    try:
        vit.tokens(image)
    finally:
        for hook in hooks:
            hook.remove()
    last = final_norm(vit) if what == "tokens" else nn.Identity()
    patches = [last(seen[number][:, seen[number].shape[1] - rows * columns :]) for number in range(len(layers))]
    return [each.mT.unflatten(2, (rows, columns)) for each in patches]


def final_norm(vit: ViTLike) -> nn.Module:
    """The norm after the last block, which makes its output fit to be compared (DINOv3, appendix A.2)."""
    found = [getattr(vit, name) for name in ("norm", "norm_out") if isinstance(getattr(vit, name, None), nn.Module)]
    return found[0] if found else nn.Identity()


def sample_map(features: Float[Tensor, "width rows columns"], places: Float[Tensor, "n 2"]) -> Float[Tensor, "n width"]:
    """Features at places (x, y) of a picture that goes from -1 to 1, between patch centres bilinearly.

    Beyond the outermost centres the nearest one holds, as in `interpolate(mode="bilinear")`.
    """
    found = torch.nn.functional.grid_sample(
        features[None], places[None, None].to(features.dtype), padding_mode="border", align_corners=False
    )
    return found[0, :, 0].mT


def _into(seen: dict[int, Tensor], number: int) -> Callable[..., None]:
    def keep(layer: nn.Module, inputs: object, output: Tensor) -> None:
        seen[number] = output

    return keep
