"""Attention with its weights in sight: what a fused kernel computes and never shows.

Every attention of every model runs `Attention.kernel`. Here stands the way to put the plain one, `eager`, or another
into a whole model, and to collect what it saw.
"""

from collections.abc import Generator
from contextlib import contextmanager

from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.attention import Attention, Kernel, eager, weigh

Weights = Float[Tensor, "b h n m"]


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
