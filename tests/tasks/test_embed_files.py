"""A stream of files of every kind: nothing stops it, rows keep their order, and memory does not follow length."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sensorium.data.errors import SensoriumError
from sensorium.data.kinds import KINDS, Kind, kind_of
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.pieces import pieces
from sensorium.tasks.senses import Finished, Job, SenseTower, Spot, Taken
from sensorium.tasks.taking_in import _Reader  # pyright: ignore[reportPrivateUsage]
from tests.data.test_depth import ramp
from tests.data.test_segments import film, tone
from tests.tiny_senses import everything, imagebind, pdf, recording, spots


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return imagebind(tmp_path_factory.mktemp("imagebind"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    return everything(tmp_path_factory.mktemp("files"))


class Kept:
    """What a store would keep of it, which checks what it is promised."""

    def __init__(self, skipped: dict[Path, int] | None = None) -> None:
        self.rows: dict[Path, list[tuple[Spot, np.ndarray]]] = {}
        self.next = dict(skipped or {})
        self.finished: dict[Path, Finished] = {}
        self.unreadable: dict[str, str] = {}

    def add(self, taken: Taken) -> None:
        assert taken.vectors.shape[0] == len(taken.rows)
        for (path, spot), vector in zip(taken.rows, taken.vectors, strict=True):
            assert spot.number == self.next.get(path, 0), "in order and without gaps"
            assert path not in self.finished
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
            self.next[path] = spot.number + 1
            self.rows.setdefault(path, []).append((spot, vector))
        for each in taken.finished:
            assert each.path not in self.finished
            assert self.next.get(each.path, 0) == each.pieces, "all its rows were given"
            self.finished[each.path] = each
        for error in taken.unreadable:
            assert error.path not in self.unreadable
            self.unreadable[error.path] = error.reason


def all_of(model: Embedder, jobs: list[Job], **options: int) -> Kept:
    kept = Kept({job.path: len(job.kept) for job in jobs})
    for taken in model.embed_files(jobs, **options):
        kept.add(taken)
    return kept


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_files_of_every_kind(batch: int, model: Embedder, files: dict[Kind, Path]) -> None:
    kept = all_of(model, [Job(files[kind], kind) for kind in KINDS], batch=batch)
    assert not kept.unreadable
    assert kept.finished.keys() == set(files.values())
    for kind, path in files.items():
        expected = list(pieces(model, path, kind))
        assert [spot for spot, _ in kept.rows[path]] == spots(expected)
        vectors = torch.cat([model.vectors(piece.sense, [piece.input]) for piece in expected]).numpy()
        np.testing.assert_allclose(np.stack([vector for _, vector in kept.rows[path]]), vectors, atol=1e-5)
    said = {kind: kept.finished[path] for kind, path in files.items()}
    assert said["picture"] == Finished(path=files["picture"], pieces=1, width=60, height=40)
    assert (said["video"].width, said["video"].height) == (64, 48)
    assert said["video"].seconds == pytest.approx(6.5, abs=0.1)
    assert said["sound"] == Finished(path=files["sound"], pieces=4, seconds=7.5)
    assert said["document"] == Finished(path=files["document"], pieces=5, width=300, height=400, pages=3)
    assert said["motion"].seconds == pytest.approx(12)


def test_going_on_where_it_was_left(model: Embedder, files: dict[Kind, Path]) -> None:
    whole = all_of(model, [Job(files[kind], kind) for kind in KINDS])
    for done in range(8):
        jobs = [Job(path, kind, [spot for spot, _ in whole.rows[path][:done]]) for kind, path in files.items()]
        kept = all_of(model, jobs)
        for job in jobs:
            left = whole.rows[job.path][len(job.kept) :]
            given = kept.rows.get(job.path, [])
            assert [spot for spot, _ in given] == [spot for spot, _ in left]
            for (_, vector), (_, expected) in zip(given, left, strict=True):
                np.testing.assert_allclose(vector, expected, atol=1e-5)
            assert kept.finished[job.path] == whole.finished[job.path]


def hostile(folder: Path) -> dict[str, str | None]:
    """Files that are odd or broken, and what is said of them: None for those that can be read whole."""
    (folder / "depth").mkdir()
    (folder / "bare").mkdir()
    (folder / "depth" / "depth.json").write_text('{"unit": "m", "focal": 520}')
    said: dict[str, str | None] = {
        "uneven.mkv": None,
        "cut.mp4": "no film that can be decoded",
        "cut.mkv": "cut off?",
        "ears only.mp4": None,
        "wide.wav": None,
        "one.wav": "too short: 1 samples",
        "cut.flac": "damaged after",
        "rubbish.mp4": "no film that can be decoded",
        "depth/nan.npy": "100% of the pixels were not measured",
        "depth/holes.npy": None,
        "bare/depth.npy": "states no unit: pass unit=",
        "zero.csv": "reads zero throughout",
        "gaps.csv": None,
        "short.csv": "2.00 s of motion, and 5 s are read at once",
        "cut.pdf": "damaged, or cut off",
        "empty.pdf": "holds no pages",
        "words.jpg": "not an image",
    }
    grays = [2 * i for i in range(100)]
    film(folder / "uneven.mkv", grays[:40], np.cumsum([0.05, 0.3] * 20).tolist())
    whole = film(folder / "whole.mp4", grays)
    (folder / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    whole = film(folder / "whole.mkv", grays)
    (folder / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    import av

    with av.open(str(folder / "ears only.mp4"), "w") as container:
        heard = container.add_stream("aac", rate=16000, layout="mono")
        samples = av.AudioFrame.from_ndarray(tone(5, 16000)[None].astype(np.float32), format="fltp", layout="mono")
        samples.rate = 16000
        container.mux(heard.encode(samples))
        container.mux(heard.encode())
    soundfile.write(folder / "wide.wav", np.random.default_rng(0).normal(0, 0.1, (96000 * 3, 8)), 96000)
    soundfile.write(folder / "one.wav", np.zeros(1), 16000)
    soundfile.write(folder / "whole.flac", np.random.default_rng(0).normal(0, 0.1, 16000 * 20), 16000)
    data = (folder / "whole.flac").read_bytes()
    (folder / "cut.flac").write_bytes(data[: len(data) // 2])
    (folder / "rubbish.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 9)
    np.save(folder / "depth" / "nan.npy", np.full((48, 64), np.nan, np.float32))
    holes = ramp().copy()
    holes[:20] = np.nan
    np.save(folder / "depth" / "holes.npy", holes)
    np.save(folder / "bare" / "depth.npy", ramp())
    recording(folder / "short.csv", 2)
    recording(folder / "zero.csv")
    rows = (folder / "zero.csv").read_text().splitlines()
    (folder / "zero.csv").write_text("\n".join([rows[0], *(row.split(",")[0] + ",0" * 6 for row in rows[1:])]))
    recording(folder / "gaps.csv", 30)
    rows = (folder / "gaps.csv").read_text().splitlines()
    (folder / "gaps.csv").write_text("\n".join(rows[:800] + rows[1200:]))
    pdf(folder / "cut.pdf", ["words"], cut=400)
    pdf(folder / "empty.pdf", [])
    (folder / "words.jpg").write_text("hello")
    return said


KIND: dict[str, Kind] = {"cut.pdf": "document", "words.jpg": "picture"}  # what their names say


def test_hostile_files_never_stop_it(model: Embedder, files: dict[Kind, Path], tmp_path: Path) -> None:
    said = hostile(tmp_path)
    kinds = {name: KIND.get(name) or kind_of(tmp_path / name) for name in said}
    assert None not in kinds.values(), kinds
    jobs = [Job(tmp_path / name, kind) for name, kind in kinds.items() if kind]
    jobs = [job for i, job in enumerate(jobs) for job in (job, Job(list(files.values())[i % 7], KINDS[i % 7]))][:-1]
    jobs = list({job.path: job for job in jobs}.values())
    kept = all_of(model, jobs, batch=4)
    for name, reason in said.items():
        path = tmp_path / name
        finished = kept.finished.get(path)
        found = kept.unreadable.get(str(path)) if finished is None else finished.reason
        if reason is None:
            assert finished is not None, f"{name}: {found}"
            assert found is None, name
        else:
            assert found is not None, name
            assert reason in found
    assert set(files.values()) <= kept.finished.keys(), "those between them are read"
    cut = kept.finished[tmp_path / "cut.mkv"]
    assert cut.pieces == len(kept.rows[tmp_path / "cut.mkv"]) >= 2, "what came before the cut is kept"
    assert (tmp_path / "cut.flac") in kept.finished
    assert kept.finished[tmp_path / "gaps.csv"].pieces == 4


def test_kinds_that_a_model_lacks(embedder: Embedder, files: dict[Kind, Path]) -> None:
    kept = all_of(embedder, [Job(path, kind) for kind, path in files.items()])
    assert {Path(path) for path in kept.unreadable} == {files[k] for k in ("sound", "depth", "thermal", "motion")}
    assert kept.unreadable[str(files["sound"])] == f"{embedder.name} does not hear: sounds are left out"
    assert kept.finished[files["video"]].pieces == 3
    with pytest.raises(SensoriumError, match="batch=0: must be 1 or more"):
        next(embedder.embed_files([], batch=0))
    assert list(embedder.embed_files([])) == []


def test_pictures_are_embedded_as_by_stream(embedder: Embedder, photographs: list[Path]) -> None:
    kept = all_of(embedder, [Job(path, "picture") for path in photographs], batch=4)
    for batch in embedder.stream(photographs):
        for path, vector, size in zip(batch.paths, batch.vectors, batch.sizes, strict=True):
            np.testing.assert_allclose(kept.rows[path][0][1], vector, atol=1e-5)
            assert (kept.finished[path].width, kept.finished[path].height) == size


def test_jobs_are_taken_as_they_are_needed(embedder: Embedder, photographs: list[Path]) -> None:
    asked: list[int] = []

    def jobs() -> Iterator[Job]:
        for number in range(1000):
            asked.append(number)
            yield Job(photographs[number % 5], "picture")

    taken = embedder.embed_files(jobs(), batch=2)
    next(taken)
    assert len(asked) <= 6
    taken.close()  # pyright: ignore[reportAttributeAccessIssue]


def test_closing_ends_the_threads(model: Embedder, tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 8000, 1) as file:
        for _ in range(60):
            file.write(np.zeros(8000 * 60))
    before = threading.active_count()
    taken = model.embed_files([Job(tmp_path / "a.wav", "sound")] * 3, batch=4)
    next(taken)
    assert threading.active_count() > before
    taken.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert threading.active_count() == before


def test_what_breaks_in_the_reading_thread_is_raised(model: Embedder, files: dict[Kind, Path]) -> None:
    def broken(path: Path, skip: int) -> Iterator[None]:
        raise RuntimeError("a mistake of ours")
        yield

    tower = model.senses["audio"]
    wrong = SenseTower(forward=tower.forward, read=tower.read, pieces=broken)  # pyright: ignore[reportArgumentType]
    failing = replace(model, senses={"audio": wrong})
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        list(failing.embed_files([Job(files["sound"], "sound"), Job(files["picture"], "picture")]))


def test_what_breaks_last_of_all_is_raised(monkeypatch: pytest.MonkeyPatch, model: Embedder) -> None:
    """The thread ends, broken, in the moment between the last look for what it has read and that whether it is over."""
    with _Reader(model, 4) as reader:
        monkeypatch.setattr(reader, "_file", lambda file: 1 / 0)
        reader.todo.put(Job(Path("a.wav"), "sound"))
        wait([reader.work])
        with pytest.raises(ZeroDivisionError):
            _ = reader.over


def test_rows_do_not_wait_for_a_rare_sense(model: Embedder, tmp_path: Path) -> None:
    """One page in a hundred has words: the rows after it would all be lost in an interruption."""
    path = pdf(tmp_path / "scans.pdf", ["title", *[""] * 60])
    kept = Kept()
    largest = 0
    for taken in model.embed_files([Job(path, "document")], batch=4):
        kept.add(taken)
        largest = max(largest, len(taken.rows))
    assert kept.finished[path].pieces == 62
    assert largest <= 16


# The system's own peak of this process alone.
GROWTH = """
import sys
from pathlib import Path
import sensorium
from sensorium.tasks.senses import Job
def memory(what):
    status = Path("/proc/self/status").read_text()
    return int(status.split(what + ":")[1].split()[0]) >> 10
