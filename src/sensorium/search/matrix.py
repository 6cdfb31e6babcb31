"""Vectors held in memory, kept in step with the database, and scanned exactly."""

import numpy as np
from numpy.typing import NDArray

from sensorium.search.store import Vector, Vectors

Ids = NDArray[np.int64]

SLACK = 1e-3
"""Cosines from a matrix product or a graph may differ by this much from those computed row by row."""


def cosines(vectors: Vectors, vector: Vector) -> NDArray[np.float64]:
    """Row by row in double precision, so that equal rows score equal bits wherever they stand."""
    return np.round((vectors.astype(np.float64) * vector.astype(np.float64)).sum(axis=1), 9)


def best(scores: NDArray[np.floating], k: int) -> NDArray[np.intp]:
    """Positions of the k largest scores and of all that may tie with the last of them, in no order."""
    if len(scores) <= k:
        return np.arange(len(scores))
    bar = np.partition(scores, len(scores) - k)[len(scores) - k] if k else np.inf
    return np.flatnonzero(scores >= bar - SLACK)


class Matrix:
    """Rows of vectors in the order of their ids. Readers hold on to `ids` and `rows`, which are never written over."""

    def __init__(self, dim: int) -> None:
        self.ids: Ids = np.empty(0, np.int64)
        self.rows: Vectors = np.empty((0, dim), np.float32)
        self._room = self.rows

    def keep(self, live: Ids) -> Ids:
        """Drop the rows whose id is not in `live` (sorted); returns the ids in `live` that have no row yet."""
        stay = np.isin(self.ids, live, assume_unique=True)
        if not stay.all():
            self._room = self.rows = self.rows[stay]
            self.ids = self.ids[stay]
        return np.setdiff1d(live, self.ids, assume_unique=True)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Put in rows of new ids, given in order; appending is cheap, inserting copies."""
        if not len(ids):
            return
        n, m = len(self.ids), len(ids)
        if n and ids[0] < self.ids[-1]:
            order = np.argsort(np.concatenate([self.ids, ids]), kind="stable")
            self._room = self.rows = np.concatenate([self.rows, vectors])[order]
            self.ids = np.concatenate([self.ids, ids])[order]
            return
        if n + m > len(self._room):
            room = np.empty((max(n + m, len(self._room) * 3 // 2), vectors.shape[1]), np.float32)
            room[:n] = self.rows
            self._room = room
        self._room[n : n + m] = vectors
        self.rows = self._room[: n + m]
        self.ids = np.concatenate([self.ids, ids])
