"""Bring the index in line with the disk: look, compare, embed what is new, commit batch by batch.

A file is told by path, size and time of change; only where these are new is its content hashed, and only where the hash
is new is it embedded. So moving, copying or touching files embeds nothing, and a run that was killed goes on where its
last committed batch ended.
"""

import hashlib
import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.folder import find_images
from sensorium.search.embeds import EmbeddedBatch, Embeds
from sensorium.search.store import Filter, Item, MissingVector, Store, Vector, item_id
from sensorium.search.taken import taken

SETTLED = 256
"""Files that need no embedding are committed this many at a time."""
MAINTAINED = 16_384
"""Embedded files between two looks at whether the search graph wants building."""
RESTLESS = "it kept changing while it was read"
NOT_FINITE = "the model gives no finite vector for it"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where an update stands. `stage` is "looking", "embedding" or "linking" (building the search graph).

    done and total count files (vectors when linking; total is 0 while looking); rate is per second since the stage
    began; seconds_left is None until it can be told. What is done is committed.
    """

    stage: str
    done: int
    total: int
    rate: float
    seconds_left: float | None


@dataclass(kw_only=True)
class Report:
    """What an update did, in files. `embedded` counts those that went through the model; the others were known.

    unreadable lists every unreadable file under the roots, also those found earlier. remaining is how many were still
    to be read when the update was stopped.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    renamed: int = 0
    embedded: int = 0
    unreadable: list[Unreadable] = field(default_factory=list[Unreadable])
    remaining: int = 0
    seconds: float = 0.0


