"""TorchScript archives, in which OpenAI published CLIP, read as data: their code is never compiled, let alone run.

Such an archive is a zip of `data.pkl` (the tree of modules), one file a storage under `data/`, and TorchScript source
under `code/`, whose classes list which attributes are parameters and buffers. `torch.jit.load` would run the source's
`__setstate__`, which can read and write files.
"""

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from sensorium.checkpoints.rename import CheckpointError

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# What torch.jit._pickle calls on attributes that are no tensors: the value is all that we want of it.
MARKERS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag")
LISTS = r"class {}\(Module\):\s+__parameters__ = \[(.*?)\]\s+__buffers__ = \[(.*?)\]"


def is_torchscript(names: list[str]) -> bool:
    """Whether a zip with these members is a TorchScript archive."""
    return any(name.endswith("/constants.pkl") for name in names)


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """The parameters and buffers of an archive by their full names, as `state_dict` of the loaded module has them.

    Raises CheckpointError where the archive asks for anything but tensors and plain values; a damaged one raises
    whatever its reader stumbles over.
    """
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        try:
            with archive.open(f"{root}data.pkl") as stream:
                tree = _Reader(stream, archive, root).load()
        except pickle.UnpicklingError as error:
            raise CheckpointError(f"{path}: a TorchScript archive of more than tensors: refused ({error})") from None
        return dict(_tensors(tree, archive, root, ""))


class _Module:
    """One node of the tree: the attributes of a module, and under which name the archive keeps its class."""

    place: str
    name: str
    state: dict[str, Any]

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"{self.name} packs its state in its own way, which only its code can read")
        self.state = cast(dict[str, Any], state)


class _Reader(pickle.Unpickler):
    """An unpickler that makes tensors, plain values and `_Module`s, and refuses every other name."""

    def __init__(self, stream: IO[bytes], archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(stream)
        self.archive, self.root = archive, root
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str, /) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return type(name, (_Module,), {"place": module, "name": name})
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module == "torch.jit._pickle" and name in MARKERS) or (module, name) == ("torch", "device"):
            return _value
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any, /) -> Tensor:
        _, dtype, key, _, numel = pid
        if key not in self.storages:
            content = bytearray(self.archive.read(f"{self.root}data/{key}"))
            if len(content) != numel * dtype.itemsize:
                raise EOFError(f"storage {key} holds {len(content)} bytes of {numel * dtype.itemsize}")
            self.storages[key] = torch.frombuffer(content, dtype=dtype) if numel else torch.empty(0, dtype=dtype)
        return self.storages[key]


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    return storage.as_strided(size, stride, offset)  # checks that all of it lies within the storage


def _value(value: object, *_: object) -> object:
    return value


def _tensors(module: _Module, archive: zipfile.ZipFile, root: str, prefix: str) -> Iterator[tuple[str, Tensor]]:
    kept = _kept(archive, f"{root}code/{module.place.replace('.', '/')}.py", module.name)
    for name, value in module.state.items():
        if isinstance(value, _Module):
            yield from _tensors(value, archive, root, f"{prefix}{name}.")
        elif isinstance(value, Tensor) and name in kept:  # others are constants, as CLIP's causal mask
            yield prefix + name, value


def _kept(archive: zipfile.ZipFile, source: str, name: str) -> set[str]:
    """Which attributes of a class are parameters or buffers, as its source lists them."""
    lists = re.search(LISTS.format(re.escape(name)), archive.read(source).decode("utf-8"), re.DOTALL)
    if not lists:
        raise ValueError(f"{source} does not list the parameters of {name}")
    return set(re.findall(r'"([^"]+)"', "".join(lists.groups())))
