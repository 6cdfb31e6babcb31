import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.objectives.answering import choice, soft_targets


def test_divided_by_the_batch_and_by_nothing_else() -> None:
    torch.manual_seed(0)
    scores, targets = torch.randn(2, 3, 4), torch.rand(2, 3, 4)
    by_hand = (targets * (targets.log() - scores.log_softmax(-1))).sum() / 2
    torch.testing.assert_close(soft_targets(scores, targets), by_hand)
    torch.testing.assert_close(
        soft_targets(scores[:, 0], targets[:, 0]) + soft_targets(scores[:, 1:], targets[:, 1:]), by_hand
    )


def test_what_is_nobodys_answer_counts_nothing() -> None:
    scores = torch.randn(2, 5, requires_grad=True)
    loss = soft_targets(scores, torch.zeros(2, 5))
    loss.backward()
    assert loss == 0
    assert not scores.grad.any()  # type: ignore[union-attr]


def test_padding_of_the_lowest_number_has_a_finite_loss() -> None:
    scores = torch.tensor([[1.0, 2.0, torch.finfo(torch.float32).min]], requires_grad=True)
    loss = soft_targets(scores, torch.tensor([[0.0, 1.0, 0.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(0.3133, abs=1e-4)
    assert scores.grad.isfinite().all()  # type: ignore[union-attr]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 5))
def test_the_targets_own_distribution_is_best(seed: int, scale: float) -> None:
    torch.manual_seed(seed)
    targets = (scale * torch.randn(3, 6)).softmax(-1)
    assert soft_targets(targets.log(), targets) == pytest.approx(0, abs=1e-5)
    assert soft_targets(torch.randn(3, 6), targets) >= 0


def test_choice() -> None:
    scores = torch.tensor([[0.0, 0.0, 0.0, 0.0], [30.0, 0.0, 0.0, 0.0]])
    assert choice(scores, torch.tensor([2, 0])) == pytest.approx(torch.tensor(4.0).log().item() / 2)
