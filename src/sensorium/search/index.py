"""The index: a folder of pictures becomes a collection that answers questions.

An index is bound to the model that filled it (its `fingerprint`): vectors of two models cannot be compared.
"""

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sensorium.data.errors import SensoriumError, printable
from sensorium.search.bank import BANK
from sensorium.search.embeds import Embeds
from sensorium.search.query import Answer, Hit, Query, Term
from sensorium.search.sqlite import SQLiteStore
from sensorium.search.store import EPOCH, Filter, Identity, Item, Near, Store, Vector, Vectors, item_id
from sensorium.search.update import Progress, Report, Stopped, Update, resolve
from sensorium.search.verdict import ENOUGH, Verdict, both, judge_pictures, judge_words, usual_nearness

__all__ = [
    "Answer",
    "Filter",
    "Hit",
    "Index",
    "Item",
    "Progress",
    "Query",
    "Report",
    "Stats",
    "Stopped",
    "Term",
    "default_folder",
]

SAMPLE = 1024
"""Stored vectors that stand for the collection when a verdict is given; beyond so many the bar rises no more."""
CANCELLED = 1e-6


@dataclass(frozen=True, kw_only=True)
class Stats:
    """What an index holds. `bytes` is what it takes on disk; `roots` are the folders it was told to follow."""

    folder: Path
    model: str
    dim: int
    items: int
    unreadable: int
    roots: list[Path]
    bytes: int


def default_folder() -> Path:
    """Where the index lives unless told otherwise: $SENSORIUM_HOME/index, or the user's data folder."""
    if home := os.environ.get("SENSORIUM_HOME"):
        return Path(home) / "index"
    import platformdirs

    return Path(platformdirs.user_data_dir("sensorium")) / "index"


@dataclass(frozen=True)
class Direction:
    """A question as vectors: the weighted sums of its words and of its examples, and of both, none normalised.

    A part that has no positive term only steers away, and is None here. `examples` are ids of items.
    """

    whole: NDArray[np.float64]
    words: NDArray[np.float64] | None
    pictures: NDArray[np.float64] | None
    examples: set[str]


