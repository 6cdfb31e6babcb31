"""Lists of samples, one a row: JSON lines, CSV and TSV, read at any row through an index of where rows begin."""

import csv
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sensorium.data.errors import SensoriumError, Unreadable, printable, system_reason
from sensorium.data.sources.columns import Columns
from sensorium.data.sources.kept import Array, kept_array, read_part
from sensorium.data.stream import Sample

CHUNK = 1 << 24  # bytes read at once while an index is built
FORMATS: dict[str, Literal["jsonl", "csv", "tsv"]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
}


@dataclass(frozen=True)
class Manifest:
    """A source of a file's rows; pictures are paths from the file's folder.

    CSV is quoted as RFC 4180 has it, and its rows may hold line breaks; TSV knows no quotes. A first line of column
    names is needed in CSV. A TSV without one is Conceptual Captions': caption, then path. Rows are named file:row,
    the first row (of column names) being 1. Raises SensoriumError where no column is known, Unreadable for the file.
    """

    file: Path
    classes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    _header: tuple[str, ...] = field(init=False, default=())
    _columns: Columns | None = field(init=False, default=None)
    _first: int = field(init=False, default=0)  # row of the first sample

    def __post_init__(self) -> None:
        if len(self._offsets) < 2:
            raise Unreadable(self.file, "no rows")
        if self.format == "jsonl":
            return
        names = self._cells(0)
        known = True
        try:
            columns = Columns.find(names, f"{self.name}:1", files=True)
        except SensoriumError:
            if self.format == "csv" or len(names) != 2 or {"url", "image_url"} & {each.lower() for each in names}:
                raise
            known, names, columns = False, ["caption", "path"], Columns("path", "caption")
        object.__setattr__(self, "_header", tuple(names))
        object.__setattr__(self, "_columns", columns)
        object.__setattr__(self, "_first", int(known))

    @property
    def name(self) -> str:
        """The file's name."""
        return printable(str(self.file))

    @property
    def format(self) -> Literal["jsonl", "csv", "tsv"]:
        """By the file's suffix."""
        return FORMATS[self.file.suffix.lower()]

    @property
    def kind(self) -> str:
        """In words."""
        return {"jsonl": "JSON lines", "csv": "a CSV table", "tsv": "a TSV table"}[self.format]

    def __len__(self) -> int:
        return len(self._offsets) - 1 - self._first

    def __getitem__(self, index: int, /) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        row = index + self._first
        where = f"{self.file}:{row + 1}"
        if self._columns is not None:
            cells = self._cells(row)
            if len(cells) != len(self._header):
                raise Unreadable(where, f"{len(cells)} cells where {len(self._header)} are expected")
            return self._columns.sample(dict(zip(self._header, cells, strict=True)), self.file.parent, where)
        text = self._text(row)
        if not text.strip():
            raise Unreadable(where, "an empty line")
        try:
            value: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Unreadable(where, f"not JSON ({str(error)[:60]})") from error
        if not isinstance(value, dict):
            raise Unreadable(where, "not a JSON object")
        try:
            columns = Columns.find(list(value), where, files=True)
        except SensoriumError as error:
            raise Unreadable(where, str(error).removeprefix(f"{where}: ")) from None
        return columns.sample(value, self.file.parent, where)

    def _text(self, row: int) -> str:
        begin, end = int(self._offsets[row]), int(self._offsets[row + 1])
        try:
            text = read_part(self.file, begin, end - begin).decode("utf-8-sig" if row == 0 else "utf-8")
        except UnicodeDecodeError:
            raise Unreadable(f"{self.file}:{row + 1}", "not UTF-8") from None
        return text.rstrip("\r\n")

    def _cells(self, row: int) -> list[str]:
        text = self._text(row)
        if self.format == "tsv":
            return text.split("\t")
        try:
            return next(csv.reader([text], strict=True), [])
        except csv.Error as error:
            raise Unreadable(f"{self.file}:{row + 1}", f"not CSV ({error})") from error

    @cached_property
    def _offsets(self) -> Array:
        return kept_array(self.file, f"{self.format}-rows", self._scan)

    def _scan(self) -> Array:
        """Where each row begins, and where the last one ends; empty lines at the end are no rows."""
        quoted = self.format == "csv"
        begins = [np.zeros(1, dtype=np.int64)]
        at, inside, last = 0, 0, -1
        try:
            with self.file.open("rb") as file:
                while chunk := file.read(CHUNK):
                    values = np.frombuffer(chunk, dtype=np.uint8)
                    breaks = values == 10
                    if quoted:  # a line break between quotes ends no row
                        quotes = np.cumsum(values == 34) + inside
                        breaks &= quotes % 2 == 0
                        inside = int(quotes[-1])
                    begins.append(np.flatnonzero(breaks) + at + 1)
                    shown = np.flatnonzero(values > 32)
                    last = at + int(shown[-1]) if len(shown) else last
                    at += len(chunk)
        except OSError as error:
            raise Unreadable(self.file, system_reason(error)) from error
        if inside % 2:
            raise Unreadable(self.file, 'a " is opened and never closed: in CSV, write "" for one inside a quoted cell')
        offsets = np.concatenate(begins)
        return np.append(offsets[offsets <= last], np.int64(at)) if last >= 0 else np.zeros(1, dtype=np.int64)
