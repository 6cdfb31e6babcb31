"""What reading pages is trained with."""

import torch
import torch.nn.functional as F

from sensorium.objectives.document import answer_span, covered_lines, entity_tags, related, same_page


def test_padding_and_unlabelled_tokens_do_not_count() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 4, 3), torch.tensor([[0, 1, -100, 2], [2, 2, 1, 0]])
    mask = torch.tensor([[True] * 4, [True, False, False, False]])
    counted = torch.cat([logits[0, [0, 1, 3]], logits[1, :1]])
    expected = F.cross_entropy(counted, torch.tensor([0, 1, 2, 2]))
    torch.testing.assert_close(entity_tags(logits, labels, mask), expected)
    assert entity_tags(logits, labels, torch.zeros_like(mask)) == 0


def test_an_answer_beyond_the_text_does_not_count() -> None:
    logits = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(0))
    span = answer_span(logits, torch.tensor([1, 9]), torch.tensor([3, 5]))
    expected = F.cross_entropy(logits[:1, :, 0], torch.tensor([1])) + F.cross_entropy(
        logits[:1, :, 1], torch.tensor([3])
    )
    torch.testing.assert_close(span, expected / 2)


def test_relations_are_summed_over_pages() -> None:
    logits, labels = [torch.zeros(3, 2), torch.zeros(1, 2)], [torch.tensor([0, 1, 0]), torch.tensor([1])]
    torch.testing.assert_close(related(logits, labels), torch.tensor(2 * 2.0).log())


def test_alignment_leaves_out_what_does_not_count() -> None:
    logits = torch.tensor([[[0.0, 9.0], [9.0, 0.0], [0.0, 9.0]]])
    covered, counts = torch.tensor([[True, True, False]]), torch.tensor([[True, False, False]])
    assert covered_lines(logits, covered, counts) < 1e-3
    assert covered_lines(logits, covered, torch.ones_like(counts)) > 5


def test_matching_is_class_one() -> None:
    assert same_page(torch.tensor([[0.0, 9.0], [9.0, 0.0]]), torch.tensor([True, False])) < 1e-3
