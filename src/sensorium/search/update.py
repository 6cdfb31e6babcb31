"""Bring the index in line with the disk: look, compare, embed what is new, commit batch by batch.

A file is told by path, size and time of change; only where these are new is its content hashed, and only where the hash
is new is it embedded. So moving, copying or touching files embeds nothing, and a run that was killed goes on where its
last committed batch ended, in the middle of a film too.
"""

import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sensorium.data.errors import Unreadable, printable
from sensorium.data.folder import PERHAPS, find_files
from sensorium.search.embeds import Embeds
from sensorium.search.found import NO_KIND, Before, Found, facts_changed, fingerprint, is_some_kind, kind_at, unchanged
from sensorium.search.report import Progress, Report, Stopped, Telling, position
from sensorium.search.roots import check_root, other_marks, root_note
from sensorium.search.store import Filter, Item, MissingVector, Part, Store, item_id
from sensorium.search.taken import taken

if TYPE_CHECKING:
    from sensorium.tasks.senses import Finished, Job, Taken

SETTLED = 256
"""Files that need no embedding are committed this many at a time."""
MAINTAINED = 16_384
"""Embedded pieces between two looks at whether the search graph wants building."""
RESTLESS = "it kept changing while it was read"
NOT_FINITE = "the model gives no finite vector for it"


class Flight:
    """A content that is being embedded: every file that has it, and what came of it so far."""

    def __init__(self, found: Found, *, begun: bool) -> None:
        self.alike = [found]
        self.finite = begun  # whether any piece has a vector
        self.spoilt = False  # the file changed, or what was kept of it is gone: it is read again from its start


