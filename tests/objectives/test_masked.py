import torch
import torch.nn.functional as F

from sensorium.objectives.masked import masked_words


def test_ignored_tokens_do_not_count() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 7), torch.tensor([[1, -100, 3], [-100, -100, 6]])
    expected = torch.stack([F.cross_entropy(logits[i, j], labels[i, j]) for i, j in ((0, 0), (0, 2), (1, 2))]).mean()
    torch.testing.assert_close(masked_words(logits, labels), expected)


def test_without_any_masked_token_the_loss_is_zero_and_has_a_gradient() -> None:
    logits = torch.randn(1, 2, 5, requires_grad=True)
    loss = masked_words(logits, torch.full((1, 2), -100))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()  # type: ignore[union-attr]
