"""The database file: its tables, its version, and how a row becomes an Item."""

import os
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.data.errors import SensoriumError
from sensorium.search.store import Identity, Item, Vectors

VERSION = 2
FILE = "index.sqlite"
PATIENCE = 60.0
"""Seconds to wait for another process that is writing; write transactions last milliseconds."""

COLUMNS = "path, kind, size, modified, changed, taken, width, height, digest, reason, seconds, pages, whole, said"
SPOT = "number, sense, begin, end, page"

# Pieces get ever growing ids and never change, which is what lets caches catch up by looking at ids alone.
# Vectors stand in a table of their own so that walking over pieces does not read them.
PIECE = """
CREATE TABLE piece (
    id INTEGER PRIMARY KEY AUTOINCREMENT, content INTEGER NOT NULL, number INTEGER NOT NULL, sense TEXT NOT NULL,
    begin REAL, end REAL, page INTEGER, UNIQUE (content, number)
);
"""
PIECE_SENSE = "CREATE INDEX piece_sense ON piece (sense);"
TABLES = f"""
CREATE TABLE note (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE content (
    id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, whole INTEGER NOT NULL DEFAULT 1,
    pieces INTEGER NOT NULL DEFAULT 1
);
{PIECE}
{PIECE_SENSE}
CREATE TABLE vector (piece INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE item (
    id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, size INTEGER NOT NULL,
    modified INTEGER NOT NULL, changed INTEGER NOT NULL, taken INTEGER, width INTEGER NOT NULL,
    height INTEGER NOT NULL, content INTEGER, reason TEXT, seconds REAL, pages INTEGER, said TEXT
);
CREATE INDEX item_content ON item (content);
CREATE INDEX item_modified ON item (modified);
CREATE INDEX item_taken ON item (taken) WHERE taken IS NOT NULL;
CREATE INDEX item_size ON item (size);
CREATE TABLE segment (
    low INTEGER, high INTEGER, rows INTEGER, file TEXT PRIMARY KEY, hash BLOB, sense TEXT NOT NULL DEFAULT 'image'
) WITHOUT ROWID;
"""
# Version 1 knew pictures only: each becomes the one piece of its content, under the content's id, so that the graph of
# neighbours stays as it is. The sequence goes on behind the last id that was ever given: a segment may reach there.
FROM_PICTURES = f"""
ALTER TABLE content ADD COLUMN whole INTEGER NOT NULL DEFAULT 1;
ALTER TABLE content ADD COLUMN pieces INTEGER NOT NULL DEFAULT 1;
{PIECE}
INSERT INTO piece (id, content, number, sense) SELECT id, id, 0, 'image' FROM content ORDER BY id;
DELETE FROM sqlite_sequence WHERE name = 'piece';
INSERT INTO sqlite_sequence (name, seq) SELECT 'piece', seq FROM sqlite_sequence WHERE name = 'content';
{PIECE_SENSE}
ALTER TABLE vector RENAME COLUMN content TO piece;
ALTER TABLE item ADD COLUMN seconds REAL;
ALTER TABLE item ADD COLUMN pages INTEGER;
ALTER TABLE item ADD COLUMN said TEXT;
UPDATE item SET kind = 'picture' WHERE kind = 'image';
ALTER TABLE segment ADD COLUMN sense TEXT NOT NULL DEFAULT 'image';
"""


@contextmanager
def told_plainly(folder: Path) -> Generator[None]:
    """Turn the database's complaints into errors that name the folder and a remedy."""
    try:
        yield
    except sqlite3.OperationalError as error:
        remedy = {
            "locked": "another process has been writing for a minute; try again when it is done",
            "full": "the disk is full; make room and run the same command again, nothing committed is lost",
            "readonly": "it may not be written to; check its permissions",
            "unable to open": "it cannot be opened; check that the folder exists and its permissions",
        }
        said = next((told for word, told in remedy.items() if word in str(error)), str(error))
        raise SensoriumError(f"{folder}: {said}") from error
    except sqlite3.ProgrammingError as error:
        raise SensoriumError(f"{folder}: this index has been closed; open it again") from error
    except sqlite3.DatabaseError as error:
        raise SensoriumError(
            f"{folder / FILE} is damaged or is no index ({error}); move it away and index the folders again"
        ) from error


