"""How a model takes in files of every kind: senses, pieces of files, and what is said of both.

A file of one kind becomes pieces, each of which gets one vector by one sense: a picture one (image); a film one every
two seconds (video) and, where the model hears, one every two seconds of its sound (audio); a sound one every two
seconds; a depth map and a thermal picture one; motion one every five seconds; a document, for each page, its picture
(image) and its words (text). Where the model listens to speech, films and sounds have a piece (text) for each sentence
too. A file read twice gives the same pieces in the same order: that is what resuming needs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from sensorium.data.errors import Unreadable
from sensorium.data.kind_names import KINDS, SENSES, Kind, Sense, Spot

__all__ = ["KINDS", "SENSES", "Finished", "Job", "Kind", "Piece", "Sense", "SenseTower", "Spot", "Taken"]


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
    read     a whole file as the paper reads it: (clips, *input); one vector of it is the mean of its clips'. What is
             known of it goes by name (`sensorium.data.given`): unit, focal, baseline; begin, end; box
    pieces   (file, skip): the pieces of a file of any length in bounded memory, without the first `skip`
    words    (file, seconds): what is said in a file, a piece of text for each sentence that begins then or later
    mark     identity of what the model's fingerprint leaves out: a file is taken in anew by another mark
    """

    forward: Callable[[Tensor], Tensor]
    read: Callable[..., Tensor]
    pieces: Callable[[Path, int], Iterator[Piece]]
    words: Callable[[Path, float], Iterator[Piece]] | None = None
    mark: str = ""


@dataclass(frozen=True)
class Job:
    """A file to be taken in. Its first pieces may have been taken in before: `kept` says which, in their order."""

    path: Path
    kind: Kind
    kept: Sequence[Spot] = ()


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A file all of whose pieces were given.

    `pieces` counts them all, also those kept before. `reason` says why it was read only in part ("ends after 5.9 s of
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
    """What `Embedder.embed_files` yields: spots and their vectors row by row, and what is over.

    A file's rows come in the order of its pieces, without gaps, over as many of these as it takes. `finished` are
    files all of whose rows were given by now, `unreadable` those that gave none, and never will.
    """

    rows: list[tuple[Path, Spot]]
    vectors: Float[NDArray[Any], "n d"]
    finished: list[Finished]
    unreadable: list[Unreadable]
