"""Linear layers that train by oneDNN's fp32 products, where torch's own are slow.

torch multiplies fp32 matrices by MKL, which on some CPUs reaches less than half of what oneDNN does on the same ones,
weights packed beforehand or not. It is measured, once a process. The numbers differ by rounding, and are the same in
every run.
"""

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.packed import product, seconds

# Far from the CPUs where they are alike (1.0 with AVX2, 1.2 on Zen 4) and where they are not (2.2 on Zen 5): no resumed
# run shall round otherwise because the machine was busy when it measured.
WORTH = 1.5
SMALL = 1 << 21


@contextmanager
def fast_products(model: nn.Module) -> Generator[None]:
    """Let the linear layers of a model use them, where that pays on this CPU; afterwards all is as it was.

    Nothing of it is in the model's tensors or in its types. A layer falls back to torch's own product by itself: for
    small products, other precisions and autocast, other devices, sharded weights, and where it is compiled.
    """
    layers = [m for m in model.modules() if type(m) is nn.Linear and "forward" not in vars(m)] if faster() else []
    for layer in layers:
        layer.forward = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _forward(layer: nn.Linear, input: Float[Tensor, "*b inputs"]) -> Float[Tensor, "*b outputs"]:
    weight = layer.weight
    plain = (
        torch.compiler.is_compiling()
        or type(input) is not Tensor
        or type(weight) not in (nn.Parameter, Tensor)
        or not input.dtype == weight.dtype == torch.float32
        or not input.device.type == weight.device.type == "cpu"
        or input.numel() * layer.out_features < SMALL
        or torch.is_autocast_enabled("cpu")
    )
    return F.linear(input, weight, layer.bias) if plain else linear(input, weight, layer.bias)


def linear(
    x: Float[Tensor, "*b inputs"], weight: Float[Tensor, "outputs inputs"], bias: Float[Tensor, " outputs"] | None
) -> Float[Tensor, "*b outputs"]:
    """`torch.nn.functional.linear` in fp32 on a CPU by oneDNN, forwards and backwards."""
    return cast(Tensor, _Linear.apply(x, weight, bias))


class _Linear(torch.autograd.Function):
    """y = x·Wᵀ + b; its gradients are of the same form: g·W for x, and gᵀ·x for W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = cast(tuple[Tensor, Tensor], ctx.saved_tensors)
        (gradient,), (for_x, for_weight, for_bias) = gradients, ctx.needs_input_grad
        outputs, inputs = weight.shape
        rows = gradient.reshape(-1, outputs)
        return (
            linear(gradient, weight.T, None) if for_x else None,
            linear(rows.T, x.reshape(-1, inputs).T, None) if for_weight else None,
            rows.sum(0) if for_bias else None,
        )


@cache
def faster() -> bool:
    """Whether oneDNN's products are much faster here than torch's own, by a measurement of about 100 ms."""
    x, weight = torch.ones(512, 768), torch.ones(768, 768)
    try:
        with torch.inference_mode():
            plain = ours = 1.0
            for _ in range(9):
                plain = min(plain, seconds(lambda: F.linear(x, weight)))
                ours = min(ours, seconds(lambda: product(x, weight, None)))
    except (AttributeError, NotImplementedError, RuntimeError):  # another torch, another CPU: no such operator
        return False
    return plain > WORTH * ours
