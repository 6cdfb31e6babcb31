"""Rotary positions: what a score depends on, and what stays."""

import pytest
import torch

from sensorium.nn.rotary import geometric_periods, grid_coordinates, rotary_table, rotation


def test_scores_depend_on_the_way_between_two_patches() -> None:
    periods = geometric_periods(16)
    coordinates = grid_coordinates(4, 4)
    q, k = torch.randn(2, 1, 1, 1, 16)
    near, far = (rotation(rotary_table(coordinates + shift, periods)) for shift in (0.0, 0.37))
    scores = [turn(q.expand(1, 1, 16, 16)) @ turn(k.expand(1, 1, 16, 16)).mT for turn in (near, far)]
    torch.testing.assert_close(scores[0], scores[1], atol=1e-4, rtol=1e-4)


def test_the_prefix_stays_bit_by_bit_and_lengths_are_kept() -> None:
    x = torch.randn(2, 3, 5 + 6, 8)
    turned = rotation(rotary_table(grid_coordinates(2, 3), geometric_periods(8)), prefix=5)(x)
    assert torch.equal(turned[:, :, :5], x[:, :, :5])
    assert not torch.allclose(turned[:, :, 5:], x[:, :, 5:])
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_rows_come_before_columns() -> None:
    coordinates = grid_coordinates(1, 2)
    assert coordinates.tolist() == [[0.0, -0.5], [0.0, 0.5]]
    sin, _ = rotary_table(coordinates, geometric_periods(8))
    assert not sin[:, :2].any()
    assert sin[:, 2:].any()


def test_half_precision_is_turned_in_the_precision_of_the_table() -> None:
    x = torch.randn(1, 1, 6, 8, dtype=torch.bfloat16)
    turn = rotation(rotary_table(grid_coordinates(2, 3), geometric_periods(8)))
    assert torch.equal(turn(x), turn(x.float()).bfloat16())


def test_heads_of_an_odd_width_are_refused() -> None:
    with pytest.raises(ValueError, match="heads of 6 channels"):
        geometric_periods(6)


def test_gradients_flow_through_the_rotation() -> None:
    turn = rotation(rotary_table(grid_coordinates(2, 3).double(), geometric_periods(8).double()), prefix=2)
    x = torch.randn(1, 2, 8, 8, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(turn, x)
