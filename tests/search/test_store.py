"""The SQLite store answers as a brute-force scan would, through every way it has of finding the answer."""

import fnmatch
import os
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.data.errors import SensoriumError
from sensorium.search import nearest, sqlite
from sensorium.search.sqlite import SQLiteStore
from sensorium.search.store import Filter, Identity, Item, MissingVector, Part

DIM = 16
IDENTITY = Identity(model="numbers", fingerprint="1", dim=DIM)
FOLDERS = ["/photos", "/photos/a", "/photos/a b", "/photos/a/deep", "/other", "/photosynthesis"]


@cache
def vector(seed: int) -> np.ndarray:
    row = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    return row / np.linalg.norm(row)


@cache
def item(n: int) -> Item:
    """Item n; every seventh has the content of the one before it, and every eleventh cannot be read."""
    random = np.random.default_rng(n)
    return Item(
        path=Path(FOLDERS[n % len(FOLDERS)])
        / f"{['cat', 'dog', 'Cat', 'c*t'][n % 4]}{n:03}.{['jpg', 'png'][n // 2 % 2]}",
        size=int(random.integers(0, 50)) * 100,
        modified=int(random.integers(0, 40)) * 10**9,
        taken=None if n % 3 == 0 else int(random.integers(0, 40)) * 10**9,
        digest=(n - (n % 7 == 1)).to_bytes(16) if n % 11 else b"",
        reason=None if n % 11 else "broken",
    )


def picture(seed: int) -> Part:
    return Part.picture(vector(seed))


def fill(store: SQLiteStore, numbers: range) -> None:
    items = [item(n) for n in numbers]
    store.upsert(items, {each.digest: picture(int.from_bytes(each.digest)) for each in items})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore.open(tmp_path / "index", IDENTITY)
    yield store
    store.close()


def brute(items: list[Item], question: np.ndarray, where: Filter | None) -> list[tuple[Path, float]]:
    """What `Filter` promises, in plain Python, and a plain sort."""
    found = []
    for each in items:
        if each.reason is None and (where is None or passes(each, where)):
            stored = vector(int.from_bytes(each.digest)).astype(np.float16).astype(np.float64)
            found.append((each.path, round(float(stored @ question.astype(np.float64)), 9)))
    return sorted(found, key=lambda pair: (-pair[1], os.fsencode(pair[0])))


def passes(each: Item, where: Filter) -> bool:
    tops = [] if where.below is None else [where.below] if isinstance(where.below, str) else list(where.below)
    pattern = where.glob if where.glob is None or where.glob.startswith(("/", "*")) else "*/" + where.glob
    taken = each.taken if each.taken is not None else -1

    def within(value: int, after: datetime | None, before: datetime | None) -> bool:
        return (after is None or value >= after.timestamp() * 1e9) and (
            before is None or value < before.timestamp() * 1e9
        )

    dated = where.taken_after is not None or where.taken_before is not None
    return (
        (where.below is None or any(each.path == Path(top) or Path(top) in each.path.parents for top in tops))
        and (pattern is None or fnmatch.fnmatchcase(str(each.path), pattern))
        and within(each.modified, where.modified_after, where.modified_before)
        and (not dated or (each.taken is not None and within(taken, where.taken_after, where.taken_before)))
        and (where.size_min is None or each.size >= where.size_min)
        and (where.size_max is None or each.size <= where.size_max)
        and (where.kind is None or each.kind in where.kind)
    )


moments = st.none() | st.integers(0, 40).map(lambda second: datetime.fromtimestamp(second, UTC))
patterns = ["*.jpg", "cat*", "[!c]*.png", "*/a/*", "/photos/*", "?at0?1.*", "c[*]t*", "*deep*", "nothing"]
filters = st.builds(
    Filter,
    below=st.none() | st.sampled_from(FOLDERS) | st.lists(st.sampled_from(["/", *FOLDERS]), max_size=2),
    glob=st.none() | st.sampled_from(patterns),
    modified_after=moments,
    modified_before=moments,
    taken_after=moments,
    taken_before=moments,
    size_min=st.none() | st.integers(0, 5000),
    size_max=st.none() | st.integers(0, 5000),
    kind=st.sampled_from([None, "picture", ("picture", "sound"), "video", ()]),
)


@pytest.fixture(scope="module", params=["scanned", "through the graph"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLiteStore]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "scanned":  # the same ways as at a million, at a size where brute force can check them
            patch.setattr(nearest, "EXACT", 50)
            patch.setattr(nearest, "SEGMENT", 150)
            patch.setattr(sqlite, "SELECTIVE", 40)
            patch.setattr(sqlite, "PROPOSED", 16)
        store = SQLiteStore.open(tmp_path_factory.mktemp("filled"), IDENTITY)
        for start in range(0, 400, 40):
            fill(store, range(start, start + 40))
            store.maintain()
        assert len(list(store.folder.glob("*.usearch"))) == (0 if request.param == "scanned" else 3)
        yield store
        store.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.none() | filters, seed=st.integers(1000, 1010), k=st.integers(1, 30), offset=st.integers(0, 40))
def test_a_filtered_search_is_brute_force(
    filled: SQLiteStore, where: Filter | None, seed: int, k: int, offset: int
) -> None:
    question = vector(seed)
    expected = brute([item(n) for n in range(400)], question, where)
    found = [(near.item.path, near.score) for near in filled.search(question, k, where=where, offset=offset)]
    page = expected[offset : offset + k]
    if not list(filled.folder.glob("*.usearch")):
        assert [path for path, _ in found] == [path for path, _ in page]
    assert len(found) == len(page)
    assert_nearly([path for path, _ in found], [path for path, _ in expected], offset + k)
    scores = dict(expected)
    assert [score for _, score in found] == pytest.approx([scores[path] for path, _ in found], abs=1e-8)
    assert found == sorted(found, key=lambda pair: (-pair[1], os.fsencode(pair[0])))
    assert filled.count(where, readable=True) == len(expected)


def assert_nearly(found: list[Path], expected: list[Path], reach: int) -> None:
    """A graph may overlook one or two in a hundred, and then shows those that come next."""
    assert len(set(found)) == len(found)
    assert set(found) <= set(expected[: reach + 3])


def test_pages_join_without_gap_or_overlap_even_where_scores_tie(store: SQLiteStore) -> None:
    items = [Item(path=Path(f"/p/{n}"), digest=n.to_bytes(16)) for n in range(300)]
    store.upsert(items, {each.digest: picture(n % 3) for n, each in enumerate(items)})
    question = vector(0)
    whole = [near.item.path for near in store.search(question, 300)]
    pages = [near.item.path for start in range(0, 300, 7) for near in store.search(question, 7, offset=start)]
    assert pages == whole
    assert len(set(whole)) == 300


def test_a_batch_is_written_whole_or_not_at_all(store: SQLiteStore) -> None:
    good, orphan = Item(path=Path("/good"), digest=b"g"), Item(path=Path("/orphan"), digest=b"o")
    with pytest.raises(MissingVector) as error:
        store.upsert([good, orphan], {b"g": picture(1)})
    assert error.value.digests == [b"o"]
    assert store.count() == 0
    assert len(store.vectors(b"g")) == 0


def test_writing_twice_is_writing_once(store: SQLiteStore) -> None:
    fill(store, range(50))
    before = list(store.iterate())
    fill(store, range(50))
    assert list(store.iterate()) == before


def test_stored_vectors_are_close_to_what_was_given(store: SQLiteStore) -> None:
    fill(store, range(200))
    for n in range(2, 200, 7):
        if n % 11:
            (stored,) = store.vectors(n.to_bytes(16))
            np.testing.assert_allclose(stored, vector(n), atol=3e-4)