class Index:
    """A collection on disk and the model that understands it, for several threads and processes at once."""

    def __init__(self, store: Store, embedder: Embeds | None, folder: Path) -> None:
        self.store = store
        self.embedder = embedder
        self.folder = folder
        self._bank: Vectors | None = None
        self._bank_lock = threading.Lock()
        self._usual_of: tuple[Vectors, float | None] | None = None

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
        """The k best items after the first `offset`, best first. A plain string is a query of one text term.

        Raises SensoriumError for an empty query, a term that names no item, or an unreadable example (Unreadable).
        """
        began = time.perf_counter()
        asked = Query([Term(text=query)]) if isinstance(query, str) else query
        if k < 1 or offset < 0:
            raise SensoriumError(f"k = {k} and offset = {offset} make no page: k must be at least 1, offset at least 0")
        direction = self._direction(asked.terms)
        hidden = set[str]() if asked.include_example else direction.examples
        near = self.store.search(_unit(direction.whole), offset + k + len(hidden), where=where)
        near = [each for each in near if each.item.id not in hidden]
        page = near[offset : offset + k]
        judged = [*near[:1], *page]  # whether the answer is good depends on the best of all, on whatever page
        verdict = self._judge(direction, judged)
        sure = verdict.confidence.tolist()
        return Answer(
            hits=[_hit(each, confidence) for each, confidence in zip(page, sure[1:], strict=True)],
            good=bool(near) and sure[0] >= 0.5,
            confidence=sure[0] if near else 0.0,
            cutoff=verdict.cutoff,
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
                self.store.note(name, None)
        return removed

    def stats(self) -> Stats:
        """What the index holds."""
        roots = [Path(os.fsdecode(value.split(b"\0", 1)[1])) for value in self.store.notes("root/").values()]
        return Stats(
            folder=self.folder,
            model=self.store.identity.model,
            dim=self.store.identity.dim,
            items=self.store.count(readable=True),
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

    def _direction(self, terms: Sequence[Term]) -> Direction:
        if not terms:
            raise SensoriumError("an empty question: give words, a picture or an item of the index")
        for term in terms:
            if sum(part is not None for part in (term.text, term.image, term.item)) != 1:
                raise SensoriumError("a term is exactly one of text, image and item")
            if term.text is not None and not term.text.strip():
                raise SensoriumError("an empty text: give words to look for")
            if not np.isfinite(term.weight):
                raise SensoriumError(f"a weight must be a finite number, not {term.weight}")
        texts = [term.text for term in terms if term.text is not None]
        embedded = iter(_rows(self._model().embed(text=texts)["text"]) if texts else [])
        words, pictures = np.zeros((2, self.store.identity.dim), np.float64)
        examples: set[str] = set()
        for term in terms:
            if term.text is not None:
                words += term.weight * _unit(next(embedded))
            else:
                vector, example = self._example(term)
                pictures += term.weight * _unit(vector)
                examples |= {example} if example else set()
        if float(np.linalg.norm(words + pictures)) < CANCELLED:
            raise SensoriumError("the terms cancel each other out; change a weight")
        wanted = [term for term in terms if term.weight > 0] or terms
        return Direction(
            whole=words + pictures,
            words=words if any(term.text is not None for term in wanted) else None,
            pictures=pictures if any(term.text is None for term in wanted) else None,
            examples=examples,
        )

    def _example(self, term: Term) -> tuple[Vector, str | None]:
        """The vector of a picture, taken from the index where it is stored there unchanged, and its id there."""
        source = term.item if term.item is not None else term.image
        item = self.get(source) if isinstance(source, str | os.PathLike) else None
        if item is not None and item.reason is None and (term.item is not None or _unchanged(item)):
            stored = self.store.vectors([item.digest])
            if item.digest in stored:
                return stored[item.digest], item.id
        if term.item is not None:
            said = f"could not be read: {item.reason}" if item is not None and item.reason else "is not in the index"
            raise SensoriumError(f"{printable(os.fspath(term.item))} {said}")
        (vector,) = _rows(self._model().embed(images=[term.image])["images"])
        return vector, None if item is None else item.id

    def _judge(self, direction: Direction, near: Sequence[Near]) -> Verdict:
        stored = self.store.vectors([each.item.digest for each in near])
        gone = np.zeros(len(direction.whole), np.float32)  # deleted since it was found
        hits = np.array([stored.get(each.item.digest, gone) for each in near], np.float32).reshape(-1, len(gone))
        sample = self.store.sample(SAMPLE)
        parts: list[tuple[Verdict, float]] = []
        if (words := direction.words) is not None:
            verdict = judge_words(_unit(words), hits, self._captions(), len(sample))
            parts.append((verdict, float(np.linalg.norm(words))))
        if (pictures := direction.pictures) is not None:
            verdict = judge_pictures(_unit(pictures), hits, self._usual(sample))
            parts.append((verdict, float(np.linalg.norm(pictures))))
        return both(parts, float(np.linalg.norm(direction.whole)))

    def _usual(self, sample: Vectors) -> float | None:
        if self._usual_of is None or self._usual_of[0] is not sample:  # the same array while nothing changes
            bank = self._captions() if self.embedder is not None and len(sample) < ENOUGH else None
            self._usual_of = (sample, usual_nearness(sample, bank))
        return self._usual_of[1]

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


def _unit(vector: NDArray[np.floating]) -> Vector:
    return (vector / max(float(np.linalg.norm(vector)), CANCELLED)).astype(np.float32)


def _rows(vectors: Any) -> list[Vector]:
    return list(np.asarray(vectors, np.float32))


def _unchanged(item: Item) -> bool:
    try:
        status = item.path.stat()
    except OSError:
        return False
    return (item.size, item.modified) == (status.st_size, status.st_mtime_ns)


def _hit(near: Near, confidence: float) -> Hit:
    item = near.item
    return Hit(
        id=item.id,
        path=item.path,
        kind=item.kind,
        score=near.score,
        confidence=confidence,
        match=confidence >= 0.5,
        width=item.width,
        height=item.height,
        size=item.size,
        modified=EPOCH + timedelta(microseconds=item.modified // 1000),
        taken=None if item.taken is None else EPOCH + timedelta(microseconds=item.taken // 1000),
    )
