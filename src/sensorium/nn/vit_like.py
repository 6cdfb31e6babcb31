"""What it takes to be a ViT, whatever its paper: what looks into a model, or measures its patches, asks for no more."""

from typing import TYPE_CHECKING, Protocol, TypeGuard

from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.attention import Attention, Tokens
from sensorium.nn.embeddings import PatchEmbedding
from sensorium.nn.transformer import Transformer

CHANNELS = 3


if TYPE_CHECKING:

    class ViTLike(Protocol):
        """A transformer over the patches of a picture. Its tokens end with the patches, in raster order."""

        patches: PatchEmbedding
        blocks: Transformer
        cls: Tensor  # (1, width), or (0, width) where the mean of the patches stands for the picture

        def tokens(self, image: Float[Tensor, "b 3 h w"], /) -> Tokens:
            """[prefix, patches] after the last block; the prefix is the class token, if there is one, and registers."""
            ...

else:
    ViTLike = nn.Module  # a check of the protocol at run time does not see what an nn.Module registers


def is_vit_like(module: nn.Module) -> TypeGuard[ViTLike]:
    """Whether the module is one, of RGB pictures."""
    patches, blocks = getattr(module, "patches", None), getattr(module, "blocks", None)
    return (
        isinstance(patches, PatchEmbedding)
        and len(patches.patch) > 1
        and filter_bank(patches).shape[1] == CHANNELS
        and isinstance(blocks, Transformer)
        and all(layer.null_key is None for layer in blocks.modules() if isinstance(layer, Attention))
        and isinstance(getattr(module, "cls", None), Tensor)
        and callable(getattr(module, "tokens", None))
    )


def find_vit(model: nn.Module) -> ViTLike | None:
    """The part of the model that reads pictures as patches: itself, or a tower of it; None where nothing does."""
    return next((module for module in model.modules() if is_vit_like(module)), None)


def filter_bank(patches: PatchEmbedding) -> Float[Tensor, "filters channels *patch"]:
    """The weights that a patch is multiplied by, as they are saved: packed ones lie in another layout."""
    return patches.project.state_dict()["weight"]
