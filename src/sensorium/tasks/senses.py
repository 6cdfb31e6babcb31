"""How a model takes in files of every kind: senses, pieces of files, and what is said of both.

A file of one kind becomes pieces, each of which gets one vector by one sense: a picture one (image); a film one every
two seconds (video) and, where the model hears, one every two seconds of its sound (audio); a sound one every two
seconds; a depth map and a thermal picture one; motion one every five seconds; a document, for each page, its picture
(image) and its words (text). A file read twice gives the same pieces in the same order: that is what resuming needs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sensorium.data.errors import Unreadable
from sensorium.data.kinds import KINDS, SENSES, Kind, Sense

__all__ = ["KINDS", "SENSES", "Finished", "Job", "Kind", "Piece", "Place", "Sense", "SenseTower", "Taken"]


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a file that gets one vector.

    `input` is one input of its sense's tower, without the batch axis; of image the uint8 pixels as `Preprocess` makes
    them. `begin` and `end` are seconds, `page` counts from 1. `size` is (width, height) of what was seen.
    """

    sense: Sense
    input: Tensor | str
    begin: float | None = None
    end: float | None = None
    page: int | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class SenseTower:
    """One sense of a model beside image and text.

    forward  (b, *input) to (b, dim), not normalised
    read     a whole file as the paper reads it: (clips, *input); one vector of it is the mean of its clips'
    pieces   (file, skip): the pieces of a file of any length in bounded memory, without the first `skip`
    mark     identity of what the model's fingerprint leaves out: a file is taken in anew by another mark
    words    whether it gives what was said as text between its own pieces, whenever somebody speaks
    """

    forward: Callable[[Tensor], Tensor]
    read: Callable[[Path], Tensor]
    pieces: Callable[[Path, int], Iterator[Piece]]
    mark: str = ""
    words: bool = False


@dataclass(frozen=True)
class Job:
    """A file to be taken in. `skip` is how many of its pieces are kept already, the first ones."""

    path: Path
    kind: Kind
    skip: int = 0


@dataclass(frozen=True)
class Place:
    """Where in its file a vector belongs: the piece's number from 0, its sense, and seconds or page."""

    number: int
    sense: Sense
    begin: float | None
    end: float | None
    page: int | None


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A file all of whose pieces were given.

    `pieces` counts them all, skipped ones included. `reason` says why it was read only in part ("ends after 5.9 s of
    the 10.0 s that it states: cut off?").
    """

    path: Path
    pieces: int
    width: int = 0
    height: int = 0
    seconds: float | None = None
    pages: int | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What `Embedder.embed_files` yields: places and their vectors row by row, and what is over.

    A file's rows come in the order of its pieces, without gaps, over as many of these as it takes. `finished` are
    files all of whose rows were given by now, `unreadable` those that gave none, and never will.
    """

    rows: list[tuple[Path, Place]]
    vectors: Float[NDArray[Any], "n d"]
    finished: list[Finished]
    unreadable: list[Unreadable]
