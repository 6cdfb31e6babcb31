"""What LayoutLMv2 is asked in pretraining."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sensorium.data.page_masking import (
    DROPPED,
    REPLACED,
    SAME,
    Rates,
    choose_lines,
    cover,
    mask_words,
    question,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_line_is_covered_whole_or_not_at_all() -> None:
    line = torch.tensor([-1, 0, 0, 0, 1, 1, 2, 3, 3, -1])
    for seed in range(30):
        covered = choose_lines(line, 0.5, seeded(seed))
        assert not covered[line < 0].any()
        for index in range(4):
            assert covered[line == index].float().mean() in (0, 1)
    assert not choose_lines(torch.empty(0, dtype=torch.long), 0.5, seeded()).numel()
    assert choose_lines(line, 1.0, seeded())[1:-1].all()


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4), st.integers(1, 60), st.integers(1, 60))
def test_every_pixel_of_a_box_is_covered_and_none_far_from_it(box: list[int], height: int, width: int) -> None:
    x0, x1 = sorted(box[:2])
    y0, y1 = sorted(box[2:])
    image = torch.ones(3, height, width)
    painted = cover(image, torch.tensor([[x0, y0, x1, y1]]))
    assert image.all()
    rows = (torch.arange(height) + 0.5) / height * 1000
    columns = (torch.arange(width) + 0.5) / width * 1000
    inside = ((rows > y0) & (rows < y1))[:, None] & ((columns > x0) & (columns < x1))
    assert not painted[:, inside].any()
    near_rows = (rows > y0 - 500 / height) & (rows < y1 + 500 / height)
    near_columns = (columns > x0 - 500 / width) & (columns < x1 + 500 / width)
    assert painted[:, ~(near_rows[:, None] & near_columns)].all()


def test_labels_are_the_true_words() -> None:
    ids, masked = torch.arange(5, 105), torch.arange(100) % 3 == 0
    shown, labels = mask_words(ids, masked, 4, 50, seeded())
    assert torch.equal(shown[~masked], ids[~masked])
    assert torch.equal(labels[masked], ids[masked])
    assert (labels[~masked] == -100).all()
    only = Rates(shown_as_mask=0.0, shown_as_random=0.0)
    assert torch.equal(mask_words(ids, masked, 4, 50, seeded(), only)[0], ids)


def test_questions() -> None:
    n = 40
    ids, line = torch.arange(10, 10 + n), torch.arange(n) // 4
    line[0] = line[-1] = -1
    left = torch.arange(n) * 25
    boxes = torch.stack([left, torch.zeros(n).long(), left + 25, torch.full((n,), 1000)], dim=-1)
    image = torch.ones(3, 8, 4 * n)

    def ask(partner: int, seed: int = 1):  # type: ignore[no-untyped-def]
        return question(ids, boxes, line, image, partner, mask_id=4, words=90, generator=seeded(seed))

    same, other, dropped = ask(SAME), ask(REPLACED), ask(DROPPED)
    assert [q.matching for q in (same, other, dropped)] == [True, False, False]
    masked = same.labels != -100
    assert masked.any()
    assert same.covered.any()
    hidden = (masked | same.covered).repeat_interleave(4)
    assert not same.image[:, :, hidden].any()  # no look at a masked word is left
    assert same.image[:, :, ~hidden].all()
    assert torch.equal(same.ids, other.ids)
    assert torch.equal(same.image, other.image)  # the same draws: covering does not tell whether pages match
    assert other.covered[1:-1].all()
    assert not other.covered[[0, -1]].any()
    assert not dropped.image.any()
    assert torch.equal(same.counts, (line >= 0) & ~masked)
    again = ask(SAME)
    assert torch.equal(again.ids, same.ids)
    assert torch.equal(again.image, same.image)
