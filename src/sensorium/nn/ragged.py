"""Sequences of several lengths in one batch, computed without their padding.

Everything in a transformer but attention looks at one token at a time, so the real tokens of all rows can stand in one
long row. Attention alone sees the rows apart, as if nothing had been packed.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Ragged:
    """Where the real tokens of a batch stand. It goes through the blocks in place of a mask."""

    def __init__(self, mask: Bool[Tensor, "b n"]) -> None:
        self.mask, self.places = mask, mask.flatten().nonzero()[:, 0]

    def pack(self, x: Float[Tensor, "b n *width"]) -> Float[Tensor, "1 t *width"]:
        """The real tokens of all rows, one after the other."""
        return x.flatten(0, 1)[self.places][None]

    def unpack(self, x: Float[Tensor, "1 t *width"]) -> Float[Tensor, "b n *width"]:
        """Every token in its row again, and zeros on padding."""
        empty = x.new_zeros(self.mask.numel(), *x.shape[2:])
        return empty.index_copy(0, self.places, x[0]).unflatten(0, self.mask.shape)

    def attend(
        self,
        kernel: Callable[..., Tensor],
        q: Float[Tensor, "1 h t d"],
        k: Float[Tensor, "1 h t d"],
        v: Float[Tensor, "1 h t d"],
    ) -> Float[Tensor, "1 h t d"]:
        """Each row within itself: the kernel gets what it would without packing, (b, h, n, d) and a mask."""
        q, k, v = (self.unpack(t.transpose(1, 2)).transpose(1, 2) for t in (q, k, v))
        return self.pack(kernel(q, k, v, attn_mask=self.mask[:, None, None]).transpose(1, 2)).transpose(1, 2)


def without_padding(
    blocks: Iterable[Callable[..., Any]], x: Float[Tensor, "b n width"], mask: Bool[Tensor, "b n"] | None
) -> Float[Tensor, "b n width"]:
    """Run blocks over the tokens where `mask` is True, which see each other alone; what comes back elsewhere is void.

    How many tokens are real is known only when it runs: a compiled graph, which must not depend on it, computes all.
    """
    if mask is None or torch.compiler.is_compiling():
        seen = None if mask is None else mask[:, None, None]
        for block in blocks:
            x = block(x, mask=seen)
        return x
    if mask.all():
        return without_padding(blocks, x, None)
    ragged = Ragged(mask)
    x = ragged.pack(x)
    for block in blocks:
        x = block(x, mask=ragged)
    return ragged.unpack(x)