def test_another_process_s_commits_are_seen_at_once(tmp_path: Path) -> None:
    writer, reader = (SQLiteStore.open(tmp_path, IDENTITY) for _ in range(2))
    for n in range(2, 7):
        fill(writer, range(n, n + 1))
        assert reader.search(vector(n), 1)[0].item.path == item(n).path
    writer.delete([item(4).id])
    assert item(4).path not in {near.item.path for near in reader.search(vector(4), 9)}
    writer.close()
    reader.close()


@pytest.mark.parametrize("harm", ["missing", "empty", "cut", "overwritten", "swapped"])
def test_a_damaged_graph_is_left_out_and_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    monkeypatch.setattr(nearest, "EXACT", 50)
    monkeypatch.setattr(nearest, "SEGMENT", 100)
    store = SQLiteStore.open(tmp_path, IDENTITY)
    fill(store, range(300))
    store.maintain()
    store.close()
    first, second, *_ = sorted(tmp_path.glob("*.usearch"))
    data = bytearray(first.read_bytes())
    if harm == "missing":
        first.unlink()
    elif harm == "swapped":
        first.write_bytes(second.read_bytes())
    else:
        data[len(data) // 2 : len(data) // 2 + 64] = b"\xff" * 64
        first.write_bytes({"empty": b"", "cut": data[:-100], "overwritten": data}[harm])
    store = SQLiteStore.open(tmp_path)
    for seed in range(5):
        expected = [path for path, _ in brute([item(n) for n in range(300)], vector(seed), None)]
        assert_nearly([near.item.path for near in store.search(vector(seed), 10)], expected, 10)
    store.maintain()
    assert not first.exists() or harm == "missing"
    with sqlite3.connect(tmp_path / "index.sqlite") as database:
        files = {file for (file,) in database.execute("SELECT file FROM segment")}
    database.close()
    assert files == {path.name for path in tmp_path.glob("*.usearch")}
    assert_nearly([near.item.path for near in store.search(vector(4), 10)], expected, 10)
    store.close()


def test_deletions_never_answer_and_wear_a_segment_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "EXACT", 50)
    monkeypatch.setattr(nearest, "SEGMENT", 1000)
    store = SQLiteStore.open(tmp_path, IDENTITY)
    fill(store, range(300))
    store.maintain()
    (old,) = tmp_path.glob("*.usearch")
    store.delete([item(n).id for n in range(0, 300, 2)])
    left = [item(n) for n in range(1, 300, 2)]
    for seed in range(5):
        expected = [path for path, _ in brute(left, vector(seed), None)]
        assert_nearly([near.item.path for near in store.search(vector(seed), 10)], expected, 10)
    store.maintain()
    assert not old.exists()
    assert_nearly([near.item.path for near in store.search(vector(4), 10)], expected, 10)
    store.close()


def test_threads_get_the_answers_that_one_gets(filled: SQLiteStore) -> None:
    alone = {seed: [near.item.path for near in filled.search(vector(seed), 10)] for seed in range(40)}
    wrong: list[int] = []

    def ask(first: int) -> None:
        for seed in list(range(first, 40)) + list(range(first)):
            found = [near.item.path for near in filled.search(vector(seed), 10)]
            wrong.extend([seed] * (found != alone[seed]))

    threads = [threading.Thread(target=ask, args=(n * 10,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_newer_or_foreign_index_is_refused_with_a_remedy(tmp_path: Path) -> None:
    SQLiteStore.open(tmp_path / "new", IDENTITY).close()
    with sqlite3.connect(tmp_path / "new" / "index.sqlite") as database:
        database.execute("PRAGMA user_version = 7")
    database.close()
    with pytest.raises(SensoriumError, match=r"written by a newer Sensorium \(format 7.*pip install -U"):
        SQLiteStore.open(tmp_path / "new", IDENTITY)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "index.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(SensoriumError, match="damaged or is no index"):
        SQLiteStore.open(tmp_path / "odd", IDENTITY)
    with pytest.raises(SensoriumError, match="there is no index here; make one"):
        SQLiteStore.open(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = SQLiteStore.open(tmp_path, IDENTITY)
    store.close()
    store.close()
    with pytest.raises(SensoriumError, match="has been closed"):
        store.count()
