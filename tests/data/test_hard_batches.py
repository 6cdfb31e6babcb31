import pytest
import torch

from sensorium.data.hard_batches import hard_batches, nearest


def test_batches_hold_neighbours() -> None:
    """Videos of eight subjects far apart: every batch of four is of one subject."""
    subject = torch.arange(8).repeat_interleave(8)
    vectors = 100 * torch.eye(8)[subject] + torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    batches = hard_batches(vectors, torch.Generator().manual_seed(1), candidates=8, size=4)
    assert batches.shape == (16, 4)
    assert all(len(set(subject[batch].tolist())) == 1 for batch in batches)
    assert all(len(set(batch.tolist())) == 4 for batch in batches)


def test_chance_decides_and_can_be_repeated() -> None:
    vectors = torch.randn(100, 6, generator=torch.Generator().manual_seed(0))
    first, again, other = (hard_batches(vectors, torch.Generator().manual_seed(s), size=10) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_nearest_is_the_sorted_distance_in_any_chunk() -> None:
    vectors = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    queries = torch.tensor([3, 40, 7])
    expected = torch.cdist(vectors[queries], vectors).argsort(1)[:, :9]
    assert torch.equal(nearest(vectors, queries, 9), expected)
    assert torch.equal(nearest(vectors, queries, 9, chunk=2), expected)
    assert nearest(vectors, queries, 99).shape == (3, 50)


def test_too_few_videos() -> None:
    with pytest.raises(ValueError, match="9 videos and 64 candidates for batches of 32"):
        hard_batches(torch.randn(9, 4), torch.Generator())
