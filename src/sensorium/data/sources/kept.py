"""What sources keep: indexes in the user's cache that are built once a file, lists that workers share, open files."""

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.data.errors import Unreadable, system_reason
from sensorium.data.packages import cache_folder

Array = np.ndarray[Any, Any]


class Names:
    """A long list of strings in one block of memory, which workers share and nothing has to be counted for."""

    def __init__(self, names: Iterable[str]) -> None:
        parts = [os.fsencode(name) for name in names]
        self._ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        self._text = b"".join(parts)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        begin = int(self._ends[index - 1]) if index else 0
        return os.fsdecode(self._text[begin : int(self._ends[index])])


def index_place(file: Path, kind: str) -> Path:
    """Where the index of a file is kept: its path, size and time of change decide, so a changed file has another.

    Raises Unreadable where there is no such file.
    """
    try:
        status = file.stat()
    except (OSError, ValueError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else "not a possible file name"
        raise Unreadable(file, reason) from error
    who = hashlib.sha256(os.fsencode(os.path.realpath(file))).hexdigest()[:20]
    return cache_folder() / "indexes" / f"{who}-{status.st_size}-{status.st_mtime_ns}.{kind}"


def write_kept(place: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file that takes its place when it is whole; indexes of older versions of the file go.

    Raises OSError where the cache cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        write(part)
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
    who = place.name.partition("-")[0]
    for old in place.parent.glob(f"{who}-*{place.suffix}"):
        if old != place:
            old.unlink(missing_ok=True)


def kept_array(file: Path, kind: str, build: Callable[[], Array]) -> Array:
    """What `build` made of a file: read again, or built and kept. A cache that cannot be written is no obstacle."""
    place = index_place(file, kind)
    if place.is_file():
        with suppress(OSError, ValueError):  # a damaged index is built anew
            return np.load(place, mmap_mode="r", allow_pickle=False)
    array = build()

    def write(part: Path) -> None:
        with part.open("wb") as out:
            np.save(out, array, allow_pickle=False)

    with suppress(OSError):
        write_kept(place, write)
    return array


def stamp(file: Path) -> tuple[int, int, int]:
    """What tells one state of a file from another. Raises Unreadable."""
    try:
        status = file.stat()
    except OSError as error:
        raise Unreadable(file, system_reason(error)) from error
    return status.st_ino, status.st_size, status.st_mtime_ns


def read_part(file: Path, offset: int, size: int) -> bytes:
    """Some bytes of a file, which may be fewer than were asked for. Raises Unreadable."""
    state = stamp(file)
    try:
        return os.pread(_opened(file, state).number, size, offset)  # moves nothing that forked workers share
    except OSError as error:
        raise Unreadable(file, system_reason(error)) from error


class _Descriptor:
    """An open file that is closed when nobody needs it any more."""

    def __init__(self, file: Path) -> None:
        self.number = -1
        self.number = os.open(file, os.O_RDONLY)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


@lru_cache(maxsize=128)  # more shards than a process may have open files are common
def _opened(file: Path, state: tuple[int, int, int]) -> _Descriptor:
    return _Descriptor(file)
