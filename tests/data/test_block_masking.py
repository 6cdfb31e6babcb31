import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.data.block_masking import batch_masks, block_mask


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 81), st.integers(0, 99))
def test_counts_are_exact(rows: int, columns: int, target: int, seed: int) -> None:
    tools = {"draws": random.Random(seed), "choice": np.random.RandomState(seed)}
    if target > rows * columns:
        with pytest.raises(ValueError, match="cannot be masked"):
            block_mask((rows, columns), target, largest=20, **tools)
    else:
        assert block_mask((rows, columns), target, largest=20, **tools).sum() == target


def test_a_batch_always_holds_as_many() -> None:
    for seed in range(5):
        tools = {"draws": random.Random(seed), "choice": np.random.RandomState(seed)}
        made = batch_masks(6, (8, 8), largest=32, **tools)
        assert made.masks.sum() == len(made.indices) == made.upper_bound
        assert (made.masks.sum(1) > 0).sum() == 3
        assert made.weight.sum() == pytest.approx(3)
