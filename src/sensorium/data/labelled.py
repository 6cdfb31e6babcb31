"""Pictures with labels or captions, as evaluation reads them: a folder of class folders, or a table of files.

A table is CSV or TSV with a header, or JSON lines; the columns are `path` and `label`, or `path` and `caption`. Paths
are relative to the table. Nothing is decoded here.
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sensorium.data.errors import SensoriumError, Unreadable, printable, system_reason
from sensorium.data.folder import find_images

TABLES = {".csv": ",", ".tsv": "\t", ".jsonl": "", ".ndjson": ""}
BETWEEN_LABELS = "|"


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Pictures and the numbers of their classes: one each, or any number where the data set says several things.

    `classes` are the names in the tables or of the folders, sorted; `unreadable` is what cannot even be reached.
    """

    name: str
    paths: list[Path]
    labels: list[tuple[int, ...]]
    classes: tuple[str, ...]
    unreadable: list[Unreadable]

    @property
    def single(self) -> bool:
        """Whether every picture is of exactly one class."""
        return all(len(label) == 1 for label in self.labels)

    def under(self, classes: Sequence[str]) -> "Labelled":
        """The same pictures, numbered by these classes; raises SensoriumError naming those that are not among them."""
        place = {name: number for number, name in enumerate(classes)}
        if strange := [name for name in self.classes if name not in place]:
            raise SensoriumError(
                f"{self.name}: {_some(strange)} not among the {len(classes)} classes learned from ({_some(classes)})"
            )
        new = [place[name] for name in self.classes]
        return replace(
            self, labels=[tuple(new[each] for each in label) for label in self.labels], classes=tuple(classes)
        )


@dataclass(frozen=True, kw_only=True)
class Captioned:
    """Pictures and what was said about each, any number of captions a picture."""

    name: str
    paths: list[Path]
    captions: list[tuple[str, ...]]
    unreadable: list[Unreadable]


def open_labelled(source: str | os.PathLike[str]) -> Labelled:
    """Read a folder of class folders (ImageNet's layout) or a table of `path` and `label`.

    A `label` may be a list in JSON lines; in CSV several stand as `cat|sofa`. Raises SensoriumError where a class
    folder is empty, where there are fewer than two classes, and for a row that lacks a column, naming it.
    """
    root = Path(source).expanduser()
    return _labelled_table(root) if root.suffix.lower() in TABLES and not root.is_dir() else _class_folders(root)


def open_captioned(source: str | os.PathLike[str]) -> Captioned:
    """Read a table of `path` and `caption`; rows of one path are captions of one picture, and a list gives several."""
    root = Path(source).expanduser()
    if root.is_dir() or root.suffix.lower() not in TABLES:
        raise SensoriumError(f"{root}: captions come as a table of path,caption: {', '.join(TABLES)}")
    said: dict[str, list[str]] = {}
    for where, row in _rows(root):
        texts = [_text(each, where, "caption") for each in _listed(_column(row, "caption", where))]
        if not texts:
            raise SensoriumError(f"{where}: an empty list of captions")
        said.setdefault(_text(_column(row, "path", where), where, "path"), []).extend(texts)
    if not said:
        raise SensoriumError(f"{root}: no rows")
    return Captioned(
        name=str(root),
        paths=[root.parent / path for path in said],
        captions=[tuple(texts) for texts in said.values()],
        unreadable=[],
    )


def read_names(file: str | os.PathLike[str], classes: Sequence[str]) -> tuple[str, ...]:
    """What to call each class: a text file with a name a line in the classes' order, or lines `class TAB name`.

    Raises SensoriumError where the file does not name exactly these classes.
    """
    lines = read_lines(file)
    if all("\t" in line for line in lines):
        named = dict(line.split("\t", 1) for line in lines)
        if missing := [name for name in classes if name not in named]:
            raise SensoriumError(f"{os.fspath(file)}: no name for {_some(missing)}")
        return tuple(named[name].strip() for name in classes)
    if len(lines) != len(classes):
        raise SensoriumError(
            f"{os.fspath(file)} has {len(lines)} names and the data {len(classes)} classes ({_some(classes)}): "
            "one name a line, in this order, or lines of class, tab, name"
        )
    return tuple(lines)


