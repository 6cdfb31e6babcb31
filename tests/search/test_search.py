"""Questions and answers: words, examples, weights, pages, filters, and the verdict."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium.data.errors import SensoriumError
from sensorium.search.index import Filter, Index, Query, Term
from tests.search.fake import COLOURS, Colours, paint


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory):
    top = tmp_path_factory.mktemp("colours")
    for n in range(36):
        colour = list(COLOURS)[n % 6]
        paint(top / "pictures" / colour / f"{colour}{n // 6}.png", colour, noise=n)
    with Index.open(top / "index", Colours()) as index:
        index.update(top / "pictures")
        yield index


def pictures(index: Index) -> Path:
    return index.folder.parent / "pictures"


def first(index: Index, *terms: Term, k: int = 6) -> set[str]:
    return {hit.path.parent.name for hit in index.search(Query(terms), k).hits}


def test_words_find_their_pictures_best_first(index: Index) -> None:
    answer = index.search("blue", 8)
    assert [hit.path.parent.name for hit in answer.hits[:6]] == ["blue"] * 6
    scores = [hit.score for hit in answer.hits]
    assert scores == sorted(scores, reverse=True)
    assert answer.good
    assert [hit.match for hit in answer.hits] == [True] * 6 + [False] * 2
    assert answer.hits[0].confidence > 0.9
    assert answer.hits[5].score > answer.cutoff > answer.hits[6].score


@pytest.mark.parametrize("nonsense", ["a submarine", "a birthday cake", "democracy", "zzz"])
def test_words_without_a_picture_have_no_good_match(index: Index, nonsense: str) -> None:
    answer = index.search(nonsense, 5)
    assert not answer.good
    assert len(answer.hits) == 5  # the nearest are shown all the same
    assert not any(hit.match for hit in answer.hits)


def test_words_find_a_match_where_everything_matches(index: Index) -> None:
    """A collection of one colour has nothing to stand out from; a match is one all the same."""
    only = Filter(below=pictures(index) / "red")
    assert all(hit.match for hit in index.search("red", 6, where=only).hits)
    assert not index.search("cyan", 6, where=only).good


def test_a_picture_finds_its_like_and_not_itself(index: Index) -> None:
    example = pictures(index) / "green" / "green3.png"
    for term in (Term(image=example), Term(item=example), Term(item=index.get(example).id)):
        hits = index.search(Query([term]), 5).hits
        assert [hit.path.parent.name for hit in hits] == ["green"] * 5
        assert example not in [hit.path for hit in hits]
    hits = index.search(Query([Term(item=example)], include_example=True), 6).hits
    assert hits[0].path == example
    assert hits[0].score == pytest.approx(1, abs=1e-3)


def test_an_example_from_elsewhere_is_embedded(index: Index, tmp_path: Path) -> None:
    elsewhere = paint(tmp_path / "mine.png", "magenta", noise=1234)
    assert first(index, Term(image=elsewhere)) == {"magenta"}
    assert index.search(Query([Term(image=elsewhere)]), 3).good


def test_terms_combine_by_weight_and_negatives_steer_away(index: Index) -> None:
    assert first(index, Term(text="red"), Term(text="green")) == {"yellow"}
    assert first(index, Term(text="yellow"), Term(text="red", weight=-1.0)) == {"green"}
    assert first(index, Term(text="red"), Term(text="blue", weight=0.1)) == {"red"}
    green = pictures(index) / "green" / "green0.png"
    assert first(index, Term(text="red"), Term(item=green)) == {"yellow"}
    assert first(index, Term(text="red", weight=-1.0)) == {"cyan"}


def test_a_long_vector_counts_no_more_than_a_short_one(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are about directions: a model that forgets to normalise must not change the answer."""
    embed = Colours.embed

    def stretched(self, *, images=None, text=None):
        rows = embed(self, images=images, text=text)
        return {name: value * np.arange(1, len(value) + 1)[:, None] * 10 for name, value in rows.items()}

    terms = [Term(text="red"), Term(text="green"), Term(text="blue", weight=-0.5)]
    plain = index.search(Query(terms), 12)
    monkeypatch.setattr(Colours, "embed", stretched)
    assert [hit.id for hit in index.search(Query(terms), 12).hits] == [hit.id for hit in plain.hits]


