"""Position similarity of planted grids, and of every family that learns positions."""

import math

import pytest
import torch
import torch.nn.functional as F

from sensorium.data.errors import SensoriumError
from sensorium.insight.positions import TILES, draw_positions, position_similarity, similarity_of
from tests.insight.trunks import TRUNKS, build


def planted(rows: int, columns: int) -> torch.Tensor:
    """[which row; which column]: cosine 1/2 within a row or column, 0 elsewhere."""
    row, column = torch.eye(rows)[:, None].expand(-1, columns, -1), torch.eye(columns)[None].expand(rows, -1, -1)
    return torch.cat([row, column], dim=-1)


def test_a_planted_grid_is_seen() -> None:
    result = similarity_of(3 * planted(3, 4))
    wanted = torch.zeros(3, 4)
    wanted[1], wanted[:, 2], wanted[1, 2] = 0.5, 0.5, 1
    torch.testing.assert_close(result.cosines[1, 2], wanted)
    assert (result.neighbours, result.same_row, result.same_column) == pytest.approx((0.5, 0.5, 0.5))
    assert result.elsewhere == pytest.approx(0, abs=1e-6)


def test_rows_and_columns_are_not_confused() -> None:
    rows_only = F.pad(torch.eye(3)[:, None].expand(-1, 4, -1), (0, 1))
    result = similarity_of(rows_only)
    assert (result.same_row, result.same_column) == pytest.approx((1, 0))
    assert result.neighbours == pytest.approx(9 / 17)  # 3 rows of 3 pairs across, 2 of 4 down


def test_one_patch_has_no_pairs() -> None:
    assert math.isnan(similarity_of(torch.ones(1, 1, 8)).neighbours)


@pytest.mark.parametrize("name", [name for name in TRUNKS if "3" not in name and "txt" not in name])
def test_every_family_that_learns_positions(name: str) -> None:
    model = build(name)
    result = position_similarity(model)
    assert result.cosines.shape == (4, 4, 4, 4)
    torch.testing.assert_close(result.cosines.view(16, 16).diagonal(), torch.ones(16))
    assert result.elsewhere < 0.5, "random positions are not alike"


def test_rotations_are_no_learned_positions() -> None:
    with pytest.raises(SensoriumError, match="no learned positions"):
        position_similarity(build("dino.txt"))


@pytest.mark.parametrize(("side", "shown"), [(4, 4), (20, TILES)])
def test_drawing_of_any_grid(side: int, shown: int) -> None:
    figure = draw_positions(similarity_of(planted(side, side)))
    axes = figure.axes[0]
    assert len(axes.get_xticks()) == len(axes.get_yticks()) == shown
    assert [label.get_text() for label in axes.get_xticklabels()][-1] == str(side)
