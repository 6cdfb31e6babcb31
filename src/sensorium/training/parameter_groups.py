"""Which learning rate and weight decay each parameter has, from its name alone (layer-wise decay: BEiT, Bao et al.
2021; the rest as DINOv2 and DINOv3 have it)."""

import re
from typing import NamedTuple

FIRST = ("cls_token", "storage_tokens", "register_tokens", "mask_token", "pos_embed", "patch_embed")


class Multiplier(NamedTuple):
    """Factors of the learning rate and of the weight decay; `last_layer` marks what is frozen at first."""

    learning_rate: float
    weight_decay: float
    last_layer: bool


def multiplier(
    name: str,
    depth: int,
    *,
    layer_decay: float = 1.0,
    patch_embed: float = 1.0,
    head_weight_decay: float = 1.0,
) -> Multiplier:
    """The factors of a parameter by its official name, module first: "backbone.blocks.3.attn.qkv.weight".

    The backbone has layers 0 (tokens, patch embedding), 1 to `depth` (blocks) and depth + 1 (norms): layer i learns
    by layer_decay^(depth + 1 − i), heads by 1. Biases, norms and LayerScale have no weight decay; tokens have.
    """
    module, _, rest = name.partition(".")
    rate = layer_decay ** (depth + 1 - _layer(rest, depth)) if module == "backbone" else 1.0
    if "patch_embed" in rest:
        rate *= patch_embed
    decay = head_weight_decay if module == "dino_head" else 1.0
    if rest.endswith("bias") or "norm" in rest or "gamma" in rest:
        decay = 0.0
    return Multiplier(rate, decay, "last_layer" in rest)


def _layer(name: str, depth: int) -> int:
    if name.startswith(FIRST):
        return 0
    block = re.match(r"blocks\.(\d+)\.", name)
    return int(block[1]) + 1 if block else depth + 1
