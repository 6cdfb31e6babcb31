"""From the terms of a question to one direction in the model's space."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.data.errors import SensoriumError, printable
from sensorium.data.kind_names import Sense
from sensorium.search.embeds import Embeds
from sensorium.search.found import NO_KIND, kind_at, senses_of
from sensorium.search.query import Term
from sensorium.search.store import Item, Store, Vector

CANCELLED = 1e-6
MOST_PIECES = 64
"""Pieces that stand for a long file, those that are seen of a film, as in `Embedder.embed_example`."""


@dataclass(frozen=True)
class Direction:
    """A question as vectors: the weighted sums of its words and of its examples, neither normalised.

    weight: the sum of the words' weights, and effort: the root of the sum of their squares. wanted: whether words, and
    whether examples, have a positive term (or there is none at all); what has none only steers away, and is not judged.
    senses: those of the examples that are wanted. examples: ids of items.
    """

    words: NDArray[np.float64]
    shown: NDArray[np.float64]
    weight: float
    effort: float
    wanted: tuple[bool, bool]
    senses: frozenset[Sense]
    examples: frozenset[str]

    @property
    def whole(self) -> NDArray[np.float64]:
        """Their sum."""
        return self.words + self.shown


@dataclass(frozen=True)
class Asker:
    """Embeds questions; examples that the index holds unchanged are not embedded again."""

    store: Store
    model: Callable[[], Embeds]
    get: Callable[[str | os.PathLike[str]], Item | None]

    def direction(self, terms: Sequence[Term]) -> Direction:
        """Raises SensoriumError for what cannot be asked, Unreadable for an example that cannot be read."""
        if not terms:
            raise SensoriumError("an empty question: give words, a file or an item of the index")
        for term in terms:
            _check(term)
        texts = [term.text for term in terms if term.text is not None]
        embedded = iter(_rows(self.model().embed(text=texts)["text"]) if texts else [])
        words, shown = np.zeros((2, self.store.identity.dim), np.float64)
        examples: set[str] = set()
        senses: set[Sense] = set()
        wanted = [term for term in terms if term.weight > 0] or list(terms)
        for term in terms:
            if term.text is not None:
                words += term.weight * unit(next(embedded))
            else:
                vector, example, seen = self._example(term)
                shown += term.weight * unit(vector)
                examples |= {example} if example else set()
                senses |= seen if term in wanted else set()
        if float(np.linalg.norm(words + shown)) < CANCELLED:
            raise SensoriumError("the terms cancel each other out; change a weight")
        weights = [term.weight for term in terms if term.text is not None]
        return Direction(
            words=words,
            shown=shown,
            weight=sum(weights),
            effort=float(np.linalg.norm(weights)),
            wanted=(any(term.text is not None for term in wanted), any(term.text is None for term in wanted)),
            senses=frozenset(senses),
            examples=frozenset(examples),
        )

    def _example(self, term: Term) -> tuple[Vector, str | None, set[Sense]]:
        """The vector of an example, from the index where it is stored there unchanged; its id there; its senses."""
        source: Any = next(each for each in (term.item, term.file, term.image) if each is not None)
        item = self.get(source) if isinstance(source, str | os.PathLike) else None
        if item is not None and item.reason is None and (term.item is not None or _unchanged(item)):
            spots = self.store.spots(item.digest)
            if term.moment is not None:
                spots = {piece: spot for piece, spot in spots.items() if spot.number == term.moment}
                if not spots:
                    raise SensoriumError(f"{printable(str(item.path))} has no moment {term.moment}")
            elif len(spots) > MOST_PIECES:
                first = {"video": "video", "sound": "audio"}.get(item.kind)
                seen = [piece for piece, spot in spots.items() if spot.sense == first] or list(spots)
                places = np.linspace(0, len(seen) - 1, MOST_PIECES).round().astype(int)
                spots = {seen[place]: spots[seen[place]] for place in np.unique(places)}
            stored = self.store.pieces(list(spots))
            if stored:
                rows = np.stack(list(stored.values()))
                mean = rows.astype(np.float64).mean(axis=0).astype(np.float32)  # of one row, that row
                return mean, item.id, {spots[piece].sense for piece in stored}
        if term.item is not None:
            said = f"could not be read: {item.reason}" if item is not None and item.reason else "is not in the index"
            raise SensoriumError(f"{printable(os.fspath(term.item))} {said}")
        here = None if item is None else item.id
        if term.file is None:
            (vector,) = _rows(self.model().embed(images=[term.image])["images"])
            return vector, here, {"image"}
        path = Path(term.file).expanduser()
        kind = kind_at(path)
        if kind is None:
            raise SensoriumError(f"{printable(os.fspath(path))} is {NO_KIND}")
        if lacking := self.model().lacks(kind):
            raise SensoriumError(f"{printable(os.fspath(path))}: {lacking}")
        return np.asarray(self.model().embed_example(path, kind), np.float32), here, senses_of(kind, self.model())


def unit(vector: NDArray[np.floating]) -> Vector:
    """Of length one, as float32."""
    return (vector / max(float(np.linalg.norm(vector)), CANCELLED)).astype(np.float32)


def _check(term: Term) -> None:
    if sum(part is not None for part in (term.text, term.image, term.file, term.item)) != 1:
        raise SensoriumError("a term is exactly one of text, image, file and item")
    if term.moment is not None and term.item is None:
        raise SensoriumError("a moment is one of an item: give the item of the index as well")
    if term.text is not None and not term.text.strip():
        raise SensoriumError("an empty text: give words to look for")
    if not np.isfinite(term.weight):
        raise SensoriumError(f"a weight must be a finite number, not {term.weight}")


def _rows(vectors: Any) -> list[Vector]:
    return list(np.asarray(vectors, np.float32))


def _unchanged(item: Item) -> bool:
    try:
        status = item.path.stat()
    except OSError:
        return False
    return (item.size, item.modified) == (status.st_size, status.st_mtime_ns)
