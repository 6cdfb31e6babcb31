"""Indexes of photographs from before there were other kinds: brought up to date in place, they answer the same."""

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from sensorium.search import nearest
from sensorium.search.graph import build
from sensorium.search.index import Index, Query, Term
from tests.search.fake import COLOURS, Colours, paint

VERSION_1 = """
CREATE TABLE note (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE content (id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE);
CREATE TABLE vector (content INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE item (
    id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, size INTEGER NOT NULL,
    modified INTEGER NOT NULL, changed INTEGER NOT NULL, taken INTEGER, width INTEGER NOT NULL,
    height INTEGER NOT NULL, content INTEGER, reason TEXT
);
CREATE INDEX item_content ON item (content);
CREATE INDEX item_modified ON item (modified);
CREATE INDEX item_taken ON item (taken) WHERE taken IS NOT NULL;
CREATE INDEX item_size ON item (size);
CREATE TABLE segment (low INTEGER, high INTEGER, rows INTEGER, file TEXT PRIMARY KEY, hash BLOB) WITHOUT ROWID;
PRAGMA user_version = 1;
"""
# What version 0.5 answered to the pictures of `painted`: name, score, confidence.
ANSWERS = {
    "red": [
        ("red024.png", 0.999837454, 0.984798),
        ("red018.png", 0.999669651, 0.985105),
        ("red006.png", 0.999647882, 0.984956),
        ("red030.png", 0.999647882, 0.984984),
        ("red012.png", 0.999555364, 0.984989),
        ("red000.png", 0.999549922, 0.984756),
        ("yellow021.png", 0.350295568, 0.037391),
        ("yellow003.png", 0.343109991, 0.034933),
    ],
    "a submarine": [
        ("yellow015.png", 0.190695726, 0.003405),
        ("yellow003.png", 0.189728544, 0.003361),
        ("yellow021.png", 0.187717939, 0.003128),
        ("yellow033.png", 0.187437547, 0.003176),
        ("yellow009.png", 0.186120096, 0.003054),
        ("yellow027.png", 0.185560658, 0.003046),
        ("green001.png", 0.157021061, 0.001439),
        ("green013.png", 0.155758932, 0.001400),
    ],
    "like green001": [
        ("green013.png", 0.999624462, 1.000000),
        ("green025.png", 0.999605612, 1.000000),
        ("green019.png", 0.999600658, 1.000000),
        ("green007.png", 0.999519517, 1.000000),
        ("green031.png", 0.999473667, 1.000000),
        ("yellow033.png", 0.350257058, 0.503604),
        ("yellow015.png", 0.34298878, 0.486398),
        ("yellow027.png", 0.342316225, 0.484811),
    ],
    "red and like green001": [
        ("yellow021.png", 0.63236859, 0.132415),
        ("yellow033.png", 0.631276076, 0.125960),
        ("yellow003.png", 0.631073827, 0.129826),
        ("yellow015.png", 0.629262924, 0.127469),
        ("yellow009.png", 0.628900828, 0.127867),
        ("yellow027.png", 0.622965087, 0.122801),
        ("red024.png", 0.538957863, 0.034506),
        ("green025.png", 0.536885398, 0.000000),
    ],
    "not red": [
        ("cyan010.png", 0.980785957, 0.992730),
        ("cyan016.png", 0.980743326, 0.992489),
        ("cyan004.png", 0.980291619, 0.992635),
        ("cyan022.png", 0.980280735, 0.992670),
        ("cyan034.png", 0.979881637, 0.992456),
        ("cyan028.png", 0.978948292, 0.992626),
        ("green031.png", 0.422120493, 0.074366),
        ("green007.png", 0.420928642, 0.073691),
    ],
}


def painted(top: Path) -> Path:
    for n in range(36):
        paint(top / f"{list(COLOURS)[n % 6]}{n:03}.png", list(COLOURS)[n % 6], noise=n)
    return top


