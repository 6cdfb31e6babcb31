"""A stream of files of every kind into vectors: reading ahead, batches across files, rows in their order."""

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Full, Queue, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.kind_names import WAYS, Sense
from sensorium.data.pdf import pdf_extent
from sensorium.tasks.decoding import decoded, stand_back
from sensorium.tasks.pieces import pieces
from sensorium.tasks.senses import Finished, Job, Piece, Spot, Taken

if TYPE_CHECKING:
    from sensorium.tasks.embedding import Embedder

PATIENCE = 0.1  # seconds after which a thread that waits looks whether it is still wanted


@dataclass(eq=False)
class _File:
    """A file of which pieces are on their way. `number` is that of the next row to be given."""

    job: Job
    number: int
    rows: dict[int, tuple[Spot, NDArray[Any]]] = field(default_factory=dict[int, tuple[Spot, NDArray[Any]]])
    finished: Finished | None = None


@dataclass(frozen=True, eq=False)
class _Read:
    """What the reading thread hands on: a piece with its number, the end of a file, or why there is nothing of it."""

    file: _File
    what: tuple[int, Piece] | Finished | Unreadable


def take_in(model: "Embedder", jobs: Iterable[Job], batch: int) -> Generator[Taken]:
    """See `Embedder.embed_files`."""
    if batch < 1:
        raise SensoriumError(f"batch={batch}: must be 1 or more")
    table = _Table(model, batch)
    with _Reader(model, batch) as reader:

        def pictures() -> Iterator[Job]:
            for job in jobs:
                if job.kind == "picture" and not job.kept and model.has("image"):
                    yield job
                else:
                    reader.todo.put(job)
            reader.todo.put(None)

        with closing(decoded(pictures(), lambda job: model.decode_fast(job.path), batch)) as blocks:
            over = False
            while not over:
                block = next(blocks, None)
                if block is not None:
                    yield _pictures(model, block)
                ready = list(reader.ready(wait=block is None))
                over = block is None and not ready and reader.over
                yield from table.take(ready, flush=over)


def _pictures(model: "Embedder", block: list[tuple[Job, Any]]) -> Taken:
    good = [(job, row) for job, row in block if not isinstance(row, Unreadable)]
    return Taken(
        rows=[(job.path, Spot()) for job, _ in good],
        vectors=model.vectors("image", [pixels for _, (pixels, _) in good]).numpy(),
        finished=[Finished(path=job.path, pieces=1, width=w, height=h) for job, (_, (w, h)) in good],
        unreadable=[row for _, row in block if isinstance(row, Unreadable)],
    )


class _Table:
    """Pieces that wait for others of their sense, and rows that wait for those before them."""

    def __init__(self, model: "Embedder", batch: int) -> None:
        self.model, self.batch = model, batch
        self.held: dict[Sense, list[tuple[_File, int, Piece]]] = defaultdict(list)

    def take(self, ready: list[_Read], *, flush: bool) -> Iterator[Taken]:
        """Whatever can be given now; with `flush` all that is left, embedded in smaller batches."""
        finished: list[Finished] = []
        unreadable: list[Unreadable] = []
        for read in ready:
            what, file = read.what, read.file
            if isinstance(what, Unreadable):
                unreadable.append(what)
            elif isinstance(what, Finished):
                file.finished = what
                if file.number >= what.pieces:
                    finished.append(what)
            else:
                group = self.held[what[1].sense]
                group.append((file, *what))
                if len(group) >= self.batch:
                    yield self._embedded(what[1].sense)
        if finished or unreadable:
            yield Taken(rows=[], vectors=self._stacked([]), finished=finished, unreadable=unreadable)
        if flush or self.late:
            for sense in list(self.held):
                yield self._embedded(sense)

    @property
    def late(self) -> bool:
        """Whether many rows of a file wait for one whose sense is rare, and would be lost if work ended now."""
        return any(len(file.rows) > 2 * self.batch for group in self.held.values() for file, _, _ in group)

    def _embedded(self, sense: Sense) -> Taken:
        """Embed the pieces of a sense, and give every row whose file has given all before it."""
        group = self.held.pop(sense)
        vectors = self.model.vectors(sense, [piece.input for _, _, piece in group]).numpy()
        for (file, number, piece), vector in zip(group, vectors, strict=True):
            file.rows[number] = Spot(number, sense, piece.begin, piece.end, piece.page), vector
        ready: list[tuple[Path, Spot]] = []
        rows: list[NDArray[Any]] = []
        touched = list(dict.fromkeys(file for file, _, _ in group))
        for file in touched:
            while (row := file.rows.pop(file.number, None)) is not None:
                ready.append((file.job.path, row[0]))
                rows.append(row[1])
                file.number += 1
        over = [file.finished for file in touched if file.finished and file.number >= file.finished.pieces]
        return Taken(rows=ready, vectors=self._stacked(rows), finished=over, unreadable=[])

    def _stacked(self, rows: list[NDArray[Any]]) -> NDArray[Any]:
        return np.stack(rows) if rows else np.zeros((0, self.model.dim), np.float32)


