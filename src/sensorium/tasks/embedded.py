"""A folder of vectors: Parquet parts with a row a picture, all of one model, for anything that reads Parquet.

`about.json` says what made them, and so does the schema of every part. A part takes its place when it is whole, under a
name that its pictures decide. Pictures that cannot be read stand in files of their own, damaged-*.parquet.
"""

import json
import os
import shutil
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.data.collection import Item, Stamp
from sensorium.data.errors import SensoriumError, Unreadable, printable, system_reason
from sensorium.data.sources.arrow import need_pyarrow
from sensorium.tasks.embedding import Embedder, Reading

ABOUT = "about.json"
PARTS = "part-*.parquet"
DAMAGED = "damaged-*.parquet"
UNDER_WAY = "under-way"  # a folder of parts that are not whole, or not yet accepted
KEY = b"sensorium"  # in the metadata of a part's schema


@dataclass(frozen=True, kw_only=True)
class About:
    """What made the vectors of a folder: rows of another model, reading or precision do not go with them."""

    model: str
    fingerprint: str
    what: Reading
    precision: str

    @classmethod
    def of(cls, embedder: Embedder, what: Reading) -> "About":
        """What a model's vectors are."""
        return cls(model=embedder.name, fingerprint=embedder.fingerprint, what=what, precision=embedder.precision)

    def same(self, other: "About") -> bool:
        """Whether vectors of both can stand together; a model may have been called otherwise."""
        return (self.fingerprint, self.what, self.precision) == (other.fingerprint, other.what, other.precision)

    def __str__(self) -> str:
        return f"{self.what} of {self.model} ({self.precision}, fingerprint {self.fingerprint[:12]})"


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded:
    """What `read_embedded` gives: a vector for every readable picture, in the order of their paths.

    `ids` are what join it with other tables: 32 hex digits of a picture's path. Vectors are float32, those of
    "embedding" of length 1. `stamps` are sizes and times of change of the files when they were embedded.
    """

    about: About
    ids: list[str]
    paths: list[str]
    vectors: NDArray[np.float32]
    stamps: NDArray[np.int64]
    unreadable: list[Unreadable]

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """The row of each id."""
        return {each: row for row, each in enumerate(self.ids)}


def read_embedded(folder: str | os.PathLike[str]) -> Embedded:
    """All that a folder holds, as `sensorium embed` wrote it.

    Raises SensoriumError where there is no such folder, for a part that is not whole, that another model made, or
    that repeats a picture.
    """
    place = Path(folder).expanduser()
    if (about := read_about(place)) is None:
        raise SensoriumError(f"{printable(str(place))}: no {ABOUT} in it: not a folder that sensorium embed wrote")
    pa = need_pyarrow()
    tables = [_read(file, about) for file in sorted(place.glob(PARTS))]
    damaged = [_read(file, about) for file in sorted(place.glob(DAMAGED))]
    bad = [Unreadable(row["path"], row["error"]) for table in damaged for row in table.to_pylist()]
    if not tables:
        empty = np.zeros((0, 2), dtype=np.int64)
        vectors = np.zeros((0, 0), dtype=np.float32)
        return Embedded(about=about, ids=[], paths=[], vectors=vectors, stamps=empty, unreadable=bad)
    if strange := [table for table in tables if table.schema != tables[0].schema]:
        raise SensoriumError(f"{place}: parts with vectors of {strange[0].schema.field('vector').type} and others")
    table = pa.concat_tables(tables).sort_by([("path", "ascending"), ("id", "ascending")])
    ids = table.column("id").to_pylist()
    if len(set(ids)) != len(ids):
        raise SensoriumError(f"{place}: a picture stands in two parts: were parts of two folders put together?")
    width = table.schema.field("vector").type.list_size
    flat = np.concatenate([chunk.flatten().to_numpy() for chunk in table.column("vector").chunks])
    return Embedded(
        about=about,
        ids=ids,
        paths=table.column("path").to_pylist(),
        vectors=flat.reshape(-1, width),
        stamps=np.stack([table.column(name).to_numpy() for name in ("size", "modified")], axis=1),
        unreadable=bad,
    )


