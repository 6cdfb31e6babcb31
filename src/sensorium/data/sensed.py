"""Samples of any sense with labels or texts, as evaluation reads them: published sets, folders and tables of one's own.

A folder of class folders holds files of any kind, which `data.kinds` tells apart. A table (CSV or TSV with a header, or
JSON lines) has columns called like senses (image, video, audio, depth, thermal, motion), or `path` for files of any
kind; `text` or `caption`; `label`, several as dog|beach; `split` and `fold`; what a loader must be told (`unit`,
`focal`, `baseline`), and `begin` and `end` of a stretch of motion. Rows of the same files are one sample.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sensorium.data.errors import SensoriumError, Unreadable, printable, system_reason
from sensorium.data.folder import IMAGE_SUFFIXES
from sensorium.data.given import given
from sensorium.data.kind_names import WAYS
from sensorium.data.kinds import kind_of
from sensorium.data.labelled import BETWEEN_LABELS, TABLES, Labelled, table_rows
from sensorium.data.senses import SENSES
from sensorium.data.sources import open_source
from sensorium.data.sources.clips import FILMS, SOUNDS, Clips, Sense
from sensorium.data.sources.folders import PARTS
from sensorium.data.sources.pairs import open_pairs
from sensorium.data.sources.sounds import open_sounds

NAMED = SOUNDS | FILMS | IMAGE_SUFFIXES
UNKNOWN = "neither picture, film, sound, depth, heat nor motion"
FILE = ("path", "file", "filepath", "file_name")
TEXT = ("text", "caption", "captions")
NUMBERS = ("focal", "baseline", "begin", "end")


def open_samples(place: str | os.PathLike[str]) -> Clips:
    """A published set of several senses, a folder of class folders of any files, or a table.

    What cannot be reached is counted in `problems`. Raises SensoriumError where nothing of these stands there, for a
    row that does not fit its columns, naming it, and where a class has no file that is known.
    """
    path = Path(place).expanduser()
    if path.is_dir():
        return open_sounds(path) or open_pairs(path) or _class_folders(path)
    if path.is_file() and path.suffix.lower() in TABLES:
        published = open_sounds(path) if path.suffix.lower() == ".csv" else None
        return published or _table(path)
    opened = open_source(place)
    if not isinstance(opened, Clips):
        raise SensoriumError(f"{opened.name}: {opened.kind}, which holds pictures alone: leave out --from and --to")
    return opened


def published_samples(place: str | os.PathLike[str]) -> Clips | None:
    """The published set of several senses at a place; None where there is none."""
    path = Path(place).expanduser()
    if path.is_dir():
        return open_sounds(path) or open_pairs(path)
    return open_sounds(path) if path.is_file() and path.suffix.lower() == ".csv" else None


def senses_of(data: Clips) -> tuple[str, ...]:
    """The senses that some of the samples have, text among them, last."""
    there = {name for row in data.rows for name in row}
    return tuple(name for name in (*SENSES, "text") if name in there)


def having(data: Clips, *senses: str) -> Clips:
    """The samples that have all these senses. Raises SensoriumError where none has, naming what there is."""
    rows = tuple(row for row in data.rows if all(row.get(sense) for sense in senses))
    if not rows:
        there = ", ".join(senses_of(data)) or "nothing"
        raise SensoriumError(f"{data.name}: {data.kind} without samples of {' and '.join(senses)}; there is {there}")
    return replace(data, rows=rows)


def labels_of(row: Mapping[str, Any]) -> tuple[int, ...]:
    """The numbers of a sample's classes, which may be none."""
    return tuple(row["labels"]) if "labels" in row else (row["label"],) if "label" in row else ()


def as_labelled(data: Clips, sense: str) -> Labelled:
    """The samples as one sense takes them in, with their classes: for everything that is measured over labels.

    Raises SensoriumError where none has this sense, or none a label.
    """
    rows = having(data, sense).rows
    unreadable = [Unreadable(data.name, problem) for problem in data.problems]
    unreadable += [Unreadable(row.get("key", ""), "no label") for row in rows if not labels_of(row)]
    kept = [row for row in rows if labels_of(row)]
    if not kept or len(data.classes) < 2:
        what = "one class" if kept else "no labels"
        raise SensoriumError(f"{data.name}: {data.kind} with {what}: classification needs two classes at least")
    taken = [each for row in kept if (each := given(row, sense)) is not None]
    return Labelled(
        name=data.name,
        pictures=[each.path for each in taken] if sense == "image" else taken,
        labels=[labels_of(row) for row in kept],
        classes=data.classes,
        unreadable=unreadable,
    )


