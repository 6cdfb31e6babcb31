"""The images below a folder, in an order that never changes, with a word on every one that cannot be reached."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from sensorium.data.errors import Unreadable, system_reason

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".avif", ".avifs"}
    | {".heic", ".heif", ".hif", ".tif", ".tiff", ".bmp", ".dib", ".jp2", ".j2k", ".jpf", ".jpx"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".qoi", ".ico"}
)


def find_images(root: str | os.PathLike[str], on_problem: Callable[[Unreadable], None] | None = None) -> Iterator[Path]:
    """Every file below `root` with a suffix of IMAGE_SUFFIXES, folder by folder, names in byte order.

    A `root` that is a file is yielded whatever its suffix. Names that begin with a dot are skipped, files and folders.
    Links to files are followed. Links to folders are followed where they leave `root`, once a folder; a link into
    `root` itself is skipped, since the walk comes by anyway: so no link can make a loop, or list a file twice.

    What is named like an image and cannot be one (a broken link, a FIFO), and every folder that cannot be entered,
    goes to `on_problem`, and the walk goes on. Raises Unreadable at once when `root` itself cannot be reached.
    """
    root = os.fsdecode(root)
    try:
        status = os.stat(root)
    except OSError as error:
        raise Unreadable(root, system_reason(error)) from error
    except ValueError as error:
        raise Unreadable(root, "not a possible file name") from error
    if not stat.S_ISDIR(status.st_mode):
        return iter([Path(root)])
    return _walk(root, status, on_problem or _ignore)


def _walk(root: str, status: os.stat_result, report: Callable[[Unreadable], None]) -> Iterator[Path]:
    home, seen = os.path.realpath(root), {(status.st_dev, status.st_ino)}
    waiting = _entries(root, report)
    while waiting:
        entry = waiting.pop()
        image = os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES
        try:
            status = os.stat(entry.path)
        except OSError as error:
            if image:
                broken = isinstance(error, FileNotFoundError) and entry.is_symlink()
                report(Unreadable(entry.path, "a broken link" if broken else system_reason(error)))
            continue
        if stat.S_ISDIR(status.st_mode):
            if entry.is_symlink() and _within(os.path.realpath(entry.path), home):
                continue
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                waiting += _entries(entry.path, report)
        elif image and stat.S_ISREG(status.st_mode):
            yield Path(entry.path)
        elif image:
            report(Unreadable(entry.path, "not a regular file"))


def _entries(folder: str, report: Callable[[Unreadable], None]) -> list[os.DirEntry[str]]:
    """What a folder holds, last name first: the walk takes from the end."""
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        report(Unreadable(folder, system_reason(error)))
        return []
    return sorted(shown, key=lambda entry: os.fsencode(entry.name), reverse=True)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _ignore(problem: Unreadable) -> None:
    """Where no one asked to hear of problems."""
