"""The pieces of a file of any kind, for a model with these senses or those."""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from sensorium.data.audio_stream import SILENT
from sensorium.data.errors import Unreadable, about
from sensorium.data.kind_names import KINDS, WAYS, Kind, Sense, Spot
from sensorium.data.pdf import pdf_pages
from sensorium.data.video import video_length
from sensorium.tasks.senses import Piece

if TYPE_CHECKING:
    from sensorium.tasks.embedding import Embedder

MANY = 64  # pieces that stand for a file that is a question
STRETCH = 2.0  # seconds
LEFT_OUT: dict[Kind, str] = {
    "picture": "does not see: pictures are",
    "video": "neither sees nor hears: films are",
    "sound": "does not hear: sounds are",
    "depth": "does not see depth: depth maps are",
    "thermal": "does not see heat: thermal pictures are",
    "motion": "does not feel motion: its recordings are",
    "document": "neither sees nor reads: documents are",
}


def kinds(model: "Embedder") -> tuple[Kind, ...]:
    """The kinds of files that a model can take in."""
    return tuple(kind for kind in KINDS if any(model.has(sense) for sense in WAYS[kind]))


def lacks(model: "Embedder", kind: Kind) -> str | None:
    """Why a model cannot take in a kind of files; None where it can."""
    return None if kind in kinds(model) else f"{model.name} {LEFT_OUT[kind]} left out"


def pieces(model: "Embedder", path: Path, kind: Kind, kept: Sequence[Spot] = ()) -> Iterator[Piece]:
    """The pieces of a file, one at a time, but for the first ones that are `kept` already.

    Raises Unreadable: at once where it gives none, and after the last piece where it was read only in part; also for
    what states no unit or is too short.
    """
    if (reason := lacks(model, kind)) is not None:
        raise Unreadable(path, reason)
    with named(path):
        yield from _of_kind(model, path, kind, kept)


def told(path: Path, read: Callable[[Path], Tensor]) -> Tensor:
    """What is read of a file; whatever cannot be is Unreadable, also what states no unit."""
    with named(path):
        return read(path)


@contextmanager
def named(path: Path) -> Generator[None]:
    """Complaints about a file, or about facts that lie beside it, as Unreadable under its own name."""
    try:
        with about(path):
            yield
    except Unreadable as error:
        raise (error if error.path == str(path) else Unreadable(path, str(error))) from error


def example(model: "Embedder", path: Path, kind: Kind) -> list[Piece]:
    """At most MANY pieces of a file, evenly spaced. Of more pieces in a film only pictures, where the model sees them;
    in a sound only what is heard: to read an hour of speech takes minutes.

    Raises Unreadable where there is none: a file that can be read in part is an example as far as it goes.
    """
    tower = model.senses.get(WAYS[kind][0])
    if kind == "video" and tower is not None and (count := _stretches(path)) > MANY:
        found: list[Piece] = []
        for i in range(MANY):
            with suppress(Unreadable):
                found += islice(tower.pieces(path, i * count // MANY), 1)
        if found:
            return found
    if kind == "sound" and tower is not None:
        heard, step = _evenly(tower.pieces(path, 0))
        if step > 1:
            return heard
    return _evenly(pieces(model, path, kind))[0]


def _evenly(rest: Iterator[Piece]) -> tuple[list[Piece], int]:
    """At most MANY pieces, each so many after the one before. Raises Unreadable where there is none."""
    kept: list[Piece] = []
    step = 1
    try:
        for number, piece in enumerate(rest):
            if number % step == 0:
                kept.append(piece)
            if len(kept) > MANY:
                kept, step = kept[::2], 2 * step
    except Unreadable:
        if not kept:
            raise
    return kept, step


def _stretches(path: Path) -> int:
    """How many stretches a film has if it is as long as it states; 0 where it states nothing."""
    return math.ceil((video_length(path) or 0) / STRETCH)


def _of_kind(model: "Embedder", path: Path, kind: Kind, kept: Sequence[Spot]) -> Iterator[Piece]:
    if kind == "picture":
        if not kept:
            pixels, size = model.decode_fast(path)
            yield Piece("image", pixels, size=size)
    elif kind == "document":
        last = kept[-1].page or 1 if kept else 1
        yield from islice(_pages(model, path, last), sum(spot.page == last for spot in kept), None)
    elif kind == "video" or kind == "sound":
        yield from _by_time(model, path, kind, kept)
    else:
        yield from model.senses[WAYS[kind][0]].pieces(path, len(kept))


def _by_time(model: "Embedder", path: Path, kind: Kind, kept: Sequence[Spot]) -> Iterator[Piece]:
    """What is seen of a film or a sound, what is heard and what is said, by the time at which it begins.

    Of what begins together the first of these comes first. So each of the three goes on from what is kept of it.
    """
    ended: dict[Sense, str] = {}

    def side(sense: Sense, rest: Iterator[Piece]) -> Iterator[Piece]:
        try:
            yield from rest
        except Unreadable as error:
            ended[sense] = error.reason

    given = Counter(spot.sense for spot in kept)
    ways: list[Sense] = [sense for sense in WAYS[kind] if sense in model.senses]
    sides = [side(sense, model.senses[sense].pieces(path, given[sense])) for sense in ways]
    heard = model.senses.get("audio")
    if heard is not None and heard.words is not None:
        since = kept[-1].begin or 0.0 if kept else 0.0
        late = sum(spot.sense == "text" and spot.begin == since for spot in kept)
        sides.append(side("text", islice(heard.words(path, since), late, None)))
    yield from heapq.merge(*sides, key=lambda piece: piece.begin or 0.0)
    if (reason := ended.get(ways[0])) is not None:
        raise Unreadable(path, reason)
    if (reason := ended.get("audio", SILENT)) != SILENT:
        raise Unreadable(path, f"its sound: {reason}")


def _pages(model: "Embedder", path: Path, begin: int) -> Iterator[Piece]:
    steps, given = model.preprocess, False
    short = 2 * (steps.resize_to or steps.size) if model.has("image") else None
    for page in pdf_pages(path, short=short, words=model.has("text"), begin=begin):
        size = (round(page.size[0]), round(page.size[1]))
        if page.picture is not None:
            yield Piece("image", steps.fast(page.picture), page=page.number, size=size)
        if page.words:
            yield Piece("text", page.words, page=page.number, size=size)
        given |= page.picture is not None or bool(page.words)
    if not given and begin == 1:
        raise Unreadable(path, "holds no words")
