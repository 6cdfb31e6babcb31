import pytest
import torch
import torch.nn.functional as F

from sensorium.objectives.regions import masked_classes, masked_features


def test_classes_are_averaged_over_masked_regions() -> None:
    torch.manual_seed(0)
    logits, detector = torch.randn(2, 3, 5), torch.rand(2, 3, 5).softmax(-1)
    masked = torch.tensor([[True, False, True], [False, False, True]])
    rows = [(0, 0), (0, 2), (1, 2)]
    one = [(detector[r] * (detector[r].log() - logits[r].log_softmax(-1))).sum() for r in rows]
    torch.testing.assert_close(masked_classes(logits, detector, masked), torch.stack(one).mean())
    assert masked_classes(detector.log(), detector, masked).abs() < 1e-6


def test_features_are_averaged_over_regions_and_numbers() -> None:
    torch.manual_seed(0)
    guess, features = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    masked = torch.tensor([[True, False, True], [False, False, True]])
    torch.testing.assert_close(masked_features(guess, features, masked), F.mse_loss(guess[masked], features[masked]))


@pytest.mark.parametrize("loss", [masked_classes, masked_features])
def test_without_any_masked_region_the_loss_is_zero_and_has_a_gradient(loss) -> None:  # type: ignore[no-untyped-def]
    guess = torch.randn(2, 3, 5, requires_grad=True)
    value = loss(guess, torch.rand(2, 3, 5), torch.zeros(2, 3, dtype=torch.bool))
    value.backward()
    assert value == 0
    assert not guess.grad.any()  # type: ignore[union-attr]
