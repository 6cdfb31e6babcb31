"""Video protocols on cases small enough to be counted by hand, and against brute force."""

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sensorium.tasks.retrieval_metrics import ranks, ranks_with_ties, retrieval
from sensorium.tasks.video_moments import moments, overlap, rank_moments
from sensorium.tasks.video_segmentation import (
    Localised,
    average_windows,
    localise,
    segment,
    step_recall,
    steps_at,
    windows,
)


def test_ranks_are_fair_to_ties() -> None:
    scores = torch.tensor([[3.0, 1.0, 0.0], [2.0, 2.0, 2.0], [5.0, 4.0, 4.0]])
    assert ranks(scores).tolist() == [1.0, 2.0, 2.5]
    assert ranks_with_ties(scores).tolist() == [1, 1, 2, 3, 2, 3]
    assert retrieval(ranks(scores)).r1 == pytest.approx(1 / 3)
    assert retrieval(ranks(torch.zeros(9, 9))).median == 5  # a model that says nothing is at chance, not at the top


def test_both_ranks_agree_without_ties() -> None:
    scores = torch.randn(20, 20, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ranks(scores), ranks_with_ties(scores))


@given(st.integers(1, 200), st.integers(1, 32))
def test_windows_cover_every_second(seconds: int, step: int) -> None:
    spans = windows(seconds, step, 32)
    assert {t for begin, end in spans for t in range(begin, end)} == set(range(seconds))
    assert all(0 < end - begin <= 32 for begin, end in spans)
    scores = [torch.arange(begin, end, dtype=torch.float)[:, None] for begin, end in spans]
    assert torch.allclose(average_windows(scores, seconds, step, 32)[:, 0], torch.arange(seconds, dtype=torch.float))


def test_other_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="do not cut 40 seconds"):
        average_windows([torch.zeros(32, 2)], 40, 8, 32)


@given(st.integers(1, 4), st.integers(0, 5), st.integers(0, 99))
def test_localising_is_the_best_of_all_assignments(steps: int, more: int, seed: int) -> None:
    scores = torch.randn(steps + more, steps, generator=torch.Generator().manual_seed(seed))
    chosen = localise(scores)
    assert chosen.sum(0).tolist() == [1] * steps
    at = chosen.float().argmax(0).tolist()
    assert at == sorted(set(at))
    gain = scores.log_softmax(1)
    totals = [sum(float(gain[t, k]) for k, t in enumerate(times)) for times in combinations(range(steps + more), steps)]
    assert float(gain[chosen].sum()) == pytest.approx(max(totals), abs=1e-5)


def test_too_short_a_video_for_its_steps() -> None:
    with pytest.raises(ValueError, match="3 steps do not fit into 2 seconds"):
        localise(torch.zeros(2, 3))


def test_recall_counts_steps_that_occur() -> None:
    truth = steps_at([(1, 0.5, 1.2), (3, 3.0, 3.5)], 5, 3)
    assert truth.int().tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]
    chosen = torch.zeros(5, 3, dtype=torch.bool)
    chosen[1, 0] = chosen[2, 1] = chosen[4, 2] = True
    nothing = Localised("silent", chosen, torch.zeros_like(truth))
    assert step_recall([Localised("tea", chosen, truth), nothing]) == {"tea": 0.5}


def test_background_is_what_is_not_strictly_above() -> None:
    scores = torch.tensor([[0.1, 0.5], [0.9, 0.2]])
    assert segment(scores, torch.tensor(0.5)).tolist() == [0, 1]


def test_moments() -> None:
    seconds = torch.zeros(30, 2)
    seconds[10:20, 0] = 1
    mask, text = torch.ones(30, dtype=torch.bool), torch.tensor([1.0, 0.0])
    ranking = rank_moments(seconds, mask, text)
    assert ranking[:3] == [(2, 2), (3, 3), (2, 3)]
    assert len(ranking) == 21
    assert overlap((2, 3), (3, 5)) == 0.25
    found = moments([ranking], [[(2, 2), (2, 2), (2, 2), (5, 5)]])
    assert (found.rank1, found.rank5, found.miou) == (1.0, 1.0, 1.0)


def test_padding_does_not_move_a_moment_unless_asked() -> None:
    seconds = torch.ones(30, 1)
    seconds[12:] = -9
    mask = torch.arange(30) < 12
    fair = rank_moments(seconds, mask, torch.ones(1))
    assert (3, 3) not in fair
    assert fair[2] == (2, 2)
    assert rank_moments(seconds, mask, torch.ones(1), padding=True).index((2, 2)) > 2
