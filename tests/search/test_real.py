"""The index with a real model of every sense (ImageBind, tiny and random) and real files of every kind."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sensorium.data.kinds import KINDS, Kind
from sensorium.search.index import Filter, Index, Progress, Query, Stopped, Term
from sensorium.tasks.embedding import Embedder
from tests.data.test_segments import film, tone
from tests.tiny_senses import everything, imagebind


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return imagebind(tmp_path_factory.mktemp("imagebind"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    folder = tmp_path_factory.mktemp("files")
    (folder / "sales.csv").write_text("year,income\n2020,7\n")
    return everything(folder)


@pytest.fixture(scope="module")
def index(model: Embedder, files: dict[Kind, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with Index.open(tmp_path_factory.mktemp("index"), model) as index:
        report = index.update(files["picture"].parent)
        assert (report.added, report.unreadable, report.partly, report.skipped) == (7, [], [], {})
        yield index


def test_every_kind_is_stored_with_its_pieces(index: Index, files: dict[Kind, Path]) -> None:
    assert index.stats().kinds == dict.fromkeys(sorted(KINDS), 1)
    places = {kind: list(index.store.spots(index.get(path).digest).values()) for kind, path in files.items()}
    assert [spot.sense for spot in places["video"]] == ["video", "audio"] * 3 + ["audio"]
    assert [(spot.sense, spot.page) for spot in places["document"]] == [
        ("image", 1),
        ("text", 1),
        ("image", 2),
        ("image", 3),
        ("text", 3),
    ]
    assert [len(places[kind]) for kind in ("picture", "sound", "depth", "thermal", "motion")] == [1, 4, 1, 1, 3]
    assert index.get(files["document"]).pages == 3
    assert index.get(files["sound"]).seconds == 7.5
    assert index.update(files["picture"].parent).unchanged == 7


def test_every_kind_of_question_is_answered_by_every_kind_of_file(index: Index, files: dict[Kind, Path]) -> None:
    questions = [Term(text="Dear reader")]
    questions += [Term(file=path) for path in files.values()]
    questions += [Term(item=path, moment=0) for path in files.values()]
    for term in questions:
        answer = index.search(Query([term], include_example=True), 10)
        assert {hit.kind for hit in answer.hits} == set(KINDS)
        for hit in answer.hits:
            assert hit.score == hit.moments[0].score
            assert 1 <= len(hit.moments) <= 8
            assert all(-1.001 <= moment.score <= 1.001 and 0 <= moment.confidence <= 1 for moment in hit.moments)
    for kind, path in files.items():
        (only,) = index.search("anything", where=Filter(kind=kind)).hits
        assert only.path == path
    sums = [Term(file=files["picture"]), Term(file=files["sound"]), Term(text="people", weight=-1.0)]
    assert len(index.search(Query(sums)).hits) == 5


def test_a_stored_example_is_the_same_question_as_its_file(
    index: Index, files: dict[Kind, Path], model: Embedder, tmp_path: Path
) -> None:
    for kind, path in files.items():
        with Index.open(tmp_path / "empty", model) as other:
            fresh = other._asker.direction([Term(file=path)])
        stored = index._asker.direction([Term(file=path)])
        assert stored.senses == fresh.senses
        cosine = float(np.dot(stored.shown, fresh.shown))
        assert cosine == pytest.approx(1, abs=1e-3), kind


def test_a_film_that_was_interrupted_ends_as_one_that_was_not(model: Embedder, tmp_path: Path) -> None:
    walk = film(tmp_path / "walk.mp4", [5 * i % 250 for i in range(300)], sound=tone(30, 16000)[None])

    def rows(index: Index) -> tuple[list, np.ndarray]:
        item = index.get(walk)
        assert item is not None
        assert (item.whole, item.seconds) == (True, pytest.approx(30, abs=0.2))
        return list(index.store.spots(item.digest).values()), index.store.vectors(item.digest)

    with Index.open(tmp_path / "whole", model) as index:
        index.update(walk)
        spots, vectors = rows(index)

    def interrupt(progress: Progress) -> None:
        if progress.detail:
            raise KeyboardInterrupt

    with Index.open(tmp_path / "interrupted", model) as index:
        for _ in range(2):
            with pytest.raises(Stopped):
                index.update(walk, progress=interrupt, batch=4)
            item = index.get(walk)
            assert item is not None
            assert not item.whole
        index.update(walk, batch=4)
        assert rows(index)[0] == spots
        np.testing.assert_allclose(rows(index)[1], vectors, atol=2e-3)


MEASURED = """
import sys
from pathlib import Path
import sensorium
from sensorium.search.index import Index

def memory(what):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024

model, place, warm, *files = sys.argv[1:]
with Index.open(place, sensorium.load(model, device="cpu")) as index:
    index.update(warm)
    before = memory("VmHWM")
    index.update(files)
    print(index.stats().moments, memory("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")
def test_ten_minutes_take_no_more_memory_than_half_a_minute(model: Embedder, tmp_path: Path) -> None:
    (tmp_path / "warm").mkdir()
    film(tmp_path / "warm" / "half.mp4", [7 * i % 250 for i in range(60)], rate=2, sound=tone(30, 16000)[None])
    soundfile.write(tmp_path / "warm" / "half.wav", tone(30, 88200), 88200)
    film(tmp_path / "long.mp4", [i % 250 for i in range(1200)], rate=2, sound=tone(600, 16000)[None])
    soundfile.write(tmp_path / "long.wav", tone(600, 88200), 88200)
    files = [tmp_path / "warm", tmp_path / "long.mp4", tmp_path / "long.wav"]
    command = [sys.executable, "-c", MEASURED, model.name, str(tmp_path / "index"), *map(str, files)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr[-2000:]
    moments, grown = run.stdout.split()
    assert int(moments) == pytest.approx(300 * 3 + 15 * 3, abs=2)  # an encoder may pad a sound
    assert float(grown) < 120  # the sound alone is 212 MB of samples
