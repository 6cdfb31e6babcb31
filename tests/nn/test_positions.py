import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.nn.positions import GOOGLE, TIMM, TIMM_NPZ, TRANSFORMERS, Resampling, resize_positions

WAYS = {"google": GOOGLE, "timm": TIMM, "timm npz": TIMM_NPZ, "transformers": TRANSFORMERS}
SIDE = st.integers(2, 9)
settings.register_profile("quick", max_examples=20, deadline=None)
QUICK = settings.get_profile("quick")


@QUICK
@given(st.sampled_from(sorted(WAYS)), SIDE, SIDE, SIDE, SIDE, st.integers(0, 3))
def test_shape_prefix_and_constants(way: str, rows: int, columns: int, high: int, wide: int, prefix: int) -> None:
    positions = torch.randn(prefix + rows * columns, 5)
    positions[prefix:] = 3.0
    resized = resize_positions(positions, (rows, columns), (high, wide), WAYS[way], prefix=prefix)
    assert resized.shape == (prefix + high * wide, 5)
    assert torch.equal(resized[:prefix], positions[:prefix])
    torch.testing.assert_close(resized[prefix:], torch.full((high * wide, 5), 3.0))


@QUICK
@given(st.sampled_from(sorted(WAYS)), SIDE, SIDE, SIDE, SIDE)
def test_mirrored_grids_give_mirrored_positions(way: str, rows: int, columns: int, high: int, wide: int) -> None:
    grid = torch.randn(rows, columns, 3)
    resized = resize_positions(grid.flatten(0, 1), (rows, columns), (high, wide), WAYS[way])
    flipped = resize_positions(grid.flip(1).flatten(0, 1), (rows, columns), (high, wide), WAYS[way])
    torch.testing.assert_close(flipped.unflatten(0, (high, wide)).flip(1).flatten(0, 1), resized, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("how", WAYS.values())
def test_the_same_size_is_left_alone(how: Resampling) -> None:
    positions = torch.randn(10, 3)
    assert resize_positions(positions, (3, 3), (3, 3), how, prefix=1) is positions


def test_google_keeps_end_points() -> None:
    """scipy's zoom of order 1: the corners stay, and between two points lies their mean."""
    positions = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    resized = resize_positions(positions, (2, 2), (3, 3), GOOGLE)
    assert resized.flatten().tolist() == [0, 0.5, 1, 1, 1.5, 2, 2, 2.5, 3]


def test_the_ways_differ_and_rows_are_not_columns() -> None:
    positions = torch.randn(16, 4)
    results = [resize_positions(positions, (4, 4), (6, 3), how) for how in WAYS.values()]
    for i, one in enumerate(results):
        for other in results[i + 1 :]:
            assert (one - other).abs().max() > 1e-3
    gradient = torch.arange(4.0).repeat_interleave(4)[:, None]  # the row number, the same in every column
    resized = resize_positions(gradient, (4, 4), (6, 3), TRANSFORMERS).view(6, 3)
    torch.testing.assert_close(resized, resized[:, :1].expand(6, 3))
    assert (resized[1:, 0] > resized[:-1, 0]).all()


def test_half_precision_stays() -> None:
    assert resize_positions(torch.randn(4, 2).bfloat16(), (2, 2), (3, 3), TIMM).dtype == torch.bfloat16
