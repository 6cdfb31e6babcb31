"""Attention with its weights in sight: what the fused kernel computes and never shows.

Every attention of every model runs `Attention.kernel`, a fused one unless somebody looks. Here stands the plain
one, equal to it within rounding, and the way to put it into a whole model and to collect what it saw.
"""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sensorium.nn.attention import Attention, Kernel

Weights = Float[Tensor, "b h n m"]
Scores = Bool[Tensor, "#b #h #n m"] | Float[Tensor, "#b #h #n m"]


def weigh(
    q: Float[Tensor, "b h n d"], k: Float[Tensor, "b h m d"], mask: Scores | None = None
) -> Float[Tensor, "b h n m"]:
    """softmax(q·k/√d + mask): how much every query looks at every key (Vaswani et al. 2017, equation 1)."""
    scores = q @ k.mT * q.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)


def eager(
    q: Float[Tensor, "b h n d"],
    k: Float[Tensor, "b h m d"],
    v: Float[Tensor, "b h m e"],
    attn_mask: Scores | None = None,
) -> Float[Tensor, "b h n e"]:
    """A kernel that forms the weights in full, as the equation has it."""
    return weigh(q, k, attn_mask) @ v


@contextmanager
def using(model: nn.Module, kernel: Kernel) -> Generator[None]:
    """Every attention of the model runs another kernel inside the block, and its own again after it."""
    layers = [layer for layer in model.modules() if isinstance(layer, Attention)]
    own = [layer.kernel for layer in layers]
    try:
        for layer in layers:
            layer.kernel = kernel
        yield
    finally:
        for layer, before in zip(layers, own, strict=True):
            layer.kernel = before


@contextmanager
def looking(model: nn.Module) -> Generator[dict[str, list[Weights]]]:
    """The attention weights of everything that runs inside the block, by the layer's name, one entry a call."""
    seen: dict[str, list[Weights]] = {}

    def recording(name: str) -> Kernel:
        def kernel(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
            weights = weigh(q, k, attn_mask)
            seen.setdefault(name, []).append(weights)
            return weights @ v

        return kernel

    with using(model, eager):
        for name, layer in model.named_modules():
            if isinstance(layer, Attention):
                layer.kernel = recording(name)
        yield seen
