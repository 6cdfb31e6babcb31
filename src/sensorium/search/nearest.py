"""Which pieces of one sense are nearest to a vector: graph segments for most of them, a matrix in memory for the rest.

What lies outside every usable segment is "loose" and scanned exactly: no answer waits for the graph to be built.
"""

import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.data.kind_names import Sense
from sensorium.search.graph import OpenSegment, Segment, alone, build
from sensorium.search.matrix import SLACK, Ids, Matrix, best, cosines
from sensorium.search.schema import read_vectors
from sensorium.search.store import Vector, Vectors

EXACT = 65_536
"""Loose pieces that are simply scanned: 16 ms at 512 dimensions, and exact. More of them become a segment."""
HELD = 262_144
"""Loose vectors kept in memory (0.5 GB at 512 dimensions); beyond, a scan reads them from the disk."""
SEGMENT = 1_048_576
"""Rows of a segment at most, which bounds what building one takes: 1.3 GB of memory and some ten minutes."""
DEAD = 0.3
"""Share of deleted rows from which on a segment is built again."""
CHUNK = 4096

Scores = dict[int, float]
Range = tuple[int, int, int]
"""Pieces of the sense with low < id <= high, and how many they are."""


class Nearest:
    """Reads the database through `rows` (SQL in, rows out) and writes it within `transaction`."""

    def __init__(
        self,
        folder: Path,
        dim: int,
        rows: Callable[..., list[Any]],
        transaction: Callable[[], AbstractContextManager[Connection]],
        sense: Sense,
    ) -> None:
        self.folder = folder
        self.sense: Sense = sense
        self.dim = dim
        self._rows = rows
        self._transaction = transaction
        self._lock = threading.RLock()
        self._seen: int | None = None  # the state of the database that the memory below stands for
        self._segments: dict[str, OpenSegment | None] = {}
        self._matrix = Matrix(dim)
        self._spilled = False  # whether the loose pieces are too many to hold in the matrix

    def stale(self) -> None:
        """This process wrote: look at the database again before the next answer."""
        self._seen = None

    def propose(self, vector: Vector, k: int) -> tuple[Scores, bool]:
        """About the k best pieces with their scores to three digits; true when these are all there are.

        Some may have been deleted.
        """
        with self._lock:
            self._refresh()
            ids, rows, spilled = self._matrix.ids, self._matrix.rows, self._spilled
            segments = [s for s in self._segments.values() if s is not None]
        products = rows @ vector
        top = best(products, k)
        scores: Scores = dict(zip(ids[top].tolist(), products[top].tolist(), strict=True))
        for segment in segments:
            if segment.segment.rows <= k:  # a graph may overlook some even where all are asked for
                scores |= self.scan(vector, self._within(segment.segment.low, segment.segment.high), k)
                continue
            found, cosine = segment.search(vector, k)
            scores |= dict(zip(found.tolist(), cosine.tolist(), strict=True))
        if spilled:
            scores |= self.scan(vector, self._loose(), k)
        everything = len(rows) <= k and all(s.segment.rows <= k for s in segments) and not spilled
        return (scores if everything else highest(scores, k)), everything

    def exact(self, vector: Vector, pieces: Iterable[int]) -> Scores:
        """The cosines of these pieces, the same however they were found."""
        return self.scan(vector, [np.unique(np.fromiter(pieces, np.int64))], sys.maxsize)

    def scan(self, vector: Vector, chunks: Iterable[Ids], k: int) -> Scores:
        """Exact scores of the k best of these pieces (sorted ids), and of those that tie with the last."""
        with self._lock:
            self._refresh()
            ids, rows = self._matrix.ids, self._matrix.rows
        scores: Scores = {}
        for chunk in chunks:
            held = np.isin(chunk, ids, assume_unique=True)
            scores |= _scored(chunk[held], rows[np.searchsorted(ids, chunk[held])], vector, k)
            for part in _parts(chunk[~held]):
                scores |= _scored(*fetch(self._rows, part, self.dim), vector, k)
            scores = highest(scores, k)
        return scores

    def maintain(self, progress: Callable[[int, int], object] | None = None) -> None:
        """Build segments where loose pieces or deleted rows are many. One process builds; others go on at once."""
        with self._lock:
            self._open_segments()
        if not self._plan():
            return
        with alone(self.folder / "graph.lock") as mine:
            if not mine:
                return
            with self._lock:
                self._open_segments()
            plan = self._plan()
            self._sweep()
            total, done = sum(count for _, _, count in plan), 0
            for low, high, count in plan:
                chunks = self._chunks(low, high, lambda built, done=done: progress and progress(done + built, total))
                self._publish(build(self.folder, self.dim, low, high, chunks))
                done += count

    def close(self) -> None:
        """Let go of mapped files and memory."""
        with self._lock:
            self._segments.clear()
            self._matrix = Matrix(self.dim)

    def _refresh(self) -> None:
        """Bring segments and matrix in step with the database; next to free when nothing was written since."""
        version = self._rows("PRAGMA data_version")[0][0]
        if version == self._seen:
            return
        self._open_segments()
        self._spilled = sum(count for _, _, count in self._gaps()) > HELD
        live = [] if self._spilled else list(self._loose())
        for part in _parts(self._matrix.keep(np.concatenate([np.empty(0, np.int64), *live]))):
            self._matrix.add(*fetch(self._rows, part, self.dim))
        self._seen = version

    def _open_segments(self) -> None:
        sql = "SELECT low, high, rows, file, hash FROM segment WHERE sense = ? ORDER BY low"
        listed = [Segment(*row) for row in self._rows(sql, (self.sense,))]
        self._segments = {
            s.file: self._segments[s.file] if s.file in self._segments else OpenSegment.open(self.folder, s, self.dim)
            for s in listed
        }

    def _covered(self) -> list[Segment]:
        return [s.segment for s in self._segments.values() if s is not None]

    def _gaps(self) -> list[Range]:
        """What no usable segment covers."""
        lows = [0, *(s.high for s in self._covered())]
        highs = [*(s.low for s in self._covered()), 2**62]
        gaps = [(low, high, self._number(low, high)) for low, high in zip(lows, highs, strict=True)]
        return [gap for gap in gaps if gap[2]]

    def _number(self, low: int, high: int) -> int:
        sql = "SELECT count(*) FROM piece WHERE sense = ? AND id > ? AND id <= ?"
        return self._rows(sql, (self.sense, low, high))[0][0]

    def _loose(self) -> Iterator[Ids]:
        for low, high, _ in self._gaps():
            yield from self._within(low, high)

    def _within(self, low: int, high: int) -> Iterator[Ids]:
        sql = f"SELECT id FROM piece WHERE sense = ? AND id > ? AND id <= ? ORDER BY id LIMIT {CHUNK}"
        while rows := self._rows(sql, (self.sense, low, high)):
            yield np.array(rows, np.int64).reshape(-1)
            low = rows[-1][0]

    def _plan(self) -> list[Range]:
        """The ranges to build: what is loose, together with the segments before it that are no larger.

        As when counting in binary, each vector is then linked once for every doubling of the collection, and there
        are as many segments as the number of doublings at most.
        """
        gaps = self._gaps()
        segments = [((s.low, s.high, self._number(s.low, s.high)), s.rows) for s in self._covered()]
        decayed = [live for live, rows in segments if live[2] < (1 - DEAD) * rows]
        if sum(count for _, _, count in gaps) <= EXACT and not decayed:
            return []
        merged: list[tuple[Range, bool]] = []
        for piece, new in sorted([(g, True) for g in gaps] + [(live, live in decayed) for live, _ in segments]):
            low, high, count = piece
            while new and merged and merged[-1][0][2] <= count <= SEGMENT - merged[-1][0][2]:
                (low, _, before), _ = merged.pop()
                count += before
            merged.append(((low, high, count), new))
        return [part for piece, new in merged if new for part in self._split(piece)]

    def _split(self, piece: Range) -> Iterator[Range]:
        low, high, count = piece
        sql = "SELECT id FROM piece WHERE sense = ? AND id > ? AND id <= ? ORDER BY id LIMIT 1 OFFSET ?"
        while count > SEGMENT:
            (edge,) = self._rows(sql, (self.sense, low, high, SEGMENT - 1))[0]
            yield low, edge, SEGMENT
            low, count = edge, count - SEGMENT
        sql = "SELECT max(id) FROM piece WHERE sense = ? AND id > ? AND id <= ?"
        last = self._rows(sql, (self.sense, low, high))[0][0]
        yield low, last or low, count

    def _chunks(self, low: int, high: int, built: Callable[[int], object]) -> Iterator[tuple[Ids, NDArray[np.float32]]]:
        sql = (
            "SELECT piece.id, value FROM piece JOIN vector ON vector.piece = piece.id "
            f"WHERE sense = ? AND piece.id > ? AND piece.id <= ? ORDER BY piece.id LIMIT {CHUNK}"
        )
        done = 0
        while rows := self._rows(sql, (self.sense, low, high)):
            yield np.array([row[0] for row in rows], np.int64), read_vectors([row[1] for row in rows], self.dim)
            low, done = rows[-1][0], done + len(rows)
            built(done)

    def _publish(self, segment: Segment) -> None:
        """Put the segment in the place of those it covers."""
        with self._transaction() as database:
            covered = (self.sense, segment.low, segment.high)
            database.execute("DELETE FROM segment WHERE sense = ? AND low >= ? AND high <= ?", covered)
            row = (segment.low, segment.high, segment.rows, segment.file, segment.hash, self.sense)
            database.execute("INSERT INTO segment (low, high, rows, file, hash, sense) VALUES (?, ?, ?, ?, ?, ?)", row)
        self._sweep()

    def _sweep(self) -> None:
        """Delete files of segments that are no longer, or never came to be, listed."""
        listed = {file for (file,) in self._rows("SELECT file FROM segment")}
        for path in self.folder.glob("graph-*.usearch"):
            if path.name not in listed:
                with suppress(OSError):  # a reader on Windows may still hold it; the next sweep gets it
                    path.unlink()


def fetch(rows: Callable[..., list[Any]], ids: Ids, dim: int) -> tuple[Ids, Vectors]:
    """The vectors of these pieces, as far as they are still there, in the order of their ids."""
    sql = "SELECT piece, value FROM vector WHERE piece IN (SELECT value FROM json_each(?)) ORDER BY piece"
    found = rows(sql, (json.dumps(ids.tolist()),))
    return np.array([row[0] for row in found], np.int64), read_vectors([row[1] for row in found], dim)


def _parts(ids: Ids) -> Sequence[Ids]:
    return np.array_split(ids, len(ids) // CHUNK + 1) if len(ids) else []


def _scored(ids: Ids, rows: Vectors, vector: Vector, k: int) -> Scores:
    top = best(rows @ vector, k)
    return dict(zip(ids[top].tolist(), cosines(rows[top], vector).tolist(), strict=True))


def highest(scores: Scores, k: int) -> Scores:
    """The k highest and those that may tie with the last of them."""
    if len(scores) <= k:
        return scores
    bar = sorted(scores.values(), reverse=True)[k - 1]
    return {piece: score for piece, score in scores.items() if score >= bar - SLACK}
