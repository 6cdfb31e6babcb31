"""Cosines and both softmaxes on vectors whose angles are known, of things of any sense."""

import pytest
import torch
from PIL import Image

from sensorium.data.errors import SensoriumError
from sensorium.insight.similarity import draw_similarity, similarity_of_sets
from sensorium.insight.things import Thing


def seen(count: int) -> list[Thing]:
    return [Thing(sense="image", name=f"{i}.png", picture=Image.new("RGB", (8, 6))) for i in range(count)]


def said(*texts: str) -> list[Thing]:
    return [Thing(sense="text", name=text) for text in texts]


def test_known_angles() -> None:
    pictures, texts = torch.tensor([[2.0, 0], [0, 5]]), torch.tensor([[1.0, 0], [3, 3], [-1, 0]])
    result = similarity_of_sets(pictures, texts, 2.0)
    half = 0.5**0.5
    torch.testing.assert_close(result.cosines, torch.tensor([[1, half, -1], [0, half, 0]]))
    torch.testing.assert_close(result.of_second.sum(1), torch.ones(2))
    torch.testing.assert_close(result.of_first.sum(0), torch.ones(3))
    torch.testing.assert_close(result.of_first[:, 1], torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(result.of_second[0, 0] / result.of_second[0, 2], torch.tensor(4.0).exp())


def test_partners_that_are_nearest_are_counted_each_way() -> None:
    """The first two are near to their partners; the third's partner is nearer to the second."""
    first = torch.eye(3)
    second = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0.9, 0.1]])
    assert similarity_of_sets(first, second, 1.0).right([(0, 0), (1, 1), (2, 2)]) == (3, 2)
    assert similarity_of_sets(first, second, 1.0).right([(0, 1), (2, 0)]) == (0, 0)


def test_one_of_each_at_least() -> None:
    with pytest.raises(SensoriumError, match="one of each set"):
        similarity_of_sets(torch.zeros(0, 4), torch.ones(2, 4), 1.0)


def test_drawing_frames_the_nearest_text_and_writes_any_text() -> None:
    result = similarity_of_sets(torch.eye(14)[:12], torch.eye(14)[:2], 1.0)
    figure = draw_similarity(result, seen(10), said("costs $5 and $6", "猫 " * 60), [(0, 0), (1, 0)])
    axes = figure.axes[0]
    assert [round(frame.get_y() + 0.45) for frame in axes.patches][:2] == [0, 1]  # type: ignore[attr-defined]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "costs $5 and $6"
    assert not axes.get_yticklabels()[0].get_parse_math(), "dollars are no mathematics"
    assert labels[1].count("\n") == 1
    remark = figure.texts[1].get_text()
    assert "2 more columns" in remark
    assert "nearest for 1 of 2 columns and 1 of 2 rows" in remark
    assert [round(float(x)) for x in axes.lines[0].get_xdata()] == [0, 1], "a dot for each pair"  # type: ignore[arg-type]
    figure.draw_without_rendering()  # would warn of letters that the font lacks


def test_many_have_no_numbers_in_their_cells() -> None:
    few = draw_similarity(similarity_of_sets(torch.eye(20)[:12], torch.eye(20), 1.0), seen(12), seen(20))
    assert sum(text.get_text() == "1.00" for text in few.axes[0].texts) == 12
    many = draw_similarity(similarity_of_sets(torch.eye(60)[:40], torch.eye(60), 1.0), said(*"ab" * 20), seen(60))
    assert not [text for text in many.axes[0].texts if text.get_text() == "1.00"]
    assert len(many.axes[0].patches) == 40
    assert "12 more rows" in many.texts[1].get_text()
    assert max(many.get_size_inches()) < 18
    many.draw_without_rendering()