model = sensorium.load(sys.argv[1], device="cpu")
jobs = [Job(Path(sys.argv[3]), sys.argv[2])]
short = [Job(Path(sys.argv[4]), sys.argv[2])]
for taken in model.embed_files(short * 3):
    pass
Path("/proc/self/clear_refs").write_text("5")
before, count = memory("VmRSS"), 0
for taken in model.embed_files(jobs):
    count += len(taken.rows)
print(count, memory("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this system does not tell a process's peak")
@pytest.mark.parametrize("kind", ["sound", "video"])
def test_memory_does_not_follow_length(kind: str, tmp_path: Path) -> None:
    imagebind(tmp_path / "model")
    if kind == "sound":
        for name, minutes in (("short.wav", 2), ("long.wav", 60)):
            with soundfile.SoundFile(tmp_path / name, "w", 16000, 2, "PCM_16") as file:
                for _ in range(minutes):
                    file.write(np.zeros((16000 * 60, 2), np.int16))
        short, long, whole = tmp_path / "short.wav", tmp_path / "long.wav", 1800
    else:
        grays = [i % 250 for i in range(3600)]
        sound = np.zeros((1, 16000 * 3600), np.float32)
        long = film(tmp_path / "long.mkv", grays, rate=1, keys=30, sound=sound)
        short = film(tmp_path / "short.mkv", grays[:120], rate=1, keys=30, sound=sound[:, : 16000 * 120])
        whole = 3600
    args = [str(tmp_path / "model"), kind, str(long), str(short)]
    run = subprocess.run([sys.executable, "-c", GROWTH, *args], capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr
    count, size = map(int, run.stdout.split())
    assert count >= whole
    assert size < 60, "its samples alone would be 220"
