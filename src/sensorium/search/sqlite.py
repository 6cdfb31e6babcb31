"""A store in one folder: SQLite holds the truth, a graph of usearch segments beside it is a cache that can be rebuilt.

Vectors are kept as float16, which halves the disk and moves a cosine by 3e-4 at most. Small collections, and few
items chosen by a filter, are scanned exactly; large ones are asked through the graph, and what it proposes is scored
exactly again, so both ways give the same scores.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from sensorium.search.matrix import Ids
from sensorium.search.nearest import CHUNK, Nearest, Scores, highest
from sensorium.search.schema import COLUMNS, connect, key, read_item, read_vectors, told_plainly
from sensorium.search.store import Filter, Identity, Item, MissingVector, Near, Vector, Vectors
from sensorium.search.where import condition

SELECTIVE = 16_384
"""Contents chosen by a filter that are scanned exactly; more are taken from what the graph proposes."""
PROPOSED = 128
"""Contents that the graph is asked for at first; eight times as many when too few of them pass the filter."""

ITEMS = f"SELECT {COLUMNS} FROM item LEFT JOIN content ON content.id = item.content"


class SQLiteStore:
    """A `Store` in a folder of this machine."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, identity: Identity) -> None:
        self.folder = folder
        self._identity = identity
        self._database = connection
        self._lock = threading.RLock()
        self._nearest = Nearest(folder, identity.dim, self._rows, self._transaction)
        self._sampled: tuple[tuple[int, int, int], Vectors] | None = None

    @classmethod
    def open(cls, folder: str | os.PathLike[str], identity: Identity | None = None) -> Self:
        """Open the store in `folder`; with an identity, create it where there is none.

        Raises SensoriumError when there is no store and no identity, or when the file is foreign, damaged or newer.
        Whether the identity agrees with the stored one is for the caller to check.
        """
        connection, bound = connect(Path(folder), identity)
        return cls(Path(folder), connection, bound)

    @property
    def identity(self) -> Identity:
        """The model this store is bound to."""
        return self._identity

    def upsert(self, items: Sequence[Item], vectors: Mapping[bytes, Vector]) -> None:
        """See `Store.upsert`."""
        with self._transaction() as database:
            contents = _contents(database, {item.digest for item in items if item.reason is None}, vectors)
            before: set[int] = set()
            for item in items:
                before |= _used_by(database, item.id)
                row = (item.kind, item.size, item.modified, item.changed, item.taken, item.width, item.height)
                content = contents[item.digest] if item.reason is None else None
                database.execute(
                    "INSERT OR REPLACE INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (key(item.id), os.fsencode(item.path), *row, content, item.reason),
                )
            _drop_unused(database, before)

    def delete(self, ids: Iterable[str]) -> int:
        """See `Store.delete`."""
        deleted = 0
        with self._transaction() as database:
            before: set[int] = set()
            for name in ids:
                before |= _used_by(database, name)
                deleted += database.execute("DELETE FROM item WHERE id = ?", (key(name),)).rowcount
            _drop_unused(database, before)
        return deleted

    def search(self, vector: Vector, k: int, *, where: Filter | None = None, offset: int = 0) -> list[Near]:
        """See `Store.search`."""
        if k <= 0 or offset < 0:
            return []
        rows, scores = self._best(vector, offset + k, where)
        return [Near(read_item(row[1:]), scores[row[0]]) for row in rows[offset : offset + k]]

    def get(self, ids: Sequence[str]) -> list[Item | None]:
        """See `Store.get`."""
        found = [self._rows(f"{ITEMS} WHERE item.id = ?", (key(name),)) for name in ids]
        return [read_item(rows[0]) if rows else None for rows in found]

    def vectors(self, digests: Sequence[bytes]) -> dict[bytes, Vector]:
        """See `Store.vectors`."""
        sql = "SELECT value FROM vector JOIN content ON content.id = vector.content WHERE digest = ?"
        found = {digest: self._rows(sql, (digest,)) for digest in digests}
        return {digest: read_vectors(rows[0], self._identity.dim)[0] for digest, rows in found.items() if rows}

    def known(self, digests: Sequence[bytes]) -> dict[bytes, Item]:
        """See `Store.known`."""
        sql = f"SELECT {COLUMNS} FROM content JOIN item ON item.content = content.id WHERE digest = ? LIMIT 1"
        found = {digest: self._rows(sql, (digest,)) for digest in digests}
        return {digest: read_item(rows[0]) for digest, rows in found.items() if rows}

    def iterate(self, where: Filter | None = None, *, readable: bool | None = None) -> Iterator[Item]:
        """See `Store.iterate`. Reads page by page, so that no writer is kept waiting."""
        sql, values = _asked(where, readable)
        last = b""
        while rows := self._rows(f"{ITEMS} WHERE path > ? AND {sql} ORDER BY path LIMIT {CHUNK}", (last, *values)):
            yield from map(read_item, rows)
            last = rows[-1][0]

    def count(self, where: Filter | None = None, *, readable: bool | None = None) -> int:
        """See `Store.count`."""
        sql, values = _asked(where, readable)
        return self._rows(f"SELECT count(*) FROM item WHERE {sql}", values)[0][0]

    def sample(self, n: int) -> Vectors:
        """See `Store.sample`: evenly spaced by age."""
        low, high = self._rows("SELECT (SELECT min(id) FROM content), (SELECT max(id) FROM content)")[
            0
        ]  # together: a full walk
        if low is None:
            return np.empty((0, self._identity.dim), np.float32)
        if self._sampled is None or self._sampled[0] != (n, low, high):
            ids = np.unique(np.linspace(low, high, n).astype(np.int64))
            self._sampled = ((n, low, high), self._nearest.fetch(ids)[1])
        return self._sampled[1]

    def note(self, name: str, value: bytes | None) -> None:
        """See `Store.note`."""
        with self._transaction() as database:
            if value is None:
                database.execute("DELETE FROM note WHERE name = ?", (name,))
            else:
                database.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (name, value))

    def notes(self, prefix: str) -> dict[str, bytes]:
        """See `Store.notes`."""
        return dict(self._rows("SELECT name, value FROM note WHERE substr(name, 1, ?) = ?", (len(prefix), prefix)))

    def maintain(self, progress: Callable[[int, int], object] | None = None) -> None:
        """See `Store.maintain`: builds segments of the graph."""
        self._nearest.maintain(progress)

    def close(self) -> None:
        """See `Store.close`."""
        self._nearest.close()
        with self._lock:
            self._database.close()

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._lock, told_plainly(self.folder):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.rollback()
                raise
            self._database.commit()
            self._nearest.stale()

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        with self._lock, told_plainly(self.folder):
            return self._database.execute(sql, values).fetchall()

    def _chosen(self, where: Filter | None, limit: int | None) -> Ids | None:
        """The contents that a filter lets through; None without a filter or where they are more than `limit`."""
        if where is None or where == Filter():
            return None
        sql, values = condition(where)
        most = "" if limit is None else f" LIMIT {limit + 1}"  # the + keeps SQLite from walking the index on content
        rows = self._rows(f"SELECT content FROM item WHERE {sql} AND +content IS NOT NULL{most}", values)
        return None if limit is not None and len(rows) > limit else np.unique(np.array(rows, np.int64).reshape(-1))

    def _best(self, vector: Vector, need: int, where: Filter | None) -> tuple[list[Any], Scores]:
        """At least the `need` best rows, where there are so many, and the scores of their contents."""
        few = self._chosen(where, SELECTIVE)
        if few is not None:
            scores = self._nearest.scan(vector, [few], need)
            return self._ranked(scores, where), scores
        proposed = max(PROPOSED, 1 << (2 * need - 1).bit_length())  # in steps, so that pages see the same proposals
        while True:
            about, everything = self._nearest.propose(vector, proposed)
            # without a filter hardly a proposal falls away, so most rows need not be read
            for likely in ([highest(about, need + need // 8 + 4)] if where is None else []) + [about]:
                rows = self._ranked(likely, where)
                if len(rows) >= need or (everything and len(likely) == len(about)):
                    best = highest({row[0]: about[row[0]] for row in rows}, need)
                    scores = self._nearest.exact(vector, best)
                    return _sorted([row for row in rows if row[0] in scores], scores), scores
            if proposed > SELECTIVE and (many := self._chosen(where, None)) is not None:
                scores = self._nearest.scan(vector, np.array_split(many, len(many) // CHUNK + 1), need)
                return self._ranked(scores, where), scores
            proposed *= 8

    def _ranked(self, scores: Scores, where: Filter | None) -> list[Any]:
        """Rows of the items that have these contents and pass the filter, best first."""
        sql, values = _asked(where, True)
        rows = self._rows(
            f"SELECT content, {COLUMNS} FROM item INDEXED BY item_content JOIN content ON content.id = item.content "
            f"WHERE content IN (SELECT value FROM json_each(?)) AND {sql}",
            (json.dumps(list(scores)), *values),
        )
        return _sorted(rows, scores)


def _sorted(rows: list[Any], scores: Scores) -> list[Any]:
    return sorted(rows, key=lambda row: (-scores[row[0]], row[1]))


def _asked(where: Filter | None, readable: bool | None) -> tuple[str, list[object]]:
    sql, values = condition(where)
    return {None: sql, True: f"{sql} AND reason IS NULL", False: f"{sql} AND reason IS NOT NULL"}[readable], values


def _contents(database: sqlite3.Connection, digests: set[bytes], vectors: Mapping[bytes, Vector]) -> dict[bytes, int]:
    """The ids of these contents, storing the vectors of those that are new."""
    sql = "SELECT id FROM content WHERE digest = ?"
    known = {digest: row[0] for digest in digests if (row := database.execute(sql, (digest,)).fetchone())}
    new = sorted(digests - known.keys())
    if missing := [digest for digest in new if digest not in vectors]:
        raise MissingVector(missing)
    for digest in new:
        known[digest] = database.execute("INSERT INTO content (digest) VALUES (?)", (digest,)).lastrowid
        value = np.ascontiguousarray(vectors[digest], "<f2").tobytes()
        database.execute("INSERT INTO vector (content, value) VALUES (?, ?)", (known[digest], value))
    return known


def _used_by(database: sqlite3.Connection, name: str) -> set[int]:
    rows = database.execute("SELECT content FROM item WHERE id = ? AND content IS NOT NULL", (key(name),))
    return {content for (content,) in rows}


def _drop_unused(database: sqlite3.Connection, contents: Iterable[int]) -> None:
    for content in contents:
        if not database.execute("SELECT 1 FROM item WHERE content = ? LIMIT 1", (content,)).fetchone():
            database.execute("DELETE FROM vector WHERE content = ?", (content,))
            database.execute("DELETE FROM content WHERE id = ?", (content,))
