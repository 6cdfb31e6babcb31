"""The pieces of a file of any kind, for a model with these senses or those."""

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from sensorium.data.audio_stream import SILENT
from sensorium.data.errors import Unreadable, about
from sensorium.data.kind_names import KINDS, WAYS, Kind
from sensorium.data.pdf import pdf_pages
from sensorium.data.video import video_length
from sensorium.tasks.senses import Piece, SenseTower

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


def pieces(model: "Embedder", path: Path, kind: Kind, skip: int = 0) -> Iterator[Piece]:
    """The pieces of a file but for the first `skip`, one at a time.

    Raises Unreadable: at once where it gives none, and after the last piece where it was read only in part; also for
    what states no unit or is too short.
    """
    if (reason := lacks(model, kind)) is not None:
        raise Unreadable(path, reason)
    with named(path):
        yield from _of_kind(model, path, kind, skip)


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
    """At most MANY pieces of a file, evenly spaced; of more pieces in a film, only pictures where the model sees them.

    Raises Unreadable where there is none: a file that can be read in part is an example as far as it goes.
    """
    seen = model.senses.get("video")
    if kind == "video" and seen is not None and (count := _stretches(path)) > MANY:
        found: list[Piece] = []
        for i in range(MANY):
            with suppress(Unreadable):
                found += islice(seen.pieces(path, i * count // MANY), 1)
        if found:
            return found
    kept: list[Piece] = []
    step = 1
    try:
        for number, piece in enumerate(pieces(model, path, kind)):
            if number % step == 0:
                kept.append(piece)
            if len(kept) > MANY:
                kept, step = kept[::2], 2 * step
    except Unreadable:
        if not kept:
            raise
    return kept


def _stretches(path: Path) -> int:
    """How many stretches a film has if it is as long as it states; 0 where it states nothing."""
    return math.ceil((video_length(path) or 0) / STRETCH)


def _of_kind(model: "Embedder", path: Path, kind: Kind, skip: int) -> Iterator[Piece]:
    if kind == "picture":
        if not skip:
            pixels, size = model.decode_fast(path)
            yield Piece("image", pixels, size=size)
    elif kind == "document":
        yield from _document(model, path, skip)
    elif kind == "video":
        yield from _film(model.senses.get("video"), model.senses.get("audio"), path, skip)
    else:
        yield from model.senses[WAYS[kind][0]].pieces(path, skip)


def _film(seen: SenseTower | None, heard: SenseTower | None, path: Path, skip: int) -> Iterator[Piece]:
    """Pictures and sound of a film by the time at which they begin, pictures first.

    Of the pieces that are skipped, half are pictures and half are sound, as long as both go on; whether they do is
    asked of the last of each. A film of which one ends much sooner, or in which words come between, is gone
    through from its beginning.
    """
    if seen is None or heard is None:
        tower = seen or heard
        assert tower is not None
        yield from tower.pieces(path, skip)
        return
    half = 0 if heard.words else skip // 2
    sides = [_Side(tower, path, half) for tower in (seen, heard)]
    over = skip - 2 * half
    if sides[1].shorter and (silence := _Side(heard, path, 0)).next() is None:  # no sound at all
        sides, over = [_Side(seen, path, skip), silence], 0
    elif any(side.shorter for side in sides):
        sides, over = [_Side(tower, path, 0) for tower in (seen, heard)], skip
    yield from islice(_by_time(*sides), over, None)
    pictures, sound = sides
    if pictures.reason is not None:
        raise Unreadable(path, pictures.reason)
    if sound.reason is not None and sound.reason != SILENT:
        raise Unreadable(path, f"its sound: {sound.reason}")


class _Side:
    """The pieces of a film by one sense from number `begin` on, and why they ended where that was not their end."""

    def __init__(self, tower: SenseTower, path: Path, begin: int) -> None:
        self.rest = tower.pieces(path, max(0, begin - 1))
        self.reason: str | None = None
        self.shorter = begin > 0 and self.next() is None

    def next(self) -> Piece | None:
        """The next piece; None where there is none."""
        try:
            return next(self.rest, None)
        except Unreadable as error:
            self.reason = error.reason
            return None


def _by_time(first: _Side, second: _Side) -> Iterator[Piece]:
    a, b = first.next(), second.next()
    while a is not None or b is not None:
        if b is None or (a is not None and (a.begin or 0) <= (b.begin or 0)):
            assert a is not None
            yield a
            a = first.next()
        else:
            yield b
            b = second.next()


def _document(model: "Embedder", path: Path, skip: int) -> Iterator[Piece]:
    """Of each page its picture, then its words where it has some."""
    sees, reads = model.has("image"), model.has("text")
    begin, passed = 1, 0
    if skip:
        for page in pdf_pages(path, short=None, words=reads):
            count = sees + bool(page.words)
            if passed + count > skip:
                break
            begin, passed = page.number + 1, passed + count
    yield from islice(_pages(model, path, begin), skip - passed, None)


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
