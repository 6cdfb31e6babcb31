import pytest
import torch

from sensorium.tasks.grounding import recall


def test_any_of_a_phrases_regions_is_right() -> None:
    scores = torch.tensor(
        [[[1.0, 2.0, 0.0], [1.0, 0.0, 0.0], [5.0, 0.0, 0.0]], [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    )
    targets = torch.tensor(
        [[[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]
    )
    places = torch.tensor([[3, 5, 9], [2, -1, -1]])  # the third phrase matches no region
    grounded = recall(scores, targets, places)
    assert grounded.phrases == 4
    assert grounded.recall == pytest.approx(2 / 4)
    assert grounded.bound == pytest.approx(3 / 4)
    assert recall(scores, targets, places, at=2).recall == pytest.approx(3 / 4)
    assert recall(scores, targets, places, at=10).recall == pytest.approx(3 / 4)


def test_no_phrase_at_all() -> None:
    none = recall(torch.randn(1, 1, 2), torch.zeros(1, 1, 2), torch.tensor([[-1]]))
    assert (none.recall, none.bound, none.phrases) == (0, 0, 0)
