"""Cosines with one place, and where the place is."""

import pytest
import torch

from sensorium.data.errors import SensoriumError
from sensorium.insight.cosine import draw_places, place_at, place_similarity


def test_cosines_with_a_place_of_the_first_picture() -> None:
    maps = [torch.randn(4, 6, 16), torch.randn(3, 2, 16)]
    result = place_similarity(maps, (1, 5))
    for map, cosines in zip(maps, result.cosines, strict=True):
        wanted = torch.nn.functional.cosine_similarity(map, maps[0][1, 5].expand_as(map), dim=-1)
        torch.testing.assert_close(cosines, wanted)
    assert float(result.cosines[0][1, 5]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("x", "y", "place"), [(0.0, 0.0, (0, 0)), (0.99, 0.3, (1, 5)), (1.0, 1.0, (3, 5)), (-1.0, 9.0, (3, 0))]
)
def test_fractions_of_the_sides(x: float, y: float, place: tuple[int, int]) -> None:
    assert place_at(x, y, 4, 6) == place


def test_no_such_place() -> None:
    with pytest.raises(SensoriumError, match="4 x 6"):
        place_similarity([torch.randn(4, 6, 16)], (4, 0))


def test_the_ring_is_on_the_place() -> None:
    result = place_similarity([torch.randn(4, 6, 16)], (1, 5))
    figure = draw_places(result, [torch.zeros(3, 32, 48, dtype=torch.uint8)], ["a.png"])
    for axes in figure.axes[:2]:
        x, y = axes.lines[0].get_data()
        assert (float(x[0]), float(y[0])) == (44, 12)
    assert figure.axes[0].get_xlabel() == "a.png"
