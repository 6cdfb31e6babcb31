"""Pictures with labels or captions, as evaluation reads them: all listed at once, none decoded.

Labels come from a folder of class folders, or from a table of `path` and `label` whose labels are words: CSV or TSV
with a header, or JSON lines, paths relative to the table. All else that `sensorium.data.sources` opens serves too:
COCO's captions, tars, Parquet, saved Hugging Face datasets, sets by their name.
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
from sensorium.data.given import Given
from sensorium.data.sources import Opened, open_source
from sensorium.data.sources.folders import PARTS
from sensorium.data.stream import Sample

TABLES = {".csv": ",", ".tsv": "\t", ".jsonl": "", ".ndjson": ""}
BETWEEN_LABELS = "|"


@dataclass(frozen=True)
class Entry:
    """A picture inside a source (a tar, a table of bytes): read when its turn comes."""

    source: Opened
    index: int
    name: str

    def open(self) -> Any:
        """The picture: bytes of a file, a PIL picture or an array. Raises Unreadable."""
        return self.source[self.index]["image"]

    def __str__(self) -> str:
        return self.name


Listed = Path | Entry


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Pictures and the numbers of their classes: one each, or any number where the data set says several things.

    They may be files of another sense (`sensorium.data.sensed`).

    `classes` are the names in the tables or of the folders, sorted; `unreadable` is what cannot even be reached.
    """

    name: str
    pictures: Sequence[Listed | Given]
    labels: list[tuple[int, ...]]
    classes: tuple[str, ...]
    unreadable: list[Unreadable]

    @property
    def single(self) -> bool:
        """Whether every picture is of exactly one class."""
        return all(len(label) == 1 for label in self.labels)

    def under(self, classes: Sequence[str]) -> "Labelled":
        """The same pictures, numbered by these classes; raises SensoriumError naming those that are not among them."""
        if tuple(classes) == self.classes:
            return self
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
    pictures: list[Listed]
    captions: list[tuple[str, ...]]
    unreadable: list[Unreadable]


def open_labelled(source: str | os.PathLike[str]) -> Labelled:
    """Read a folder of class folders (ImageNet's layout), a table of `path` and `label`, or any source with labels.

    A `label` may be a list in JSON lines; in CSV several stand as `cat|sofa`. Raises SensoriumError where a class
    folder is empty, where there are fewer than two classes, and for a row that lacks a column, naming it.
    """
    root = Path(source).expanduser()
    if root.is_dir() and not _packed(root):
        return _class_folders(root)
    return _labelled_table(root) if root.suffix.lower() in TABLES else _labelled_source(open_source(source))


def open_captioned(source: str | os.PathLike[str]) -> Captioned:
    """Read any source with texts; rows of one file are captions of one picture.

    Rows that cannot be read and pictures without a caption are listed. Raises SensoriumError where none is left.
    """
    opened = open_source(source)
    pictures: dict[Path | int, Listed] = {}
    said: dict[Path | int, list[str]] = {}
    unreadable = [Unreadable(opened.name, problem) for problem in opened.problems]
    for index, sample in _samples(opened, unreadable):
        picture = _listed_picture(opened, index, sample)
        text = sample.get("text", ())
        texts = [each for each in ([text] if isinstance(text, str) else text) if each.strip()]
        if not texts:
            unreadable.append(Unreadable(str(sample["key"]), "no caption"))
            continue
        key = picture if isinstance(picture, Path) else index
        pictures[key] = picture
        said.setdefault(key, []).extend(texts)
    if not said:
        raise SensoriumError(f"{opened.name}: no captions" + (f"; {unreadable[0]}" if unreadable else ""))
    return Captioned(
        name=opened.name,
        pictures=list(pictures.values()),
        captions=[tuple(texts) for texts in said.values()],
        unreadable=unreadable,
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
    if {folder.name for folder in folders} <= PARTS:
        raise SensoriumError(f"{root} holds {_some([each.name for each in folders])}: name one of them, {folders[0]}")
    pictures: list[Listed] = []
    labels: list[tuple[int, ...]] = []
    unreadable: list[Unreadable] = []
    for number, folder in enumerate(folders):
        before = len(pictures) + len(unreadable)
        for found in find_images(folder):
            if isinstance(found, Unreadable):
                unreadable.append(found)
            else:
                pictures.append(found)
                labels.append((number,))
        if len(pictures) + len(unreadable) == before:
            raise SensoriumError(
                f"{folder}: an empty class: put pictures into it, or take the folder away (of sounds: --from audio)"
            )
    classes = tuple(folder.name for folder in folders)
    return Labelled(name=str(root), pictures=pictures, labels=labels, classes=classes, unreadable=unreadable)


def _packed(folder: Path) -> bool:
    """Whether a folder holds files of many pictures each, rather than pictures."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise Unreadable(folder, system_reason(error)) from error
    whole = ("dataset_dict.json", "state.json")
    return any(name in whole or name.lower().endswith((".tar", ".parquet")) for name in names)


def _labelled_source(source: Opened) -> Labelled:
    pictures: list[Listed] = []
    labels: list[tuple[int, ...]] = []
    unreadable = [Unreadable(source.name, problem) for problem in source.problems]
    for index, sample in _samples(source, unreadable):
        if "label" not in sample:
            raise SensoriumError(f"{source.name}: {source.kind} without labels ({sample['key']} has none)")
        pictures.append(_listed_picture(source, index, sample))
        labels.append((int(sample["label"]),))
    count = max((label for (label,) in labels), default=-1) + 1
    classes = source.classes or tuple(map(str, range(count)))
    if len(classes) < max(count, 2):
        raise SensoriumError(f"{source.name}: {len(classes)} classes, and {count} by its labels; two at least")
    return Labelled(name=source.name, pictures=pictures, labels=labels, classes=classes, unreadable=unreadable)


def _samples(source: Opened, unreadable: list[Unreadable]) -> Iterator[tuple[int, Sample]]:
    """Every sample that can be read, with its number; the others go to the list."""
    for index in range(len(source)):
        try:
            sample = source[index]
        except Unreadable as error:
            unreadable.append(error)
            continue
        yield index, sample


def _listed_picture(source: Opened, index: int, sample: Sample) -> Listed:
    image = sample["image"]
    return Path(image) if isinstance(image, str | os.PathLike) else Entry(source, index, str(sample["key"]))


def _labelled_table(file: Path) -> Labelled:
    pictures: list[Listed] = []
    named: list[tuple[str, ...]] = []
    for where, row in table_rows(file):
        label = _column(row, "label", where)
        several = (
            label.split(BETWEEN_LABELS)
            if isinstance(label, str)
            else list(label)
            if isinstance(label, list)
            else [label]
        )
        pictures.append(file.parent / _text(_column(row, "path", where), where, "path"))
        named.append(tuple(dict.fromkeys(_text(each, where, "label") for each in several)))
    numbers = all(name.isdecimal() for names in named for name in names)
    classes = sorted({name for names in named for name in names}, key=int if numbers else None)
    if len(classes) < 2:
        raise SensoriumError(f"{file}: {'one class' if classes else 'no rows'}; two classes at least")
    place = {name: number for number, name in enumerate(classes)}
    labels = [tuple(place[name] for name in names) for names in named]
    return Labelled(name=str(file), pictures=pictures, labels=labels, classes=tuple(classes), unreadable=[])


def table_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
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


def _text(value: Any, where: str, name: str) -> str:
    """A label may be written as a number; a path is words."""
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
