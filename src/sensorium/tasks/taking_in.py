"""A stream of files of every kind into vectors: reading ahead, batches across files, rows in their order."""

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, Full, Queue, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.kinds import Sense
from sensorium.data.pdf import pdf_length
from sensorium.tasks.decoding import decoded, stand_back
from sensorium.tasks.pieces import pieces
from sensorium.tasks.senses import Finished, Job, Piece, Place, Taken

if TYPE_CHECKING:
    from sensorium.tasks.embedding import Embedder

PATIENCE = 0.1  # seconds after which a thread that waits looks whether it is still wanted


@dataclass(eq=False)
class _File:
    """A file of which pieces are on their way. `number` is that of the next row to be given."""

    job: Job
    number: int
    rows: dict[int, tuple[Place, NDArray[Any]]] = field(default_factory=dict[int, tuple[Place, NDArray[Any]]])
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
    held: dict[Sense, list[tuple[_File, int, Piece]]] = defaultdict(list)
    with _Reader(model, batch) as reader:

        def pictures() -> Iterator[Job]:
            for job in jobs:
                if job.kind == "picture" and not job.skip and model.has("image"):
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
                for read in reader.ready(wait=block is None):
                    what, file = read.what, read.file
                    if isinstance(what, Unreadable):
                        yield _nothing(model, unreadable=[what])
                    elif isinstance(what, Finished):
                        file.finished = what
                        if file.number == what.pieces:
                            yield _nothing(model, finished=[what])
                    else:
                        group = held[what[1].sense]
                        group.append((file, *what))
                        if len(group) >= batch:
                            yield _embedded(model, held.pop(what[1].sense))
                over = block is None and reader.over
            for group in held.values():
                yield _embedded(model, group)


def _pictures(model: "Embedder", block: list[tuple[Job, Any]]) -> Taken:
    good = [(job, row) for job, row in block if not isinstance(row, Unreadable)]
    place = Place(0, "image", None, None, None)
    return Taken(
        rows=[(job.path, place) for job, _ in good],
        vectors=model.vectors("image", [pixels for _, (pixels, _) in good]).numpy(),
        finished=[Finished(path=job.path, pieces=1, width=w, height=h) for job, (_, (w, h)) in good],
        unreadable=[row for _, row in block if isinstance(row, Unreadable)],
    )


def _nothing(
    model: "Embedder", *, finished: list[Finished] | None = None, unreadable: list[Unreadable] | None = None
) -> Taken:
    none = np.zeros((0, model.dim), np.float32)
    return Taken(rows=[], vectors=none, finished=finished or [], unreadable=unreadable or [])


def _embedded(model: "Embedder", group: list[tuple[_File, int, Piece]]) -> Taken:
    """Embed pieces of one sense, and give every row whose file has given all before it."""
    vectors = model.vectors(group[0][2].sense, [piece.input for _, _, piece in group]).numpy()
    for (file, number, piece), vector in zip(group, vectors, strict=True):
        file.rows[number] = Place(number, piece.sense, piece.begin, piece.end, piece.page), vector
    ready: list[tuple[_File, Place, NDArray[Any]]] = []
    touched = list(dict.fromkeys(file for file, _, _ in group))
    for file in touched:
        while (row := file.rows.pop(file.number, None)) is not None:
            ready.append((file, *row))
            file.number += 1
    none = np.zeros((0, model.dim), np.float32)
    return Taken(
        rows=[(file.job.path, place) for file, place, _ in ready],
        vectors=np.stack([vector for _, _, vector in ready]) if ready else none,
        finished=[file.finished for file in touched if file.finished and file.number == file.finished.pieces],
        unreadable=[],
    )


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
        """Whether everything was read and handed on; raises what went wrong in the thread."""
        if not self.work.done() or not self.read.empty():
            return False
        self.work.result()
        return True

    def ready(self, *, wait: bool) -> Iterator[_Read]:
        """What has been read by now; with `wait` the next one, unless it takes long."""
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
            self._file(_File(job, job.skip))

    def _file(self, file: _File) -> None:
        job, number = file.job, file.job.skip
        seconds, size, reason = None, (0, 0), None
        try:
            for piece in pieces(self.model, job.path, job.kind, job.skip):
                seconds, size = _later(seconds, piece.end), piece.size or size
                if not self._hand_on(_Read(file, (number, piece))):
                    return
                number += 1
        except Unreadable as error:
            if not number:
                self._hand_on(_Read(file, error))
                return
            reason = error.reason
        if job.skip and number == job.skip:  # all was kept but this
            with suppress(Unreadable):
                for last in islice(pieces(self.model, job.path, job.kind, job.skip - 1), 1):
                    seconds, size = last.end, last.size or size
        self._hand_on(
            _Read(
                file,
                Finished(
                    path=job.path,
                    pieces=number,
                    width=size[0],
                    height=size[1],
                    seconds=seconds,
                    pages=pdf_length(job.path) if job.kind == "document" else None,
                    reason=reason,
                ),
            )
        )

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
