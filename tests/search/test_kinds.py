"""Files of every kind, with models of colours: pieces, moments, one list out of several senses, resuming."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sensorium.data.errors import SensoriumError
from sensorium.search.index import Filter, Index, Progress, Query, Stopped, Term
from sensorium.search.sqlite import SQLiteStore
from sensorium.search.store import Identity, Item, MissingVector, Part, Spot
from tests.search.fake import COLOURS, Apart, Colours, film, paint

LONG = [f"{'video' if n % 2 == 0 else 'audio'} thing {n}" for n in range(60)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "files"
    for n, colour in enumerate(COLOURS):
        paint(top / f"{colour}.png", colour, noise=n)
    film(top / "walk.mp4", "video green", "audio blue", "video red", "audio a bird", "video green")
    film(top / "waves.wav", "audio blue", "audio blue")
    film(top / "book.pdf", "image yellow", "text red", "image magenta", "text a submarine")
    film(top / "numbers.csv", "year,income", "2020,7")
    film(top / "notes.txt", "text red")
    return top


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open(tmp_path / "index", Colours(log=tmp_path / "log")) as index:
        yield index


def pieces(index: Index) -> dict[str, list[tuple]]:
    """What is stored, by file: pieces in their order, with vectors."""
    return {
        item.path.name: [
            (*spot, index.store.pieces([piece])[piece].tobytes())
            for piece, spot in index.store.spots(item.digest).items()
        ]
        for item in index.items()
    }


def test_every_kind_is_taken_in_and_found_by_its_moment(index: Index, folder: Path) -> None:
    report = index.update(folder)
    assert (report.added, report.embedded, report.unreadable, report.skipped) == (9, 9, [], {})
    walk = index.get(folder / "walk.mp4")
    assert walk is not None
    assert (walk.kind, walk.seconds, walk.pages, walk.whole) == ("video", 10.0, None, True)
    assert index.get(folder / "book.pdf").pages == 4
    assert index.stats().kinds == {"document": 1, "picture": 6, "sound": 1, "video": 1}
    assert index.stats().moments == 6 + 5 + 2 + 4
    hits = {hit.path.name: hit for hit in index.search("green", 9).hits}
    assert len(hits) == 9  # one for each file
    assert [(m.number, m.sense, m.begin, m.end) for m in hits["walk.mp4"].moments[:2]] == [
        (0, "video", 0.0, 2.0),
        (4, "video", 8.0, 10.0),
    ]
    assert len(hits["walk.mp4"].moments) == 5
    assert (hits["walk.mp4"].score, hits["walk.mp4"].match) == (hits["walk.mp4"].moments[0].score, True)
    assert hits["green.png"].moments[0].number == 0
    best = index.search("a submarine", 1).hits[0]
    assert (best.path.name, best.moments[0].sense, best.moments[0].page) == ("book.pdf", "text", 4)
    assert index.update(folder).unchanged == 9


def test_filters_by_kind(index: Index, folder: Path) -> None:
    index.update(folder)
    for kind, names in (
        ("sound", {"waves.wav"}),
        (["video", "sound"], {"walk.mp4", "waves.wav"}),
        ("motion", set()),
        ([], set()),
    ):
        assert {hit.path.name for hit in index.search("blue", where=Filter(kind=kind)).hits} == names
        assert {item.path.name for item in index.items(Filter(kind=kind))} == names


def test_any_file_is_a_question_and_so_is_a_moment(index: Index, folder: Path, tmp_path: Path) -> None:
    index.update(folder)
    log = tmp_path / "log"
    log.write_bytes(b"")
    waves = Term(file=folder / "waves.wav")
    assert index.search(Query([waves]), 1).hits[0].path.name in ("walk.mp4", "blue.png")
    assert index.search(Query([waves], include_example=True), 1).hits[0].path.name in ("walk.mp4", "waves.wav")
    alike = Query([Term(item=folder / "walk.mp4", moment=2)])
    moment = index.search(alike, 1, where=Filter(kind="picture")).hits[0]
    assert (moment.path.name, moment.score) == ("red.png", pytest.approx(1, abs=0.1))
    both = [Term(text="red"), Term(file=film(tmp_path / "grass.wav", "audio green", "audio grass"))]
    assert {hit.path.name for hit in index.search(Query(both), 2).hits} == {"yellow.png", "book.pdf"}
    with pytest.raises(SensoriumError, match=r"walk\.mp4 has no moment 9"):
        index.search(Query([Term(item=folder / "walk.mp4", moment=9)]))
    with pytest.raises(SensoriumError, match="a moment is one of an item"):
        index.search(Query([Term(text="red", moment=1)]))
    with pytest.raises(SensoriumError, match=r"notes\.txt is none of the kinds"):
        index.search(Query([Term(file=folder / "notes.txt")]))


def test_of_what_stands_first_in_each_sense_the_surest_comes_next(folder: Path, tmp_path: Path) -> None:
    with Index.open(tmp_path / "index", Apart()) as index:
        index.update(folder)
        files = [Query([Term(file=folder / f"{colour}.png")]) for colour in ("magenta", "red")]
        sums = [Query([Term(text=a), Term(text=b)]) for a, b in (("a submarine", "blue"), ("grass", "green"))]
        for question in (*files, *sums, "green", "a bird"):
            hits = index.search(question, 9).hits
            sure = [(hit.moments[0].sense, round(hit.confidence, 1)) for hit in hits]
            for place, (_, here) in enumerate(sure):
                firsts = dict(reversed(sure[place:]))  # what stands first of every sense from here on
                assert here >= max(firsts.values()) - 1e-9, (question, sure)
            pages = [hit.id for start in range(0, 9, 2) for hit in index.search(question, 2, offset=start).hits]
            assert pages == [hit.id for hit in hits]


def test_what_a_model_lacks_is_counted_and_taken_in_once_it_has_it(folder: Path, tmp_path: Path) -> None:
    with Index.open(tmp_path / "index", Colours(senses=("image", "text"))) as index:
        report = index.update(folder)
        assert (report.added, report.skipped) == (7, {"video": 1, "sound": 1})
        assert index.update(folder).skipped == {"video": 1, "sound": 1}
        with pytest.raises(SensoriumError, match=r"colours lacks a sense: sound is left out"):
            index.search(Query([Term(file=folder / "waves.wav")]))
    with Index.open(tmp_path / "index", Colours()) as index:
        assert (index.update(folder).added, index.stats().items) == (2, 9)


def test_what_is_of_no_kind_is_told_only_where_it_is_named(index: Index, folder: Path) -> None:
    assert index.update(folder).unreadable == []
    (told,) = index.update(folder / "numbers.csv").unreadable
    assert told.reason.startswith("none of the kinds that can be searched")
    (folder / "broken.mp4").write_bytes(b"\0" * 100)
    (told,) = index.update([folder / "broken.mp4", folder / "red.png"]).unreadable
    assert told.path.endswith("broken.mp4")


def test_what_is_read_in_part_is_found_and_told(index: Index, folder: Path) -> None:
    film(folder / "cut.mp4", "video red", "...")
    report = index.update(folder)
    assert [(Path(each.path).name, each.reason) for each in report.partly] == [("cut.mp4", "cut off?")]
    assert index.get(folder / "cut.mp4").said == "cut off?"
    assert [(Path(each.path).name, each.reason) for each in index.update(folder).partly] == [("cut.mp4", "cut off?")]
    assert index.search("red", where=Filter(kind="video"), k=1).good


def test_an_interrupted_film_answers_and_goes_on_where_it_was(index: Index, folder: Path, tmp_path: Path) -> None:
    film(folder / "a-long.mp4", *LONG)
    film(folder / "z-copy.mp4", *LONG)
    told: list[str] = []

    def interrupt(progress: Progress) -> None:
        if progress.detail:
            told.append(progress.detail)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(Stopped) as stopped:
        index.update(folder, progress=interrupt, batch=8)
    assert told == [f"a-long.mp4 0:00:{14 + 16 * n}" for n in range(3)]
    assert stopped.value.report.remaining == 11
    item = index.get(folder / "a-long.mp4")
    assert item is not None
    assert (item.whole, item.seconds) == (False, None)
    assert index.search("thing 22", 1).hits[0].moments[0].number == 22
    logged = (tmp_path / "log").read_bytes().count(b"a-long")
    report = index.update(folder, batch=8)
    assert (report.added, report.embedded) == (11, 10)
    assert (tmp_path / "log").read_bytes().count(b"a-long") - logged == 60 - 24
    item = index.get(folder / "a-long.mp4")
    assert item is not None
    assert (item.whole, item.seconds) == (True, 120.0)
    copy = index.get(folder / "z-copy.mp4")
    assert copy is not None
    assert (copy.digest, copy.whole, copy.seconds) == (item.digest, True, 120.0)
    assert [row[0] for row in pieces(index)["a-long.mp4"]] == list(range(60))
    assert index.update(folder, batch=8).unchanged == 11


def test_moving_a_film_embeds_nothing_and_removing_it_leaves_nothing(index: Index, folder: Path) -> None:
    index.update(folder)
    (folder / "walk.mp4").rename(folder / "moved.mp4")
    shutil.copy(folder / "waves.wav", folder / "copy.wav")
    report = index.update(folder)
    assert (report.embedded, report.renamed, report.added) == (0, 1, 1)
    assert index.get(folder / "moved.mp4").seconds == 10.0
    index.remove(folder)
    with sqlite3.connect(index.folder / "index.sqlite") as database:
        for table in ("content", "piece", "vector", "item"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    database.close()


def test_a_film_that_changes_while_it_is_read_is_read_again(folder: Path, tmp_path: Path) -> None:
    class Meddling(Colours):
        def embed_files(self, jobs, *, batch=32):
            for given in Colours.embed_files(self, jobs, batch=batch):
                yield given
                for path, place in given.rows:
                    if path.name == "a-long.mp4" and place.number == 15 and not marks:
                        marks.append(path)
                        film(path, "video red", "video blue")
                        os.utime(path, ns=(1, 10**18))

    marks: list[Path] = []
    film(folder / "a-long.mp4", *LONG)
    with Index.open(tmp_path / "index", Meddling()) as index:
        assert index.update(folder, batch=8).added == 10
        assert [row[0] for row in pieces(index)["a-long.mp4"]] == [0, 1]
        assert index.stats().moments == 19


def test_the_same_bytes_are_another_content_under_other_facts(index: Index, folder: Path) -> None:
    """A depth map means what the file of facts beside it says: a new one is a reason to read it again."""
    exr = film(folder / "maps" / "room.exr", "depth red")
    index.update(folder)
    before = index.get(exr).digest
    assert index.update(folder).embedded == 0
    (folder / "maps" / "depth.json").write_text('{"unit": "mm"}')
    assert (index.update(folder).updated, index.get(exr).digest == before) == (1, False)
    assert index.update(folder).embedded == 0


def test_pieces_without_a_finite_vector_are_never_found(folder: Path, tmp_path: Path) -> None:
    class Silent(Colours):
        def place(self, vector, sense):
            return vector * np.nan if sense == "audio" else vector

    with Index.open(tmp_path / "index", Silent()) as index:
        report = index.update(folder)
        assert [Path(each.path).name for each in report.unreadable] == ["waves.wav"]
        moments = next(hit for hit in index.search("blue", 9).hits if hit.kind == "video").moments
        assert [moment.sense for moment in moments] == ["video"] * 3
        assert index.update(folder).unchanged == 8


# --- several senses in one list


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Index]:
    top = tmp_path / "files"
    for n in range(24):
        colour = list(COLOURS)[n % 6]
        paint(top / f"{colour}{n:02}.png", colour, noise=n)
    for n in range(12):
        film(top / f"book{n:02}.pdf", *(f"text chapter {n} {page}" for page in range(4)))
        film(top / f"sound{n:02}.wav", *(f"audio noise {n} {part}" for part in range(6)))
    film(top / "sea.wav", "audio hiss", "audio the open sea")
    film(top / "herbs.pdf", "text preface", "text basil")
    with Index.open(tmp_path / "index", Apart()) as index:
        index.update(top)
        yield index


@pytest.mark.parametrize("reduced", [False, True], ids=["many of each", "few of each"])
def test_a_right_picture_beats_a_wrong_page_and_the_other_way_round(apart: Index, reduced: bool) -> None:
    if reduced:
        for path in [
            item.path for item in apart.items() if item.path.stem[-2:] not in ("00", "01", "02", "03", "ea", "bs")
        ]:
            apart.remove(path)
    apart.remove(apart.folder.parent / "files" / "sea.wav")
    red = apart.search("red", 60)
    (page,) = (hit for hit in red.hits if hit.path.name == "herbs.pdf")
    assert page.score > red.hits[0].score + 0.05  # by its cosine it would have come first
    assert red.hits[0].path.name.startswith("red")
    assert (red.good, page.match) == (True, False)
    basil = apart.search("basil", 30)
    assert (basil.hits[0].path.name, basil.hits[0].moments[0].page, basil.good) == ("herbs.pdf", 2, True)
    assert all(hit.confidence < basil.confidence - 0.3 for hit in basil.hits[1:])


def test_a_right_sound_beats_wrong_pages(apart: Index) -> None:
    answer = apart.search("the open sea", 10)
    first = {hit.path.name for hit in answer.hits[:5]}
    assert "sea.wav" in first
    assert {name[:4] for name in first - {"sea.wav"}} == {"blue"}
    sea = next(hit for hit in answer.hits if hit.kind == "sound")
    assert (sea.moments[0].number, sea.match) == (1, True)


def test_an_example_finds_what_goes_with_it_in_another_sense(apart: Index, tmp_path: Path) -> None:
    """Any sound is nearer to a sound than the pictures of what it is of."""
    hits = apart.search(Query([Term(file=film(tmp_path / "mine.wav", "audio the open sea"))]), 6).hits
    assert sorted(hit.path.name[:4] for hit in hits[:5]) == ["blue"] * 4 + ["sea."]
    assert all(hit.match for hit in hits[:5])
    pictures = apart.search(Query([Term(file=paint(tmp_path / "mine.png", "blue"))]), 6).hits
    assert sorted(hit.path.name[:4] for hit in pictures[:5]) == ["blue"] * 4 + ["sea."]


def test_pages_of_a_mixed_answer_join(apart: Index) -> None:
    whole = [hit.id for hit in apart.search("red", 60).hits]
    pages = [hit.id for start in range(0, 60, 7) for hit in apart.search("red", 7, offset=start).hits]
    assert pages == whole
    assert len(set(whole)) == 50
    assert all(apart.search("red", 7, offset=start).good for start in (0, 14))


# --- the store


def test_a_content_is_whole_only_with_all_its_pieces(tmp_path: Path) -> None:
    store = SQLiteStore.open(tmp_path, Identity(model="m", fingerprint="f", dim=4))
    item, rows = Item(path=Path("/f"), kind="video", digest=b"f"), np.eye(4, dtype=np.float32)
    spots = [Spot(n, "video", 2.0 * n, 2.0 * n + 2) for n in range(4)]
    store.upsert([item], {b"f": Part(spots=spots[2:], vectors=rows[2:])})
    assert store.known([b"f"])[b"f"].pieces == 0
    with pytest.raises(MissingVector):
        store.upsert([item], {b"f": Part(spots=[], vectors=rows[:0], pieces=4)})
    store.upsert([item], {b"f": Part(spots=spots[:1], vectors=rows[:1])})
    assert (store.known([b"f"])[b"f"].pieces, store.known([b"f"])[b"f"].item.whole) == (1, False)
    store.upsert([item], {b"f": Part(spots=spots, vectors=rows[::-1], pieces=4)})  # those that are there stay
    assert (store.known([b"f"])[b"f"].pieces, store.known([b"f"])[b"f"].item.whole) == (4, True)
    np.testing.assert_array_equal(store.vectors(b"f"), rows[[0, 2, 2, 3]])
    store.close()
