"""A file as the disk shows it: its stamp, what kind it is of, and a digest of what a model would take in of it."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from sensorium.data.folder import CALLED
from sensorium.data.kind_names import WAYS, Kind, Sense
from sensorium.search.embeds import Embeds
from sensorium.search.store import Item

MEASURED: tuple[Kind, ...] = ("depth", "thermal", "motion")
"""Kinds whose numbers mean what a JSON file of this name beside them says."""
NO_KIND = "none of the kinds that can be searched: picture, film, sound, depth, heat, motion, PDF"


class Before(NamedTuple):
    """What the index knows of a file; small, since there may be a million."""

    size: int
    modified: int
    changed: int
    readable: bool
    whole: bool
    otherwise: bool  # taken in by another mark than the model has
    digest: bytes

    @classmethod
    def of(cls, item: Item, *, otherwise: bool) -> "Before":
        """What an update needs of an item."""
        return cls(item.size, item.modified, item.changed, item.reason is None, item.whole, otherwise, item.digest)

    def same(self, stamp: tuple[int, int, int], *, told: bool, retry: bool) -> bool:
        """Whether a file of this size, modified and changed then, need not be looked at.

        A change of permissions moves only the time of change, and is all that an unreadable file may have waited for.
        Where facts about the folder's files are `told`, it is also the time when these were last changed.
        """
        if (self.size, self.modified) != stamp[:2] or not self.whole or self.otherwise:
            return False
        same = self.changed == stamp[2]
        return (same or not told) if self.readable else same and not retry


@dataclass(frozen=True)
class Found:
    """A file and the digest the index had for it (None when it is new there).

    `changed` is its time of change, or that of the facts beside it where these are newer.
    """

    path: Path
    size: int
    modified: int
    changed: int
    before: bytes | None
    kind: Kind = "picture"

    def item(self, digest: bytes, like: Item | None = None, reason: str | None = None) -> Item:
        """As it goes into the store; `like` is an item of the same content."""
        facts = Item(path=self.path, digest=digest, reason=reason) if like is None else like
        stamp = {"size": self.size, "modified": self.modified, "changed": self.changed}
        return replace(facts, path=self.path, kind=self.kind, **stamp)


def facts_changed(folder: Path) -> int:
    """When the facts about measured files in a folder changed last, in nanoseconds; 0 where there are none."""
    times = [0]
    for kind in MEASURED:
        try:
            times.append((folder / f"{kind}.json").stat().st_ctime_ns)
        except OSError:
            continue
    return max(times)


def kind_at(path: Path) -> Kind | None:
    """What the file's content says it is, else what its name does; None for what is no kind. Raises Unreadable."""
    from sensorium.data.kinds import kind_of  # brings torch

    return kind_of(path) or CALLED.get(path.suffix.lower())


def is_some_kind(path: Path) -> bool:
    """Whether it is of any kind; not, where it cannot be opened."""
    try:
        return kind_at(path) is not None
    except Unreadable:
        return False


def senses_of(kind: Kind, embedder: Embeds) -> set[Sense]:
    """Those by which a model takes in files of a kind."""
    return {sense for sense in WAYS[kind] if embedder.has(sense)}


def mark_of(kind: Kind, embedder: Embeds) -> bytes:
    """Identity of what takes in files of a kind, as far as the model's own leaves it out."""
    return "|".join(embedder.mark(sense) for sense in sorted(senses_of(kind, embedder))).strip("|").encode()


def fingerprint(found: Found, embedder: Embeds) -> tuple[bytes, Found]:
    """A digest of the content, and the file as it was meanwhile. Raises OSError.

    The same bytes are another content where they are of another kind, are taken in by other senses or another mark, or
    where other facts beside them say what their numbers mean.
    """
    senses = "".join(sorted(sense[0] for sense in senses_of(found.kind, embedder)))
    person = b"" if found.kind == "picture" else f"{found.kind}/{senses}".encode()
    with found.path.open("rb") as file:
        status = os.fstat(file.fileno())
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16, person=person))
    digest.update(mark_of(found.kind, embedder))
    if found.kind in MEASURED:
        with suppress(FileNotFoundError):
            digest.update((found.path.parent / f"{found.kind}.json").read_bytes())
    changed = max(status.st_ctime_ns, facts_changed(found.path.parent))
    return digest.digest(), replace(found, size=status.st_size, modified=status.st_mtime_ns, changed=changed)


def unchanged(found: Found) -> bool:
    """Whether the file is still as it was when it was hashed."""
    try:
        status = found.path.stat()
    except OSError:
        return False
    return (found.size, found.modified) == (status.st_size, status.st_mtime_ns)
