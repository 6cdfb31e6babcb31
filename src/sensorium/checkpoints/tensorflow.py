"""TensorFlow's checkpoints (tensor bundles, as a SavedModel's `variables` folder holds them), read without TensorFlow.

The index is a sorted table as LevelDB writes it (https://github.com/google/leveldb, doc/table_format.md): names with
the beginning they share with the name before left out, each with a small protobuf record that says where in the data
file its numbers lie (tensorflow/core/protobuf/tensor_bundle.proto). Nothing of the graph is read, and no code is run.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from sensorium.checkpoints.rename import CheckpointError, State

MAGIC = 0xDB4775248B80FB57  # the last eight bytes of such a table
FOOTER = 48
FLOAT32 = 1  # the one of its types that weights come in; texts and counters are passed over


def read_bundle(index: str | Path) -> State:
    """The float32 tensors of a bundle of one data file, by name, without what TensorFlow appends to every name.

    `index` is the file `variables.index`; its data lie beside it. Raises CheckpointError where either is damaged.
    """
    index = Path(index)
    data_file = index.with_name(index.name.removesuffix(".index") + ".data-00000-of-00001")
    try:
        table, data = index.read_bytes(), data_file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{error.filename} cannot be read ({error.strerror})") from None
    found: State = {}
    try:
        if struct.unpack("<Q", table[-8:])[0] != MAGIC:
            raise ValueError("no such table")
        footer = table[-FOOTER:]
        _, at = _handle(footer, 0)
        (start, size), _ = _handle(footer, at)
        for _, block in _entries(table, start, size):
            (start, size), _ = _handle(block, 0)
            for name, record in _entries(table, start, size):
                if name and (tensor := _tensor(record, data)) is not None:  # the empty name is the header's
                    found[name.decode().removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")] = tensor
    except (ValueError, IndexError, struct.error) as error:
        raise CheckpointError(f"{index} is no index of a TensorFlow checkpoint, or damaged ({error})") from None
    return found


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """A varint, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _handle(raw: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block."""
    offset, at = _number(raw, at)
    size, at = _number(raw, at)
    return (offset, size), at


def _entries(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    if table[start + size]:
        raise ValueError("its blocks are compressed")
    block = table[start : start + size]
    end = size - 4 - 4 * struct.unpack("<I", block[-4:])[0]
    at, name = 0, b""
    while at < end:
        shared, at = _number(block, at)
        own, at = _number(block, at)
        length, at = _number(block, at)
        name = name[:shared] + block[at : at + own]
        yield name, block[at + own : at + own + length]
        at += own + length


def _fields(record: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message: numbers as they are, messages as bytes."""
    at = 0
    while at < len(record):
        key, at = _number(record, at)
        if key & 7 == 0:
            value, at = _number(record, at)
            yield key >> 3, value
        elif key & 7 == 2:
            length, at = _number(record, at)
            yield key >> 3, record[at : at + length]
            at += length
        elif key & 7 == 5:
            at += 4
        else:
            raise ValueError(f"a field of type {key & 7}")


def _inside(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message should stand")
    return value


def _tensor(record: bytes, data: bytes) -> torch.Tensor | None:
    fields = dict(_fields(record))
    kind, offset, size = (int(fields.get(number, 0)) for number in (1, 4, 5))
    if kind != FLOAT32:
        return None
    if offset + size > len(data):
        raise ValueError("its data file is too short")
    shape = [int(dict(_fields(_inside(side))).get(1, 0)) for _, side in _fields(_inside(fields.get(2, b"")))]
    return torch.from_numpy(np.frombuffer(data, "<f4", size // 4, offset).reshape(shape).copy())
