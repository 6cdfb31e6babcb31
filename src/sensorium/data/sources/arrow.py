"""Parquet and Arrow: manifests, and Hugging Face datasets as `save_to_disk` and the hub leave them on a disk.

Arrow files are mapped into memory and read at any row. Parquet can only be read a row group at a time, so it is copied
into an Arrow file in the user's cache first, with the columns that are used.
"""

import errno
import json
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.data.errors import SensoriumError, Unreadable, printable, system_reason
from sensorium.data.sources.columns import Columns
from sensorium.data.sources.kept import Array, index_place, stamp, write_kept
from sensorium.data.stream import Sample

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
LARGE = 1 << 28  # bytes: what takes long enough to be announced
ROWS = 256  # of a batch in the copy of a Parquet file


@dataclass(frozen=True, eq=False)
class Table:
    """A source of the rows of Arrow files; paths are taken from `folder`. Rows are named file:row, counted from 1."""

    name: str
    kind: str
    files: tuple[tuple[Path, Path], ...]  # what a row is named after, and the Arrow file that is read
    ends: Array
    columns: Columns
    folder: Path
    classes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.ends[-1])

    def called(self, index: int, /) -> Path | str:
        """The picture's file where the column holds paths; else the row's name, and no picture is read."""
        named, file, row = self._row(index)
        column = self.columns.image or ""
        kinds, kind = need_pyarrow().types, _schema(file).field(column).type
        if kinds.is_string(kind) or kinds.is_large_string(kind):
            values = self._values(named, file, row, (column,))
            return Path(self.columns.sample(values, self.folder, f"{named}:{row + 1}")["image"])
        return f"{named}:{row + 1}"

    def __getitem__(self, index: int, /) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        named, file, row = self._row(index)
        wanted = [name for name in (self.columns.image, self.columns.text, self.columns.label) if name]
        return self.columns.sample(self._values(named, file, row, wanted), self.folder, f"{named}:{row + 1}")

    def _row(self, index: int) -> tuple[Path, Path, int]:
        """What the row's file is named after, the file that is read, and the row in it."""
        part = int(np.searchsorted(self.ends, index, side="right"))
        return *self.files[part], index - (int(self.ends[part - 1]) if part else 0)

    def _values(self, named: Path, file: Path, row: int, wanted: Sequence[str]) -> dict[str, Any]:
        ends, batches = _mapped(file)
        batch = int(np.searchsorted(ends, row, side="right"))
        at = row - (int(ends[batch - 1]) if batch else 0)
        with _reading(named):
            return {name: batches[batch].column(name)[at].as_py() for name in wanted}


def open_parquet(files: Sequence[Path], name: str, folder: Path) -> Table:
    """A source of Parquet files with the same columns. Raises Unreadable for one that is not whole."""
    pairs = [(file, _copy_of(file)) for file in files]
    what = "Parquet" if len(files) == 1 else f"{len(files):,} Parquet files"
    return _table(name, what, pairs, folder, _features(_schema(pairs[0][1])))


def open_saved(folder: Path) -> Table:
    """A Hugging Face dataset as `save_to_disk` writes it. Raises SensoriumError where a split must be named."""
    name = printable(str(folder))
    splits = folder / "dataset_dict.json"
    if splits.is_file():
        names = list(_json(splits).get("splits", ()))
        if len(names) != 1:
            raise SensoriumError(f"{name} holds {', '.join(names)}: name one of them, such as {folder / names[0]}")
        return open_saved(folder / names[0])
    state, info = _json(folder / "state.json"), _json(folder / "dataset_info.json")
    if state.get("_indices_files"):
        raise SensoriumError(f"{name}: rows were selected without being copied: call flatten_indices() before saving")
    try:
        files = [folder / each["filename"] for each in state["_data_files"]]
    except (KeyError, TypeError):
        raise Unreadable(folder / "state.json", "names no _data_files") from None
    return _table(name, "a Hugging Face dataset", [(file, file) for file in files], folder, info.get("features") or {})


