import pytest
import torch

from sensorium.tasks.answering import degree, soft_accuracy, whole_answers


def test_four_people_are_enough() -> None:
    torch.testing.assert_close(degree(torch.arange(6)), torch.tensor([0, 0.3, 0.6, 0.9, 1, 1]))


def test_answer_0_is_never_given() -> None:
    scores, targets = torch.tensor([[9.0, 1.0, 2.0], [9.0, 3.0, 2.0]]), torch.tensor([[1.0, 0.0, 0.6], [1.0, 0.3, 0.0]])
    assert soft_accuracy(scores, targets) == pytest.approx(0.45)


def test_an_answer_is_right_as_a_whole() -> None:
    labels = torch.tensor([[3, -1, 1], [3, -1, 1], [-1, -1, -1], [2, 2, 2]])
    guesses = torch.tensor([[3, 0, 1], [3, 0, 2], [0, 0, 0], [2, 2, 1]])
    logits = torch.nn.functional.one_hot(guesses, 5).float()
    assert whole_answers(logits, labels, ignore=-1) == 0.5
