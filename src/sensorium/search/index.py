"""The index: a folder of files becomes a collection that answers questions.

An index is bound to the model that filled it (its `fingerprint`): vectors of two models cannot be compared.
"""

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

import numpy as np

from sensorium.data.errors import SensoriumError
from sensorium.data.kind_names import Kind
from sensorium.search.asking import Asker
from sensorium.search.bank import BANK
from sensorium.search.embeds import Embeds
from sensorium.search.joining import joined
from sensorium.search.query import Answer, Hit, Moment, Query, Term
from sensorium.search.ranking import Ranking
from sensorium.search.report import Progress, Report, Stopped
from sensorium.search.roots import resolve
from sensorium.search.sqlite import SQLiteStore
from sensorium.search.store import EPOCH, Filter, Identity, Item, Scored, Store, Vectors, item_id
from sensorium.search.update import Update

__all__ = [
    "Answer",
    "Filter",
    "Hit",
    "Index",
    "Item",
    "Moment",
    "Progress",
    "Query",
    "Report",
    "Stats",
    "Stopped",
    "Term",
    "default_folder",
]

MOMENTS = 8
"""Moments of a file that are told."""


@dataclass(frozen=True, kw_only=True)
class Stats:
    """What an index holds: readable items, of which kinds, and in how many moments, each with a vector. `bytes` is what
    it takes on disk; `roots` are the folders it was told to follow.
    """

    folder: Path
    model: str
    dim: int
    items: int
    kinds: dict[Kind, int]
    moments: int
    unreadable: int
    roots: list[Path]
    bytes: int


def default_folder() -> Path:
    """Where the index lives unless told otherwise: $SENSORIUM_HOME/index, or the user's data folder."""
    if home := os.environ.get("SENSORIUM_HOME"):
        return Path(home) / "index"
    import platformdirs

    return Path(platformdirs.user_data_dir("sensorium")) / "index"


