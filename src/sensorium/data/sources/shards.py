"""WebDataset: tar files in which neighbouring members of one name make a sample (https://github.com/webdataset).

A tar is read at any sample through an index of where its members lie, built on the first visit and kept.
"""

import glob
import itertools
import json
import os
import re
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.data.errors import SensoriumError, Unreadable, printable, system_reason
from sensorium.data.sources.columns import LABEL, TEXT, number, texts
from sensorium.data.sources.kept import Array, Names, index_place, kept_array, read_part, stamp
from sensorium.data.stream import Sample

PICTURES = ("jpg", "jpeg", "png", "webp")
KINDS = ("image", "txt", "json", "cls")  # columns of the index: offset and size of each
ABSENT = -1
KIND = "tar-samples"
LARGE = 1 << 30  # bytes: what takes long enough to be announced


@dataclass(frozen=True, eq=False)
class Shards:
    """A source of the samples of tars: .jpg, .png or .webp with .txt, .json and .cls of the same name.

    The text is that of .txt, else of the JSON's text or caption; the label that of .cls, else of the JSON. Samples are
    named tar:name. What a cut tar had announced is Unreadable when its turn comes.
    """

    name: str
    files: Names
    ends: Array  # how many samples there are up to the end of each tar
    classes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @classmethod
    def open(cls, files: Sequence[Path], name: str | None = None) -> "Shards":
        """Index tars that have no index yet. Raises Unreadable for one that is missing or is none."""
        new = [file for file in files if not index_place(file, KIND).is_file()]
        if sum(file.stat().st_size for file in new) > LARGE:
            print(f"sensorium: looking through {len(new):,} of {len(files):,} tars, once", file=sys.stderr)
        counts: list[int] = []
        problems: list[str] = []
        for file in files:
            index = _index(file)
            counts.append(len(index))
            if len(index) == 0:
                problems.append(f"{printable(str(file))}: no samples")
        name = name or (str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1:,} more")
        return cls(printable(name), Names(str(file) for file in files), np.cumsum(counts), (), tuple(problems))

    @property
    def kind(self) -> str:
        """In words."""
        return f"WebDataset in {len(self.files):,} {'tar' if len(self.files) == 1 else 'tars'}"

    def __len__(self) -> int:
        return int(self.ends[-1])

    def called(self, index: int, /) -> str:
        """The sample's name, of which no byte is read."""
        return self._row(index)[1]

    def __getitem__(self, index: int, /) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        file, where, row = self._row(index)
        image, text, meta, label = (self._member(file, row["at"][i], where) for i in range(len(KINDS)))
        if image is None:
            raise Unreadable(where, f"no picture ({', '.join(PICTURES)}) in this sample")
        sample: dict[str, Any] = {"image": image, "key": where}
        about = _json(meta, where) if meta is not None else {}
        if text is not None:
            sample["text"] = _utf8(text, where).strip()
        elif named := next((key for key in TEXT if about.get(key)), None):
            sample["text"] = texts(about[named], named, where)
        if label is not None:
            sample["label"] = number(_utf8(label, where).strip(), ".cls", where)
        elif named := next((key for key in LABEL if about.get(key) is not None), None):
            sample["label"] = number(about[named], named, where)
        return sample

    def _row(self, index: int) -> tuple[Path, str, Any]:
        shard = int(np.searchsorted(self.ends, index, side="right"))
        file = Path(self.files[shard])
        row = _cached(file, stamp(file))[index - (int(self.ends[shard - 1]) if shard else 0)]
        return file, f"{file}:{row['key'].decode('utf-8', 'surrogateescape')}", row

    def _member(self, file: Path, at: Array, where: str) -> bytes | None:
        offset, size = int(at[0]), int(at[1])
        if offset == ABSENT:
            return None
        data = read_part(file, offset, size)
        if len(data) != size:
            raise Unreadable(where, f"the tar ends before its member does: {len(data):,} of {size:,} bytes")
        return data


