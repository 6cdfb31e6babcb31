"""Boxes on a picture: whose, where, and in which order."""

import torch

from sensorium.insight.detected import draw_detected


def test_each_question_has_its_boxes() -> None:
    boxes = torch.tensor([[4.0, 8, 36, 40], [50, 4, 74, 36], [0, 0, 20, 20], [1, 1, 9, 9], [2, 2, 5, 5]])
    scores = torch.tensor([0.91, 0.5, 0.4, 0.3, 0.2])
    prompts = torch.tensor([0, 1, 0, 0, 0])
    picture = torch.zeros(3, 64, 96, dtype=torch.uint8)
    figure = draw_detected(picture, boxes, scores, prompts, ["bark.wav", "rain $5", "frog.wav"])
    bark, rain, frog = figure.axes
    assert [len(axes.lines) for axes in figure.axes] == [3, 1, 0], "at most three of each"
    assert [text.get_text() for text in bark.texts] == ["0.91"]
    strong = max(bark.lines, key=lambda line: line.get_linewidth())
    assert strong.get_xdata().tolist() == [4, 36, 36, 4, 4]
    assert strong.get_ydata().tolist() == [8, 8, 40, 40, 8]
    assert (rain.get_title(), frog.get_title()) == ("rain $5", "frog.wav")