class Update:
    """One run of `Index.update`: made, run once, thrown away."""

    def __init__(
        self, store: Store, embedder: Embeds, progress: Callable[[Progress], object] | None, *, retry_unreadable: bool
    ) -> None:
        self.store = store
        self.embedder = embedder
        self.report = Report()
        self._told = Telling(progress)
        self._retry = retry_unreadable
        self._lock = threading.RLock()  # the embedder may draw paths in a thread of its own
        self._before: dict[str, Before] = {}  # what the index holds below the roots; what is found is taken out
        self._gone: list[str] = []
        self._problems: list[Path] = []
        self._settled: list[Item] = []
        self._flight: dict[bytes, Flight] = {}
        self._digests: dict[Path, bytes] = {}  # of the file that stands for each content in flight
        self._unhashed: dict[Path, Found] = {}
        self._again: list[Found] = []
        self._reused: Counter[bytes] = Counter()
        self._pieces = self._maintained = 0

    def run(self, roots: Sequence[Path], batch: int) -> Report:
        """Do it all. Raises SensoriumError for a root that is not there, Stopped on Ctrl-C."""
        began = time.monotonic()
        for root in roots:
            check_root(self.store, root)
        try:
            pending = [found for root in roots for found in self._look(root)]
            self._settle(None)
            self._told.begin("embedding", len(pending), pending)
            self._embed(pending, batch, set(roots))
            again, self._again = self._again, []
            self._embed(again, batch, set(roots))
            self._commit([found.item(b"", reason=RESTLESS) for found in self._again], {})
            self._forget_vanished()
            for root in roots:
                self.store.note(*root_note(root))
                for note in other_marks(self.store, root, self.embedder).values():
                    self.store.note(*note)
            self._maintain()
        except KeyboardInterrupt:
            self.report.remaining = max(0, self._told.total - self._told.done)
            self._finish(roots, began)
            raise Stopped(self.report) from None
        self._finish(roots, began)
        return self.report

    def _finish(self, roots: Sequence[Path], began: float) -> None:
        below = Filter(below=roots)
        unreadable, partly = self.store.iterate(below, readable=False), self.store.iterate(below, partly=True)
        self.report.unreadable = [Unreadable(item.path, item.reason or "") for item in unreadable]
        self.report.partly = [Unreadable(item.path, item.said or "") for item in partly]
        self.report.seconds = time.monotonic() - began

    def _look(self, root: Path) -> Iterator[Found]:
        """The files below a root that are new or changed, or of which only the first pieces are kept."""
        others = other_marks(self.store, root, self.embedder)
        for item in self.store.iterate(Filter(below=root)):
            self._before[item.id] = Before.of(item, otherwise=item.kind in others)
        folder, facts = Path(), 0
        for path in find_files(root):
            if isinstance(path, Unreadable):
                self._problem(path)
                continue
            try:
                status = path.stat()
            except OSError:
                continue  # gone since it was listed
            if not stat.S_ISREG(status.st_mode):
                continue  # reading a pipe or a device would wait for ever
            if path.parent != folder:
                folder, facts = path.parent, facts_changed(path.parent)
            self._told.count(1)
            old = self._before.pop(item_id(path), None)
            stamp = status.st_size, status.st_mtime_ns, max(status.st_ctime_ns, facts)
            if old is not None and old.same(stamp, told=facts > 0, retry=self._retry):
                self.report.unchanged += old.readable
            elif path == root or path.suffix.lower() not in PERHAPS or is_some_kind(path):
                yield Found(path, *stamp, before=None if old is None or not old.whole else old.digest)
            elif old is not None:
                self._gone.append(item_id(path))

    def _problem(self, problem: Unreadable) -> None:
        """A file or folder that cannot even be looked at: listed, and nothing below it is taken for deleted."""
        path = Path(problem.path)
        self._problems.append(path)
        self._before.pop(item_id(path), None)
        self._settle(Item(path=path, reason=problem.reason))

    def _embed(self, pending: Sequence[Found], batch: int, roots: set[Path]) -> None:
        stream = self.embedder.embed_files(self._jobs(pending, roots), batch=batch)
        try:
            for given in stream:
                self._take(given)
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()  # lets decoding threads go before anything else is done
        self._settle(None)

    def _jobs(self, pending: Sequence[Found], roots: set[Path]) -> "Iterator[Job]":
        """The files whose content the model has not seen, or not to its end; the others are settled on the way."""
        from sensorium.tasks.senses import Job  # brings torch, which the model has brought anyway

        for listed in pending:
            try:
                found = self._of_a_kind(listed, named=listed.path in roots)
                if found is None:
                    continue
                digest, now = fingerprint(found, self.embedder)
            except FileNotFoundError:
                self._vanished(listed)
                continue
            except Unreadable as problem:
                self._refuse(listed, problem.reason)
                continue
            except OSError:
                with self._lock:
                    self._unhashed[listed.path] = listed
                yield Job(listed.path, listed.kind)  # the embedder says best why it cannot be read
                continue
            kept = self.store.known([digest]).get(digest)
            with self._lock:
                if kept is not None and kept.item.whole:
                    self._settle(now.item(digest, kept.item))
                elif digest in self._flight:
                    self._flight[digest].alike.append(now)
                    continue
                else:
                    self._flight[digest] = Flight(now, begun=kept is not None and kept.pieces > 0)
                    self._digests[found.path] = digest
            if kept is None:
                yield Job(found.path, found.kind)
            elif not kept.item.whole:
                yield Job(found.path, found.kind, list(self.store.spots(digest).values())[: kept.pieces])
            else:
                self._told.pace.over(listed)
                self._count(now, digest, embedded=False)

    def _of_a_kind(self, found: Found, *, named: bool) -> Found | None:
        """The file with its kind; None, settled, where it is of none, or of one that the model lacks."""
        kind = kind_at(found.path)
        if kind is not None and self.embedder.lacks(kind) is None:
            return replace(found, kind=kind)
        if kind is None and named:  # nothing is said of such files in folders
            self._refuse(found, NO_KIND)
            return None
        with self._lock:
            if kind is not None:
                self.report.skipped[kind] = self.report.skipped.get(kind, 0) + 1
            if found.before is not None:
                self._gone.append(item_id(found.path))
            self._told.pace.over(found)
            self._told.total -= 1
        return None

    def _refuse(self, found: Found, reason: str) -> None:
        if os.path.lexists(found.path):
            self._told.pace.over(found)
            self._settle(found.item(b"", reason=reason))
        else:
            self._vanished(found)

    def _take(self, given: "Taken") -> None:
        """Commit what a batch brought."""
        rows: dict[bytes, list[int]] = {}
        with self._lock:
            for row, (path, _) in enumerate(given.rows):
                rows.setdefault(self._digests.get(path, b""), []).append(row)
        items: dict[Path, Item] = {}
        parts: dict[bytes, Part] = {}
        finite = [bool(np.isfinite(vector).all()) for vector in given.vectors]
        detail = ""
        for digest, some in rows.items():
            flight = self._flight.get(digest)
            if flight is None or flight.spoilt or not unchanged(flight.alike[0]):
                if flight is not None:
                    flight.spoilt = True  # what was embedded is not what was hashed
                continue
            spots = [given.rows[row][1] for row in some]
            parts[digest] = Part(spots=spots, vectors=np.asarray(given.vectors[some], np.float32))
            flight.finite |= any(finite[row] for row in some)
            items[flight.alike[0].path] = flight.alike[0].item(digest)
            detail = position(printable(flight.alike[0].path.name), spots[-1])
        over = [found for finished in given.finished for found in self._end(finished, items, parts)]
        over += [found for problem in given.unreadable for found in self._unreadable(problem, items)]
        self._told.pace.took([path for path, _ in given.rows], over)
        with self._lock:
            items |= {item.path: item for item in self._settled}
            self._settled, settled = [], len(self._settled)
        self._told.detail = detail if parts and next(reversed(parts)) in self._flight else ""
        self._commit(list(items.values()), parts, done=settled + len(over))
        self._pieces += len(given.rows)
        if self._pieces - self._maintained >= MAINTAINED:
            self._maintained = self._pieces
            self.store.maintain()

    def _end(self, finished: "Finished", items: dict[Path, Item], parts: dict[bytes, Part]) -> list[Found]:
        """All pieces of a file were given: its items with their facts, and the part that makes its content whole."""
        with self._lock:
            digest = self._digests.pop(finished.path, b"")
            flight = self._flight.pop(digest, None)
        self.report.embedded += 1
        if flight is None or flight.spoilt or not unchanged(flight.alike[0]):
            self._again += [self._unhashed.pop(finished.path)] if flight is None else flight.alike
            parts.pop(digest, None)
            items.pop(finished.path, None)
            return []
        if not flight.finite:
            parts.pop(digest, None)
            items |= {found.path: found.item(b"", reason=NOT_FINITE) for found in flight.alike}
            return flight.alike
        none = Part(spots=[], vectors=np.empty((0, self.embedder.dim), np.float32))
        parts[digest] = replace(parts.get(digest, none), pieces=finished.pieces)
        facts = Item(
            path=finished.path,
            digest=digest,
            width=finished.width,
            height=finished.height,
            taken=taken(finished.path) if flight.alike[0].kind == "picture" else None,
            seconds=finished.seconds,
            pages=finished.pages,
            said=finished.reason,
        )
        for place, found in enumerate(flight.alike):
            items[found.path] = found.item(digest, facts)
            self._count(found, digest, embedded=place == 0)
        return flight.alike

    def _unreadable(self, problem: Unreadable, items: dict[Path, Item]) -> list[Found]:
        path = Path(problem.path)
        with self._lock:
            flight = self._flight.pop(self._digests.pop(path, b""), None)
            alike = [self._unhashed.pop(path)] if flight is None else flight.alike
        if not os.path.lexists(path):
            self._vanished(alike[0])
            self._again += alike[1:]
            return []
        items |= {found.path: found.item(b"", reason=problem.reason) for found in alike}
        return alike

    def _vanished(self, found: Found) -> None:
        """Deleted while the update ran: forget it with the others."""
        with self._lock:
            self._told.done += 1
            self._told.pace.over(found)
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

    def _commit(self, items: Sequence[Item], parts: dict[bytes, Part], done: int | None = None) -> None:
        """Write it down; `done` is how many files are over with that, all of them where it is not given."""
        if not items and not parts:
            return
        done = len(items) if done is None else done
        while True:
            try:
                self.store.upsert(items, parts)
                break
            except MissingVector as missing:  # another process deleted the last file of a content just found known
                lost = [item for item in items if item.digest in set(missing.digests)]
                self._again += [Found(i.path, i.size, i.modified, i.changed, None, i.kind) for i in lost]
                items = [item for item in items if item not in lost]
                parts = {digest: part for digest, part in parts.items() if digest not in missing.digests}
                done -= len(lost)
        with self._lock:
            if self._told.stage == "embedding":
                self._told.count(done)

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
            if self._told.stage != "linking":
                self._told.begin("linking", total)
            self._told.count(done - self._told.done)

        self.store.maintain(built)