def read_about(folder: Path) -> About | None:
    """What made the vectors of a folder; None where nothing says so. Raises SensoriumError for a damaged note."""
    file = folder / ABOUT
    try:
        return About(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise SensoriumError(f"{printable(str(folder))}: a file, not a folder") from None
    except (ValueError, TypeError) as error:
        raise SensoriumError(f"{printable(str(file))}: not what sensorium embed writes ({error})") from error


@dataclass(frozen=True)
class Vectors:
    """A folder that is being filled, by one process at a time; workers leave their parts in `under_way`."""

    folder: Path
    about: About

    @property
    def under_way(self) -> Path:
        """Where parts are written before they are accepted."""
        return self.folder / UNDER_WAY

    @contextmanager
    def alone(self) -> Generator[None]:
        """Make the folder, or take it over, and hold it.

        What an earlier run left unfinished is thrown away. Raises SensoriumError where another model's vectors or
        other things stand there, and where another process is filling it.
        """
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with _held(self.folder / "lock", f"another process is embedding into {printable(str(self.folder))}"):
            with explained(self.folder):
                self._prepare()
            try:
                yield
            finally:
                shutil.rmtree(self.under_way, ignore_errors=True)

    def _prepare(self) -> None:
        there, name = read_about(self.folder), printable(str(self.folder))
        for half in self.folder.glob("*.partial"):
            half.unlink()
        if there is None and (strange := {each.name for each in self.folder.iterdir()} - {"lock"}):
            raise SensoriumError(f"{name} holds other things ({printable(min(strange))}): choose a folder of its own")
        if there is not None and not there.same(self.about):
            raise SensoriumError(f"{name} holds {there}, and this is {self.about}: choose another folder")
        if there is None:
            with _whole(self.folder / ABOUT) as part:
                part.write_text(json.dumps(asdict(self.about), indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(self.under_way, ignore_errors=True)
        self.under_way.mkdir()
        for file in self.folder.glob(DAMAGED):  # they are tried again: a disk may have been away
            file.unlink()

    def known(self) -> Iterator[tuple[str, Stamp]]:
        """Every picture that has its vector here."""
        for file in sorted(self.folder.glob(PARTS)):
            columns = _read(file, self.about, ["id", "size", "modified"])
            ids, sizes, times = (columns.column(i).to_pylist() for i in range(3))
            yield from zip(ids, zip(sizes, times, strict=True), strict=True)

    def forget(self, ids: Set[str]) -> None:
        """Take rows out: their pictures have changed, and are embedded anew."""
        for file in sorted(self.folder.glob(PARTS)) if ids else ():
            table = _read(file, self.about)
            stay = [each not in ids for each in table.column("id").to_pylist()]
            if not all(stay):
                with _whole(file) as part:
                    _write(table.filter(stay), part)

    def write(self, items: Sequence[Item], vectors: NDArray[np.float32]) -> Path:
        """Leave a part under way, and say where. Each call writes a file of its own, so two workers never meet."""
        pa = need_pyarrow()
        flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
        columns = {
            "id": pa.array([item.id for item in items], pa.string()),
            "path": pa.array([printable(item.name) for item in items], pa.string()),
            "size": pa.array([item.size for item in items], pa.int64()),
            "modified": pa.array([item.modified for item in items], pa.int64()),
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
        part = self.under_way / f"{os.urandom(8).hex()}.parquet"
        with explained(self.folder):
            _write(pa.table(columns).replace_schema_metadata(self._metadata()), part)
        return part

    def accept(self, name: str, part: Path | None, damaged: Sequence[tuple[Item, str]]) -> None:
        """Give what a worker left its place; again under the same name, it takes the place of the same rows."""
        pa = need_pyarrow()
        with explained(self.folder):
            if damaged:
                columns = {
                    "id": pa.array([item.id for item, _ in damaged], pa.string()),
                    "path": pa.array([printable(item.name) for item, _ in damaged], pa.string()),
                    "error": pa.array([reason for _, reason in damaged], pa.string()),
                }
                with _whole(self.folder / f"damaged-{name}.parquet") as file:
                    _write(pa.table(columns).replace_schema_metadata(self._metadata()), file)
            if part is not None:
                part.replace(self.folder / f"part-{name}.parquet")

    def _metadata(self) -> dict[bytes, bytes]:
        return {KEY: json.dumps(asdict(self.about)).encode()}


@contextmanager
def explained(folder: Path) -> Generator[None]:
    """Turn what the system refuses into an error for the user."""
    try:
        yield
    except OSError as error:
        reason = system_reason(error)
        raise SensoriumError(f"{printable(str(folder))}: vectors cannot be kept there ({reason})") from error


def _read(file: Path, about: About, columns: list[str] | None = None) -> Any:
    """A part as a table. Raises SensoriumError for one that is not whole or belongs to another model."""
    pa = need_pyarrow()
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            note = (parquet.schema_arrow.metadata or {}).get(KEY, b"{}")
            table = parquet.read(columns)
        if not About(**json.loads(note)).same(about):
            raise SensoriumError(f"{printable(str(file))}: of another model than {about}: take it away")
    except (OSError, pa.ArrowException, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise SensoriumError(
            f"{printable(str(file))}: not a whole part ({reason}): delete it, and embed again"
        ) from None
    return table


def _write(table: Any, file: Path) -> None:
    """Write Parquet down to the disk."""
    need_pyarrow()
    import pyarrow.parquet as pq

    with file.open("wb") as out:
        pq.write_table(table, out)
        out.flush()
        os.fsync(out.fileno())


@contextmanager
def _whole(goal: Path) -> Generator[Path]:
    """A file to fill, which then takes the place of `goal`."""
    part = goal.with_name(f"{goal.name}.partial")
    yield part
    part.replace(goal)


@contextmanager
def _held(lock: Path, otherwise: str) -> Generator[None]:
    """Hold a file for this process; the system lets it go when the process ends, however it ends."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with explained(lock.parent):
        file = lock.open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SensoriumError(otherwise) from None
        yield
