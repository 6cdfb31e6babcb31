"""Precomputed regions in the files people have: bottom-up TSV, one .npz an image, HDF5. None of them can run code.

LMDB and .npy files of pickled records can: they are refused here, and `sensorium.data.region_pickles` converts them.
"""

import base64
import binascii
import io
import math
import os
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from sensorium.data.errors import SensoriumError, Unreadable, system_reason
from sensorium.data.regions import ARRAYS, Regions, arrays_of, make, whole_number

LIMIT = 1 << 30  # bytes one picture's regions may take: 100 regions of 2048 numbers are 0.8 MB
CONVERT = "convert it once with sensorium.data.region_pickles.convert(source, folder)"

# What each field is called, by the extractors that people used; the first found counts.
ALIASES: dict[str, tuple[str, ...]] = {
    "features": ("features", "x", "roi_features", "feat"),
    "boxes": ("boxes", "bbox", "bboxes"),
    "width": ("image_width", "image_w", "img_w", "width"),
    "height": ("image_height", "image_h", "img_h", "height"),
    "count": ("num_boxes", "num_bbox"),
    "object_ids": ("object_ids", "objects_id", "objects", "obj_ids"),
    "object_confidences": ("object_confidences", "objects_conf", "obj_probs"),
    "attribute_ids": ("attribute_ids", "attrs_id", "attr_ids"),
    "attribute_confidences": ("attribute_confidences", "attrs_conf", "attr_probs"),
    "class_probabilities": ("class_probabilities", "cls_prob"),
}
BOTTOM_UP = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
LXMERT = (
    *("img_id", "img_h", "img_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf"),
    *("num_boxes", "boxes", "features"),
)
IDS = ("image_id", "img_id")
WHOLE = frozenset({"width", "height", "count"})


def read_regions(path: str | os.PathLike[str]) -> Regions:
    """One picture's regions from an .npz file in any layout of ALIASES.

    Members with other names are not read. Raises Unreadable naming the file and the field; for pickled contents
    with the way to convert them.
    """
    name = os.fspath(path)
    if name.endswith(".npy"):
        raise Unreadable(name, f"an .npy file holds features without boxes, or pickled records: {CONVERT}")
    try:
        with zipfile.ZipFile(name) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            values, names = pick(members)
            if sum(cast(zipfile.ZipInfo, info).file_size for info in values.values()) > LIMIT:
                raise Unreadable(name, f"holds more than {LIMIT >> 20} MiB")
            arrays = {key: from_npy(name, names[key], archive.read(info)) for key, info in values.items()}
    except OSError as error:
        raise Unreadable(name, system_reason(error)) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise Unreadable(name, f"a damaged .npz file ({error})") from error
    return make(name, arrays, names)


def write_regions(path: str | os.PathLike[str], regions: Regions) -> None:
    """An .npz file that `read_regions` gives back exactly; other readers of bottom-up features know its names."""
    names = {name: aliases[0] for name, aliases in ALIASES.items()} | {"boxes": "bbox", "count": "num_boxes"}
    arrays = {names[name]: array for name, array in arrays_of(regions).items() if array is not None}
    sizes = {"width": regions.width, "height": regions.height, "count": len(regions)}
    numbers = {names[name]: np.int64(size) for name, size in sizes.items()}
    with _replacing(Path(path)) as file:
        np.savez(file, allow_pickle=False, **arrays, **numbers)


def open_regions(path: str | os.PathLike[str]) -> Mapping[str, Regions]:
    """Regions by picture id, whatever holds them: a .tsv, an .h5 or .hdf5 file, or a folder of .npz files.

    Opens at once, reads a picture's regions when asked for them. Raises Unreadable, for LMDB with the remedy.
    """
    path = Path(path)
    if path.suffix == ".mdb" or (path / "data.mdb").exists() or path.suffix == ".lmdb":
        raise Unreadable(path, f"LMDB of pickled records, which can run code when read: {CONVERT}")
    if path.is_dir():
        return RegionFolder(path)
    if not path.is_file():
        raise Unreadable(path, "no such file")
    if path.suffix in (".h5", ".hdf5"):
        return RegionHDF5(path)
    if path.suffix == ".tsv":
        return RegionTable(path)
    raise Unreadable(path, "not a .tsv, .h5 or .hdf5 file, or a folder of .npz files")