class Stopped(KeyboardInterrupt):
    """The user interrupted an update. Everything committed stays; `report` says what was done and what remains."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"stopped with {report.remaining:,} files to go; run the same command again to continue")
        self.report = report


class Before(NamedTuple):
    """What the index knows of a file; small, since there may be a million."""

    size: int
    modified: int
    changed: int
    readable: bool
    digest: bytes


@dataclass(frozen=True)
class Found:
    """A file as the disk shows it, and the digest the index had for it (None when it is new there)."""

    path: Path
    size: int
    modified: int
    changed: int
    before: bytes | None

    def item(self, digest: bytes, like: Item | None = None, reason: str | None = None) -> Item:
        """As it goes into the store; `like` is an item of the same content."""
        facts = Item(path=self.path, digest=digest, reason=reason) if like is None else like
        stamp = {"size": self.size, "modified": self.modified, "changed": self.changed}
        return replace(facts, path=self.path, **stamp)


class Update:
    """One run of `Index.update`: made, run once, thrown away."""

    def __init__(
        self, store: Store, embedder: Embeds, progress: Callable[[Progress], object] | None, *, retry_unreadable: bool
    ) -> None:
        self.store = store
        self.embedder = embedder
        self.report = Report()
        self._progress = progress
        self._retry = retry_unreadable
        self._lock = threading.RLock()  # the embedder may draw paths in a thread of its own
        self._before: dict[str, Before] = {}  # what the index holds below the roots; what is found is taken out
        self._gone: list[str] = []
        self._problems: list[Path] = []
        self._settled: list[Item] = []
        self._flight: dict[bytes, list[Found]] = {}  # contents being embedded, with every file that has them
        self._digests: dict[Path, bytes] = {}
        self._unhashed: dict[Path, Found] = {}
        self._again: list[Found] = []
        self._reused: Counter[bytes] = Counter()
        self._stage, self._began, self._done, self._total = "looking", time.monotonic(), 0, 0
        self._maintained = 0

    def run(self, roots: Sequence[Path], batch: int) -> Report:
        """Do it all. Raises SensoriumError for a root that is not there, Stopped on Ctrl-C."""
        began = time.monotonic()
        for root in roots:
            check_root(self.store, root)
        try:
            pending = [found for root in roots for found in self._look(root)]
            self._settle(None)
            self._begin("embedding", len(pending))
            self._embed(pending, batch)
            again, self._again = self._again, []
            self._embed(again, batch)
            self._commit([found.item(b"", reason=RESTLESS) for found in self._again], {})
            self._forget_vanished()
            for root in roots:
                self.store.note(*root_note(root))
            self._maintain()
        except KeyboardInterrupt:
            self.report.remaining = max(0, self._total - self._done)
            self._finish(roots, began)
            raise Stopped(self.report) from None
        self._finish(roots, began)
        return self.report

    def _finish(self, roots: Sequence[Path], began: float) -> None:
        unreadable = self.store.iterate(Filter(below=roots), readable=False)
        self.report.unreadable = [Unreadable(item.path, item.reason or "") for item in unreadable]
        self.report.seconds = time.monotonic() - began

    def _look(self, root: Path) -> Iterator[Found]:
        """The files below a root that are new or changed."""
        for item in self.store.iterate(Filter(below=root)):
            known = Before(item.size, item.modified, item.changed, item.reason is None, item.digest)
            self._before[item.id] = known
        for path in find_images(root):
            if isinstance(path, Unreadable):
                self._problem(path)
                continue
            try:
                status = path.stat()
            except OSError:
                continue  # gone since it was listed
            if not stat.S_ISREG(status.st_mode):
                continue  # reading a pipe or a device would wait for ever
            self._done += 1
            self._tell()
            old = self._before.pop(item_id(path), None)
            if old is None or not self._same(old, status):
                before = None if old is None else old.digest
                yield Found(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, before)
            elif old.readable:
                self.report.unchanged += 1

    def _same(self, old: Before, status: os.stat_result) -> bool:
        if (old.size, old.modified) != (status.st_size, status.st_mtime_ns):
            return False
        # a change of permissions moves only the time of change, and is all that an unreadable file may have waited for
        return old.readable or (old.changed == status.st_ctime_ns and not self._retry)

    def _problem(self, problem: Unreadable) -> None:
        """A file or folder that cannot even be looked at: listed, and nothing below it is taken for deleted."""
        path = Path(problem.path)
        self._problems.append(path)
        self._before.pop(item_id(path), None)
        self._settle(Item(path=path, reason=problem.reason))

    def _embed(self, pending: Sequence[Found], batch: int) -> None:
        stream = self.embedder.stream(self._unknown(pending), batch=batch)
        try:
            for embedded in stream:
                self._take(embedded)
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()  # lets decoding threads go before anything else is done
        self._settle(None)

    def _unknown(self, pending: Sequence[Found]) -> Iterator[Path]:
        """The paths whose content the model has not seen; the others are settled on the way."""
        for found in pending:
            try:
                digest, now = fingerprint(found)
            except FileNotFoundError:
                self._vanished(found)
                continue
            except OSError:
                with self._lock:
                    self._unhashed[found.path] = found
                yield found.path  # the embedder says best why it cannot be read
                continue
            known = self.store.known([digest]).get(digest)
            with self._lock:
                if known is not None:
                    self._settle(now.item(digest, known))
                elif digest in self._flight:
                    self._flight[digest].append(now)
                    continue
                else:
                    self._flight[digest] = [now]
                    self._digests[found.path] = digest
            if known is None:
                yield found.path
            else:
                self._count(now, digest, embedded=False)

    def _take(self, embedded: EmbeddedBatch) -> None:
        """Commit what a batch brought."""
        items: list[Item] = []
        vectors: dict[bytes, Vector] = {}
        for path, vector, (width, height) in zip(embedded.paths, embedded.vectors, embedded.sizes, strict=True):
            with self._lock:
                digest = self._digests.pop(path, b"")
                alike = self._flight.pop(digest, [])
            self.report.embedded += 1
            if not alike or not unchanged(alike[0]):
                restless = alike or [self._unhashed.pop(path)]
                self._again += restless  # what was embedded is not what was hashed
            elif not np.isfinite(vector).all():
                items += [found.item(b"", reason=NOT_FINITE) for found in alike]
            else:
                vectors[digest] = np.asarray(vector, np.float32)
                facts = Item(path=path, digest=digest, width=width, height=height, taken=taken(path))
                items += [found.item(digest, facts) for found in alike]
                for position, found in enumerate(alike):
                    self._count(found, digest, embedded=position == 0)
        for problem in embedded.unreadable:
            items += self._unreadable(problem)
        with self._lock:
            items += self._settled
            self._settled = []
        self._commit(items, vectors)
        if self.report.embedded - self._maintained >= MAINTAINED:
            self._maintained = self.report.embedded
            self.store.maintain()

    def _unreadable(self, problem: Unreadable) -> list[Item]:
        path = Path(problem.path)
        with self._lock:
            digest = self._digests.pop(path, b"")
            alike = self._flight.pop(digest, None) or [self._unhashed.pop(path)]
        if not os.path.lexists(path):
            self._vanished(alike[0])
            self._again += alike[1:]
            return []
        return [found.item(b"", reason=problem.reason) for found in alike]

    def _vanished(self, found: Found) -> None:
        """Deleted while the update ran: forget it with the others."""
        with self._lock:
            self._done += 1
            if found.before is not None:
                self._gone.append(item_id(found.path))

    def _count(self, found: Found, digest: bytes, *, embedded: bool) -> None:
        with self._lock:
            if found.before is None:
                self.report.added += 1
                if not embedded:
                    self._reused[digest] += 1
            elif found.before == digest:
                self.report.unchanged += 1
            else:
                self.report.updated += 1

    def _settle(self, item: Item | None) -> None:
        """Put an item that needs no embedding beside the others, and commit them when they are many, or on None."""
        with self._lock:
            if item is not None:
                self._settled.append(item)
            if len(self._settled) >= SETTLED or item is None:
                items, self._settled = self._settled, []
                self._commit(items, {})

    def _commit(self, items: Sequence[Item], vectors: dict[bytes, Vector]) -> None:
        if not items:
            return
        while True:
            try:
                self.store.upsert(items, vectors)
                break
            except MissingVector as missing:  # another process deleted the last file of a content just found known
                lost = set(missing.digests)
                self._again += [Found(i.path, i.size, i.modified, i.changed, None) for i in items if i.digest in lost]
                items = [item for item in items if item.digest not in lost]
        with self._lock:
            if self._stage == "embedding":
                self._done += len(items)
                self._tell()

    def _forget_vanished(self) -> None:
        kept = [os.path.join(os.fsencode(path), b"") for path in self._problems]
        names = [*self._gone, *self._before]
        gone: list[Item] = []
        for start in range(0, len(names), SETTLED):
            some = [item for item in self.store.get(names[start : start + SETTLED]) if item is not None]
            some = [item for item in some if not os.fsencode(item.path).startswith(tuple(kept))]
            self.store.delete([item.id for item in some])
            gone += some
        for item in gone:
            if self._reused[item.digest] > 0:
                self._reused[item.digest] -= 1
                self.report.added -= 1
                self.report.renamed += 1
            elif item.reason is None:
                self.report.removed += 1

    def _maintain(self) -> None:
        def built(done: int, total: int) -> None:
            if self._stage != "linking":
                self._begin("linking", total)
            self._done = done
            self._tell()

        self.store.maintain(built)

    def _begin(self, stage: str, total: int) -> None:
        self._stage, self._began, self._done, self._total = stage, time.monotonic(), 0, total
        self._tell()

    def _tell(self) -> None:
        if self._progress is None:
            return
        rate = self._done / max(time.monotonic() - self._began, 1e-9)
        left = (self._total - self._done) / rate if self._done and self._total else None
        self._progress(Progress(stage=self._stage, done=self._done, total=self._total, rate=rate, seconds_left=left))


def fingerprint(found: Found) -> tuple[bytes, Found]:
    """A digest of the content, and the file as it was meanwhile. Raises OSError."""
    with found.path.open("rb") as file:
        status = os.fstat(file.fileno())
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
    return digest, replace(found, size=status.st_size, modified=status.st_mtime_ns, changed=status.st_ctime_ns)


def unchanged(found: Found) -> bool:
    """Whether the file is still as it was when it was hashed."""
    try:
        status = found.path.stat()
    except OSError:
        return False
    return (found.size, found.modified) == (status.st_size, status.st_mtime_ns)


def resolve(roots: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Absolute roots, none below another; symbolic links are left as they are."""
    given = [roots] if isinstance(roots, str | os.PathLike) else list(roots)
    paths = sorted({Path(os.path.abspath(os.path.expanduser(root))) for root in given})
    return [path for path in paths if not any(other in path.parents for other in paths)]


def check_root(store: Store, root: Path) -> None:
    """Raise SensoriumError when a root is missing or looks like an unmounted drive: then nothing is removed."""
    remedy = "connect its drive and try again; if it is gone for good, remove it from the index"
    try:
        status = root.stat()
        empty = False
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(root) as entries:
                empty = not any(entries)
    except FileNotFoundError:
        raise SensoriumError(f"{root}: there is no such file or folder; {remedy}") from None
    except OSError as error:
        raise SensoriumError(f"{root}: cannot be read ({error.strerror}); check its permissions") from error
    name, _ = root_note(root)
    noted = store.notes(name).get(name)
    if empty and noted and noted.split(b"\0")[0] != str(status.st_dev).encode() and store.count(Filter(below=root)):
        raise SensoriumError(f"{root}: is empty and on another disk than when it was indexed; {remedy}")


def root_note(root: Path) -> tuple[str, bytes]:
    """The note that keeps a root: on which device it stood, and its path."""
    return f"root/{item_id(root)}", str(root.stat().st_dev).encode() + b"\0" + os.fsencode(root)
