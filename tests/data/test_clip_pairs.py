import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.data.clip_pairs import Captions, sample_pair


@given(st.lists(st.tuples(st.floats(0, 9), st.integers(1, 9)), min_size=1, max_size=30), st.integers(1, 90), st.data())
def test_a_pair_overlaps_and_stays_inside(spoken: list[tuple[float, int]], seconds: int, data: st.DataObject) -> None:
    starts = [10.0 * i for i in range(len(spoken))]
    ends = [start + length for start, (length, _) in zip(starts, spoken, strict=True)]
    captions = Captions(starts, ends, [tokens for _, tokens in spoken])
    pair = sample_pair(captions, seconds, random.Random(data.draw(st.integers(0, 999))))
    assert 0 <= pair.first <= pair.centre < pair.last <= len(spoken)
    assert 0 <= pair.begin < pair.end <= seconds
    assert min(3, seconds) <= pair.end - pair.begin <= 32
    before = sum(captions.tokens[pair.first : pair.last]) - max(
        captions.tokens[pair.first], captions.tokens[pair.last - 1]
    )
    assert before < 64
    if ends[pair.last - 1] < seconds:  # what is said lies inside the video: the clip touches it
        assert pair.begin <= ends[pair.last - 1] + 1
        assert pair.end >= int(starts[pair.first])


def test_a_short_text_grows_to_all_that_is_said() -> None:
    pair = sample_pair(Captions([0, 1, 2], [1, 2, 3], [1, 1, 1]), 10, random.Random(0))
    assert (pair.first, pair.last) == (0, 3)


def test_a_text_spans_at_most_256_seconds() -> None:
    captions = Captions([0, 300, 600, 900], [10, 310, 610, 910], [1, 1, 1, 1])
    pair = sample_pair(captions, 1000, random.Random(3))
    assert pair.last - pair.first == 2


def test_a_clip_is_cut_to_what_the_model_reads() -> None:
    pair = sample_pair(Captions([0], [60], [9]), 60, random.Random(0), clip=(30, 30), most=8)
    assert pair.end - pair.begin == 8


def test_what_makes_no_pair() -> None:
    with pytest.raises(ValueError, match="without captions"):
        Captions([], [], [])
    with pytest.raises(ValueError, match="2 starts, 1 ends, 1 lengths"):
        Captions([0, 1], [1], [3])
    with pytest.raises(ValueError, match="0 seconds"):
        sample_pair(Captions([0], [1], [1]), 0, random.Random(0))
