"""What the index asks of a model, as a protocol; `sensorium.tasks.embedding.Embedder` fits."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sensorium.data.kind_names import Kind, Sense

if TYPE_CHECKING:  # these bring torch, which opening an index does without
    from sensorium.tasks.senses import Job, Taken


class Embeds(Protocol):
    """A model that puts words and files of one kind or more into one space."""

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

    def has(self, sense: Sense) -> bool:
        """Whether it takes something in this way."""
        ...

    def mark(self, sense: Sense) -> str:
        """What `fingerprint` leaves out of a sense: by another mark files are taken in anew."""
        ...

    def lacks(self, kind: Kind) -> str | None:
        """None where it takes in files of this kind, else a sentence that says that it does not."""
        ...

    def embed(self, *, images: Any = None, text: Any = None) -> dict[str, Any]:
        """{"images": (n, dim), "text": (m, dim)} float32, rows of length one."""
        ...

    def embed_example(self, source: Path, kind: Kind | None = None) -> Any:
        """(dim,) of length one: a file of any kind as a question."""
        ...

    def embed_files(self, jobs: "Iterable[Job]", *, batch: int = 32) -> "Iterator[Taken]":
        """Embed files piece by piece, decoding ahead of the model; it may draw from `jobs` in another thread.

        The rows of one file come in the order of its pieces. Closing the iterator ends its threads.
        """
        ...
