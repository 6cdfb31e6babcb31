"""Attention with its weights in sight: what a fused kernel computes and never shows.

Every attention of every model runs `Attention.kernel`. Here stands the way to put the plain one, `eager`, or another
into a whole model, and to collect what it saw, or to see it pass where it is too much to be kept: a picture of 4,096
patches has 200 million weights in every layer of a ViT-B.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.attention import Attention, Kernel, eager, weigh

Weights = Float[Tensor, "b h n m"]
See = Callable[[str, int, Weights], None]

NUMBERS = 1 << 22  # weights that `watching` forms at a time: 16 MiB in fp32; with more, page faults double the time


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
def _listening(model: nn.Module, kernel: Callable[[str], Kernel]) -> Generator[None]:
    """Every attention runs a kernel that knows the layer's name."""
    with using(model, eager):
        for name, layer in model.named_modules():
            if isinstance(layer, Attention):
                layer.kernel = kernel(name)
        yield


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

    with _listening(model, recording):
        yield seen


@contextmanager
def watching(model: nn.Module, see: See, *, numbers: int = NUMBERS) -> Generator[None]:
    """Everything that runs inside the block shows its attention weights to `see` as they pass, and keeps none.

    `see(name, first, weights)` gets the layer's name and its weights from the query `first` on, as many queries as
    make up `numbers` weights, one at least; the next call goes on where this one ends.
    """

    def showing(name: str) -> Kernel:
        def kernel(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
            rows = max(1, numbers // (q.shape[0] * q.shape[1] * k.shape[2]))
            mixed: list[Tensor] = []
            for first in range(0, q.shape[2], rows):
                some = slice(first, first + rows)
                mask = attn_mask if attn_mask is None or attn_mask.shape[-2] == 1 else attn_mask[..., some, :]
                weights = weigh(q[:, :, some], k, mask)
                see(name, first, weights)
                mixed.append(weights @ v)
            return torch.cat(mixed, dim=2)

        return kernel

    with _listening(model, showing):
        yield
