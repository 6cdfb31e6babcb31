"""What a row of a table says of a sample: which columns hold the picture, the text and the number of the class."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.data.errors import SensoriumError, Unreadable, printable

IMAGE = ("image", "path", "file", "filepath", "file_name", "image_path")
TEXT = ("text", "caption", "captions", "title")
LABEL = ("label", "class", "cls")
REMEDY = "fetch the pictures first (img2dataset writes tars that can be read here) and give paths"


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are read; only the picture's must be there."""

    image: str
    text: str | None = None
    label: str | None = None

    @classmethod
    def find(cls, names: Sequence[str], where: str) -> "Columns":
        """The first of the known names for each; capitals do not matter. Raises SensoriumError without a picture."""
        plain = {name.strip().lower(): name for name in reversed(names)}
        image, text, label = (
            next((plain[name] for name in known if name in plain), None) for known in (IMAGE, TEXT, LABEL)
        )
        if image is None:
            there = ", ".join(printable(name) for name in names) or "nothing"
            if {"url", "image_url"} & plain.keys():
                there += f"; URLs are not read: {REMEDY}"
            raise SensoriumError(f"{where}: no column {', '.join(IMAGE[:-1])} or {IMAGE[-1]}; it has {there}")
        return cls(image, text, label)

    def sample(self, row: Mapping[str, Any], folder: Path, where: str) -> dict[str, Any]:
        """A row as a sample, its path taken from `folder`. Raises Unreadable, naming `where`."""
        sample: dict[str, Any] = {"image": _picture(row.get(self.image), self.image, row, folder, where), "key": where}
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