class Index:
    """A collection on disk and the model that understands it, for several threads and processes at once."""

    def __init__(self, store: Store, embedder: Embeds | None, folder: Path) -> None:
        self.store = store
        self.embedder = embedder
        self.folder = folder
        self._bank: Vectors | None = None
        self._bank_lock = threading.Lock()
        self._asker = Asker(store, self._model, self.get)
        self._ranking = Ranking(store, self._captions, lambda: self.embedder is not None)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str] | None = None, embedder: Embeds | None = None, *, create: bool = True
    ) -> Self:
        """Open or create the index in folder `path` (default: `default_folder()`).

        Without an embedder it lists, filters and searches by stored items, but neither embeds nor updates.
        Raises SensoriumError when the index was made by another model or a newer version, or when there is none and
        `create` is false or no embedder is given.
        """
        folder = default_folder() if path is None else Path(path)
        wanted = None
        if embedder is not None:
            wanted = Identity(model=embedder.name, fingerprint=embedder.fingerprint, dim=embedder.dim)
        store = SQLiteStore.open(folder, wanted if create or (folder / "index.sqlite").exists() else None)
        bound = store.identity
        if wanted is not None and (bound.fingerprint, bound.dim) != (wanted.fingerprint, wanted.dim):
            store.close()
            made = "an earlier or different version of it" if bound.model == wanted.model else f"`{bound.model}`"
            raise SensoriumError(
                f"{folder}: this index was made by {made}, and vectors of `{wanted.model}` cannot be compared with it; "
                f"open it with `{bound.model}`, or index into another folder"
            )
        return cls(store, embedder, folder)

    def update(
        self,
        roots: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        progress: Callable[[Progress], object] | None = None,
        batch: int = 32,
        retry_unreadable: bool = False,
    ) -> Report:
        """Bring the index in line with these files and folders; what is unchanged is not read again.

        Raises SensoriumError when a root is missing or its drive is not mounted (nothing is removed then), and
        `Stopped` (a KeyboardInterrupt) with the report so far on Ctrl-C.
        """
        return Update(self.store, self._model(), progress, retry_unreadable=retry_unreadable).run(resolve(roots), batch)

    def search(self, query: Query | str, k: int = 20, *, offset: int = 0, where: Filter | None = None) -> Answer:
        """The k best files after the first `offset`, best first. A plain string is a query of one text term.

        Raises SensoriumError for an empty query, a term that names no item, or an unreadable example (Unreadable).
        """
        began = time.perf_counter()
        asked = Query([Term(text=query)]) if isinstance(query, str) else query
        if k < 1 or offset < 0:
            raise SensoriumError(f"k = {k} and offset = {offset} make no page: k must be at least 1, offset at least 0")
        direction = self._asker.direction(asked.terms)
        hidden = frozenset[str]() if asked.include_example else direction.examples
        near, scales = self._ranking.best(direction, offset + k + len(hidden), where)
        near = [each for each in near if each.item.id not in hidden]
        page = self._ranking.with_moments(direction, near[offset : offset + k], scales)
        # whether the answer is good depends on the best of all, on whatever page
        groups = [each.pieces[:1] for each in (page if not offset else near)[:1]] + [each.pieces for each in page]
        judged = iter(self._ranking.judge(direction, [piece for pieces in groups for piece in pieces]))
        confidence, cutoff = next(judged) if groups else (0.0, self._ranking.usual_cutoff(direction))
        return Answer(
            hits=[
                _hit(each.item, joined([_moment(piece, next(judged)[0]) for piece in each.pieces], MOMENTS))
                for each in page
            ],
            good=confidence >= 0.5,
            confidence=confidence,
            cutoff=cutoff,
            seconds=time.perf_counter() - began,
        )

    def get(self, id_or_path: str | os.PathLike[str]) -> Item | None:
        """The item with this id or path."""
        if isinstance(id_or_path, str) and re.fullmatch("[0-9a-f]{16}", id_or_path):
            (item,) = self.store.get([id_or_path])
            if item is not None:
                return item
        (item,) = self.store.get([item_id(os.path.abspath(os.path.expanduser(id_or_path)))])
        return item

    def items(self, where: Filter | None = None) -> Iterator[Item]:
        """Every readable item, ordered by path."""
        return self.store.iterate(where, readable=True)

    def unreadable(self) -> list[tuple[Path, str]]:
        """Every file that could not be read, with the reason, ordered by path."""
        return [(item.path, item.reason or "") for item in self.store.iterate(readable=False)]

    def remove(self, path: str | os.PathLike[str]) -> int:
        """Forget everything at or below `path` (the files stay); returns how many items that were."""
        (top,) = resolve(path)
        removed = self.store.delete([item.id for item in self.store.iterate(Filter(below=top))])
        for name, value in self.store.notes("root/").items():
            root = Path(os.fsdecode(value.split(b"\0", 1)[1]))
            if root == top or top in root.parents:
                for note in (name, *self.store.notes(f"mark/{item_id(root)}/")):
                    self.store.note(note, None)
        return removed

    def stats(self) -> Stats:
        """What the index holds."""
        roots = [Path(os.fsdecode(value.split(b"\0", 1)[1])) for value in self.store.notes("root/").values()]
        kinds = self.store.kinds()
        return Stats(
            folder=self.folder,
            model=self.store.identity.model,
            dim=self.store.identity.dim,
            items=sum(kinds.values()),
            kinds=kinds,
            moments=self.store.moments_stored(),
            unreadable=self.store.count(readable=False),
            roots=sorted(roots),
            bytes=sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file()),
        )

    def close(self) -> None:
        """Let go of files and memory."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _model(self) -> Embeds:
        if self.embedder is None:
            raise SensoriumError(
                f"this needs the model that made the index: open it with `{self.store.identity.model}` loaded"
            )
        return self.embedder

    def _captions(self) -> Vectors:
        """The embedded bank (m, dim), made once for an index and kept in it."""
        with self._bank_lock:
            if self._bank is None:
                name = "bank/" + hashlib.blake2b("\n".join(BANK).encode(), digest_size=8).hexdigest()
                stored = self.store.notes(name).get(name)
                if stored is None:
                    stored = np.asarray(self._model().embed(text=list(BANK))["text"], "<f2").tobytes()
                    self.store.note(name, stored)
                self._bank = np.frombuffer(stored, "<f2").reshape(len(BANK), -1).astype(np.float32)
            return self._bank


def _moment(piece: Scored, confidence: float) -> Moment:
    return Moment(**piece.spot._asdict(), score=piece.score, confidence=confidence)


def _hit(item: Item, moments: list[Moment]) -> Hit:
    best = moments[0]
    return Hit(
        id=item.id,
        path=item.path,
        kind=item.kind,
        score=best.score,
        confidence=best.confidence,
        match=best.confidence >= 0.5,
        width=item.width,
        height=item.height,
        size=item.size,
        modified=EPOCH + timedelta(microseconds=item.modified // 1000),
        taken=None if item.taken is None else EPOCH + timedelta(microseconds=item.taken // 1000),
        seconds=item.seconds,
        pages=item.pages,
        said=item.said,
        moments=moments,
    )
