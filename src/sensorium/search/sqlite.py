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

from sensorium.data.kind_names import SENSES, Kind, Sense, Spot
from sensorium.search.matrix import Ids
from sensorium.search.nearest import CHUNK, Nearest, Scores, fetch, highest
from sensorium.search.schema import COLUMNS, SPOT, connect, key, read_item, read_vectors, told_plainly
from sensorium.search.store import Filter, Identity, Item, Kept, Near, Part, Sample, Scored, Vector, Vectors
from sensorium.search.where import condition
from sensorium.search.writing import drop_unused, used_by, write

SELECTIVE = 16_384
"""Pieces chosen by a filter that are scanned exactly; more are taken from what the graph proposes."""
PROPOSED = 128
"""Pieces that the graph is asked for at first; eight times as many when too few files have them and pass the filter."""

ITEMS = f"SELECT {COLUMNS} FROM item LEFT JOIN content ON content.id = item.content"


class SQLiteStore:
    """A `Store` in a folder of this machine."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, identity: Identity) -> None:
        self.folder = folder
        self._identity = identity
        self._database = connection
        self._lock = threading.RLock()
        self._nearest: dict[Sense, Nearest] = {
            sense: Nearest(folder, identity.dim, self._rows, self._transaction, sense) for sense in SENSES
        }
        self._sampled: dict[Sense, tuple[tuple[int, int, int, bool], Sample]] = {}

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

    def upsert(self, items: Sequence[Item], parts: Mapping[bytes, Part]) -> None:
        """See `Store.upsert`."""
        with self._transaction() as database:
            write(database, items, parts)

    def delete(self, ids: Iterable[str]) -> int:
        """See `Store.delete`."""
        deleted = 0
        with self._transaction() as database:
            before: set[int] = set()
            for name in ids:
                before |= used_by(database, name)
                deleted += database.execute("DELETE FROM item WHERE id = ?", (key(name),)).rowcount
            drop_unused(database, before)
        return deleted

    def senses(self) -> list[Sense]:
        """See `Store.senses`."""
        sql = "SELECT 1 FROM piece WHERE sense = ? LIMIT 1"
        return [sense for sense in SENSES if self._rows(sql, (sense,))]

    def search(
        self, vector: Vector, k: int, *, sense: Sense = "image", where: Filter | None = None, offset: int = 0
    ) -> list[Near]:
        """See `Store.search`."""
        if k <= 0 or offset < 0:
            return []
        return self._best(self._nearest[sense], vector, offset + k, where)[offset : offset + k]

    def moments(self, spots: Mapping[int, Spot], vector: Vector, most: int) -> list[Scored]:
        """See `Store.moments`."""
        found: list[Scored] = []
        for sense in SENSES:
            pieces = np.array(sorted(piece for piece, spot in spots.items() if spot.sense == sense), np.int64)
            if len(pieces):
                scores = self._nearest[sense].scan(vector, _split(pieces), most)
                some = [Scored(piece, spots[piece], score) for piece, score in scores.items()]
                found += sorted(some, key=lambda each: (-each.score, each.spot.number))[:most]
        return sorted(found, key=lambda each: (-each.score, each.spot.number))

    def get(self, ids: Sequence[str]) -> list[Item | None]:
        """See `Store.get`."""
        found = [self._rows(f"{ITEMS} WHERE item.id = ?", (key(name),)) for name in ids]
        return [read_item(rows[0]) if rows else None for rows in found]

    def vectors(self, digest: bytes) -> Vectors:
        """See `Store.vectors`."""
        sql = (
            "SELECT value FROM content JOIN piece ON piece.content = content.id JOIN vector ON vector.piece = piece.id "
            "WHERE digest = ? ORDER BY number"
        )
        return read_vectors([value for (value,) in self._rows(sql, (digest,))], self._identity.dim)

    def spots(self, digest: bytes) -> dict[int, Spot]:
        """See `Store.spots`."""
        sql = f"SELECT piece.id, {SPOT} FROM content JOIN piece ON content = content.id WHERE digest = ?"
        return {piece: Spot(*spot) for piece, *spot in self._rows(f"{sql} ORDER BY number", (digest,))}

    def pieces(self, ids: Sequence[int]) -> dict[int, Vector]:
        """See `Store.pieces`."""
        found, rows = fetch(self._rows, np.array(ids, np.int64), self._identity.dim)
        return dict(zip(found.tolist(), rows, strict=True))

    def known(self, digests: Sequence[bytes]) -> dict[bytes, Kept]:
        """See `Store.known`."""
        sql = (
            f"SELECT item.content, content.pieces, {COLUMNS} FROM content JOIN item ON item.content = content.id "
            "WHERE digest = ? LIMIT 1"
        )
        found = {digest: rows[0] for digest in digests if (rows := self._rows(sql, (digest,)))}
        return {
            digest: Kept(item, pieces if item.whole else self._first_gap(content))
            for digest, (content, pieces, *row) in found.items()
            if (item := read_item(row))
        }

    def iterate(
        self, where: Filter | None = None, *, readable: bool | None = None, partly: bool = False
    ) -> Iterator[Item]:
        """See `Store.iterate`. Reads page by page, so that no writer is kept waiting."""
        sql, values = _asked(where, readable)
        sql += " AND said IS NOT NULL" if partly else ""
        last = b""
        while rows := self._rows(f"{ITEMS} WHERE path > ? AND {sql} ORDER BY path LIMIT {CHUNK}", (last, *values)):
            yield from map(read_item, rows)
            last = rows[-1][0]

    def count(self, where: Filter | None = None, *, readable: bool | None = None) -> int:
        """See `Store.count`."""
        sql, values = _asked(where, readable)
        return self._rows(f"SELECT count(*) FROM item WHERE {sql}", values)[0][0]

    def kinds(self) -> dict[Kind, int]:
        """See `Store.kinds`."""
        return dict(self._rows("SELECT kind, count(*) FROM item WHERE reason IS NULL GROUP BY kind ORDER BY kind"))

    def moments_stored(self) -> int:
        """See `Store.moments_stored`."""
        return self._rows("SELECT count(*) FROM piece")[0][0]

    def sample(self, n: int, sense: Sense = "image") -> Sample:
        """See `Store.sample`: evenly spaced by age."""
        sql = "SELECT id FROM piece WHERE sense = ? ORDER BY id"
        ends = [self._rows(f"{sql} {way} LIMIT 1", (sense,)) for way in ("ASC", "DESC")]
        if not ends[0]:
            return Sample(np.empty((0, self._identity.dim), np.float32), np.empty(0, np.int64))
        (((low,),), ((high,),)) = ends
        alone = self.senses() == [sense]
        state = (n, low, high, alone)
        if sense not in self._sampled or self._sampled[sense][0] != state:
            ids = np.unique(np.linspace(low, high, n).astype(np.int64))
            if not alone:  # most ids may be those of other senses: of all of them, or the next ones from there on
                some = self._rows(f"{sql} LIMIT {n + 1}", (sense,))
                if len(some) > n:
                    after = "SELECT id FROM piece WHERE sense = ? AND id >= ? ORDER BY id LIMIT 1"
                    some = [row for at in ids.tolist() for row in self._rows(after, (sense, at))]
                ids = np.unique(np.array(some, np.int64))
            self._sampled[sense] = (state, self._sample_of(ids))
        return self._sampled[sense][1]

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
        for nearest in self._nearest.values():
            nearest.maintain(progress)

    def close(self) -> None:
        """See `Store.close`."""
        for nearest in self._nearest.values():
            nearest.close()
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
            for nearest in self._nearest.values():
                nearest.stale()

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        with self._lock, told_plainly(self.folder):
            return self._database.execute(sql, values).fetchall()

    def _sample_of(self, ids: Ids) -> Sample:
        found, vectors = fetch(self._rows, ids, self._identity.dim)
        sql = "SELECT content FROM piece WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"
        contents = self._rows(sql, (json.dumps(found.tolist()),))
        return Sample(vectors, np.array(contents, np.int64).reshape(-1))

    def _first_gap(self, content: int) -> int:
        """How many of a content's first pieces are there."""
        sql = (
            "SELECT number FROM piece AS here WHERE content = ?1 AND NOT EXISTS "
            "(SELECT 1 FROM piece WHERE content = ?1 AND number = here.number + 1) ORDER BY number LIMIT 1"
        )
        first = self._rows("SELECT 1 FROM piece WHERE content = ? AND number = 0", (content,))
        return self._rows(sql, (content,))[0][0] + 1 if first else 0

    def _chosen(self, where: Filter | None, sense: Sense, limit: int | None) -> Ids | None:
        """The pieces of the files that a filter lets through; with a limit None without a filter, or for more."""
        free = where is None or where == Filter()
        if free and limit is not None:
            return None
        if free:
            return np.array(self._rows("SELECT id FROM piece WHERE sense = ? ORDER BY id", (sense,)), np.int64)[:, 0]
        sql, values = condition(where)
        most = "" if limit is None else f" LIMIT {limit + 1}"  # the + keeps SQLite from walking the index on content
        rows = self._rows(f"SELECT content FROM item WHERE {sql} AND +content IS NOT NULL{most}", values)
        if limit is not None and len(rows) > limit:
            return None
        sql = f"SELECT id FROM piece WHERE content IN (SELECT value FROM json_each(?)) AND +sense = ?{most}"
        rows = self._rows(sql, (json.dumps([content for (content,) in rows]), sense))
        return None if limit is not None and len(rows) > limit else np.unique(np.array(rows, np.int64).reshape(-1))

    def _best(self, nearest: Nearest, vector: Vector, need: int, where: Filter | None) -> list[Near]:
        """At least the `need` best items, where there are so many."""
        few = self._chosen(where, nearest.sense, SELECTIVE)
        if few is not None:
            return self._scanned(nearest, vector, few, need, where)
        proposed = max(PROPOSED, 1 << (2 * need - 1).bit_length())  # in steps, so that pages see the same proposals
        while True:
            about, everything = nearest.propose(vector, proposed)
            # without a filter hardly a proposal falls away, so most rows need not be read
            for likely in ([highest(about, need + need // 8 + 4)] if where is None else []) + [about]:
                rows = self._ranked(likely, where)
                firsts = {row[6]: row[0] for row in reversed(rows)}  # the best piece of each path
                if len(firsts) >= need or (everything and len(likely) == len(about)):
                    scores = nearest.exact(vector, highest({piece: about[piece] for piece in firsts.values()}, need))
                    return _near([row for row in rows if row[0] in scores], scores)
            if proposed > SELECTIVE and (many := self._chosen(where, nearest.sense, None)) is not None:
                return self._scanned(nearest, vector, many, need, where)
            proposed *= 8

    def _scanned(self, nearest: Nearest, vector: Vector, pieces: Ids, need: int, where: Filter | None) -> list[Near]:
        """As `_best`, of these pieces; more of them are looked at while they are of too few files."""
        most = need
        while True:
            scores = nearest.scan(vector, _split(pieces), most)
            near = _near(self._ranked(scores, where), scores)
            if len(near) >= need or most >= len(pieces):
                return near
            most *= 8

    def _ranked(self, scores: Scores, where: Filter | None) -> list[Any]:
        """Rows of the items that have these pieces and pass the filter, best first: id of the piece, SPOT, COLUMNS."""
        sql, values = _asked(where, True)
        rows = self._rows(
            f"SELECT piece.id, {SPOT}, {COLUMNS} FROM piece CROSS JOIN item INDEXED BY item_content "
            "ON item.content = piece.content JOIN content ON content.id = item.content "
            f"WHERE piece.id IN (SELECT value FROM json_each(?)) AND {sql}",
            (json.dumps(list(scores)), *values),
        )
        return sorted(rows, key=lambda row: (-scores[row[0]], row[6], row[1]))


def _near(rows: list[Any], scores: Scores) -> list[Near]:
    """Items with their pieces, best first, from rows as `_ranked` gives them."""
    pieces: dict[bytes, list[Scored]] = {}
    items: dict[bytes, Any] = {}
    for row in sorted(rows, key=lambda row: (-scores[row[0]], row[6], row[1])):
        pieces.setdefault(row[6], []).append(Scored(row[0], Spot(*row[1:6]), scores[row[0]]))
        items.setdefault(row[6], row)
    return [Near(read_item(items[path][6:]), found) for path, found in pieces.items()]


def _split(pieces: Ids) -> Sequence[Ids]:
    return np.array_split(pieces, len(pieces) // SELECTIVE + 1)


def _asked(where: Filter | None, readable: bool | None) -> tuple[str, list[object]]:
    sql, values = condition(where)
    return {None: sql, True: f"{sql} AND reason IS NULL", False: f"{sql} AND reason IS NOT NULL"}[readable], values