def connect(folder: Path, identity: Identity | None) -> tuple[sqlite3.Connection, Identity]:
    """Open the database of `folder`, creating it when there is none and an identity is given.

    Raises SensoriumError when it is absent (and no identity is given), foreign, damaged, or newer than this code.
    """
    file = folder / FILE
    if identity is None and not file.exists():
        raise SensoriumError(f"{folder}: there is no index here; make one with `sensorium index FOLDER`")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SensoriumError(f"{folder}: the folder of the index cannot be made ({error.strerror})") from error
    with told_plainly(folder):
        connection = sqlite3.connect(file, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            return connection, _prepare(connection, folder, identity)
        except BaseException:
            connection.close()
            raise


def _prepare(connection: sqlite3.Connection, folder: Path, identity: Identity | None) -> Identity:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.execute("PRAGMA page_size = 16384")  # 15 vectors of 512 a page; of 4096 bytes it would be 3
        connection.execute("PRAGMA journal_mode = WAL")
        _create(connection, identity, folder)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise SensoriumError(
            f"{folder}: this index was written by a newer Sensorium (format {version}, known here up to {VERSION}); "
            "upgrade with `pip install -U sensorium`, or index into another folder"
        )
    if version < VERSION:
        _migrate(connection)
    connection.execute("PRAGMA synchronous = FULL")  # a batch that was reported stays, even through a power cut
    connection.execute("PRAGMA cache_size = -65536")
    notes = dict(connection.execute("SELECT name, value FROM note WHERE name IN ('model', 'fingerprint', 'dim')"))
    return Identity(model=notes["model"].decode(), fingerprint=notes["fingerprint"].decode(), dim=int(notes["dim"]))


def _create(connection: sqlite3.Connection, identity: Identity | None, folder: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA user_version").fetchone() == (0,):  # else another process was faster
            if identity is None:
                raise SensoriumError(f"{folder}: there is no index here; make one with `sensorium index FOLDER`")
            _execute(connection, TABLES)
            notes = {"model": identity.model, "fingerprint": identity.fingerprint, "dim": str(identity.dim)}
            connection.executemany("INSERT INTO note VALUES (?, ?)", [(k, v.encode()) for k, v in notes.items()])
            connection.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA user_version").fetchone() == (1,):  # else another process was faster
            _execute(connection, FROM_PICTURES)
            connection.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _execute(connection: sqlite3.Connection, statements: str) -> None:
    """One by one: `executescript` would commit before it begins."""
    for statement in filter(str.strip, statements.split(";")):
        connection.execute(statement)


def key(name: str) -> int:
    """An item's id as SQLite's signed integer; -1, which no file is likely to have, for what is no id."""
    try:
        return int.from_bytes(bytes.fromhex(name).rjust(8, b"\0")[:8], signed=True)
    except ValueError:
        return -1


def read_item(row: Sequence[Any]) -> Item:
    """An Item from the values of COLUMNS."""
    path, kind, size, modified, changed, taken, width, height, digest, reason, seconds, pages, whole, said = row
    return Item(
        path=Path(os.fsdecode(path)),
        kind=kind,
        size=size,
        modified=modified,
        changed=changed,
        taken=taken,
        width=width,
        height=height,
        digest=digest or b"",
        reason=reason,
        seconds=seconds,
        pages=pages,
        whole=whole is None or bool(whole),
        said=said,
    )


def read_vectors(values: Sequence[bytes], dim: int) -> Vectors:
    """(n, dim) float32 from stored float16."""
    return np.frombuffer(b"".join(values), "<f2").reshape(-1, dim).astype(np.float32)
