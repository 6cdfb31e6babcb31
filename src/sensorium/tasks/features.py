"""What a model says of many pictures, computed once: in batches, with the rate in sight, and kept if asked to.

With `keep`, every thousand pictures or so (of other senses, every hundred files) become a file named by a digest of
the model, what was read and the pictures themselves (names, sizes, times). A run that was stopped, or another protocol
on the same data, finds it there.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
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
from sensorium.data.collection import Namer
from sensorium.data.errors import SensoriumError, Unreadable, printable
from sensorium.data.given import Given
from sensorium.data.labelled import Entry, Listed
from sensorium.tasks.embedded import About, Embedded, read_about, read_embedded
from sensorium.tasks.embedding import IMAGE_BATCH, Embedder, Picture, Reading
from sensorium.tasks.sensed import read_given

SHARD = 1024  # pictures in a kept file
FEW = 128  # sounds, films, ...: a minute's work, too
UNITS = {
    "audio": "sound",
    "video": "film",
    "depth": "depth map",
    "thermal": "thermal picture",
    "motion": "stretch of motion",
}


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
    pictures: Sequence[Listed | Picture | Given],
    what: Reading,
    *,
    progress: Report = silent,
    stage: str = "understanding",
    keep: Path | None = None,
    batch: int = IMAGE_BATCH,
) -> Features:
    """Run a model over pictures, on whatever device it lives; damaged files are listed and never stop the run.

    Of files of another sense (`Given`, all of one), every reading is the embedding that `tasks.sensed` describes.
    Where `keep` is a folder that `sensorium embed` filled, vectors of pictures that are still as they were come from
    there, and nothing is written. Raises SensoriumError where none can be read, where the model has no such output or
    gives numbers that are not finite, where `keep` cannot be written, and where it holds another model's vectors.
    """
    senses = {picture.sense for picture in pictures if isinstance(picture, Given)}
    if len(senses) > 1:
        raise SensoriumError(f"files of one sense at a time, not of {' and '.join(sorted(senses))}")
    if senses:
        what = "embedding"
    known = None if senses else _Known.find(keep, embedder, what)
    keep = None if known else keep
    found: list[Tensor] = []
    rows: list[int] = []
    unreadable: list[Unreadable] = []
    began, computed = time.perf_counter(), 0

    def tell(done: int, fresh: int) -> None:
        taken = time.perf_counter() - began
        rate = fresh / taken if taken > 0 else 0.0
        left = (len(pictures) - done) / rate if fresh else None
        progress(Progress(stage=stage, done=done, total=len(pictures), rate=rate, seconds_left=left))

    step = (FEW if senses else SHARD) if keep or known else max(len(pictures), 1)
    for start in range(0, len(pictures), step):
        some = pictures[start : start + step]
        file = keep / f"{_digest(embedder, some, what)}.safetensors" if keep else None
        if file is not None and (shard := kept_shard(file)) is not None:
            vectors, kept, bad = shard
            tell(start + len(some), computed)
        else:
            vectors, kept, bad = [], [], []
            there = known.rows(some) if known else {}
            rest = [number for number in range(len(some)) if number not in there]
            at = 0
            for batched, faults in _read(embedder, [some[number] for number in rest], what, batch):
                if len(batched):
                    vectors.append(batched)
                kept += [
                    number for number, fault in zip(rest[at : at + len(faults)], faults, strict=True) if fault is None
                ]
                bad += [fault for fault in faults if fault is not None]
                at += len(faults)
                computed += len(faults)
                tell(start + len(there) + at, computed)
            vectors = torch.cat(vectors) if vectors else torch.zeros(0, 0)
            if known and there:
                vectors, kept = known.merge(there, vectors, kept)
                tell(start + len(some), computed)
            if file is not None:
                keep_shard(file, vectors, kept, bad)
        if len(vectors):
            found.append(vectors)
        rows += [start + row for row in kept]
        unreadable += bad
    if not found:
        first = f": {unreadable[0]}" if unreadable else ""
        raise SensoriumError(f"none of the {len(pictures)} {'files' if senses else 'pictures'} could be read{first}")
    vectors = torch.cat(found)
    if not vectors.isfinite().all():
        row = int((~vectors.isfinite().all(1)).nonzero()[0])
        raise SensoriumError(f"{embedder.name} gives numbers that are not finite, first for {pictures[rows[row]]}")
    taken = time.perf_counter() - began
    return Features(vectors=vectors, rows=rows, unreadable=unreadable, computed=computed, seconds=taken)


def unit_of(pictures: Sequence[Listed | Picture | Given]) -> str:
    """What one of these is called."""
    first = next(iter(pictures), None)
    return UNITS.get(first.sense, "file") if isinstance(first, Given) else "picture"


def _read(
    embedder: Embedder, some: Sequence[Listed | Picture | Given], what: Reading, batch: int
) -> Iterator[tuple[Tensor, list[Unreadable | None]]]:
    files = [each for each in some if isinstance(each, Given)]
    if files:
        return read_given(embedder, files)
    return embedder.read([each for each in some if not isinstance(each, Given)], what, batch=batch)


class _Known:
    """The vectors of a folder that `sensorium embed` filled."""

    def __init__(self, embedded: Embedded) -> None:
        self.embedded = embedded
        self._item = Namer()

    @classmethod
    def find(cls, folder: Path | None, embedder: Embedder, what: Reading) -> "_Known | None":
        """None where the folder is none of those; raises SensoriumError where it does not fit."""
        if folder is None or (about := read_about(folder)) is None:
            return None
        if not about.same(wanted := About.of(embedder, what)):
            raise SensoriumError(f"{printable(str(folder))} holds {about}, and needed are {wanted}")
        return cls(read_embedded(folder))

    def rows(self, pictures: Sequence[Listed | Picture | Given]) -> dict[int, int]:
        """Which of the pictures have a vector, and where it stands."""
        found: dict[int, int] = {}
        for number, picture in enumerate(pictures):
            if not isinstance(picture, Path | Entry):
                continue  # it has no name
            item = self._item(picture if isinstance(picture, Path) else picture.name)
            row = self.embedded.rows.get(item.id)
            if row is not None and tuple(self.embedded.stamps[row].tolist()) == item.stamp:
                found[number] = row
        return found

    def merge(self, there: dict[int, int], vectors: Tensor, numbers: list[int]) -> tuple[Tensor, list[int]]:
        """Stored vectors and fresh ones, in the order of their pictures' numbers."""
        stored = torch.from_numpy(self.embedded.vectors[list(there.values())])
        together = torch.cat([stored, vectors]) if numbers else stored
        order = [*there, *numbers]
        place = sorted(range(len(order)), key=order.__getitem__)
        return together[place], sorted(order)


def _digest(embedder: Embedder, pictures: Sequence[Listed | Picture | Given], what: Reading) -> str:
    digest = hashlib.blake2b(f"{embedder.fingerprint} {embedder.precision} {what}".encode(), digest_size=16)
    for picture in pictures:
        if isinstance(picture, Given):
            digest.update(f"{picture.sense} {picture.told}\0".encode() + identity(picture.path))
        else:
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


def kept_shard(file: Path) -> tuple[Tensor, list[int], list[Unreadable]] | None:
    """What `keep_shard` wrote: vectors, the number that each belongs to, what was unreadable; None where nothing is."""
    if not file.is_file():
        return None
    try:
        tensors = load_file(str(file))
        unreadable = json.loads(bytes(tensors["unreadable"].tolist()))
        return tensors["vectors"], tensors["rows"].tolist(), [Unreadable(*each) for each in unreadable]
    except (OSError, SafetensorError, KeyError, ValueError):
        return None  # damaged, or not ours: computed again


def keep_shard(file: Path, vectors: Tensor, rows: list[int], unreadable: list[Unreadable]) -> None:
    """Write vectors with their numbers. Raises SensoriumError where they cannot be kept there."""
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
