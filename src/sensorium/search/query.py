"""A question and its answer as values: weighted words and files in, ranked files and their moments out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sensorium.data.kind_names import Kind, Sense


@dataclass(frozen=True, kw_only=True)
class Term:
    """One part of a question: exactly one of `text`, `image`, `file` or `item`, and how much it counts.

    image: a path, bytes, a PIL image or an array, embedded now. file: a file of any kind. item: the id or path of a
    file in the index, whose stored vectors are used ("more like this"), or with `moment` the one of that number. A file
    stands for the mean of its pieces. A negative weight steers away from it.
    """

    text: str | None = None
    image: Any = None
    file: str | os.PathLike[str] | None = None
    item: str | os.PathLike[str] | None = None
    moment: int | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Query:
    """Terms that together make one direction: the normalised weighted sum of their normalised vectors.

    include_example: whether files given as `item` or as a path in the index may answer the question themselves.
    """

    terms: Sequence[Term]
    include_example: bool = False


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A piece of a file that answers: its number, the sense by which it was found, begin and end in seconds, and page.

    Where those after it, or before, answer too, they are one moment: begin and end are those of all, the number that of
    the best. `score` is its cosine with the question; of two senses these cannot be compared, but `confidence` can.
    """

    number: int
    sense: Sense
    begin: float | None
    end: float | None
    page: int | None
    score: float
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One answer, a file. `score` is the cosine with the question; `confidence`, in 0..1, is calibrated for this
    question, and `match` says whether it is high enough to be a true answer: all three are those of the best of
    `moments`, which are up to eight of the file, best first. `size` in bytes, `width` and `height` in pixels;
    `said` is why the file was read only in part.
    """

    id: str
    path: Path
    kind: Kind
    score: float
    confidence: float
    match: bool
    width: int
    height: int
    size: int
    modified: datetime
    taken: datetime | None
    seconds: float | None
    pages: int | None
    said: str | None
    moments: list[Moment]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Ranked hits, best first. `good` is whether the best item of the whole collection is a match, whatever the page.

    confidence: of that best item. cutoff: the cosine from which on hits of this question match (for words it differs
    a little from picture to picture: this is the mean over the hits; and where several senses answer it is that of the
    first hit's). seconds: what the search took.
    """

    hits: list[Hit]
    good: bool
    confidence: float
    cutoff: float
    seconds: float
