"""A question and its answer as values: weighted words and pictures in, ranked files and a verdict out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Term:
    """One part of a question: exactly one of `text`, `image` or `item`, and how much it counts.

    image: a path, bytes, a PIL image or an array, embedded now. item: the id or path of a file in the index, whose
    stored vector is used ("more like this"). A negative weight steers away from it.
    """

    text: str | None = None
    image: Any = None
    item: str | os.PathLike[str] | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Query:
    """Terms that together make one direction: the normalised weighted sum of their normalised vectors.

    include_example: whether pictures given as `item` or as a path in the index may answer the question themselves.
    """

    terms: Sequence[Term]
    include_example: bool = False


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One answer. `score` is the cosine with the question; `confidence`, in 0..1, is calibrated for this question, and
    `match` says whether it is high enough to be a true answer. `size` in bytes, `width` and `height` in pixels.
    """

    id: str
    path: Path
    kind: str
    score: float
    confidence: float
    match: bool
    width: int
    height: int
    size: int
    modified: datetime
    taken: datetime | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Ranked hits, best first. `good` is whether the best item of the whole collection is a match, whatever the page.

    confidence: of that best item. cutoff: the cosine from which on hits of this question match (for words it differs
    a little from picture to picture: this is the mean over the hits). seconds: what the search took.
    """

    hits: list[Hit]
    good: bool
    confidence: float
    cutoff: float
    seconds: float
