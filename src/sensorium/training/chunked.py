"""Gradient caching (GradCache, Gao et al. 2021, https://arxiv.org/abs/2101.06983): a large batch in small memory.

The losses that contrast a whole batch need all its vectors at once, but not all activations that lead to them. Each
chunk of rows is computed without keeping activations, and once more in the backward pass: exact, for a third more time.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def chunked(function: Callable[..., Tensor], *rows: Tensor, chunk: int) -> Tensor:
    """`function(*rows)`, computed and differentiated `chunk` rows at a time.

    Each output row must depend on its own input rows alone (no batch norm in training mode). Dropout repeats itself.
    A chunk of 0, or of all rows, is the plain call.
    """
    n = len(rows[0])
    if chunk <= 0 or chunk >= n:
        return function(*rows)
    parts = zip(*(x.split(chunk) for x in rows), strict=True)
    return torch.cat([checkpoint(function, *part, use_reentrant=False) for part in parts])
