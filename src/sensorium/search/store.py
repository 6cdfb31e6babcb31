"""What an engine must do to hold a collection: the one seam between the index and where it is kept.

`SQLiteStore` (sensorium.search.sqlite) keeps it in a folder on this machine; a distributed engine fits behind the
same protocol. Every call is safe from several threads and several processes, and every write is all or nothing.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sensorium.data.kind_names import Kind, Sense, Spot

Vectors: TypeAlias = NDArray[np.float32]
"""(n, dim) float32, rows of length one."""
Vector: TypeAlias = NDArray[np.float32]
"""(dim,) float32 of length one."""


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def item_id(path: str | os.PathLike[str]) -> str:
    """The id of a file: 16 hexadecimal digits made from its absolute path alone, so writing twice is writing once."""
    return hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One file of the collection, readable or not.

    `digest` names the content: items with equal digests share their pieces' vectors, which is how a renamed or copied
    file is recognised and never embedded twice. `reason` says why the file has no vector; then `digest` may be empty.
    Times are nanoseconds since 1970; `taken` is the camera's clock, which knows no time zone, read as UTC. `seconds`
    is the length of a film, sound or recording, `pages` of a document. `whole` is false while only the first pieces
    are kept, since indexing was interrupted; `said` is why a file was read only in part ("cut off?").
    """

    path: Path
    kind: Kind = "picture"
    size: int = 0
    modified: int = 0
    changed: int = 0
    taken: int | None = None
    width: int = 0
    height: int = 0
    digest: bytes = b""
    reason: str | None = None
    seconds: float | None = None
    pages: int | None = None
    whole: bool = True
    said: str | None = None

    @property
    def id(self) -> str:
        """The same for every item with this path."""
        return item_id(self.path)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some pieces of a content, with their vectors (n, dim); a row that is not finite is no vector.

    `pieces` is how many the content has, once that is known: it is whole when they are all stored.
    """

    spots: Sequence[Spot]
    vectors: Vectors
    pieces: int | None = None

    @classmethod
    def picture(cls, vector: Vector) -> Self:
        """A content that is one image."""
        return cls(spots=(Spot(),), vectors=vector[None], pieces=1)


class Scored(NamedTuple):
    """A stored piece by its id, and the cosine between its vector and the one searched for."""

    piece: int
    spot: Spot
    score: float


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which items may answer: every field given must hold. An empty filter lets everything through.

    below: a file or folder, or several; items at or below any of them.
    glob: a shell pattern on the whole path; `*` also crosses folders; a pattern that does not start with `/` may match
        from any folder on (`*.jpg`, `holiday/*`). Case counts.
    modified_after, modified_before, taken_after, taken_before: half-open ranges [after, before); `taken` is compared
        with the camera's clock, and items without one never match a taken range.
    size_min, size_max: bytes, both included.
    kind: "picture", "video", "sound", "depth", "thermal", "motion" or "document", or several of them.
    """

    below: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None
    glob: str | None = None
    modified_after: datetime | None = None
    modified_before: datetime | None = None
    taken_after: datetime | None = None
    taken_before: datetime | None = None
    size_min: int | None = None
    size_max: int | None = None
    kind: str | Sequence[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The model whose vectors a store holds; vectors of two models cannot be compared."""

    model: str
    fingerprint: str
    dim: int


class MissingVector(KeyError):
    """A content was to be used, or called whole, of which pieces are missing. `digests` are the contents."""

    def __init__(self, digests: Sequence[bytes]) -> None:
        super().__init__(f"{len(digests)} contents have no vector")
        self.digests = digests


@dataclass(frozen=True)
class Near:
    """An item, and its pieces of one sense that are near to the vector searched for, best first."""

    item: Item
    pieces: list[Scored]

    @property
    def score(self) -> float:
        """The cosine of the nearest piece."""
        return self.pieces[0].score


@dataclass(frozen=True)
class Kept:
    """A stored content: an item that has it, and how many of its first pieces are there without a gap."""

    item: Item
    pieces: int


@dataclass(frozen=True)
class Sample:
    """Stored vectors (n, dim) of one sense that stand for all of it, and the content that each is of."""

    vectors: Vectors
    contents: NDArray[np.int64]


class Store(Protocol):
    """A collection of items and vectors. Vectors are float32 of length one; an engine may round them to float16."""

    @property
    def identity(self) -> Identity:
        """The model this store is bound to."""
        ...

    def upsert(self, items: Sequence[Item], parts: Mapping[bytes, Part]) -> None:
        """Write `items`, replacing those of the same path, and parts of contents, as one transaction.

        Pieces that are stored already stay as they are. What the items say of a content that becomes whole (its
        length, its pages ...) is written to all items that have it.

        Raises MissingVector, and writes nothing, when a readable item's digest is neither in `parts` nor stored, or
        when a part says how many pieces there are and some of these are missing.
        """
        ...

    def delete(self, ids: Iterable[str]) -> int:
        """Forget these items, and pieces that no item uses any more; returns how many items there were."""
        ...

    def senses(self) -> list[Sense]:
        """Those that stored pieces have."""
        ...

    def search(
        self, vector: Vector, k: int, *, sense: Sense = "image", where: Filter | None = None, offset: int = 0
    ) -> list[Near]:
        """The readable items nearest to `vector` by their best piece of one sense, best first, equal scores by path.

        Fewer where there are no more. Of an item's pieces, those that were found on the way are listed.
        """
        ...

    def moments(self, spots: Mapping[int, Spot], vector: Vector, most: int) -> list[Scored]:
        """Of these pieces, by their ids, the `most` of each sense that are nearest to `vector`, best first."""
        ...

    def get(self, ids: Sequence[str]) -> list[Item | None]:
        """The items of these ids, in order; None where there is none."""
        ...

    def vectors(self, digest: bytes) -> Vectors:
        """The vectors (n, dim) of a content's pieces, in their order; none where it is not stored."""
        ...

    def spots(self, digest: bytes) -> dict[int, Spot]:
        """Where a content's pieces are, by their ids, in their order."""
        ...

    def pieces(self, ids: Sequence[int]) -> dict[int, Vector]:
        """The vectors of these pieces, as far as they are stored."""
        ...

    def known(self, digests: Sequence[bytes]) -> dict[bytes, Kept]:
        """Those contents that are stored."""
        ...

    def iterate(
        self, where: Filter | None = None, *, readable: bool | None = None, partly: bool = False
    ) -> Iterator[Item]:
        """Every item, ordered by path; on request only readable or unreadable ones, or those read only in part."""
        ...

    def count(self, where: Filter | None = None, *, readable: bool | None = None) -> int:
        """How many items `iterate` would give."""
        ...

    def kinds(self) -> dict[Kind, int]:
        """How many readable items there are of each kind."""
        ...

    def moments_stored(self) -> int:
        """How many pieces there are."""
        ...

    def sample(self, n: int, sense: Sense = "image") -> Sample:
        """Up to n stored vectors of a sense, the same object while the collection stays the same."""
        ...

    def note(self, name: str, value: bytes | None) -> None:
        """Keep a small value under a name; None forgets it."""
        ...

    def notes(self, prefix: str) -> dict[str, bytes]:
        """The values kept under names that start with `prefix`."""
        ...

    def maintain(self, progress: Callable[[int, int], object] | None = None) -> None:
        """Bring whatever makes searching fast up to date; answers are right without it, only slower.

        `progress` is told how many vectors of how many are done.
        """
        ...

    def close(self) -> None:
        """Let go of files and memory; closing twice is closing once."""
        ...
