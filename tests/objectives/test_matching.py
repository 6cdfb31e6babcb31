import pytest
import torch

from sensorium.objectives.matching import sentence_image


def test_one_means_that_they_belong_together() -> None:
    logits = torch.tensor([[-9.0, 9.0], [9.0, -9.0]])
    assert sentence_image(logits, torch.tensor([1, 0])) < 1e-6
    assert sentence_image(logits, torch.tensor([True, False])) < 1e-6
    assert sentence_image(logits, torch.tensor([0, 1])) == pytest.approx(18, abs=1e-4)
