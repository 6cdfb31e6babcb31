"""Which entities of a form may belong together."""

from sensorium.data.relations import candidates, page_candidates, related


def test_every_question_with_every_answer() -> None:
    assert candidates([1, 2, 0, 2, 1]) == [(0, 1), (0, 3), (4, 1), (4, 3)]
    assert candidates([1, 1, 0]) == [(0, 1)]


def test_pages_with_too_little_stand_for_nothing() -> None:
    assert page_candidates([3, 5], [1, 2]) == ([0, 0], [0, 0], [(0, 1)])
    assert page_candidates([3, 5, 9], [1, 2, 2]) == ([3, 5, 9], [1, 2, 2], [(0, 1), (0, 2)])


def test_relations_have_a_direction() -> None:
    assert related([(0, 1), (1, 0)], [(0, 1)]) == [1, 0]
