"""The images below a folder, in an order that never changes, with a word on every one that cannot be reached."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sensorium.data.errors import Unreadable, system_reason

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".avif", ".avifs"}
    | {".heic", ".heif", ".hif", ".tif", ".tiff", ".bmp", ".dib", ".jp2", ".j2k", ".jpf", ".jpx"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".qoi", ".ico"}
)


def find_images(root: str | os.PathLike[str]) -> Iterator[Path | Unreadable]:
    """Every file below `root` with a suffix of IMAGE_SUFFIXES, folder by folder, names in byte order.

    A `root` that is a file is yielded whatever its suffix. Names that begin with a dot are skipped, files and folders.
    Links to files are followed. Links to folders are followed where they leave `root`, once a folder; a link into
    `root` itself is skipped, since the walk comes by anyway: so no link can make a loop, or list a file twice.

    What is named like an image and cannot be one (a broken link, a FIFO), and every folder that cannot be entered, is
    yielded in its place as Unreadable, not raised. Raises Unreadable at once when `root` itself cannot be reached.
    """
    root = os.fsdecode(root)
    try:
        status = os.stat(root)
    except OSError as error:
        raise Unreadable(root, system_reason(error)) from error
    except ValueError as error:
        raise Unreadable(root, "not a possible file name") from error
    return _walk(root, status) if stat.S_ISDIR(status.st_mode) else iter([Path(root)])


def _walk(root: str, status: os.stat_result) -> Iterator[Path | Unreadable]:
    home, seen = os.path.realpath(root), {(status.st_dev, status.st_ino)}
    waiting = _entries(root)
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, Unreadable):
            yield entry
            continue
        image = os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES
        try:
            status = os.stat(entry.path)
        except OSError as error:
            if image or entry.is_dir(follow_symlinks=False):
                broken = isinstance(error, FileNotFoundError) and entry.is_symlink()
                yield Unreadable(entry.path, "a broken link" if broken else system_reason(error))
            continue
        if stat.S_ISDIR(status.st_mode):
            if entry.is_symlink() and _within(os.path.realpath(entry.path), home):
                continue
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                waiting += _entries(entry.path)
        elif image:
            yield Path(entry.path) if stat.S_ISREG(status.st_mode) else Unreadable(entry.path, "not a regular file")


def _entries(folder: str) -> list[os.DirEntry[str] | Unreadable]:
    """What a folder holds, last name first, since the walk takes from the end; or why it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        return [Unreadable(folder, system_reason(error))]
    shown.sort(key=lambda entry: os.fsencode(entry.name), reverse=True)
    return [*shown]


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
