import pytest
import torch

from sensorium.objectives.words import bag, bag_of_words


def test_a_bag_forgets_order_and_repetition() -> None:
    ids = torch.tensor([[7, 2, 3, 2, 8, 0], [7, 3, 8, 0, 0, 0]])
    read = (ids > 0) & (ids < 7)
    expected = torch.tensor([[0, 0, 0.5, 0.5, 0], [0, 0, 0, 1, 0]])
    assert torch.equal(bag(ids.clamp(max=4), read, 5), expected)
    assert not bag(ids, torch.zeros_like(read), 9).any(), "a caption without words has an empty bag"


def test_the_loss_is_least_for_the_captions_own_words() -> None:
    words = torch.tensor([[0.5, 0.5, 0, 0]])
    right = bag_of_words(torch.tensor([[9.0, 9, 0, 0]]), words)
    assert right < bag_of_words(torch.tensor([[9.0, 0, 0, 9]]), words)
    assert right.item() == pytest.approx(torch.tensor(2.0).log().item(), abs=1e-3)
