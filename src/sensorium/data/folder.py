"""The files below a folder that can be searched, or its images alone, in an order that never changes, with a word on
every one that cannot be reached."""

import os
import stat
from collections.abc import Iterator, Set
from pathlib import Path

from sensorium.data.errors import Unreadable, system_reason
from sensorium.data.kind_names import Kind

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".avif", ".avifs"}
    | {".heic", ".heif", ".hif", ".tif", ".tiff", ".bmp", ".dib", ".jp2", ".j2k", ".jpf", ".jpx"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".qoi", ".ico"}
)
FILM_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m2ts", ".wmv", ".asf", ".flv"}
    | {".3gp", ".3g2", ".ogv", ".vob"}
)
SOUND_SUFFIXES = frozenset(
    {".wav", ".wave", ".flac", ".mp3", ".mp2", ".mpga", ".aac", ".m4a", ".m4b", ".oga", ".ogg", ".opus", ".spx"}
    | {".wma", ".mka", ".aif", ".aiff", ".aifc", ".caf", ".au", ".snd", ".amr"}
)
CALLED: dict[str, Kind] = {
    **dict.fromkeys(IMAGE_SUFFIXES, "picture"),
    **dict.fromkeys(FILM_SUFFIXES, "video"),
    **dict.fromkeys(SOUND_SUFFIXES, "sound"),
    ".exr": "depth",
    ".pdf": "document",
}
"""What a file's name says it is: a damaged one that has no kind by its content is told of as this."""
PERHAPS = frozenset({".npy", ".npz", ".csv", ".tsv", ".parquet", ".pq", ".ts", ".mts"})
"""What may be depth, heat, motion or a film, and mostly is something else: only its content says."""


def find_files(root: str | os.PathLike[str]) -> Iterator[Path | Unreadable]:
    """As `find_images`, every file whose suffix is in CALLED or in PERHAPS, which may be of a kind that is searched.

    What is only perhaps of a kind is yielded where it can be reached, and never as Unreadable.
    """
    return _found(root, CALLED.keys(), PERHAPS)


def find_images(root: str | os.PathLike[str]) -> Iterator[Path | Unreadable]:
    """Every file below `root` with a suffix of IMAGE_SUFFIXES, folder by folder, names in byte order.

    A `root` that is a file is yielded whatever its suffix. Names that begin with a dot are skipped, files and folders.
    Links to files are followed. Links to folders are followed where they leave `root`, once a folder; a link into
    `root` itself is skipped, since the walk comes by anyway: so no link can make a loop, or list a file twice.

    What is named like an image and cannot be one (a broken link, a FIFO), and every folder that cannot be entered, is
    yielded in its place as Unreadable, not raised. Raises Unreadable at once when `root` itself cannot be reached.
    """
    return _found(root, IMAGE_SUFFIXES, frozenset())


def _found(root: str | os.PathLike[str], called: Set[str], perhaps: Set[str]) -> Iterator[Path | Unreadable]:
    root = os.fsdecode(root)
    try:
        status = os.stat(root)
    except OSError as error:
        raise Unreadable(root, system_reason(error)) from error
    except ValueError as error:
        raise Unreadable(root, "not a possible file name") from error
    return _walk(root, status, called, perhaps) if stat.S_ISDIR(status.st_mode) else iter([Path(root)])


def _walk(root: str, status: os.stat_result, called: Set[str], perhaps: Set[str]) -> Iterator[Path | Unreadable]:
    home, seen = os.path.realpath(root), {(status.st_dev, status.st_ino)}
    waiting = _entries(root)
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, Unreadable):
            yield entry
            continue
        suffix = os.path.splitext(entry.name)[1].lower()
        named = suffix in called
        try:
            status = os.stat(entry.path)
        except OSError as error:
            if named or entry.is_dir(follow_symlinks=False):
                broken = isinstance(error, FileNotFoundError) and entry.is_symlink()
                yield Unreadable(entry.path, "a broken link" if broken else system_reason(error))
            continue
        if stat.S_ISDIR(status.st_mode):
            if entry.is_symlink() and _within(os.path.realpath(entry.path), home):
                continue
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                waiting += _entries(entry.path)
        elif stat.S_ISREG(status.st_mode):
            if named or suffix in perhaps:
                yield Path(entry.path)
        elif named:
            yield Unreadable(entry.path, "not a regular file")


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
