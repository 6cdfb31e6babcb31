"""The search graph: segments of an HNSW index beside the database, each covering a range of piece ids of one sense.

Pieces never change and their ids only grow, so a segment is never edited: new pieces wait in memory until they are
enough for a segment of their own, and deleted ones are dropped when their segment is next built. Every segment can be
built again from the database; one that is missing or damaged is left out, and its range is scanned exactly instead.
"""

import hashlib
import os
import secrets
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.search.store import Vector

CONNECTIVITY = 16
EXPANSION_ADD = 96
EXPANSION_SEARCH = 192
CHECKED_WHOLE = 64 << 20
"""Bytes up to which a segment is checked in full when opened; of larger ones, the ends and 64 pages between."""
PAGE = 1 << 16

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """What the database says of a segment: pieces with low < id <= high, in `file`, whose bytes give `hash`."""

    low: int
    high: int
    rows: int
    file: str
    hash: bytes


def build(folder: Path, dim: int, low: int, high: int, chunks: Iterable[tuple[Ids, NDArray[Any]]]) -> Segment:
    """Write a segment from (ids, vectors) chunks under a name nobody uses yet."""
    from usearch.index import Index as Graph

    graph = Graph(ndim=dim, metric="cos", dtype="f16", connectivity=CONNECTIVITY, expansion_add=EXPANSION_ADD)
    for ids, vectors in chunks:
        graph.add(ids.astype(np.uint64), vectors)
    path = folder / f"graph-{low}-{high}-{secrets.token_hex(4)}.usearch"
    graph.save(path)
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return Segment(low=low, high=high, rows=len(graph), file=path.name, hash=checksum(path))


@contextmanager
def alone(path: Path) -> Generator[bool]:
    """Whether this is now the only process inside; it is let go of however the process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _lock(descriptor)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def checksum(path: Path) -> bytes:
    """A digest of the size and of the bytes, all of them in small files; it notices a cut, blank or foreign file."""
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as file:
        if size <= CHECKED_WHOLE:
            while block := file.read(1 << 20):
                digest.update(block)
        else:
            for k in range(65):
                file.seek((size - PAGE) * k // 64)
                digest.update(file.read(PAGE))
    return digest.digest()


class OpenSegment:
    """A segment mapped into memory: opening reads next to nothing, searching reads what it walks over."""

    def __init__(self, graph: Any, segment: Segment) -> None:
        self.segment = segment
        self._graph = graph

    @classmethod
    def open(cls, folder: Path, segment: Segment, dim: int) -> "OpenSegment | None":
        """None where the file is missing or not what was written."""
        from usearch.index import Index as Graph

        path = folder / segment.file
        try:
            if checksum(path) != segment.hash:
                return None
            # without lookups by key, which nothing here asks for, opening need not walk over the whole file
            graph = Graph(ndim=dim, metric="cos", dtype="f16", connectivity=CONNECTIVITY, enable_key_lookups=False)
            graph.view(path)
        except (OSError, RuntimeError):
            return None
        if len(graph) != segment.rows or graph.ndim != dim:
            return None
        graph.expansion_search = EXPANSION_SEARCH
        return cls(graph, segment)

    def search(self, vector: Vector, k: int) -> tuple[Ids, NDArray[np.float32]]:
        """Piece ids of about the k nearest vectors, and their cosines to about four digits."""
        if not len(self._graph):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        found = self._graph.search(vector, k, threads=1)
        return np.asarray(found.keys).astype(np.int64), 1 - np.asarray(found.distances, np.float32)
