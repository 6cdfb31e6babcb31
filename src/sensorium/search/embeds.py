"""What the index asks of a model, as protocols; `sensorium.tasks.embedding.Embedder` fits."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from sensorium.data.errors import Unreadable
from sensorium.search.store import Vectors


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
    """A model that puts pictures and words into one space."""

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
        """Embed files in order, decoding ahead of the model; it may draw from `paths` in another thread."""
        ...
