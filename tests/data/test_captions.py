import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.captions import CLS, MASK, SEP, cover, fit, layout, pair, question
from sensorium.data.errors import SensoriumError

CAPTIONS = [[[10 * picture + number] for number in range(5)] for picture in range(4)]


def test_half_of_the_pairs_belong_together() -> None:
    draw = random.Random(0)
    pairs = [(picture, pair(CAPTIONS, picture, draw)) for _ in range(500) for picture in range(4)]
    for picture, made in pairs:
        assert made.first[0] // 10 == picture
        assert (made.second[0] // 10 == picture) == made.matches
        assert made.first != made.second
    assert 0.46 < sum(made.matches for _, made in pairs) / len(pairs) < 0.54
    assert {made.second[0] for picture, made in pairs if not picture} == set(range(5)) | {
        10 * other + number for other in (1, 2, 3) for number in range(5)
    }


def test_too_few_captions_to_make_pairs() -> None:
    for captions in (CAPTIONS[:1], [[[1]], [[2], [3]]]):
        with pytest.raises(SensoriumError, match="picture 0: two captions and another picture"):
            pair(captions, 0, random.Random(0))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 26))
def test_the_longer_text_gives_way_at_its_beginning(a: int, b: int, room: int) -> None:
    one, two = list(range(a)), list(range(100, 100 + b))
    first, second = fit(one, two, room)
    while len(one) + len(two) > room:  # as the authors' code does it, word by word
        (one if len(one) > len(two) else two).pop(0)
    assert (first, second) == (one, two)


def test_layouts() -> None:
    assert layout([5, 6], [7]) == ([CLS, 5, 6, SEP, 7, SEP], [0, 0, 0, 0, 1, 1])
    assert layout([5]) == ([CLS, 5, SEP], [0, 0, 0])
    ids, segments = question([5, 6])
    assert ids.index(MASK) == len(ids) - 2
    assert segments == [0] * 5


def test_shares_of_the_covered() -> None:
    ids = torch.randint(200, 1000, (40, 1000))
    words = torch.ones_like(ids, dtype=torch.bool)
    words[:, 0] = False
    read, labels = cover(ids, words, vocabulary=1000, generator=torch.Generator().manual_seed(0))
    chosen = labels != -100
    assert not chosen[:, 0].any()
    assert torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(read[~chosen], ids[~chosen])
    assert 0.145 < chosen[:, 1:].float().mean() < 0.155
    assert 0.78 < (read[chosen] == MASK).float().mean() < 0.82
    assert 0.09 < (read[chosen] == ids[chosen]).float().mean() < 0.12
    assert read[chosen].min() < 50  # any entry, special ones among them


def test_the_same_draw_covers_the_same() -> None:
    ids = torch.arange(100)
    draws = [cover(ids, ids > 0, vocabulary=100, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*draws, strict=True))