def _table(
    name: str, kind: str, files: Sequence[tuple[Path, Path]], folder: Path, features: Mapping[str, Any]
) -> Table:
    counts = [int(ends[-1]) if len(ends) else 0 for ends in (_mapped(file)[0] for _, file in files)]
    if not sum(counts):
        raise SensoriumError(f"{name}: no rows")
    columns = Columns.find(_schema(files[0][1]).names, name)
    for shown, file in files:
        missing = {columns.image, columns.text, columns.label} - {None, *_schema(file).names}
        if missing:
            raise SensoriumError(f"{shown}: no column {missing.pop()}, which {files[0][0].name} has")
    label = features.get(columns.label or "")
    names = label.get("names") if isinstance(label, Mapping) else None
    return Table(name, kind, tuple(files), np.cumsum(counts), columns, folder, tuple(names or ()))


def _features(schema: Any) -> Mapping[str, Any]:
    """What the datasets library noted of each column in a file's schema."""
    try:
        return json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}


def _json(file: Path) -> dict[str, Any]:
    try:
        value: Any = json.loads(file.read_bytes())
    except OSError as error:
        raise Unreadable(file, system_reason(error)) from error
    except ValueError as error:
        raise Unreadable(file, f"not JSON ({str(error)[:60]})") from error
    if not isinstance(value, dict):
        raise Unreadable(file, "not a JSON object")
    return value


def _mapped(file: Path) -> tuple[Array, list[Any]]:
    """An Arrow file's record batches without copying them, and how many rows there are up to the end of each."""
    return _mapped_once(file, stamp(file))


@lru_cache(maxsize=512)
def _mapped_once(file: Path, state: tuple[int, int, int]) -> tuple[Array, list[Any]]:
    pa = need_pyarrow()
    with _reading(file):
        source = pa.memory_map(str(file))
        batches: list[Any] = []
        try:
            opened = pa.ipc.open_file(source)
            batches = [opened.get_batch(i) for i in range(opened.num_record_batches)]
        except pa.ArrowInvalid:  # the datasets library writes the kind that has no table of contents
            source.seek(0)
            batches = list(pa.ipc.open_stream(source))
    return np.cumsum([batch.num_rows for batch in batches], dtype=np.int64), batches


def _schema(file: Path) -> Any:
    batches = _mapped(file)[1]
    if not batches:
        raise Unreadable(file, "no rows")
    return batches[0].schema


def _copy_of(file: Path) -> Path:
    """The Arrow copy of a Parquet file, made on the first visit; without columns that are never read."""
    goal = index_place(file, "arrow")
    if goal.is_file():
        return goal
    if (size := file.stat().st_size) > LARGE:
        print(f"sensorium: copying {file} ({size >> 20:,} MB) into the cache, once", file=sys.stderr)
    pa = need_pyarrow()
    import pyarrow.parquet as pq

    with _reading(file), pq.ParquetFile(file, memory_map=True) as parquet:
        columns = Columns.find(parquet.schema_arrow.names, printable(str(file)))
        wanted = [name for name in (columns.image, columns.text, columns.label) if name]
        schema = pa.schema([parquet.schema_arrow.field(name) for name in wanted], parquet.schema_arrow.metadata)

        def write(part: Path) -> None:
            with pa.OSFile(str(part), "wb") as out, pa.ipc.new_file(out, schema) as copy:
                for batch in parquet.iter_batches(ROWS, columns=wanted):
                    copy.write_batch(batch.select(wanted))

        try:
            write_kept(goal, write)
        except OSError as error:
            if error.errno not in NO_ROOM:  # the Parquet file's own fault
                raise
            reason = f"cannot copy {file} into {goal.parent}: {system_reason(error)}"
            raise SensoriumError(f"{reason}. Set SENSORIUM_CACHE to a folder with room") from error
    return goal


@contextmanager
def _reading(file: Path) -> Generator[None]:
    pa = need_pyarrow()
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:120]
        raise Unreadable(file, f"not a whole Arrow or Parquet file ({reason})") from error


def need_pyarrow() -> Any:
    """The package pyarrow, imported now; raises SensoriumError where it is not installed."""
    try:
        import pyarrow as pa
    except ImportError:
        raise SensoriumError("Parquet and Arrow need one more package: pip install 'sensorium[train]'") from None
    return pa
