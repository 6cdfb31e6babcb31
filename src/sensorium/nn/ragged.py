"""Sequences of several lengths in one batch, computed without their padding.

Everything in a transformer but attention looks at one token at a time, so the real tokens of all rows can stand in one
long row. Attention alone sees the rows apart, as if nothing had been packed.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Ragged:
    """Where the real tokens of a batch stand. It goes through the blocks in place of a mask.

    `looks` says which keys a query may look at: the real ones, where nothing else is said.
    """

    def __init__(self, mask: Bool[Tensor, "b n"], looks: Bool[Tensor, "#b 1 #n n"] | None = None) -> None:
        self.mask, self.places = mask, mask.flatten().nonzero()[:, 0]
        self.looks = mask[:, None, None] if looks is None else looks

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
        return self.pack(kernel(q, k, v, attn_mask=self.looks).transpose(1, 2)).transpose(1, 2)


class Groups:
    """Batches whose rows differ in length, in one row: first all rows of the first batch, then those of the next.

    It goes through the blocks in place of a mask, and of the rotation: each batch has its own, or none. `shapes` are
    the batches' (rows, tokens of a row).
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, int]],
        rotations: Sequence[Callable[[Tensor], Tensor] | None] | None = None,
    ) -> None:
        self.shapes = [(rows, tokens) for rows, tokens in shapes]
        self.rotations = [None] * len(self.shapes) if rotations is None else list(rotations)
        if len(self.rotations) != len(self.shapes):
            raise ValueError(f"{len(self.shapes)} batches and {len(self.rotations)} rotations: each needs one or None")

    def pack(self, batches: Iterable[Float[Tensor, "_ _ *width"]]) -> Float[Tensor, "1 t *width"]:
        """The tokens of all batches, one after the other."""
        return torch.cat([x.flatten(0, 1)[None] for x in batches], dim=1)

    def unpack(self, x: Float[Tensor, "1 t *width"]) -> list[Float[Tensor, "_ _ *width"]]:
        """Every batch again; nothing is copied."""
        parts = x[0].split([rows * tokens for rows, tokens in self.shapes])
        return [part.unflatten(0, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def attend(
        self,
        kernel: Callable[..., Tensor],
        q: Float[Tensor, "1 h t d"],
        k: Float[Tensor, "1 h t d"],
        v: Float[Tensor, "1 h t d"],
    ) -> Float[Tensor, "1 h t d"]:
        """Each row within itself: the kernel gets a batch as it would alone, (b, h, n, d), queries and keys turned."""
        found: list[Tensor] = []
        apart = (self.unpack(t.transpose(1, 2)) for t in (q, k, v))
        for rotate, *batch in zip(self.rotations, *apart, strict=True):
            q, k, v = (t.transpose(1, 2) for t in batch)
            if rotate is not None:
                q, k = rotate(q), rotate(k)
            found.append(kernel(q, k, v, attn_mask=None).transpose(1, 2))
        return self.pack(found).transpose(1, 2)


def without_padding(
    blocks: Iterable[Callable[..., Any]],
    x: Float[Tensor, "b n width"],
    mask: Bool[Tensor, "b n"] | None,
    *,
    causal: bool = False,
) -> Float[Tensor, "b n width"]:
    """Run blocks over the tokens where `mask` is True, which see each other alone; what comes back elsewhere is void.

    With `causal` a token sees what came before it; padding must then stand at the end. How many tokens are real is
    known only when it runs: a compiled graph, which must not depend on it, computes all.
    """
    if mask is not None and not torch.compiler.is_compiling() and mask.all():
        mask = None
    looks = None if mask is None else mask[:, None, None]
    if causal:
        looks = torch.ones(1, 1, x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
    if mask is None or torch.compiler.is_compiling():
        for block in blocks:
            x = block(x, mask=looks)
        return x
    ragged = Ragged(mask, looks)
    x = ragged.pack(x)
    for block in blocks:
        x = block(x, mask=ragged)
    return ragged.unpack(x)


def at_the_end(
    blocks: Iterable[Callable[..., Any]], x: Float[Tensor, "b n width"], ends: Int[Tensor, " b"]
) -> Float[Tensor, "b width"]:
    """The last state of texts that are read from left to right and end at `ends`: what follows is not computed."""
    if not torch.compiler.is_compiling():
        x = x[:, : int(ends.max()) + 1]
    read = torch.arange(x.shape[1], device=x.device) <= ends[:, None]
    x = without_padding(blocks, x, read, causal=True)
    return x[torch.arange(x.shape[0], device=x.device), ends]
