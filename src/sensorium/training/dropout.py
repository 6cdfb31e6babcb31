"""Dropout and stochastic depth put onto a model from outside: what runs and what is published knows neither.

Hooks add no names, so checkpoints stay what they are; they draw from torch's generator, which the loop seeds anew for
every step, and do nothing in eval mode.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.nn.transformer import MLP, PostNorm, PreNorm, Transformer


def dropout(model: nn.Module, rate: float) -> None:
    """Dropout after every dense layer but q, k and v, and on what enters the blocks (ViT, appendix B.1)."""

    def drop(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        return F.dropout(output, rate, module.training)

    def drop_first(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return F.dropout(inputs[0], rate, module.training), *inputs[1:]

    if not rate:
        return
    for module in model.modules():
        if isinstance(module, Transformer):
            module.register_forward_pre_hook(drop_first)
        elif isinstance(module, MLP):
            module.activation.register_forward_hook(drop)
        if isinstance(module, PreNorm | PostNorm):
            module.attention.register_forward_hook(drop)
            module.mlp.register_forward_hook(drop)


def drop_path(blocks: Sequence[nn.Module], rate: float) -> None:
    """Stochastic depth (Huang et al. 2016, https://arxiv.org/abs/1603.09382): a sample skips a residual branch with a
    chance that rises from 0 in the first block to `rate` in the last."""

    def skip(chance: float) -> Any:
        def hook(module: nn.Module, _: Any, output: Tensor) -> Tensor:
            if not module.training:
                return output
            kept = torch.rand(output.shape[0], *(1,) * (output.ndim - 1), device=output.device) >= chance
            return output * kept / (1 - chance)

        return hook

    last = max(len(blocks) - 1, 1)
    for number, block in enumerate(blocks):
        if rate and isinstance(block, PreNorm):
            block.scale1.register_forward_hook(skip(rate * number / last))
            block.scale2.register_forward_hook(skip(rate * number / last))
