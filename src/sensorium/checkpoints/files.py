"""Weight files of any kind into named tensors, without ever running code that a file carries."""

import ctypes
import json
import mmap
import pickle
import re
import sys
import warnings
import zipfile
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sensorium.checkpoints.rename import CheckpointError, State
from sensorium.checkpoints.torchscript import is_torchscript, read_torchscript

# In the order of preference: a format that cannot carry code comes first.
WEIGHT_FILES = (
    "model.safetensors.index.json",
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
)
CONFIG_FILES = ("config.json", "open_clip_config.json", "preprocessor_config.json")
SUFFIXES = (".safetensors", ".npz", ".pt", ".pth", ".th", ".bin")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Tensors under the names of their file, and the JSON files that lay beside them, by name."""

    path: Path
    tensors: State
    beside: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or a CheckpointError that names the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds {type(value).__name__}, not an object")
    return cast(dict[str, Any], value)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a weight file, or a folder as transformers, timm or open_clip write it.

    Raises CheckpointError where nothing is there, where the file is damaged, or where it is a pickle
    that holds more than tensors.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"no checkpoint at {path}")
    file = _weights_in(path) if path.is_dir() else path
    beside = {name: read_json(file.parent / name) for name in CONFIG_FILES if (file.parent / name).is_file()}
    return Checkpoint(path=path, tensors=dict(_unwrap(_read(file), file)), beside=beside)


def scattered(tensors: State) -> State:
    """The same tensors, of which only single numbers will be read: the system need not read ahead of each."""
    advise = getattr(ctypes.CDLL(None), "madvise", None) if sys.platform != "win32" else None
    if advise is None:
        return tensors
    for tensor in tensors.values():
        begin = tensor.data_ptr() & -mmap.PAGESIZE
        advise(ctypes.c_void_p(begin), ctypes.c_size_t(tensor.data_ptr() + tensor.nbytes - begin), 1)  # MADV_RANDOM
    return tensors


def write_safetensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors so that a reader sees either the whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(own, str(partial), metadata={"format": "pt"})
    partial.replace(path)


def _weights_in(folder: Path) -> Path:
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    found = sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.is_file())
    if len(found) != 1:
        what = "no weight file" if not found else "several weight files (" + ", ".join(p.name for p in found) + ")"
        raise CheckpointError(f"{what} in {folder}; name the file to load, one of {', '.join(SUFFIXES)}")
    return found[0]


def _read(file: Path) -> Mapping[str, object]:
    if file.name.endswith(".index.json"):
        return _sharded(file)
    try:
        return _decode(file)
    except CheckpointError:
        raise
    except PermissionError:
        raise CheckpointError(f"{file} may not be read: its permissions forbid it") from None
    except Exception as error:  # a damaged file makes its reader stumble in every way there is
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{file} is damaged ({reason}): fetch it again") from None


def _decode(file: Path) -> Mapping[str, object]:
    """Dispatch on what the file holds: suffixes lie."""
    with file.open("rb") as stream:
        head = stream.read(10)
    if not head:
        raise CheckpointError(f"{file} is empty: fetch it again")
    if head[8:9] == b"{":
        return load_file(str(file))
    if head[:2] == b"PK":
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
        if names and all(name.endswith(".npy") for name in names):
            return _npz(file)
        return read_torchscript(file) if is_torchscript(names) else _pickle(file, mapped=True)
    if head[:1] == b"\x80":
        return _pickle(file)
    if head == b"version ht":  # version https://git-lfs.github.com/spec/v1
        raise CheckpointError(f"{file} is only a pointer to the weights: run `git lfs pull` where it was cloned")
    raise CheckpointError(f"{file} is no weight file: neither safetensors, .npz nor a torch file")


def _sharded(index: Path) -> Mapping[str, object]:
    parts = read_json(index).get("weight_map")
    if not isinstance(parts, dict) or not all(isinstance(name, str) for name in parts.values()):
        raise CheckpointError(f"{index} has no weight_map from tensors to files: fetch the folder again")
    parts = cast(dict[str, str], parts)
    tensors: dict[str, object] = {}
    for name in sorted(set(parts.values())):
        shard = index.parent / name
        if Path(name).name != name or not shard.is_file():
            raise CheckpointError(f"{index} names the part {name}, which is not beside it: fetch the folder again")
        tensors.update(_read(shard))
    if missing := sorted(set(parts) - set(tensors)):
        raise CheckpointError(f"{index} promises tensors that its parts do not hold: {', '.join(missing[:8])}")
    return tensors


def _npz(file: Path) -> Mapping[str, object]:
    with np.load(file, allow_pickle=False) as arrays:
        try:
            return {name: torch.from_numpy(np.array(arrays[name])) for name in arrays.files}
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            raise CheckpointError(
                f"{file} holds Python objects, and loading them would run their code: refused"
            ) from None


def _pickle(file: Path, *, mapped: bool = False) -> Mapping[str, object]:
    """A torch file; `mapped` leaves every tensor on the disk until its numbers are used, as safetensors does."""
    try:
        # Training scripts put their arguments beside the weights: a Namespace only holds values, and runs nothing.
        with warnings.catch_warnings(), torch.serialization.safe_globals([Namespace]):
            warnings.simplefilter("ignore")  # about pickles of another protocol, which then fail
            value = torch.load(str(file), map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if asked := re.search(r"GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                f"{file} holds more than tensors ({asked[1]}), and loading it would run its code: refused. "
                "Ask its authors for safetensors."
            ) from None
        raise CheckpointError(f"{file} is damaged, or a pickle of other things than tensors: refused") from None
    if not isinstance(value, Mapping):
        raise CheckpointError(f"{file} holds one {type(value).__name__}, not tensors by name")
    return cast(Mapping[str, object], value)


def _unwrap(value: Mapping[str, object], file: Path) -> Iterator[tuple[str, Tensor]]:
    """Training scripts wrap the weights: {"state_dict": {"module.x": ...}, "epoch": ...}."""
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(inner := value.get(key), Mapping):
            value = cast(Mapping[str, object], inner)
            break
    if others := [key for key, tensor in value.items() if not isinstance(tensor, Tensor)]:
        raise CheckpointError(f"{file} holds entries that are no tensors: {', '.join(map(str, others[:8]))}")
    tensors = {str(key): cast(Tensor, tensor) for key, tensor in value.items()}
    wrapped = bool(tensors) and all(key.startswith("module.") for key in tensors)
    for key, tensor in tensors.items():
        yield key.removeprefix("module.") if wrapped else key, tensor
