"""Moments that follow on each other are told as one, and nothing else changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.data.kind_names import Sense
from sensorium.search.joining import joined
from sensorium.search.query import Moment


def moment(number: int, confidence: float, sense: Sense = "video", begin: float | None = None) -> Moment:
    begin = 2.0 * number if begin is None else begin
    return Moment(
        number=number, sense=sense, begin=begin, end=begin + 2, page=None, score=confidence, confidence=confidence
    )


def told(moments: list[Moment]) -> list[tuple[int, float | None, float | None]]:
    return [(each.number, each.begin, each.end) for each in moments]


def test_a_scene_is_one_moment_and_has_the_number_of_its_best() -> None:
    found = [moment(6, 0.9), moment(20, 0.8), moment(5, 0.7), moment(7, 0.6), moment(21, 0.55), moment(8, 0.4)]
    assert told(joined(found, 8)) == [(6, 10.0, 16.0), (20, 40.0, 44.0), (8, 16.0, 18.0)]
    assert joined(found, 8)[0].confidence == 0.9
    assert told(joined(found, 1)) == [(6, 10.0, 16.0)]


def test_what_is_seen_and_what_is_heard_stay_apart() -> None:
    found = [moment(0, 0.9), moment(1, 0.8, "audio", 2.0), moment(2, 0.7, "audio", 4.0)]
    assert told(joined(found, 8)) == [(0, 0.0, 2.0), (1, 2.0, 6.0)]


def test_a_stretch_that_reaches_back_and_a_gap() -> None:
    assert told(joined([moment(9, 0.9, begin=18.0), moment(10, 0.8, begin=19.0)], 8)) == [(9, 18.0, 21.0)]
    assert len(joined([moment(0, 0.9, begin=0.0), moment(1, 0.9, begin=2.5)], 8)) == 2


def test_sentences_stay_apart() -> None:
    found = [moment(1, 0.9, "text", 2.0), moment(0, 0.8, "text", 0.0)]
    assert joined(found, 8) == found


def test_pages_and_pictures_are_never_joined() -> None:
    pages = [
        Moment(number=n, sense="text", begin=None, end=None, page=n + 1, score=0.5, confidence=0.9) for n in (1, 0, 2)
    ]
    assert joined(pages, 8) == pages


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(0, 1)), max_size=20, unique_by=lambda pair: pair[0]))
def test_every_match_is_in_exactly_one_moment(pairs: list[tuple[int, float]]) -> None:
    found = [moment(number, confidence) for number, confidence in sorted(pairs, key=lambda pair: -pair[1])]
    whole = joined(found, 99)
    assert [each.confidence for each in whole] == sorted((each.confidence for each in whole), reverse=True)
    seconds = sum((each.end or 0) - (each.begin or 0) for each in whole)
    assert seconds == pytest.approx(2 * len(found))
    matches = [each for each in whole if each.confidence >= 0.5]
    for each in found:
        if each.confidence >= 0.5:
            inside = [m for m in matches if (m.begin or 0) <= (each.begin or 0) < (m.end or 0)]
            assert len(inside) == 1
    ends = {each.end for each in matches}
    assert not ends & {each.begin for each in matches}, "what follows on another is one with it"
