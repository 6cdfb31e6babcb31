"""Killing the indexer loses nothing and repeats at most one batch; two processes at once get in nobody's way."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sensorium.search.index import Index
from tests.search import fake
from tests.search.fake import Colours, film, paint

BATCH = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("many")
    colours = list(fake.COLOURS)
    for n in range(72):
        paint(top / f"{n % 5}" / f"{n:03}.png", colours[n % 6], noise=n)
    for n in range(4):
        (top / f"broken{n}.png").write_bytes(b"\x89PNG" + bytes([n]) * 40)
    return top


def contents(place: Path) -> dict[str, tuple]:
    with Index.open(place, Colours()) as index:
        return {
            str(item.path): (
                item.size,
                item.modified,
                item.width,
                item.digest,
                item.reason,
                list(index.store.spots(item.digest).values()),
                index.store.vectors(item.digest).tobytes(),
                (item.seconds, item.whole),
            )
            for item in index.store.iterate()
        }


def start(place: Path, folder: Path, log: Path, pause: float) -> subprocess.Popen[str]:
    command = [sys.executable, fake.__file__, str(place), str(folder), str(log), str(pause)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def embedded(log: Path) -> list[bytes]:
    return log.read_bytes().split(b"\0")[:-1] if log.exists() else []


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple]:
    place = tmp_path_factory.mktemp("whole")
    with Index.open(place, Colours()) as index:
        report = index.update(folder, batch=BATCH)
    assert (report.added, len(report.unreadable)) == (72, 4)
    return contents(place)


@pytest.mark.parametrize("seed", range(6))
def test_kill_nine_at_a_random_moment(seed: int, folder: Path, whole: dict[str, tuple], tmp_path: Path) -> None:
    process = start(tmp_path / "index", folder, tmp_path / "log", 0.01)
    with process:
        time.sleep(random.Random(seed).uniform(0.0, 0.25))
        process.send_signal(signal.SIGKILL)
    with Index.open(tmp_path / "index", Colours(log=tmp_path / "log")) as index:
        index.update(folder, batch=BATCH)
    assert contents(tmp_path / "index") == whole
    done = embedded(tmp_path / "log")
    assert len(set(done)) == 72
    assert len(done) <= 72 + BATCH


def test_two_updaters_and_a_reader_at_once(folder: Path, whole: dict[str, tuple], tmp_path: Path) -> None:
    place = tmp_path / "index"
    processes = [
        start(place, folder, tmp_path / "log1", 0.03),
        start(place, folder, tmp_path / "log2", 0.02),
        start(place, folder / "1", tmp_path / "log3", 0.01),
    ]
    seen = []
    with Index.open(place, Colours()) as reader:
        while any(process.poll() is None for process in processes):
            answer = reader.search("red", 100)
            assert all(hit.path.exists() for hit in answer.hits)
            seen.append(len(answer.hits))
    for process in processes:
        with process:
            assert process.wait() == 0
    assert contents(place) == whole
    assert seen == sorted(seen)  # a reader sees each commit, and nothing ever goes away


def test_one_process_removes_what_another_adds_beside_it(folder: Path, whole: dict[str, tuple], tmp_path: Path) -> None:
    place = tmp_path / "index"
    process = start(place, folder, tmp_path / "log", 0.01)
    with process, Index.open(place, Colours()) as index:
        while process.poll() is None:
            index.remove(folder / "1")
    assert process.returncode == 0
    with Index.open(place, Colours()) as index:
        index.update(folder)
    assert contents(place) == whole


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("films")
    for n in range(2):
        film(top / f"{n}.mp4", *(f"{'video' if k % 2 else 'audio'} thing {n} {k}" for k in range(200)))
    film(top / "copy.mp4", *(top / "1.mp4").read_text().splitlines())
    return top


@pytest.fixture(scope="module")
def seen(films: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple]:
    place = tmp_path_factory.mktemp("seen")
    with Index.open(place, Colours()) as index:
        assert index.update(films, batch=BATCH).added == 3
        assert index.stats().moments == 400
    return contents(place)


@pytest.mark.parametrize("seed", range(3))
def test_kill_nine_in_the_middle_of_a_film(seed: int, films: Path, seen: dict[str, tuple], tmp_path: Path) -> None:
    """What was committed of a film is found, and is where the next run goes on."""
    place, log, moments = tmp_path / "index", tmp_path / "log", random.Random(seed)
    for _ in range(2):
        process = start(place, films, log, 0.01)
        with process:
            time.sleep(moments.uniform(0.02, 0.2))
            process.send_signal(signal.SIGKILL)
        with Index.open(place, Colours()) as index:
            if index.stats().moments:
                assert index.search("thing 0 0", 1).good
    with Index.open(place, Colours(log=log)) as index:
        index.update(films, batch=BATCH)
    assert contents(place) == seen
    assert len(embedded(log)) <= 400 + 2 * BATCH


def test_two_processes_in_the_same_film_double_no_piece(films: Path, seen: dict[str, tuple], tmp_path: Path) -> None:
    place = tmp_path / "index"
    processes = [start(place, films, tmp_path / "log1", 0.01)]
    time.sleep(0.1)
    processes.append(start(place, films, tmp_path / "log2", 0.002))
    for process in processes:
        with process:
            assert process.wait() == 0
    assert contents(place) == seen


def test_a_film_that_is_removed_while_it_is_embedded_beside_it(
    films: Path, seen: dict[str, tuple], tmp_path: Path
) -> None:
    place = tmp_path / "index"
    process = start(place, films, tmp_path / "log", 0.005)
    with process, Index.open(place, Colours()) as index:
        while process.poll() is None:
            time.sleep(0.02)
            index.remove(films / "0.mp4")
    assert process.returncode == 0
    with Index.open(place, Colours()) as index:
        index.update(films)
    assert contents(place) == seen
