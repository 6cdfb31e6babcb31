"""Linear layers with prepacked weights: exact fp32, and on some CPUs up to twice as fast as torch's own.

torch hands every fp32 product to MKL with the weights as they lie; oneDNN can lay them out once for its kernels.
On CPUs with AVX-512 from AMD that doubles a whole transformer; on others it brings nothing. So the gain is measured,
once a process, before anything is packed. This is the one place that knows the private operators.
"""

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

WORTH = 1.2  # pack where the measured product is at least this much faster
FEATURES = 256  # smaller layers are not worth a second layout


class PackedLinear(nn.Module):
    """An `nn.Linear` for inference whose weight lies in oneDNN's own layout."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self.packed = _pack(linear.weight.detach())

    def forward(self, x: Float[Tensor, "*b inputs"]) -> Float[Tensor, "*b outputs"]:
        """The same product as the linear layer's."""
        return _product(x, self.packed, self.bias)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """The linear layer's own tensors, so that a packed model can still be saved."""
        destination[f"{prefix}weight"] = self.packed.to_dense()
        super()._save_to_state_dict(destination, prefix, keep_vars)


def pack(model: nn.Module, *, anyway: bool = False) -> nn.Module:
    """Replace the model's large fp32 linear layers in place, where that pays on this CPU; returns the model.

    The layers keep no weight in torch's layout: pack what only runs, after it is loaded. It can still be saved.
    """
    if not (anyway or pays()):
        return model
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear and child.weight.dtype == torch.float32 and child.in_features >= FEATURES:
                setattr(module, name, PackedLinear(child))
    return model


@cache
def pays() -> bool:
    """Whether packed products are faster here, by a measurement of about 50 ms."""
    x, weight, bias = torch.ones(256, 768), torch.ones(768, 768), torch.ones(768)
    try:
        with torch.inference_mode():
            packed = _pack(weight)
            plain, faster = 1.0, 1.0
            for _ in range(5):
                plain = min(plain, _seconds(lambda: F.linear(x, weight, bias)))
                faster = min(faster, _seconds(lambda: _product(x, packed, bias)))
    except (AttributeError, NotImplementedError, RuntimeError):  # another torch, another CPU: no such operator
        return False
    return plain > WORTH * faster


def _pack(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight)


def _product(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


def _seconds(run: Callable[[], Tensor]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin
