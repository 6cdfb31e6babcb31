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

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sensorium.checkpoints.files import write_safetensors
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.tasks.embedding import IMAGE_BATCH, Embedder, Reading

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
    paths: Sequence[Path],
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
        left = (len(paths) - done) / rate if fresh else None
        progress(Progress(stage=stage, done=done, total=len(paths), rate=rate, seconds_left=left))

    step = SHARD if keep else max(len(paths), 1)
    for start in range(0, len(paths), step):
        some = paths[start : start + step]
        file = keep / f"{_digest(embedder, some, what)}.safetensors" if keep else None
        if file is not None and (shard := _kept(file)) is not None:
            vectors, kept, bad = shard
            tell(start + len(some), computed)
        else:
            vectors, kept, bad = [], [], []
            at = 0
            for done in embedder.read(some, what, batch=batch):
                if done.paths:
                    vectors.append(torch.from_numpy(done.vectors))
                size = len(done.paths) + len(done.unreadable)
                kept += _places(some[at : at + size], done.paths, at)
                bad += done.unreadable
                at += size
                computed += size
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
        raise SensoriumError(f"none of the {len(paths)} pictures could be read{first}")
    vectors = torch.cat(found)
    if not vectors.isfinite().all():
        row = int((~vectors.isfinite().all(1)).nonzero()[0])
        raise SensoriumError(f"{embedder.name} gives numbers that are not finite, first for {paths[rows[row]]}")
    taken = time.perf_counter() - began
    return Features(vectors=vectors, rows=rows, unreadable=unreadable, computed=computed, seconds=taken)


def _places(paths: Sequence[Path], good: Sequence[Path], start: int) -> list[int]:
    """Where the good ones, which come in their order, stand among all; the same file may come twice."""
    places: list[int] = []
    for number, path in enumerate(paths, start):
        if len(places) < len(good) and path == good[len(places)]:
            places.append(number)
    return places


def _digest(embedder: Embedder, paths: Sequence[Path], what: Reading) -> str:
    digest = hashlib.blake2b(f"{embedder.fingerprint} {embedder.precision} {what}".encode(), digest_size=16)
    for path in paths:
        try:
            status = path.stat()
            said = f"{status.st_size} {status.st_mtime_ns}"
        except (OSError, ValueError):
            said = "-"
        digest.update(os.fsencode(path.absolute()) + f"\0{said}\0".encode())
    return digest.hexdigest()


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