def _utf8(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable(where, "its text is not UTF-8") from None


def _json(data: bytes, where: str) -> dict[str, Any]:
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unreadable(where, f"its .json is not JSON ({str(error)[:60]})") from error
    if not isinstance(value, dict):
        raise Unreadable(where, "its .json is not a JSON object")
    return value


@lru_cache(maxsize=512)
def _cached(file: Path, state: tuple[int, int, int]) -> Array:
    return _index(file)


def _index(file: Path) -> Array:
    return kept_array(file, KIND, lambda: _scan(file))


def _scan(file: Path) -> Array:
    """Every sample of a tar: its name, and where its members lie."""
    found: list[tuple[bytes, list[tuple[int, int]]]] = []
    try:
        with tarfile.open(file, "r:") as tar:
            for name, offset, size in _members(tar):
                folder, _, base = name.rpartition("/")
                stem, _, suffix = base.partition(".")
                key = os.fsencode(f"{folder}/{stem}" if folder else stem)
                kind = "image" if suffix.lower() in PICTURES else suffix.lower()
                if kind not in KINDS:
                    continue
                if not found or found[-1][0] != key:
                    found.append((key, [(ABSENT, 0)] * len(KINDS)))
                found[-1][1][KINDS.index(kind)] = (offset, size)
            end = tar.offset
        if read_part(file, end, 512).strip(b"\0"):  # no empty block: a header that makes no sense, or a part of one
            found.append((f"after byte {end}".encode(), [(file.stat().st_size, 1), *[(ABSENT, 0)] * 3]))
    except OSError as error:
        raise Unreadable(file, system_reason(error)) from error
    except tarfile.TarError as error:
        packed = file.suffix.lower() in (".gz", ".tgz", ".bz2", ".xz", ".zst")
        remedy = "it is compressed: decompress it, for samples to be found in it" if packed else str(error)
        raise Unreadable(file, f"not a tar ({remedy})") from error
    width = max((len(key) for key, _ in found), default=1)
    return np.array(found, dtype=[("key", f"S{width}"), ("at", "<i8", (len(KINDS), 2))])


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, int, int]]:
    """Files in a tar up to its end, or to where it was cut or damaged: a member that was cut is the last."""
    while True:
        try:
            member = tar.next()
        except tarfile.ReadError as error:
            if "unexpected end" in str(error):
                return
            raise
        if member is None:
            return
        tar.members = []  # pyright: ignore[reportAttributeAccessIssue]  # or it remembers them all
        if member.isfile():
            yield member.name, member.offset_data, member.size


def expand(pattern: str) -> list[Path]:
    """The files of a pattern: {000..123} and {a,b} are spelled out, * and ? are looked up.

    Raises SensoriumError where files that were spelled out are missing, or nothing is found.
    """
    names = ["".join(parts) for parts in itertools.product(*_choices(pattern))]
    found: list[Path] = []
    missing: list[str] = []
    for name in names:
        if glob.has_magic(name) and not os.path.exists(name):
            found += [Path(each) for each in sorted(glob.glob(name))]
        elif os.path.exists(name):
            found.append(Path(name))
        else:
            missing.append(name)
    if missing:
        raise SensoriumError(f"{len(missing):,} of {len(names):,} files are missing, the first is {missing[0]}")
    if not found:
        raise SensoriumError(f"{pattern}: no file is called so")
    return found


def _choices(pattern: str) -> Iterator[list[str]]:
    for part in re.split(r"(\{[^{}]*\})", pattern):
        span = re.fullmatch(r"\{(\d+)\.\.(\d+)\}", part)
        if span:
            first, last = span[1], span[2]
            yield [str(i).zfill(len(first)) for i in range(int(first), int(last) + 1)]
        elif part.startswith("{") and "," in part:
            yield part[1:-1].split(",")
        else:
            yield [part]
