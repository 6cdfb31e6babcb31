"""What a model says of many pictures, computed once: in batches, with the rate in sight, and kept if asked to.

With `keep`, every thousand pictures or so become a file named by a digest of the model, what was read and the pictures
themselves (names, sizes, times). A run that was stopped, or another protocol on the same data, finds it there.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sensorium.checkpoints.files import write_safetensors
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.labelled import Entry, Listed
from sensorium.tasks.embedding import IMAGE_BATCH, Embedder, Picture, Reading

SHARD = 1024  # pictures in a kept file


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands: pictures done of all, how many a second were computed, seconds left (None at first)."""

    stage: str
    done: int
    total: int
    rate: float
    seconds_left: float | None


Report = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class Features:
    """A vector for every readable picture; `rows` says which of the asked for these are."""

    vectors: Float[Tensor, "n d"]
    rows: list[int]
    unreadable: list[Unreadable]
    computed: int
    seconds: float


def silent(progress: Progress) -> None:
    """Report nothing."""


def compute(
    embedder: Embedder,
    pictures: Sequence[Listed | Picture],
    what: Reading,
    *,
    progress: Report = silent,
    stage: str = "understanding",
    keep: Path | None = None,
    batch: int = IMAGE_BATCH,
) -> Features:
    """Run a model over pictures, on whatever device it lives; damaged files are listed and never stop the run.

    Raises SensoriumError where none can be read, where the model has no such output or gives numbers that are not
    finite, and where `keep` cannot be written.
    """
    found: list[Tensor] = []
    rows: list[int] = []
    unreadable: list[Unreadable] = []
    began, computed = time.perf_counter(), 0

    def tell(done: int, fresh: int) -> None:
        taken = time.perf_counter() - began
        rate = fresh / taken if taken > 0 else 0.0
        left = (len(pictures) - done) / rate if fresh else None
        progress(Progress(stage=stage, done=done, total=len(pictures), rate=rate, seconds_left=left))

    step = SHARD if keep else max(len(pictures), 1)
    for start in range(0, len(pictures), step):
        some = pictures[start : start + step]
        file = keep / f"{_digest(embedder, some, what)}.safetensors" if keep else None
        if file is not None and (shard := _kept(file)) is not None:
            vectors, kept, bad = shard
            tell(start + len(some), computed)
        else:
            vectors, kept, bad = [], [], []
            at = 0
            for batched, faults in embedder.read(some, what, batch=batch):
                if len(batched):
                    vectors.append(batched)
                kept += [number for number, fault in enumerate(faults, at) if fault is None]
                bad += [fault for fault in faults if fault is not None]
                at += len(faults)
                computed += len(faults)
                tell(start + at, computed)
            vectors = torch.cat(vectors) if vectors else torch.zeros(0, 0)
            if file is not None:
                _keep(file, vectors, kept, bad)
        if len(vectors):
            found.append(vectors)
        rows += [start + row for row in kept]
        unreadable += bad
    if not found:
        first = f": {unreadable[0]}" if unreadable else ""
        raise SensoriumError(f"none of the {len(pictures)} pictures could be read{first}")
    vectors = torch.cat(found)
    if not vectors.isfinite().all():
        row = int((~vectors.isfinite().all(1)).nonzero()[0])
        raise SensoriumError(f"{embedder.name} gives numbers that are not finite, first for {pictures[rows[row]]}")
    taken = time.perf_counter() - began
    return Features(vectors=vectors, rows=rows, unreadable=unreadable, computed=computed, seconds=taken)


def _digest(embedder: Embedder, pictures: Sequence[Listed | Picture], what: Reading) -> str:
    digest = hashlib.blake2b(f"{embedder.fingerprint} {embedder.precision} {what}".encode(), digest_size=16)
    for picture in pictures:
        digest.update(identity(picture))
    return digest.hexdigest()


def identity(picture: Listed | Picture) -> bytes:
    """What tells a picture from others: a file's name, size and time, or the bytes or pixels themselves."""
    if isinstance(picture, bytes):
        return hashlib.blake2b(picture, digest_size=16).digest()
    if isinstance(picture, Image.Image | np.ndarray):
        pixels = np.asarray(picture)
        shape = f"{pixels.dtype} {pixels.shape}\0".encode()
        return shape + hashlib.blake2b(np.ascontiguousarray(pixels).tobytes(), digest_size=16).digest()
    name = str(picture) if isinstance(picture, Entry) else ""
    file = Path(picture.source.name) if isinstance(picture, Entry) else Path(picture)
    try:
        status = file.stat()
        said = f"{status.st_size} {status.st_mtime_ns}"
    except (OSError, ValueError):
        said = "-"
    return os.fsencode(file.absolute()) + f"\0{name}\0{said}\0".encode(errors="surrogateescape")


def _kept(file: Path) -> tuple[Tensor, list[int], list[Unreadable]] | None:
    if not file.is_file():
        return None
    try:
        tensors = load_file(str(file))
        unreadable = json.loads(bytes(tensors["unreadable"].tolist()))
        return tensors["vectors"], tensors["rows"].tolist(), [Unreadable(*each) for each in unreadable]
    except (OSError, SafetensorError, KeyError, ValueError):
        return None  # damaged, or not ours: computed again


def _keep(file: Path, vectors: Tensor, rows: list[int], unreadable: list[Unreadable]) -> None:
    said = json.dumps([(each.path, each.reason) for each in unreadable]).encode()
    tensors = {
        "vectors": vectors,
        "rows": torch.tensor(rows, dtype=torch.int64),
        "unreadable": torch.tensor(list(said), dtype=torch.uint8),
    }
    try:
        write_safetensors(tensors, file)
    except (OSError, SafetensorError) as error:
        raise SensoriumError(
            f"{file.parent}: features cannot be kept there: {error}; make room, or go without"
        ) from error
