"""The nearest of every sense, where it is known which they are."""

import pytest
import torch
from PIL import Image

from sensorium.data.errors import SensoriumError
from sensorium.insight.panel import Nearest, draw_panel, nearest
from sensorium.insight.things import Thing

QUESTION = torch.tensor([2.0, 0, 0])


def test_best_first() -> None:
    vectors = torch.tensor([[0.0, 1, 0], [3, 3, 0], [5, 0, 0], [-1, 0, 0]])
    found = nearest(QUESTION, vectors, k=3)
    assert found.places.tolist() == [2, 1, 0]
    torch.testing.assert_close(found.cosines, torch.tensor([1, 0.5**0.5, 0]))
    assert found.files == 4
    assert nearest(QUESTION, torch.ones(7, 3)).places.tolist() == [0, 1, 2, 3, 4], "equals keep their order"


def test_of_a_file_its_best_moment_alone() -> None:
    vectors = torch.tensor([[1.0, 1, 0], [1, 0.1, 0], [1, 0.5, 0], [0, 1, 0]])
    found = nearest(QUESTION, vectors, files=[7, 7, 3, 3])
    assert found.places.tolist() == [1, 2]
    assert found.files == 2


def test_nothing_is_refused() -> None:
    with pytest.raises(SensoriumError, match="one thing at least"):
        nearest(QUESTION, torch.zeros(0, 3))


def test_the_drawing_has_every_row_its_names_and_cosines() -> None:
    def things(sense: str, *names: str) -> list[Thing]:
        return [Thing(sense=sense, name=name, said="0:12", picture=Image.new("RGB", (9, 6))) for name in names]

    rows = {
        "films": (
            Nearest(places=torch.tensor([1, 0]), cosines=torch.tensor([0.5, -0.001]), files=1200),
            things("video", "b.mp4", "a.mp4"),
        ),
        "words": (
            Nearest(places=torch.tensor([0]), cosines=torch.tensor([0.25]), files=1),
            [Thing(sense="text", name="a dog costs $5 猫")],
        ),
    }
    figure = draw_panel(Thing(sense="audio", name="dog.wav"), rows, "nearest to dog.wav")
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert "b.mp4, 0:12\n+0.50" in labels
    assert "a.mp4, 0:12\n+0.00" in labels, "no minus before nothing"
    assert "+0.25" in labels
    titles = [axes.get_title("left") for axes in figure.axes]
    assert "films · 1,200" in titles
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["dog.wav", "a dog costs $5 □"]
    figure.draw_without_rendering()
