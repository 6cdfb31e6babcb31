"""The index: a folder of pictures becomes a collection that answers questions.

An index is bound to the model that filled it (its `fingerprint`): vectors of two models cannot be compared.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from sensorium.data.errors import Unreadable
from sensorium.search.query import Answer, Hit, Query, Term
from sensorium.search.store import Filter, Item, Vectors
from sensorium.search.update import Progress, Report, Stopped

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


class EmbeddedBatch(Protocol):
    """What an embedder's stream yields: n readable paths, their vectors and sizes, and the files it could not read."""

    @property
    def paths(self) -> Sequence[Path]:
        """The readable ones, in the order they were given."""
        ...

    @property
    def vectors(self) -> Vectors:
        """(n, dim), a row for each path."""
        ...

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        """Width and height in pixels of each path."""
        ...

    @property
    def unreadable(self) -> Sequence[Unreadable]:
        """The others, each with its reason."""
        ...


class Embeds(Protocol):
    """What the index needs of a model; `sensorium.tasks.embedding.Embedder` is one."""

    @property
    def name(self) -> str:
        """What the user calls it."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identity of weights and preprocessing."""
        ...

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    def embed(self, *, images: Any = None, text: Any = None) -> dict[str, Any]:
        """{"images": (n, dim), "text": (m, dim)} float32, rows of length one."""
        ...

    def stream(self, paths: Iterable[Path], *, batch: int = 32) -> Iterator[EmbeddedBatch]:
        """Embed files in order, decoding ahead of the model."""
        ...


@dataclass(frozen=True, kw_only=True)
class Stats:
    """What an index holds. `bytes` is what it takes on disk; `roots` are the folders it was told to follow."""

    folder: Path
    model: str
    dim: int
    items: int
    unreadable: int
    contents: int
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

    @classmethod
    def open(
        cls, path: str | os.PathLike[str] | None = None, embedder: Embeds | None = None, *, create: bool = True
    ) -> Self:
        """Open or create the index in folder `path` (default: `default_folder()`).

        Without an embedder it lists, filters and searches by stored items, but neither embeds nor updates.
        Raises SensoriumError when the index was made by another model or a newer version, or when there is none and
        `create` is false or no embedder is given.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    def search(self, query: Query | str, k: int = 20, *, offset: int = 0, where: Filter | None = None) -> Answer:
        """The k best items after the first `offset`, best first. A plain string is a query of one text term.

        Raises SensoriumError for an empty query, a term that names no item, or an unreadable example (Unreadable).
        """
        raise NotImplementedError

    def get(self, id_or_path: str | os.PathLike[str]) -> Item | None:
        """The item with this id or path."""
        raise NotImplementedError

    def items(self, where: Filter | None = None) -> Iterator[Item]:
        """Every readable item, ordered by path."""
        raise NotImplementedError

    def unreadable(self) -> list[tuple[Path, str]]:
        """Every file that could not be read, with the reason, ordered by path."""
        raise NotImplementedError

    def remove(self, path: str | os.PathLike[str]) -> int:
        """Forget everything at or below `path` (the files stay); returns how many items that were."""
        raise NotImplementedError

    def stats(self) -> Stats:
        """What the index holds."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of files and memory."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