class RegionFolder(Mapping[str, Regions]):
    """A folder with one .npz file an image; the id is the file's name without its ending."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.files = {file.stem: file for file in sorted(self.path.glob("*.npz"))}

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __getitem__(self, image: str) -> Regions:
        return read_regions(self.files[image])


class RegionTable(Mapping[str, Regions]):
    """The bottom-up TSV: a row a picture, arrays in base64; also LXMERT's, which adds objects and attributes.

    `stream` reads from the start. Access by id needs to know where rows begin: the first such access finds that out
    and keeps it in a file beside the table (`NAME.tsv.index`), so that the next opening is instant. Where several rows
    have the same id, the first counts.
    """

    def __init__(self, path: str | os.PathLike[str], columns: tuple[str, ...] | None = None) -> None:
        """`columns` names them where the table is neither layout. Raises Unreadable."""
        self.path = Path(path)
        try:
            with open(self.path, "rb") as file:
                first = file.readline(LIMIT)
        except OSError as error:
            raise Unreadable(path, system_reason(error)) from error
        cells = first.rstrip(b"\r\n").split(b"\t")
        named = tuple(cell.decode("latin-1") for cell in cells if len(cell) < 40)
        self.start = len(first) if set(named) & set(IDS) and len(named) == len(cells) else 0
        known = {len(BOTTOM_UP): BOTTOM_UP, len(LXMERT): LXMERT}
        columns = columns or (named if self.start else known.get(len(cells)))
        if columns is None:
            raise Unreadable(path, f"has {len(cells)} columns, should have {len(BOTTOM_UP)} ({', '.join(BOTTOM_UP)})")
        self.columns = columns
        self.place = next((place for place, column in enumerate(columns) if column in IDS), 0)
        self.offsets: dict[str, int] | None = None

    def stream(self) -> Iterator[tuple[str, Regions]]:
        """Every row in the order of the file."""
        with open(self.path, "rb") as file:
            file.seek(self.start)
            for line in _lines(file):
                yield self._row(line)

    def index(self) -> dict[str, int]:
        """Where each picture's row begins, in bytes: from the file beside the table, or by reading it once."""
        if self.offsets is None:
            self.offsets = self._stored()
        if self.offsets is None:
            self.offsets = self._scan()
            self._store(self.offsets)
        return self.offsets

    def __len__(self) -> int:
        return len(self.index())

    def __iter__(self) -> Iterator[str]:
        return iter(self.index())

    def __getitem__(self, image: str) -> Regions:
        offset = self.index()[image]
        with open(self.path, "rb") as file:
            file.seek(offset)
            found, regions = self._row(file.readline(LIMIT))
        if found != image:
            raise Unreadable(self.path, f"its index names image {image} where {found} is: remove {self._beside}")
        return regions

    def _row(self, line: bytes) -> tuple[str, Regions]:
        cells = line.rstrip(b"\r\n").split(b"\t")
        image = _id(cells[self.place]) if self.place < len(cells) else "?"
        with within(self.path, f"image {image}"):
            if len(cells) != len(self.columns):
                raise Unreadable(self.path, f"its row has {len(cells)} columns, should have {len(self.columns)}")
            row, names = pick(dict(zip(self.columns, cells, strict=True)))
            return image, make(os.fspath(self.path), from_cells(row, names), names)

    @property
    def _beside(self) -> Path:
        return self.path.with_name(self.path.name + ".index")

    def _stamp(self) -> str:
        status = os.stat(self.path)
        return f"{status.st_size} {status.st_mtime_ns} {self.place} {self.start}"

    def _scan(self) -> dict[str, int]:
        offsets: dict[str, int] = {}
        with open(self.path, "rb") as file:
            file.seek(self.start)
            offset = self.start
            for line in _lines(file):
                cells = line.split(b"\t", self.place + 1)
                if len(cells) <= self.place:
                    raise Unreadable(self.path, f"its row at byte {offset} has {len(cells)} columns")
                offsets.setdefault(_id(cells[self.place]), offset)
                offset += len(line)
        return offsets

    def _stored(self) -> dict[str, int] | None:
        try:
            stamp, *lines = self._beside.read_bytes().decode().split("\n")
            rows = [line.split("\t", 1) for line in lines if line]
            return {image: int(offset) for offset, image in rows} if stamp == self._stamp() else None
        except (OSError, ValueError):
            return None

    def _store(self, offsets: Mapping[str, int]) -> None:
        lines = [self._stamp(), *(f"{offset}\t{image}" for image, offset in offsets.items())]
        try:
            with _replacing(self._beside) as file:
                file.write("\n".join(lines).encode())
        except OSError:
            pass  # a folder that cannot be written to: the index lives as long as this object


