import torch
import torch.nn.functional as F

from sensorium.objectives.alignment import allowed_answers, of_true_pairs, swapped_caption, verdict


def test_swapped_is_class_one() -> None:
    logits = torch.tensor([[9.0, -9.0], [-9.0, 9.0]])
    assert swapped_caption(logits, torch.tensor([False, True])) < 1e-6
    assert swapped_caption(logits, torch.tensor([True, False])) > 17


def test_swapped_pairs_have_nothing_to_guess() -> None:
    labels, swapped = torch.tensor([[3, -1], [0, 4]]), torch.tensor([True, False])
    assert of_true_pairs(labels, swapped, ignore=-1).tolist() == [[-1, -1], [0, 4]]


def test_answers_are_summed_and_verdicts_averaged() -> None:
    torch.manual_seed(0)
    scores, targets = torch.randn(3, 4), torch.rand(3, 4)
    mean = F.binary_cross_entropy_with_logits(scores, targets)
    torch.testing.assert_close(allowed_answers(scores, targets), 4 * mean)
    torch.testing.assert_close(verdict(scores, targets), mean)
