"""A source of samples of several senses: what published sets of sounds, depth, heat and motion have in common.

Samples name files and never hold them: "image", "audio", "video", "depth", "thermal" and "motion" are paths. "begin"
and "end" are the seconds of a longer file that are meant. "label" is a number in `classes`, "labels" several of them.
What a loader must be told beside the path (`unit`, `focal` and `baseline` of depth) stands in the sample as well.
"""

import csv
import os
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypedDict

from sensorium.data.errors import SensoriumError, Unreadable, printable, system_reason

SOUNDS = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff"})
FILMS = frozenset({".mp4", ".m4v", ".mkv", ".webm", ".mov", ".avi"})
SHOWN = 3


class Sense(TypedDict, total=False):
    """A sample; which of these it has depends on the source."""

    key: str
    image: Path
    audio: Path
    video: Path
    depth: Path
    thermal: Path
    motion: Path
    text: str | tuple[str, ...]
    label: int
    labels: tuple[int, ...]
    begin: float
    end: float
    split: str
    fold: int
    unit: str
    focal: float
    baseline: float


@dataclass(frozen=True)
class Clips:
    """A source of samples that are all listed when it is opened."""

    name: str
    kind: str
    rows: tuple[Sense, ...]
    classes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Sense:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.rows[index]

    def only(self, **facts: Any) -> "Clips":
        """The samples of which this is true: `only(split="test")`, `only(fold=1)`.

        Raises SensoriumError where there is none, naming what there is.
        """
        rows = tuple(row for row in self.rows if all(row.get(key) == value for key, value in facts.items()))
        if not rows:
            there = {key: sorted({str(row.get(key)) for row in self.rows})[:9] for key in facts}
            raise SensoriumError(f"{self.name}: no sample with {facts}; there are {there}")
        return replace(self, rows=rows)

    def of(self, classes: Collection[str]) -> "Clips":
        """The samples of these classes alone, numbered in their order. Raises SensoriumError for an unknown one."""
        if strange := [name for name in classes if name not in self.classes]:
            raise SensoriumError(f"{self.name}: no class {strange[0]!r}; there are {', '.join(self.classes[:40])}")
        number = {self.classes.index(name): i for i, name in enumerate(classes)}
        rows = tuple(
            row | Sense(label=number[label])
            for row in self.rows
            if (label := row.get("label")) is not None and label in number
        )
        return replace(self, rows=rows, classes=tuple(classes))


def listed(name: str, kind: str, found: Iterable[Sense | str], **more: Any) -> Clips:
    """A source of the samples that were found; a text instead of one says what is missing.

    Raises SensoriumError where nothing was found at all, with the first things that are missing.
    """
    rows: list[Sense] = []
    missing: list[str] = []
    for each in found:
        if isinstance(each, str):
            missing.append(each)
        else:
            rows.append(each)
    shown = "; ".join(missing[:SHOWN])
    if not rows:
        raise SensoriumError(f"{name}: {kind}, but not one of {len(missing):,} samples is there: {shown or 'no rows'}")
    problems = [f"{len(missing):,} of {len(missing) + len(rows):,} samples are not there: {shown}"] if missing else []
    return Clips(name, kind, tuple(rows), more.pop("classes", ()), (*more.pop("problems", ()), *problems))


def files_below(folders: Iterable[Path], suffixes: Collection[str]) -> dict[str, Path]:
    """The files directly in these folders by their names without suffix; the first folder that has one wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in suffixes:
                found.setdefault(stem, folder / name)
    return found


def medium(path: Path) -> Sense:
    """A file of a sound, or a film with its sound, under the names that samples have for them."""
    return {"audio": path, "video": path} if path.suffix.lower() in FILMS else {"audio": path}


def reads(opens: Callable[[Path], Clips]) -> Callable[[Path], Clips]:
    """Makes Unreadable of what goes wrong in a table or listing of the path that is opened."""

    @wraps(opens)
    def opened(path: Path) -> Clips:
        try:
            return opens(path)
        except (OSError, UnicodeDecodeError) as error:
            raise Unreadable(path, system_reason(error) if isinstance(error, OSError) else "not UTF-8 text") from error
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            reason = f"no column {error}" if isinstance(error, KeyError) else str(error)[:80]
            raise Unreadable(path, f"not as it is published ({reason})") from error

    return opened


def words(name: str) -> str:
    """The name of a class in plain words."""
    return printable(re.sub(r"[_\s]+", " ", name).strip())