class RegionHDF5(Mapping[str, Regions]):
    """HDF5 with a group an image, or with arrays that have the images on their first axis and `image_id` beside.

    Needs the package h5py. Links that leave the file are refused.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            import h5py
        except ImportError:
            raise SensoriumError("HDF5 needs h5py: pip install h5py") from None
        self.path, self.h5py = Path(path), cast(Any, h5py)
        try:
            self.file = self.h5py.File(self.path, "r")
        except OSError as error:
            raise Unreadable(path, "not an HDF5 file") from error
        ids = self._dataset(self.file, next((name for name in (*IDS, "image_ids") if name in self.file), None))
        self.rows = None if ids is None else {_id(value): row for row, value in enumerate(ids[:].tolist())}

    def __len__(self) -> int:
        return len(self.file if self.rows is None else self.rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self.file if self.rows is None else self.rows)

    def __getitem__(self, image: str) -> Regions:
        with within(self.path, f"image {image}"):
            if self.rows is not None:
                row: int | None = self.rows[image]
                group = self.file
            else:
                row = None
                group = self._inside(self.file, image)
                if not isinstance(group, self.h5py.Group):
                    raise Unreadable(self.path, "is an array, should be a group with features and boxes")
            found, names = pick({name: name for name in group})
            values = {key: self._read(group, name, row) for key, name in found.items()}
            return make(os.fspath(self.path), values, names)

    def _inside(self, group: Any, name: str) -> Any:
        if name not in group:
            raise KeyError(name)
        if isinstance(group.get(name, getlink=True), self.h5py.ExternalLink):
            raise Unreadable(self.path, f"{name} is a link to another file")
        return group[name]

    def _dataset(self, group: Any, name: str | None) -> Any:
        if name is None:
            return None
        found = self._inside(group, name)
        if not isinstance(found, self.h5py.Dataset):
            raise Unreadable(self.path, f"{name} is a group, should be an array")
        if found.external or found.is_virtual:
            raise Unreadable(self.path, f"{name} keeps its numbers in another file")
        return found

    def _read(self, group: Any, name: str, row: int | None) -> Any:
        found = self._dataset(group, name)
        if row is not None and not (found.shape and row < found.shape[0]):
            raise Unreadable(self.path, f"{name} has no row {row}")
        if found.nbytes // (1 if row is None else found.shape[0]) > LIMIT:
            raise Unreadable(self.path, f"{name} holds more than {LIMIT >> 20} MiB")
        try:
            return found[()] if row is None else found[row]
        except (OSError, ValueError, TypeError) as error:
            raise Unreadable(self.path, f"{name} is damaged") from error


# -- parts ------------------------------------------------------------------------------------------------------------


def pick(members: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """What of a file is a field of `Regions`, by our names; and how the file calls each, or how most files do."""
    names = {key: next((name for name in known if name in members), known[0]) for key, known in ALIASES.items()}
    return {key: members[name] for key, name in names.items() if name in members}, names


def from_npy(where: str, name: str, data: bytes) -> NDArray[Any]:
    """An array from the bytes of an .npy file; raises Unreadable where it is damaged, or holds objects."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, columns_first, kind = read(file)
    except Exception as error:  # its header is Python source, read by numpy: any kind of error may come of it
        raise Unreadable(where, f"{name} is no array ({error})") from error
    if kind.hasobject:
        raise Unreadable(where, f"{name} holds pickled objects, which can run code when read: {CONVERT}")
    rest = data[file.tell() :]
    if any(side < 0 for side in shape) or math.prod(shape) * kind.itemsize != len(rest) or kind.subdtype:
        raise Unreadable(where, f"{name} is cut short or too long: {len(rest)} bytes for {list(shape)} {kind}")
    flat = np.frombuffer(rest, kind) if rest else np.empty(0, kind)
    return flat.reshape(shape[::-1]).T if columns_first else flat.reshape(shape)


def from_cells(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Whole numbers and arrays from cells of text, by our names: digits, and base64 of float32 or int64.

    What is no text is left as it is. Raises Unreadable without a file's name.
    """
    text = {name: cell.encode() if isinstance(cell, str) else cell for name, cell in row.items()}
    cells: dict[str, bytes] = {name: cell for name, cell in text.items() if isinstance(cell, bytes)}
    numbers = {name: _whole(names[name], cell) for name, cell in cells.items() if name in WHOLE}
    values: dict[str, Any] = {**text, **numbers}
    for name in cells.keys() - WHOLE:
        if "count" not in values:
            raise Unreadable("", f"has no {names['count']}")
        values[name] = _from_base64(
            names[name], cells[name], whole_number("", names["count"], values["count"]), *ARRAYS[name]
        )
    return values


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, none of them larger than memory: a longer one comes in parts, which are no rows."""
    return iter(lambda: file.readline(LIMIT), b"")


def _id(cell: Any) -> str:
    return cell.decode("utf-8", "backslashreplace") if isinstance(cell, bytes) else str(cell)


def _whole(name: str, cell: bytes) -> int:
    if not cell.strip().isdigit() or len(cell) > 12:
        raise Unreadable("", f"{name} is {cell[:20].decode('latin-1')!r}, should be a whole number")
    return int(cell)


def _from_base64(name: str, cell: bytes, count: int, kind: type[np.generic], axes: int) -> NDArray[Any]:
    try:
        data = base64.b64decode(cell, validate=True)
    except binascii.Error as error:
        raise Unreadable("", f"{name} is no base64, or cut short ({error})") from error
    size = np.dtype(kind).itemsize
    per = 4 if name == "boxes" else 1
    if (axes == 1 or name == "boxes") and len(data) != size * per * count:
        raise Unreadable("", f"{name} has {len(data)} bytes, should have {size * per * count} for {count} regions")
    if len(data) % (size * count) if count else data:
        raise Unreadable("", f"{name} has {len(data)} bytes, which are no rows of {count} regions")
    array = np.frombuffer(data, np.dtype(kind).newbyteorder("<"))
    return array if axes == 1 else array.reshape(count, len(array) // count if count else per)


@contextmanager
def within(path: str | os.PathLike[str], part: str) -> Generator[None]:
    """Errors raised inside name the file, and the part of it."""
    try:
        yield
    except Unreadable as error:
        raise Unreadable(path, f"{part}: {error.reason}") from error.__cause__


@contextmanager
def _replacing(path: Path) -> Generator[Any]:
    """A file that takes its place only when it is whole."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file
            file.close()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
