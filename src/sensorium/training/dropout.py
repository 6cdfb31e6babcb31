"""Dropout and stochastic depth put onto a model from outside: what runs and what is published knows neither.

Hooks add no names, so checkpoints stay what they are; they draw from torch's generator, which the loop seeds anew for
every step, and do nothing in eval mode.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.nn.attention import Tokens
from sensorium.nn.ragged import Groups
from sensorium.nn.transformer import MLP, Attend, PostNorm, PreNorm, Transformer


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


def drop_path(blocks: Iterable[nn.Module], rate: float) -> None:
    """Stochastic depth (Huang et al. 2016, https://arxiv.org/abs/1603.09382) as DINOv2 and DINOv3 have it: rows skip
    a residual branch of any block with the same chance, drawn anew for each branch.

    Of b rows max(⌊b(1 - rate)⌋, 1) are computed, the others are not, which saves their time; what is added counts
    b / kept times. Where several batches are packed in one row (`Groups`), each draws its own.
    """
    for block in blocks:
        if rate and isinstance(block, PreNorm):
            block.forward = partial(_skip, block, rate)  # a partial, which deepcopy binds to the copied block


def _skip(block: PreNorm, rate: float, x: Tokens, **attend: Unpack[Attend]) -> Tokens:
    """A block that computes its branches for some rows only."""
    if not block.training:
        return PreNorm.forward(block, x, **attend)
    mask = attend.get("mask")
    if attend.get("context") is not None or not (mask is None or isinstance(mask, Groups)):
        raise TypeError("drop path leaves rows out, which a mask or a context would have to follow: it can have none")
    if isinstance(mask, Groups):
        return mask.pack(_some(block, rate, mask.unpack(x), mask))
    return _some(block, rate, [x], Groups([(x.shape[0], x.shape[1])], [attend.get("rotate")]))[0]


def _some(block: PreNorm, rate: float, batches: list[Tensor], groups: Groups) -> list[Tensor]:
    def attention(x: Tensor, kept: Groups) -> Tensor:
        return block.scale1(block.attention(block.norm1(x), mask=kept))

    def mlp(x: Tensor, _: Groups) -> Tensor:
        return block.scale2(block.mlp(block.norm2(x)))

    counts = [max(int(rows * (1 - rate)), 1) for rows, _ in groups.shapes]
    kept = Groups([(count, tokens) for count, (_, tokens) in zip(counts, groups.shapes, strict=True)], groups.rotations)
    for branch in (attention, mlp):
        drawn = [torch.randperm(len(x), device=x.device)[:n] for x, n in zip(batches, counts, strict=True)]
        some = kept.pack(x.index_select(0, rows) for x, rows in zip(batches, drawn, strict=True))
        batches = [
            x.index_add(0, rows, more.to(x.dtype), alpha=len(x) / len(rows))
            for x, rows, more in zip(batches, drawn, kept.unpack(branch(some, kept)), strict=True)
        ]
    return batches
