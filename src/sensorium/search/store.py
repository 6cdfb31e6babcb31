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
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

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

    `digest` names the content: items with equal digests share one vector, which is how a renamed or copied file is
    recognised and never embedded twice. `reason` says why the file has no vector; then `digest` may be empty.
    Times are nanoseconds since 1970; `taken` is the camera's clock, which knows no time zone, read as UTC.
    """

    path: Path
    kind: str = "image"
    size: int = 0
    modified: int = 0
    changed: int = 0
    taken: int | None = None
    width: int = 0
    height: int = 0
    digest: bytes = b""
    reason: str | None = None

    @property
    def id(self) -> str:
        """The same for every item with this path."""
        return item_id(self.path)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which items may answer: every field given must hold. An empty filter lets everything through.

    below: a file or folder, or several; items at or below any of them.
    glob: a shell pattern on the whole path; `*` also crosses folders; a pattern that does not start with `/` may match
        from any folder on (`*.jpg`, `holiday/*`). Case counts.
    modified_after, modified_before, taken_after, taken_before: half-open ranges [after, before); `taken` is compared
        with the camera's clock, and items without one never match a taken range.
    size_min, size_max: bytes, both included.
    kind: "image".
    """

    below: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None
    glob: str | None = None
    modified_after: datetime | None = None
    modified_before: datetime | None = None
    taken_after: datetime | None = None
    taken_before: datetime | None = None
    size_min: int | None = None
    size_max: int | None = None
    kind: str | None = None


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The model whose vectors a store holds; vectors of two models cannot be compared."""

    model: str
    fingerprint: str
    dim: int


class MissingVector(KeyError):
    """An item was to be written whose content is not stored and came without a vector. `digests` are the contents."""

    def __init__(self, digests: Sequence[bytes]) -> None:
        super().__init__(f"{len(digests)} contents have no vector")
        self.digests = digests


@dataclass(frozen=True)
class Near:
    """An item and the cosine between its vector and the one searched for."""

    item: Item
    score: float


class Store(Protocol):
    """A collection of items and vectors. Vectors are float32 of length one; an engine may round them to float16."""

    @property
    def identity(self) -> Identity:
        """The model this store is bound to."""
        ...

    def upsert(self, items: Sequence[Item], vectors: Mapping[bytes, Vector]) -> None:
        """Write `items`, replacing those of the same path, and the vectors of new contents, as one transaction.

        Raises MissingVector, and writes nothing, when a readable item's digest is neither in `vectors` nor stored.
        """
        ...

    def delete(self, ids: Iterable[str]) -> int:
        """Forget these items, and vectors that no item uses any more; returns how many items there were."""
        ...

    def search(self, vector: Vector, k: int, *, where: Filter | None = None, offset: int = 0) -> list[Near]:
        """The readable items nearest to `vector`, best first, equal scores by path; fewer where there are no more."""
        ...

    def get(self, ids: Sequence[str]) -> list[Item | None]:
        """The items of these ids, in order; None where there is none."""
        ...

    def vectors(self, digests: Sequence[bytes]) -> dict[bytes, Vector]:
        """The vectors of those contents that are stored."""
        ...

    def known(self, digests: Sequence[bytes]) -> dict[bytes, Item]:
        """For those contents that are stored: an item that has it, which tells its pixels and when it was taken."""
        ...

    def iterate(self, where: Filter | None = None, *, readable: bool | None = None) -> Iterator[Item]:
        """Every item, ordered by path; only readable or only unreadable ones on request."""
        ...

    def count(self, where: Filter | None = None, *, readable: bool | None = None) -> int:
        """How many items `iterate` would give."""
        ...

    def sample(self, n: int) -> Vectors:
        """Up to n stored vectors, the same ones while the collection stays the same."""
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