def read_lines(file: str | os.PathLike[str]) -> list[str]:
    """The lines of a UTF-8 text file that are not empty, stripped."""
    with _opened(Path(file).expanduser()) as stream:
        lines = [line.strip() for line in _decoded(stream, file)]
    if not (kept := [line for line in lines if line]):
        raise SensoriumError(f"{os.fspath(file)}: an empty file")
    return kept


def _class_folders(root: Path) -> Labelled:
    try:
        folders = sorted(each for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError as error:
        raise Unreadable(root, system_reason(error)) from error
    if len(folders) < 2:
        here = "one class folder" if folders else "no class folders"
        raise SensoriumError(f"{root}: {here} in it; two at least, each with its class's pictures (or a .csv table)")
    paths: list[Path] = []
    labels: list[tuple[int, ...]] = []
    unreadable: list[Unreadable] = []
    for number, folder in enumerate(folders):
        before = len(paths) + len(unreadable)
        for found in find_images(folder):
            if isinstance(found, Unreadable):
                unreadable.append(found)
            else:
                paths.append(found)
                labels.append((number,))
        if len(paths) + len(unreadable) == before:
            raise SensoriumError(f"{folder}: an empty class: put pictures into it, or take the folder away")
    classes = tuple(folder.name for folder in folders)
    return Labelled(name=str(root), paths=paths, labels=labels, classes=classes, unreadable=unreadable)


def _labelled_table(file: Path) -> Labelled:
    paths: list[Path] = []
    named: list[tuple[str, ...]] = []
    for where, row in _rows(file):
        label = _column(row, "label", where)
        several = label.split(BETWEEN_LABELS) if isinstance(label, str) else _listed(label)
        paths.append(file.parent / _text(_column(row, "path", where), where, "path"))
        named.append(tuple(dict.fromkeys(_text(each, where, "label") for each in several)))
    numbers = all(name.isdecimal() for names in named for name in names)
    classes = sorted({name for names in named for name in names}, key=int if numbers else None)
    if len(classes) < 2:
        raise SensoriumError(f"{file}: {'one class' if classes else 'no rows'}; two classes at least")
    place = {name: number for number, name in enumerate(classes)}
    labels = [tuple(place[name] for name in names) for names in named]
    return Labelled(name=str(file), paths=paths, labels=labels, classes=tuple(classes), unreadable=[])


def _rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row with its place for errors."""
    comma = TABLES[file.suffix.lower()]
    with _opened(file) as stream:
        lines = _decoded(stream, file)
        if not comma:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{file}:{number}", _object(line, f"{file}:{number}")
            return
        table = csv.DictReader(lines, delimiter=comma, strict=True)
        try:
            for row in table:
                yield f"{file}:{table.line_num}", {key: value for key, value in row.items() if key is not None}
        except csv.Error as error:
            raise SensoriumError(f"{file}:{table.line_num}: not CSV: {error}") from error


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise SensoriumError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise SensoriumError(f'{where}: every line is an object: {{"path": "a.jpg", "label": "cat"}}')
    return row


def _column(row: dict[str, Any], name: str, where: str) -> Any:
    if row.get(name) is None:
        raise SensoriumError(f"{where}: no {name}; there is {_some(list(row)) if row else 'nothing'}")
    return row[name]


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _text(value: Any, where: str, name: str) -> str:
    """A label may be written as a number; everything else is words."""
    if isinstance(value, int) and not isinstance(value, bool) and name == "label":
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise SensoriumError(f"{where}: {name} is {value!r}: it must be words")
    return value.strip()


def _opened(file: Path) -> Any:
    try:
        return file.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise Unreadable(file, system_reason(error)) from error


def _decoded(stream: Iterable[str], file: str | os.PathLike[str]) -> Iterator[str]:
    try:
        yield from stream
    except UnicodeDecodeError as error:
        raise Unreadable(file, "not UTF-8 text") from error


def _some(names: Sequence[str], shown: int = 4) -> str:
    listed = ", ".join(printable(str(name)) for name in names[:shown])
    return listed + (f" … ({len(names)})" if len(names) > shown else "")