class _Reader:
    """One thread that reads files into pieces, a batch of them ahead."""

    def __init__(self, model: "Embedder", batch: int) -> None:
        self.model = model
        self.todo: SimpleQueue[Job | None] = SimpleQueue()
        self.read: Queue[_Read] = Queue(batch)
        self.stopped = Event()

    def __enter__(self) -> "_Reader":
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="decode", initializer=stand_back)
        self.work = self.pool.submit(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.pool.shutdown()

    @property
    def over(self) -> bool:
        """Whether everything was read and handed on. Raises what the thread raised."""
        if not self.work.done() or not self.read.empty():
            return False
        self.work.result()
        return True

    def ready(self, *, wait: bool) -> Iterator[_Read]:
        """What has been read by now; with `wait` the next one, unless it takes long. Raises what the thread raised."""
        if self.work.done():
            self.work.result()
        for _ in range(self.read.maxsize):
            try:
                yield self.read.get(timeout=PATIENCE) if wait else self.read.get_nowait()
            except Empty:
                return
            wait = False

    def _run(self) -> None:
        while not self.stopped.is_set():
            try:
                job = self.todo.get(timeout=PATIENCE)
            except Empty:
                continue
            if job is None:
                return
            self._file(_File(job, len(job.kept)))

    def _file(self, file: _File) -> None:
        job = file.job
        number, size, reason = len(job.kept), (0, 0), None
        seconds = max((spot.end for spot in job.kept if spot.end is not None), default=None)
        try:
            for piece in pieces(self.model, job.path, job.kind, job.kept):
                seconds, size = _later(seconds, piece.end), piece.size or size
                if not self._hand_on(_Read(file, (number, piece))):
                    return
                number += 1
        except Unreadable as error:
            if not number:
                self._hand_on(_Read(file, error))
                return
            reason = error.reason
        pages = None
        with suppress(Unreadable):  # the file may be gone by now
            if job.kind == "document":
                pages, size = pdf_extent(job.path)
            elif job.kept and size == (0, 0):  # whatever is seen was given before
                tower = self.model.senses.get(WAYS[job.kind][0])
                whole = pieces(self.model, job.path, job.kind) if tower is None else tower.pieces(job.path, 0)
                size = next((piece.size or size for piece in whole), size)
        told = Finished(
            path=job.path,
            pieces=number,
            width=size[0],
            height=size[1],
            seconds=seconds,
            pages=pages,
            reason=reason,
        )
        self._hand_on(_Read(file, told))

    def _hand_on(self, read: _Read) -> bool:
        """False where nobody wants it any more."""
        while not self.stopped.is_set():
            try:
                self.read.put(read, timeout=PATIENCE)
                return True
            except Full:
                continue
        return False


def _later(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else max(a, b)
