"""Linear layers with prepacked weights, which on some CPUs run faster than torch's own, and exactly as well.

torch hands products to MKL or oneDNN with the weights as they lie; oneDNN can lay them out once for its kernels, and
apply the GELU that follows while the numbers are still at hand. On CPUs with AVX-512 that gains a tenth to a half of a
whole transformer, on others nothing. So the gain is measured, once a process and precision, before anything is
packed. This is the one place that knows the private operators.
"""

import time
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, TypeGuard, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.transformer import MLP, QuickGELU

Then = Literal["none", "gelu", "quick_gelu"]
WORTH = 1.03  # pack where a product with the GELU after it is at least this much faster
FEATURES = 256  # smaller layers are not worth a second layout
PRECISIONS = (torch.float32, torch.bfloat16)


class PackedLinear(nn.Module):
    """An `nn.Linear` for inference whose weight lies in oneDNN's own layout, with a GELU after it on request.

    It multiplies in the precision it was packed in, whatever comes in. QuickGELU is x·σ(αx) = swish(αx) / α, and oneDNN
    has swish: what comes in, and the bias, are multiplied by α, which leaves the weights as they are.
    """

    inner: Tensor | None

    def __init__(self, linear: nn.Linear, *, dtype: torch.dtype | None = None, then: Then = "none") -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.then: Then = then
        self.shape = linear.weight.shape
        self.dtype = dtype or linear.weight.dtype
        self.rounded = linear.weight.dtype != self.dtype
        bias = cast(Tensor | None, linear.bias)
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(self.dtype), False)
        self.packed = _pack(linear.weight.detach().to(self.dtype))
        if then == "quick_gelu":
            inner = None if bias is None else (QuickGELU.alpha * bias.detach()).to(self.dtype)
            self.register_buffer("inner", inner, persistent=False)

    def forward(self, x: Float[Tensor, "*b inputs"]) -> Float[Tensor, "*b outputs"]:
        """The same product as the linear layer's."""
        if self.then == "quick_gelu":
            x = (QuickGELU.alpha * x).to(self.dtype)
            return product(x, self.packed, self.inner, "swish").mul_(1 / QuickGELU.alpha)
        return product(x.to(self.dtype), self.packed, self.bias, self.then)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """The linear layer's own tensors, so that a packed model can still be saved."""
        if self.rounded:
            raise RuntimeError(f"{prefix}weight was rounded to {self.dtype}: load the model in fp32 to save it")
        destination[f"{prefix}weight"] = self.packed.to_dense().view(self.shape)
        super()._save_to_state_dict(destination, prefix, keep_vars)


class PackedPatches(PackedLinear):
    """An `nn.Conv2d` whose windows stand side by side: one product over all patches, half the convolution's time."""

    def __init__(self, convolution: nn.Conv2d, *, dtype: torch.dtype | None = None) -> None:
        weight = convolution.weight
        linear = nn.Linear(weight[0].numel(), len(weight), device="meta")
        linear.weight, linear.bias = nn.Parameter(weight.detach().flatten(1)), convolution.bias  # pyright: ignore
        super().__init__(linear, dtype=dtype)
        self.shape, self.patch = weight.shape, convolution.kernel_size

    def forward(self, x: Float[Tensor, "b channels h w"]) -> Float[Tensor, "b outputs h2 w2"]:
        """The convolution's map; what is left over at the right and at the bottom is not seen, as there."""
        height, width = self.patch
        rows, columns = x.shape[2] // height, x.shape[3] // width
        x = x[:, :, : rows * height, : columns * width].to(self.dtype)
        x = x.unflatten(3, (columns, width)).unflatten(2, (rows, height)).permute(0, 2, 4, 1, 3, 5)
        return super().forward(x.flatten(3).flatten(1, 2)).mT.unflatten(2, (rows, columns))


def pack(model: nn.Module, *, dtype: torch.dtype | None = None, anyway: bool = False) -> nn.Module:
    """Replace the model's large linear layers in place, where that pays on this CPU; returns the model.

    They multiply in `dtype`, or in their own precision. The layers keep no weight in torch's layout: pack what only
    runs, after it is loaded. It can still be saved, unless it was rounded.
    """
    # No layer may be held here: each is freed when it is replaced, so that a model is never in memory twice.
    holders = [module for module in model.modules() if any(map(_precision, module.children()))]
    if not holders or not (anyway or pays(dtype or next(filter(None, map(_precision, holders[0].children()))))):
        return model
    for module in holders:
        if isinstance(module, MLP) and _packable(module.up) and (then := _activation(module.activation)) != "none":
            setattr(module, "up", PackedLinear(module.up, dtype=dtype, then=then))  # noqa: B010  (declared as linear)
            module.activation = nn.Identity()
        for name in [name for name, _ in module.named_children()]:
            _replace(module, name, dtype)
    return model


def is_packable(layer: nn.Module) -> bool:
    """Whether `pack` replaces a layer where that pays."""
    return _packable(layer) or _patches(layer)


def _precision(layer: nn.Module) -> torch.dtype | None:
    """That of a layer which can be packed, of any other None."""
    return layer.weight.dtype if _packable(layer) or _patches(layer) else None


def _replace(module: nn.Module, name: str, dtype: torch.dtype | None) -> None:
    child = module.get_submodule(name)
    if _packable(child):
        setattr(module, name, PackedLinear(child, dtype=dtype))
    elif _patches(child):
        setattr(module, name, PackedPatches(child, dtype=dtype))


def _packable(module: nn.Module) -> TypeGuard[nn.Linear]:
    return type(module) is nn.Linear and module.weight.dtype in PRECISIONS and module.in_features >= FEATURES


def _patches(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        type(module) is nn.Conv2d
        and module.weight.dtype in PRECISIONS
        and module.weight[0].numel() >= FEATURES
        and module.kernel_size == module.stride
        and (module.padding, module.dilation, module.groups) == ((0, 0), (1, 1), 1)
    )


def _activation(module: nn.Module) -> Then:
    """The activation that can be part of the product before it."""
    if type(module) is nn.GELU and module.approximate == "none":
        return "gelu"
    return "quick_gelu" if type(module) is QuickGELU else "none"


@cache
def pays(dtype: torch.dtype = torch.float32) -> bool:
    """Whether packed products are faster here in this precision, by a measurement of about 100 ms."""
    x, weight, bias = (torch.ones(*shape, dtype=dtype) for shape in ((512, 768), (768, 768), (768,)))
    try:
        with torch.inference_mode():
            packed = _pack(weight)
            plain = faster = 1.0
            for _ in range(9):
                plain = min(plain, seconds(lambda: F.gelu(F.linear(x, weight, bias))))
                faster = min(faster, seconds(lambda: product(x, packed, bias, "gelu")))
    except (AttributeError, NotImplementedError, RuntimeError):  # another torch, another CPU: no such operator
        return False
    return plain > WORTH * faster


def _pack(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight)


def product(x: Tensor, weight: Tensor, bias: Tensor | None, then: str = "none") -> Tensor:
    """oneDNN's x · weightᵀ + bias, of a weight that is packed or lies as it may, with what comes `then`."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none" if then == "gelu" else "")


def seconds(run: Callable[[], Tensor]) -> float:
    """How long this thread works on it."""
    begin = time.thread_time()  # of this thread's work: other programs on a busy machine do not count
    run()
    return time.thread_time() - begin
