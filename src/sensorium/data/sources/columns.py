"""What a row of a table says of a sample: which columns hold the picture, the text and the number of the class, and
files of other senses beside it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.data.errors import SensoriumError, Unreadable, printable

IMAGE = ("image", "path", "file", "filepath", "file_name", "image_path")
TEXT = ("text", "caption", "captions", "title")
LABEL = ("label", "class", "cls")
SENSES = ("audio", "video", "depth", "thermal", "motion")  # files
FACTS = ("begin", "end", "focal", "baseline", "unit")  # of them: seconds that are meant, what depth must be told
REMEDY = "fetch the pictures first (img2dataset writes tars that can be read here) and give paths"


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are read; a picture's must be there, or another sense's. `facts` are of senses."""

    image: str | None
    text: str | None = None
    label: str | None = None
    senses: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()

    @classmethod
    def find(cls, names: Sequence[str], where: str, *, files: bool = False) -> "Columns":
        """The first of the known names for each; capitals do not matter. With `files`, other senses count as well.

        Raises SensoriumError where no column holds a picture (or another sense).
        """
        plain = {name.strip().lower(): name for name in reversed(names)}
        image, text, label = (
            next((plain[name] for name in known if name in plain), None) for known in (IMAGE, TEXT, LABEL)
        )
        senses = tuple(name for name in SENSES if files and name in plain)
        if image is None and not senses:
            there = ", ".join(printable(name) for name in names) or "nothing"
            if {"url", "image_url"} & plain.keys():
                there += f"; URLs are not read: {REMEDY}"
            raise SensoriumError(f"{where}: no column {', '.join(IMAGE[:-1])} or {IMAGE[-1]}; it has {there}")
        facts = tuple(name for name in FACTS if name in plain) if senses else ()
        return cls(image, text, label, tuple(plain[name] for name in senses), tuple(plain[name] for name in facts))

    def sample(self, row: Mapping[str, Any], folder: Path, where: str) -> dict[str, Any]:
        """A row as a sample, its path taken from `folder`. Raises Unreadable, naming `where`."""
        sample: dict[str, Any] = {"key": where}
        if self.image is not None:
            sample["image"] = _picture(row.get(self.image), self.image, row, folder, where)
        for column in self.senses:
            if (value := row.get(column)) not in (None, ""):
                sample[column.strip().lower()] = _file(value, column, folder, where)
        for column in self.facts:
            if (value := row.get(column)) not in (None, ""):
                name = column.strip().lower()
                sample[name] = str(value) if name == "unit" else _seconds(value, column, where)
        if self.text is not None and (text := row.get(self.text)) not in (None, "", []):
            sample["text"] = texts(text, self.text, where)
        if self.label is not None and (label := row.get(self.label)) not in (None, ""):
            sample["label"] = number(label, self.label, where)
        return sample


def _picture(value: Any, column: str, row: Mapping[str, Any], folder: Path, where: str) -> Path | bytes:
    if isinstance(value, Mapping):  # as Hugging Face's datasets store pictures
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if value in (None, ""):
        raise Unreadable(where, f"no {column}; it has {', '.join(map(printable, row)) or 'nothing'}")
    if not isinstance(value, str):
        raise Unreadable(where, f"{column} is neither a path nor the bytes of a picture")
    if value.startswith(("http://", "https://", "s3://", "gs://")):
        raise Unreadable(where, f"{column} is a URL, and URLs are not read: {REMEDY}")
    return Path(os.path.join(folder, value))


def _file(value: Any, column: str, folder: Path, where: str) -> Path:
    if not isinstance(value, str):
        raise Unreadable(where, f"{column} is no path of a file")
    if value.startswith(("http://", "https://", "s3://", "gs://")):
        raise Unreadable(where, f"{column} is a URL, and URLs are not read: fetch the file first")
    return Path(os.path.join(folder, value))


def _seconds(value: Any, column: str, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Unreadable(where, f"{column} {value!r:.40} is no number") from None


def texts(value: Any, column: str, where: str) -> str | tuple[str, ...]:
    """One text or several. Raises Unreadable."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise Unreadable(where, f"{column} is neither a text nor a list of texts")


def number(value: Any, column: str, where: str) -> int:
    """The number of a class. Raises Unreadable."""
    try:
        if isinstance(value, str):
            return int(value)
        if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
            return int(value)
    except ValueError:
        pass
    raise Unreadable(where, f"{column} {value!r:.40} is no whole number: number the classes from 0")
