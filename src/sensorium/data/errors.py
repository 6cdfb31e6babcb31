"""What can go wrong for a user, as exceptions whose message is meant to be read by that user."""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager


class SensoriumError(Exception):
    """Any error meant for the user: the command line prints its message, without a trace."""


class Unreadable(SensoriumError):
    """One file (or array) that cannot be read as what it should be.

    `path` is the name as the system gave it: names that are no valid UTF-8 hold surrogates, as `os.fsdecode` makes
    them, so that the file can be found again. `reason` is one short sentence for people. The message shows both and
    can always be printed. Instances travel between processes (they pickle).
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(os.fspath(path), reason)

    @property
    def path(self) -> str:
        """The file's name, as given."""
        return self.args[0]

    @property
    def reason(self) -> str:
        """Why, in one short sentence."""
        return self.args[1]

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.reason}"


@contextmanager
def about(path: str | os.PathLike[str]) -> Generator[None]:
    """Any other complaint about a file, such as a unit that nobody stated, as Unreadable under its name."""
    try:
        yield
    except Unreadable:
        raise
    except SensoriumError as error:
        raise Unreadable(path, str(error).removeprefix(f"{os.fspath(path)}: ")) from error


def printable(name: str) -> str:
    r"""`name` fit for any terminal or page: bytes that are no UTF-8 as \xff, control characters escaped."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else _escaped(c) for c in name)


def _escaped(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a raw byte, as os.fsdecode carries it
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def system_reason(error: OSError) -> str:
    """What the operating system refused, in words that do not change between systems."""
    known = {
        errno.ENOENT: "no such file",
        errno.ENOTDIR: "no such file",
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.ELOOP: "a loop of symbolic links",
        errno.ENAMETOOLONG: "its name or path is too long",
        errno.EISDIR: "a folder, not a file",
        errno.ENXIO: "not a regular file",
    }
    return known.get(error.errno or 0) or (error.strerror or str(error)).lower()