def question(name: str, top: Path) -> Query:
    terms = {
        "red": [Term(text="red")],
        "a submarine": [Term(text="a submarine")],
        "like green001": [Term(item=top / "green001.png")],
        "red and like green001": [Term(text="red"), Term(item=top / "green001.png")],
        "not red": [Term(text="red", weight=-1.0)],
    }
    return Query(terms[name])


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An index as version 1 wrote it, half of it in a segment of the graph, the last content deleted again."""
    place, top, model = tmp_path / "index", painted(tmp_path / "painted"), Colours()
    place.mkdir()
    connection = sqlite3.connect(place / "index.sqlite")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(VERSION_1)
    notes = {"model": model.name, "fingerprint": model.fingerprint, "dim": str(model.dim)}
    connection.executemany("INSERT INTO note VALUES (?, ?)", [(k, v.encode()) for k, v in notes.items()])
    with Index.open(tmp_path / "new", model) as index:  # what a file's row holds is as it was
        index.update(top)
        rows = [(item, index.store.vectors(item.digest)[0].astype("<f2")) for item in index.items()]
    rows.sort(key=lambda row: row[0].digest)
    for n, (item, vector) in enumerate(rows, 1):
        stamp = (int.from_bytes(bytes.fromhex(item.id), signed=True), os.fsencode(item.path), "image", item.size)
        facts = (item.modified, item.changed, item.taken, item.width, item.height, n, None)
        connection.execute("INSERT INTO content (digest) VALUES (?)", (item.digest,))
        connection.execute("INSERT INTO vector VALUES (?, ?)", (n, vector.tobytes()))
        connection.execute("INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", stamp + facts)
    broken = (7, b"/gone/broken.jpg", "image", 1, 1, 1, None, 0, 0, None, "cut off")
    connection.execute("INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", broken)
    connection.execute("INSERT INTO content (digest) VALUES (x'00')")
    connection.execute("DELETE FROM content WHERE digest = x'00'")
    half = build(place, model.dim, 0, 18, [(np.arange(1, 19), np.array([v for _, v in rows[:18]], np.float32))])
    connection.execute(
        "INSERT INTO segment VALUES (?, ?, ?, ?, ?)", (half.low, half.high, half.rows, half.file, half.hash)
    )
    connection.commit()
    connection.close()
    return place


@pytest.mark.parametrize("name", ANSWERS)
def test_photographs_are_answered_as_they_were(name: str, old: Path, tmp_path: Path) -> None:
    for place in (old, tmp_path / "new"):
        with Index.open(place, Colours()) as index:
            answer = index.search(question(name, tmp_path / "painted"), 8)
        assert [(hit.path.name, hit.score) for hit in answer.hits] == [(who, score) for who, score, _ in ANSWERS[name]]
        assert [hit.confidence for hit in answer.hits] == pytest.approx(
            [sure for _, _, sure in ANSWERS[name]], abs=1e-5
        )


def test_an_old_index_is_brought_up_to_date_in_place(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (segment,) = old.glob("*.usearch")
    with Index.open(old, Colours(log=tmp_path / "log")) as index:
        assert index.stats().kinds == {"picture": 36}
        assert index.unreadable() == [(Path("/gone/broken.jpg"), "cut off")]
        assert index.update(tmp_path / "painted").unchanged == 36
        assert not (tmp_path / "log").exists()
        new = paint(tmp_path / "painted" / "new.png", "red", noise=99)
        assert index.update(tmp_path / "painted").added == 1
        (piece,) = index.store.spots(index.get(new).digest)
        assert piece == 38  # an id that was given once is never given again: a segment may reach there
        monkeypatch.setattr(nearest, "EXACT", 10)
        monkeypatch.setattr(nearest, "SEGMENT", 20)  # the old segment is not to be made part of a larger one
        index.store.maintain()
        assert segment.exists()
        assert "new.png" in {hit.path.name for hit in index.search("red", 7).hits}
    with Index.open(old, Colours()) as index:
        assert index.stats().moments == 37


def test_several_programs_may_open_an_old_index_at_once(old: Path) -> None:
    with Index.open(old, Colours()) as one, Index.open(old, Colours()) as two:
        assert one.stats() == two.stats()
