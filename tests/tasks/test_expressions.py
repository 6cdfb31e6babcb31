import torch

from sensorium.tasks.expressions import found


def test_the_best_region_must_overlap_by_more_than_half() -> None:
    scores = torch.tensor([[1.0, 3, 2], [1, 3, 2], [5, 3, 2]])
    overlap = torch.tensor([[0.9, 0.6, 0], [1, 0.5, 0], [0, 1, 0]])
    assert found(scores, overlap).tolist() == [True, False, False]
