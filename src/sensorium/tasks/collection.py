"""Embed collections of any size into a folder: on this machine here, on many by `tasks.on_ray`.

Pictures are cut into parts, and each part is read, embedded, written, and only then accepted: by this process alone,
which holds the folder. So after any kill, of a worker, a machine or this process, the same call embeds what is missing,
and no picture is lost or stands there twice. A picture counts as embedded while its file has the same size and time.
"""

import hashlib
import os
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sensorium.data.collection import Item, Items
from sensorium.data.errors import SensoriumError, Unreadable, printable
from sensorium.data.sources import Opened
from sensorium.tasks.embedded import About, Vectors
from sensorium.tasks.embedding import IMAGE_BATCH, Embedder, Reading
from sensorium.tasks.features import Progress, Report, silent

ROWS = 1024  # pictures in a part: what a kill costs at most, for each worker
ABSENT, SEEN = -1, None  # no hash is -1
NOT_FINITE = "the model gives no finite vector for it"


@dataclass(frozen=True, kw_only=True)
class Part:
    """Pictures that are embedded together; the name follows from them."""

    name: str
    items: list[Item]


@dataclass(frozen=True, kw_only=True)
class Done:
    """A part that was computed: the file under way (None where no picture could be read), and what was left out."""

    name: str
    file: Path | None
    damaged: list[tuple[Item, str]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What those who compute parts need to know."""

    source: Opened
    vectors: Vectors
    batch: int


Run = Callable[[Job, Iterator[Part], Callable[[int], None]], Iterator[Done]]
"""Computes parts in any order: the job, its parts, and whom to tell of pictures computed."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run did, in pictures. `known` were there before; `repeated` are rows of pictures that others show, too."""

    known: int
    computed: int
    repeated: int
    unreadable: list[Unreadable]
    seconds: float


def embed_collection(
    embedder: Embedder,
    source: Opened,
    folder: Path,
    what: Reading = "embedding",
    *,
    run: Run | None = None,
    progress: Report = silent,
    rows: int = ROWS,
    batch: int = IMAGE_BATCH,
) -> Outcome:
    """Fill a folder with the vectors of all pictures that it does not hold yet; `read_embedded` reads it.

    `run` computes them, by default with this model in this process. In memory are one part of vectors and, for every
    picture that the folder holds, about 150 bytes. Pictures that cannot be read are listed and never stop the run.
    Raises SensoriumError where the folder is another model's or another process is filling it, where it cannot be
    written, and where all pictures of a part are gone, as when a disk is unplugged.
    """
    vectors = Vectors(folder, About.of(embedder, what))
    began = time.perf_counter()
    with vectors.alone():
        items = Items(source)
        known, missing, changed = _compare(items, vectors, progress)
        vectors.forget(changed)
        started, computed, bad = time.perf_counter(), 0, 0
        unreadable = [Unreadable(source.name, problem) for problem in source.problems]

        def tell(fresh: int) -> None:
            nonlocal computed
            computed += fresh
            rate = computed / max(time.perf_counter() - started, 1e-9)
            left = (len(missing) - computed) / rate if computed else None
            done, total = known + computed, known + len(missing)
            progress(Progress(stage="understanding", done=done, total=total, rate=rate, seconds_left=left))

        parts = (_part(items, missing[at : at + rows]) for at in range(0, len(missing), rows))
        compute = run or partial(here, embedder)
        job = Job(source=source, vectors=vectors, batch=batch)
        for done in compute(job, parts, tell) if len(missing) else ():
            vectors.accept(done.name, done.file, done.damaged)
            bad += len(done.damaged)
            unreadable += [Unreadable(item.name, reason) for item, reason in done.damaged]
    return Outcome(
        known=known,
        computed=computed - bad,
        repeated=len(source) - known - len(missing),
        unreadable=sorted(unreadable, key=str),
        seconds=time.perf_counter() - began,
    )


def here(embedder: Embedder, job: Job, parts: Iterator[Part], tell: Callable[[int], None]) -> Iterator[Done]:
    """Compute parts with a model of this process."""
    for part in parts:
        yield embed_part(embedder, part, job.source, job.vectors, job.batch, tell)


def embed_part(
    embedder: Embedder,
    part: Part,
    source: Opened | None,
    vectors: Vectors,
    batch: int,
    tell: Callable[[int], None] = lambda fresh: None,
) -> Done:
    """Read and embed the pictures of a part and leave it under way.

    Raises SensoriumError where none of its files is there, though each was when the collection was listed.
    """
    pictures = [item.listed(source) for item in part.items]
    good: list[Item] = []
    found: list[NDArray[np.float32]] = []
    damaged: list[tuple[Item, str]] = []
    at = 0
    for batched, faults in embedder.read(pictures, vectors.about.what, batch=batch):
        some = part.items[at : at + len(faults)]
        readable = [item for item, fault in zip(some, faults, strict=True) if fault is None]
        damaged += [(item, fault.reason) for item, fault in zip(some, faults, strict=True) if fault is not None]
        if readable:
            finite = batched.isfinite().all(1).tolist()
            damaged += [(item, NOT_FINITE) for item, fine in zip(readable, finite, strict=True) if not fine]
            good += [item for item, fine in zip(readable, finite, strict=True) if fine]
            found.append(batched[finite].numpy())
        at += len(faults)
        tell(len(faults))
    there = {item.file for item in part.items if item.modified}
    if not good and there and not any(map(os.path.exists, there)):
        raise SensoriumError(f"{printable(min(there))}: there no longer, nor any other of its part: is its disk there?")
    file = vectors.write(good, np.concatenate(found)) if good else None
    return Done(name=part.name, file=file, damaged=damaged)


def _compare(items: Items, vectors: Vectors, progress: Report) -> tuple[int, NDArray[np.int64], set[str]]:
    """How many pictures have their vectors; which have not: (n, 3), number and stamp; the ids of outdated rows."""
    known: dict[bytes, int | None] = {bytes.fromhex(name): hash(stamp) for name, stamp in vectors.known()}
    missing, changed = array("q"), set[str]()
    fine, total = 0, len(items.source)
    for number, item in enumerate(items):
        if number % 10_000 == 0:
            progress(Progress(stage="looking", done=number, total=total, rate=0.0, seconds_left=None))
        key = bytes.fromhex(item.id)
        before = known.get(key, ABSENT)
        known[key] = SEEN
        if before is SEEN:
            continue
        if before == hash(item.stamp):
            fine += 1
            continue
        missing.extend((number, *item.stamp))
        if before != ABSENT:
            changed.add(item.id)
    return fine, np.array(missing, dtype=np.int64).reshape(-1, 3), changed


def _part(items: Items, rows: NDArray[np.int64]) -> Part:
    """Pictures by their numbers, with the stamps that they had when the collection was listed."""
    digest = hashlib.blake2b(digest_size=8)
    some: list[Item] = []
    for number, size, modified in rows.tolist():
        some.append(item := replace(items[number], size=size, modified=modified))
        digest.update(f"{item.id} {size} {modified}\n".encode())
    return Part(name=digest.hexdigest(), items=some)
