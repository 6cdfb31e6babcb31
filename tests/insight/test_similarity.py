"""Cosines and both softmaxes on vectors whose angles are known."""

import pytest
import torch

from sensorium.data.errors import SensoriumError
from sensorium.insight.similarity import draw_similarity, image_text_similarity


def test_known_angles() -> None:
    pictures, texts = torch.tensor([[2.0, 0], [0, 5]]), torch.tensor([[1.0, 0], [3, 3], [-1, 0]])
    result = image_text_similarity(pictures, texts, 2.0)
    half = 0.5**0.5
    torch.testing.assert_close(result.cosines, torch.tensor([[1, half, -1], [0, half, 0]]))
    torch.testing.assert_close(result.texts.sum(1), torch.ones(2))
    torch.testing.assert_close(result.images.sum(0), torch.ones(3))
    torch.testing.assert_close(result.images[:, 1], torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(result.texts[0, 0] / result.texts[0, 2], torch.tensor(4.0).exp())


def test_one_of_each_at_least() -> None:
    with pytest.raises(SensoriumError, match="a picture and a text"):
        image_text_similarity(torch.zeros(0, 4), torch.ones(2, 4), 1.0)


def test_drawing_frames_the_nearest_text_and_writes_any_text() -> None:
    result = image_text_similarity(torch.eye(14), torch.eye(14)[:2], 1.0)
    pictures = [torch.zeros(3, 8, 8, dtype=torch.uint8)] * 12
    figure = draw_similarity(result, pictures, ["costs $5 and $6", "猫 " * 60])
    axes = figure.axes[0]
    assert [round(frame.get_y() + 0.45) for frame in axes.patches][:2] == [0, 1]  # type: ignore[attr-defined]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "costs $5 and $6"
    assert not axes.get_yticklabels()[0].get_parse_math(), "dollars are no mathematics"
    assert labels[1].count("\n") == 1
    assert "2 more pictures" in figure.texts[1].get_text()
    figure.draw_without_rendering()  # would warn of letters that the font lacks