def test_pages_continue_each_other_and_agree_on_the_verdict(index: Index) -> None:
    whole = index.search("cyan", 36)
    pages = [index.search("cyan", 5, offset=start) for start in range(0, 45, 5)]
    assert [hit.id for page in pages for hit in page.hits] == [hit.id for hit in whole.hits]
    assert all(page.good for page in pages)
    assert pages[-1].hits == []


def test_pages_of_an_example_leave_it_out_once(index: Index) -> None:
    query = Query([Term(item=pictures(index) / "red" / "red0.png")])
    paths = [hit.path for start in range(0, 36, 5) for hit in index.search(query, 5, offset=start).hits]
    assert len(paths) == len(set(paths)) == 35


def test_an_index_without_its_model_still_finds_more_like_this(index: Index) -> None:
    with Index.open(index.folder, create=False) as bare:
        green = pictures(index) / "green" / "green3.png"
        hits = bare.search(Query([Term(image=green)]), 5).hits
        assert {hit.path.parent.name for hit in hits} == {"green"}
        assert bare.stats().items == 36
        with pytest.raises(SensoriumError, match="needs the model that made the index: open it with `colours`"):
            bare.search("red")
        with pytest.raises(SensoriumError, match="needs the model"):
            bare.update(pictures(index))


def test_an_index_is_bound_to_its_model(index: Index) -> None:
    with pytest.raises(SensoriumError, match="made by `colours`, and vectors of `other` cannot be compared"):
        Index.open(index.folder, Colours(name="other", fingerprint="other-1"))
    with pytest.raises(SensoriumError, match="made by an earlier or different version of it"):
        Index.open(index.folder, Colours(fingerprint="colours-2"))


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], "an empty question"),
        ([Term(text="  ")], "an empty text"),
        ([Term()], "exactly one of"),
        ([Term(text="red", item="x")], "exactly one of"),
        ([Term(text="red"), Term(text="red", weight=-1.0)], "cancel each other out"),
        ([Term(text="red", weight=float("nan"))], "must be a finite number"),
        ([Term(item="0123456789abcdef")], "0123456789abcdef is not in the index"),
        ([Term(item="/no/such/file.png")], "/no/such/file.png is not in the index"),
    ],
)
def test_a_question_that_cannot_be_asked_is_told_why(index: Index, terms: list[Term], message: str) -> None:
    with pytest.raises(SensoriumError, match=message):
        index.search(Query(terms))


@pytest.mark.parametrize(("k", "offset"), [(0, 0), (-1, 0), (5, -1)])
def test_a_page_that_is_none_is_refused(index: Index, k: int, offset: int) -> None:
    with pytest.raises(SensoriumError, match="make no page"):
        index.search("red", k, offset=offset)


def test_an_empty_index_answers_with_nothing(tmp_path: Path) -> None:
    with Index.open(tmp_path / "index", Colours()) as index:
        answer = index.search("red")
        assert (answer.hits, answer.good, answer.confidence) == ([], False, 0.0)
        assert index.search(Query([Term(image=paint(tmp_path / "x.png", "red"))])).hits == []


def test_a_picture_unlike_all_others_has_no_good_match(index: Index, tmp_path: Path) -> None:
    checks = np.indices((16, 16)).sum(axis=0) // 4 % 2 * 255
    Image.fromarray(checks.astype(np.uint8)).save(tmp_path / "checks.png")
    assert not index.search(Query([Term(image=tmp_path / "checks.png")]), 3).good


def test_words_and_example_together_must_both_hold(index: Index) -> None:
    red = Term(item=pictures(index) / "red" / "red0.png")
    assert index.search(Query([Term(text="red"), red]), 3).good
    assert not index.search(Query([Term(text="a submarine"), red]), 3).good
    assert not index.search(Query([Term(text="cyan"), red]), 3).good
    assert index.search(Query([red, Term(text="cyan", weight=-1.0)]), 3).good
