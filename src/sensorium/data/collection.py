"""A collection of pictures by name: what each is called and whether it changed, without reading a single one."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from sensorium.data.errors import Unreadable
from sensorium.data.labelled import Entry, Listed
from sensorium.data.sources import Opened

Stamp = tuple[int, int]  # size in bytes and time of change in nanoseconds; (0, 0) where there is no file


@runtime_checkable
class Names(Protocol):
    """A source that knows what its pictures are called without reading them."""

    def called(self, index: int, /) -> Path | str:
        """A picture's file, or the name of a sample that holds its bytes. Raises Unreadable for a damaged row."""
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """A picture of a collection. `id` are 32 hex digits of its name alone: the same in every run.

    `name` is an absolute path; for a picture inside a file (a tar, Parquet) that file's, and what it is called in it.
    `index` is its number in the source, `file` the file that it is or lies in, empty where a set holds it otherwise.
    """

    id: str
    name: str
    index: int
    file: str
    size: int
    modified: int

    @property
    def stamp(self) -> Stamp:
        """What tells one state of its file from another."""
        return self.size, self.modified

    def listed(self, source: Opened | None) -> Listed:
        """The picture, to be read when its turn comes; one that is no file needs its source."""
        if self.file == self.name or source is None:
            return Path(self.name)
        return Entry(source, self.index, self.name)


class Namer:
    """Makes items of names. Files that hold many pictures are looked at once in its life."""

    def __init__(self) -> None:
        self._holders: dict[str, Stamp | None] = {}

    def __call__(self, called: Path | str, index: int = -1) -> Item:
        """The item of a file, or of a sample by its name."""
        if isinstance(called, Path):
            name, (size, modified) = os.path.abspath(called), stamp(called) or (0, 0)
            return Item(identity(name), name, index, name, size, modified)
        at = len(called)
        while (at := called.rfind(":", 0, at)) > 0:  # shard.tar:cat, table.parquet:17
            file = called[:at]
            if file not in self._holders:
                self._holders[file] = stamp(Path(file))
            if (found := self._holders[file]) is not None:
                name = os.path.abspath(called)
                return Item(identity(name), name, index, os.path.abspath(file), *found)
        return Item(identity(called), called, index, "", 0, 0)


class Items:
    """The pictures of a source by number."""

    def __init__(self, source: Opened) -> None:
        self.source = source
        self._namer = Namer()

    def __getitem__(self, index: int) -> Item:
        try:
            called = self._called(index)
        except Unreadable as error:  # a damaged row: it is tried again, and listed, when its turn comes
            called = error.path
        return self._namer(called, index)

    def __iter__(self) -> Iterator[Item]:
        return (self[index] for index in range(len(self.source)))

    def _called(self, index: int) -> Path | str:
        if isinstance(self.source, Names):
            return self.source.called(index)
        sample = self.source[index]
        image = sample["image"]
        return Path(image) if isinstance(image, str | os.PathLike) else str(sample["key"])


def identity(name: str) -> str:
    """32 hex digits that stand for a name."""
    return hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()


def stamp(file: Path) -> Stamp | None:
    """A file's size and time of change; None where there is none."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns
