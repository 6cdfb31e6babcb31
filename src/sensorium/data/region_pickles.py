"""Regions out of pickled records (LMDB, .npy) into .npz files, without running what a pickle carries.

A pickle is a program that may call anything. This reader admits the few names with which numpy writes arrays, and
answers each with a stand-in of its own: not even numpy sees the data before it is checked to be plain numbers.
"""

import io
import math
import os
import pickle
import pickletools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.region_files import LIMIT, from_cells, from_npy, pick, within, write_regions
from sensorium.data.regions import make

PLAIN = "biuf"  # kinds of dtype that are numbers


class _DType:
    """Stands for numpy.dtype: keeps the letter and the order of bytes, believes nothing else."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def plain(self) -> np.dtype[Any]:
        code, order = self.code, self.order
        if not (isinstance(code, str) and len(code) in (2, 3) and code[0] in PLAIN and code[1:].isdigit()):
            raise pickle.UnpicklingError(f"an array of type {str(code)[:20]!r}, not of numbers")
        return np.dtype(code).newbyteorder(order if order in ("<", ">") else "=")


class _Array:
    """Stands for numpy.ndarray while it is filled: `value` is the array, or the one object in a 0-d object array."""

    value: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, columns_first, data = state
        if isinstance(data, list) and shape == () and len(cast(list[Any], data)) == 1:
            self.value = cast(list[Any], data)[0]  # how numpy.save keeps a dict
        else:
            self.value = _array(data, kind, shape, "F" if columns_first else "C")


def _array(data: Any, kind: Any, shape: Any, order: Any = "C") -> NDArray[Any]:
    dtype = kind.plain()
    sides = [shape] if isinstance(shape, int) else list(shape)
    if not all(isinstance(side, int) and side >= 0 for side in sides):
        raise pickle.UnpicklingError("an array of no shape")
    if not isinstance(data, bytes | bytearray) or len(data) != math.prod(sides) * dtype.itemsize:
        raise pickle.UnpicklingError("an array whose bytes are not of its shape")
    flat = np.frombuffer(bytes(data), dtype)
    return flat.reshape(sides[::-1]).T if order == "F" else flat.reshape(sides)


def _scalar(kind: Any, data: bytes) -> NDArray[Any]:
    return _array(data, kind, ())


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _encode(text: str, codec: str) -> bytes:
    """How protocol 2 keeps bytes. Other codecs unpack archives."""
    if codec not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"the codec {codec!r}")
    return text.encode("latin-1")


ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array for core in ("core", "_core")},
}


class _Sandbox(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        """Only what ADMITTED stands in for."""
        known = ADMITTED.get((module_name, global_name))
        if known is None:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which is no array")
        return known


def unpickle(data: bytes, name: str = "record") -> Any:
    """What a pickle of arrays, numbers, strings and plain containers holds. Raises Unreadable on anything else.

    Arrays below the first level of a dict stay stand-ins, which `array_of` opens.
    """
    try:
        for code, place, _ in pickletools.genops(data):
            if code.name in ("PUT", "LONG_BINPUT") and cast(int, place) > len(data):
                raise pickle.UnpicklingError("more places than it has bytes")  # the reader would reserve them all
        value = array_of(_Sandbox(io.BytesIO(data)).load())
    except Exception as error:  # a hostile pickle can make the reader raise nearly anything
        raise Unreadable(name, f"not a pickle of arrays alone: {error}") from error
    if not isinstance(value, dict):
        return value
    return {key: array_of(item) for key, item in cast(dict[Any, Any], value).items()}


def array_of(value: Any) -> Any:
    """What a stand-in stands for: an array; all else is itself."""
    return value.value if isinstance(value, _Array) else value


def convert(source: str | os.PathLike[str], folder: str | os.PathLike[str]) -> list[Unreadable]:
    """Pickled records into one .npz a picture below `folder`; returns the records that could not be read, and why.

    `source` is an LMDB (needs the package lmdb), or a folder of .npy files: records, or features with `NAME_info.npy`
    beside. Raises Unreadable where it is neither.
    """
    source, folder = Path(source), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    left: list[Unreadable] = []
    for name, read in _records(source):
        try:
            values, names = pick(read())
            stem = Path(name).name.removesuffix(".npy")
            if stem in ("", ".", "..") or "\0" in stem:
                raise Unreadable(name, "not a possible file name")
            with within(source, name):
                regions = make(name, from_cells(values, names), names)
            write_regions(folder / f"{stem}.npz", regions)
        except Unreadable as error:
            left.append(error)
    return left


def _records(source: Path) -> Iterator[tuple[str, Any]]:
    """Names, and what reads each record."""
    if source.suffix in (".mdb", ".lmdb") or (source / "data.mdb").exists():
        yield from _lmdb(source)
    elif source.is_dir():
        for path in sorted(source.glob("*.npy")):
            if not path.name.endswith("_info.npy"):
                yield path.name, lambda path=path: _npy_record(path)
    else:
        raise Unreadable(source, "neither an LMDB nor a folder of .npy files")


def _lmdb(source: Path) -> Iterator[tuple[str, Any]]:
    try:
        import lmdb  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise SensoriumError("LMDB needs lmdb: pip install lmdb") from None
    opened: Any = cast(Any, lmdb)
    try:
        store = opened.open(str(source), subdir=source.is_dir(), readonly=True, lock=False)
    except opened.Error as error:
        raise Unreadable(source, f"not an LMDB ({error})") from error
    with store, store.begin() as reading:
        for key, data in reading.cursor():
            if key in (b"keys", b"__keys__", b"__len__"):
                continue  # lists of what the store holds
            name = key.decode("utf-8", "backslashreplace")
            yield name, lambda data=bytes(data), name=name: _mapping(name, unpickle(data, f"{source}: {name}"))


def _npy_record(path: Path) -> Mapping[str, Any]:
    content = _npy(path)
    if isinstance(content, np.ndarray):
        info = path.with_name(f"{path.stem}_info.npy")
        if not info.is_file():
            raise Unreadable(path, f"holds features only, and there is no {info.name} with the boxes")
        return {**_mapping(str(info), _npy(info)), "features": content}
    return _mapping(str(path), content)


def _npy(path: Path) -> Any:
    if path.stat().st_size > LIMIT:
        raise Unreadable(path, f"larger than {LIMIT >> 20} MiB")
    data = path.read_bytes()
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        objects = cast(Any, read(file))[2].hasobject
    except Exception as error:  # see from_npy
        raise Unreadable(path, f"no .npy file ({error})") from error
    return unpickle(data[file.tell() :], str(path)) if objects else from_npy(str(path), "features", data)


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(name, f"holds {type(value).__name__}, should hold a record")
    return {str(key): item for key, item in cast(dict[Any, Any], value).items()}
