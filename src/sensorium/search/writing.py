"""Writing contents and their pieces, within the transaction of the caller."""

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from sensorium.search.schema import key
from sensorium.search.store import Item, MissingVector, Part

ITEM = (
    "INSERT OR REPLACE INTO item (id, path, kind, size, modified, changed, taken, width, height, content, reason, "
    "seconds, pages, said) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
FACTS = "UPDATE item SET taken = ?, width = ?, height = ?, seconds = ?, pages = ?, said = ? WHERE content = ?"


def write(database: sqlite3.Connection, items: Sequence[Item], parts: Mapping[bytes, Part]) -> None:
    """See `Store.upsert`."""
    contents, grown = _contents(database, {item.digest for item in items if item.reason is None}, parts)
    before: set[int] = set()
    for item in items:
        before |= used_by(database, item.id)
        content = contents[item.digest] if item.reason is None else None
        stamp = (item.kind, item.size, item.modified, item.changed)
        facts = (item.taken, item.width, item.height)
        more = (content, item.reason, item.seconds, item.pages, item.said)
        database.execute(ITEM, (key(item.id), os.fsencode(item.path), *stamp, *facts, *more))
        if item.reason is None and item.digest in grown:  # other items may have it since its first pieces came
            database.execute(FACTS, (*facts, item.seconds, item.pages, item.said, content))
    drop_unused(database, before)


def used_by(database: sqlite3.Connection, name: str) -> set[int]:
    """The content of an item, if it has one."""
    rows = database.execute("SELECT content FROM item WHERE id = ? AND content IS NOT NULL", (key(name),))
    return {content for (content,) in rows}


def drop_unused(database: sqlite3.Connection, contents: Iterable[int]) -> None:
    """Forget those contents that no item has any more, with their pieces."""
    for content in contents:
        if not database.execute("SELECT 1 FROM item WHERE content = ? LIMIT 1", (content,)).fetchone():
            database.execute("DELETE FROM vector WHERE piece IN (SELECT id FROM piece WHERE content = ?)", (content,))
            database.execute("DELETE FROM piece WHERE content = ?", (content,))
            database.execute("DELETE FROM content WHERE id = ?", (content,))


def _contents(
    database: sqlite3.Connection, digests: set[bytes], parts: Mapping[bytes, Part]
) -> tuple[dict[bytes, int], set[bytes]]:
    """The ids of these contents, storing what is new of them; and those that were there before and became whole."""
    known: dict[bytes, tuple[int, int]] = {}
    for digest in digests | parts.keys():
        if row := database.execute("SELECT id, whole FROM content WHERE digest = ?", (digest,)).fetchone():
            known[digest] = row
    missing = [digest for digest in sorted(digests) if digest not in known and digest not in parts]
    grown: set[bytes] = set()
    for digest in sorted(parts):
        part = parts[digest]
        if digest not in known:
            whole = len(part.spots) == part.pieces
            sql = "INSERT INTO content (digest, whole, pieces) VALUES (?, ?, ?)"
            content = database.execute(sql, (digest, whole, len(part.spots))).lastrowid or 0
            known[digest] = (content, whole)
            _insert(database, content, part)
            missing += [digest] if part.pieces is not None and not whole else []
        elif not known[digest][1]:
            content, _ = known[digest]
            _insert(database, content, part)
            (kept,) = database.execute("SELECT count(*) FROM piece WHERE content = ?", (content,)).fetchone()
            whole = part.pieces is not None and kept >= part.pieces
            database.execute("UPDATE content SET whole = ?, pieces = ? WHERE id = ?", (whole, kept, content))
            missing += [digest] if part.pieces is not None and not whole else []
            grown |= {digest} if whole else set()
    if missing:
        raise MissingVector(missing)
    return {digest: content for digest, (content, _) in known.items()}, grown


def _insert(database: sqlite3.Connection, content: int, part: Part) -> None:
    sql = (
        "INSERT INTO piece (content, number, sense, begin, end, page) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
    )
    rows = np.ascontiguousarray(part.vectors, "<f2")
    for spot, vector in zip(part.spots, rows, strict=True):
        made = database.execute(sql, (content, *spot))
        if (
            made.rowcount and np.isfinite(vector).all()
        ):  # else another process was faster, or the model has no vector for it
            database.execute("INSERT INTO vector (piece, value) VALUES (?, ?)", (made.lastrowid, vector.tobytes()))
