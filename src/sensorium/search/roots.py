"""The files and folders that an index follows: which they are, and whether they are there."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from sensorium.data.errors import SensoriumError
from sensorium.data.kinds import KINDS, Kind
from sensorium.search.embeds import Embeds
from sensorium.search.found import mark_of
from sensorium.search.store import Filter, Store, item_id


def resolve(roots: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Absolute roots, none below another; symbolic links are left as they are."""
    given = [roots] if isinstance(roots, str | os.PathLike) else list(roots)
    paths = sorted({Path(os.path.abspath(os.path.expanduser(root))) for root in given})
    return [path for path in paths if not any(other in path.parents for other in paths)]


def check_root(store: Store, root: Path) -> None:
    """Raise SensoriumError when a root is missing or looks like an unmounted drive: then nothing is removed."""
    remedy = "connect its drive and try again; if it is gone for good, remove it from the index"
    try:
        status = root.stat()
        empty = False
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(root) as entries:
                empty = not any(entries)
    except FileNotFoundError:
        raise SensoriumError(f"{root}: there is no such file or folder; {remedy}") from None
    except OSError as error:
        raise SensoriumError(f"{root}: cannot be read ({error.strerror}); check its permissions") from error
    name, _ = root_note(root)
    noted = store.notes(name).get(name)
    if empty and noted and noted.split(b"\0")[0] != str(status.st_dev).encode() and store.count(Filter(below=root)):
        raise SensoriumError(f"{root}: is empty and on another disk than when it was indexed; {remedy}")


def root_note(root: Path) -> tuple[str, bytes]:
    """The note that keeps a root: on which device it stood, and its path."""
    return f"root/{item_id(root)}", str(root.stat().st_dev).encode() + b"\0" + os.fsencode(root)


def other_marks(store: Store, root: Path, embedder: Embeds) -> dict[Kind, tuple[str, bytes]]:
    """Kinds of which files below a root were taken in by another mark than the model has, each with its note."""
    noted, others = store.notes(f"mark/{item_id(root)}/"), dict[Kind, tuple[str, bytes]]()
    for kind in KINDS:
        name, mark = f"mark/{item_id(root)}/{kind}", mark_of(kind, embedder)
        if noted.get(name, b"") != mark:
            others[kind] = name, mark
    return others