def _class_folders(root: Path) -> Clips:
    folders = [each for each in _inside(root) if each.is_dir()]
    if len(folders) < 2:
        here = "one class folder" if folders else "no class folders"
        raise SensoriumError(f"{printable(str(root))}: {here} in it; two at least, each with files of its class")
    if {folder.name for folder in folders} <= PARTS:
        raise SensoriumError(f"{printable(str(root))} holds parts, not classes: name one of them, {folders[0]}")
    rows: list[Sense] = []
    problems: list[str] = []
    for number, folder in enumerate(folders):
        before = len(rows) + len(problems)
        for path in _below(folder):
            senses = _senses(path, problems)
            if senses:
                row: Any = {"key": path.relative_to(root).as_posix(), "label": number, "text": folder.name}
                rows.append(row | dict.fromkeys(senses, path))
        if len(rows) + len(problems) == before:
            raise SensoriumError(f"{printable(str(folder))}: no file in it that is known: take the folder away")
    classes = tuple(folder.name for folder in folders)
    return Clips(str(root), f"a folder of {len(folders):,} classes", tuple(rows), classes, tuple(problems))


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    except OSError as error:
        raise Unreadable(folder, system_reason(error)) from error


def _below(folder: Path) -> Iterator[Path]:
    for each in _inside(folder):
        if each.is_dir() and not each.is_symlink():
            yield from _below(each)
        elif not each.is_dir():
            yield each


def _senses(path: Path, problems: list[str]) -> tuple[str, ...]:
    """By which senses a file can be taken in; why not goes to the problems, but not for what is not even named so."""
    try:
        kind = kind_of(path)
    except Unreadable as error:
        problems.append(str(error))
        return ()
    if kind is None and path.suffix.lower() in NAMED:
        problems.append(f"{path}: {UNKNOWN}")
    return () if kind is None or kind == "document" else WAYS[kind]


def _table(file: Path) -> Clips:
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    problems: list[str] = []
    said: dict[tuple[Any, ...], list[str]] = {}
    for where, row in table_rows(file):
        sample = _sample(
            file.parent, where, {str(name).strip().lower(): value for name, value in row.items()}, problems
        )
        if sample is None:
            continue
        texts = sample.pop("text", ())
        key = tuple((name, value) for name, value in sample.items() if name not in ("key", "names"))
        first = rows.setdefault(key, sample)
        if first is not sample:
            first["names"] += sample["names"]
        said.setdefault(key, []).extend(texts)
    if not rows:
        raise SensoriumError(f"{file}: no samples" + (f": {problems[0]}" if problems else ""))
    every = {name for sample in rows.values() for name in sample["names"]}
    classes = tuple(sorted(every, key=int if all(name.isdecimal() for name in every) else None))
    found: list[Sense] = []
    for key, sample in rows.items():
        labels = tuple(classes.index(name) for name in dict.fromkeys(sample.pop("names")))
        more: Any = {"label": labels[0]} if len(labels) == 1 else {"labels": labels} if labels else {}
        texts: Any = {"text": tuple(said[key])} if said[key] else {}
        row: Any = sample | more | texts
        found.append(row)
    return Clips(str(file), "a table", tuple(found), classes, tuple(problems))


def _sample(folder: Path, where: str, row: Mapping[str, Any], problems: list[str]) -> dict[str, Any] | None:
    """A row as a sample, its labels as `names`; None where its file cannot be told. Raises SensoriumError."""
    sample: dict[str, Any] = {"key": where, "names": ()}
    for sense in SENSES:
        if value := row.get(sense):
            sample[sense] = folder / _words(value, where, sense)
    column = next((name for name in FILE if row.get(name)), None)
    if column is not None:
        path = folder / _words(row[column], where, column)
        senses = _senses(path, problems)
        if not senses:
            problems += [] if problems and str(path) in problems[-1] else [f"{path}: {UNKNOWN}"]
            return None
        sample |= dict.fromkeys(senses, path)
    elif not any(sense in sample for sense in SENSES):
        raise SensoriumError(f"{where}: no path, {', '.join(SENSES)}; there is {', '.join(map(str, row)) or 'nothing'}")
    for name in (*NUMBERS, "fold"):
        if (value := row.get(name)) not in (None, ""):
            try:
                sample[name] = int(value) if name == "fold" else float(value)
            except (TypeError, ValueError):
                raise SensoriumError(f"{where}: {name} is {value!r}, no number") from None
    sample |= {name: _words(row[name], where, name) for name in ("unit", "split") if row.get(name)}
    if label := row.get("label"):
        several = (
            label.split(BETWEEN_LABELS) if isinstance(label, str) else label if isinstance(label, list) else [label]
        )
        sample["names"] = tuple(_words(each, where, "label") for each in several)
    if text := next((row[name] for name in TEXT if row.get(name)), None):
        sample["text"] = [_words(each, where, "text") for each in (text if isinstance(text, list) else [text])]
    return sample


def _words(value: Any, where: str, name: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and name == "label":
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise SensoriumError(f"{where}: {name} is {value!r}: it must be words")
    return value.strip()
