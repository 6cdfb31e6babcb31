"""What the page keeps: what it has drawn and encoded, in memory, and files that were dropped on it, in a temporary
folder that goes with the server; all of it bounded."""

import hashlib
import os
import re
import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from PIL import Image

from sensorium.app.moments import KIND_NAMES
from sensorium.app.shown import thumbnail
from sensorium.data.errors import Unreadable
from sensorium.data.image import read_image
from sensorium.data.kinds import Kind, kind_of

MADE_MEMORY = 96 << 20
DROPPED_KEPT = 48
DROPPED_BYTES = 512 << 20
DROPPED_SIDE = 1024
FACTS = ("depth.json", "thermal.json", "motion.json")


@dataclass
class Made:
    """Thumbnails, or stretches that were encoded, the longest unused forgotten first. `limit` in bytes."""

    limit: int = MADE_MEMORY
    _kept: "OrderedDict[str, bytes]" = field(default_factory=OrderedDict[str, bytes])
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @staticmethod
    def tag(path: Path, *what: object) -> str:
        """Names what is made of a file: changes when the file does. Raises FileNotFoundError and other OSErrors."""
        status = os.stat(path)
        name = f"{os.fsencode(path)!r} {status.st_mtime_ns} {status.st_size} {what}"
        return hashlib.blake2b(name.encode(), digest_size=12).hexdigest()

    def get(self, tag: str, make: Callable[[], bytes]) -> bytes:
        """What is kept under a tag, else what `make` makes; raises what that raises."""
        with self._lock:
            if tag in self._kept:
                self._kept.move_to_end(tag)
                return self._kept[tag]
        made = make()
        with self._lock:
            if tag not in self._kept:
                self._kept[tag] = made
                self._bytes += len(made)
            while self._bytes > self.limit and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return made


@dataclass(frozen=True, eq=False)
class Question:
    """A file that was dropped: its name and kind, and the picture or the file itself."""

    name: str
    kind: Kind
    source: Image.Image | Path
    bytes: int = 0


class Dropped:
    """Files that visitors searched with, so that a link or the back button can ask with them again.

    Pictures are reduced and stay in memory. Others lie in a temporary folder, which `close` removes, and so does the
    end of the process.
    """

    def __init__(self, limit: int = DROPPED_KEPT, largest: int = DROPPED_BYTES) -> None:
        self.limit, self.largest = limit, largest
        self._kept: OrderedDict[str, Question] = OrderedDict()
        self._lock = threading.Lock()
        self._decoding = threading.Lock()  # one at a time: the largest picture takes 600 MB
        self._folder: Path | None = None
        self._remover: Callable[[], object] | None = None

    def add(self, data: bytes, name: str, beside: Sequence[tuple[str, bytes]] = ()) -> str:
        """Keep a file, and what its folder says of it (depth.json and its like); returns the token to ask for it.

        Raises Unreadable for a picture that cannot be read, and for a file of no known kind.
        """
        facts = [(each, text) for each, text in beside if each in FACTS]
        token = hashlib.blake2b(
            b"".join([data, name.encode(), *(text for _, text in facts)]), digest_size=8
        ).hexdigest()
        if self.get(token) is not None:
            return token
        folder = self._place() / token
        folder.mkdir(exist_ok=True)
        file = folder / _safe(name)
        file.write_bytes(data)
        for each, text in facts:
            (folder / each).write_bytes(text)
        try:
            question = self._question(file, name, len(data))
        except Unreadable as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise Unreadable(name, error.reason) from None
        if question.kind == "picture":
            shutil.rmtree(folder, ignore_errors=True)
        with self._lock:
            self._kept[token] = question
            self._kept.move_to_end(token)
            while len(self._kept) > self.limit or sum(each.bytes for each in self._kept.values()) > self.largest:
                gone, _ = self._kept.popitem(last=False)
                shutil.rmtree(folder.parent / gone, ignore_errors=True)
        return token

    def get(self, token: str) -> Question | None:
        """The file, or None where it was never here or is no longer kept."""
        with self._lock:
            return self._kept.get(token)

    def preview(self, token: str) -> bytes | None:
        """A small JPEG of it; raises Unreadable."""
        question = self.get(token)
        if question is None:
            return None
        if isinstance(question.source, Path):
            return thumbnail(question.source, question.kind, 160)
        small, buffer = question.source.copy(), BytesIO()
        small.thumbnail((160, 160))
        small.save(buffer, "JPEG", quality=85)
        return buffer.getvalue()

    def close(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._kept.clear()
            if self._remover is not None:
                self._remover()
            self._folder = self._remover = None

    def _question(self, file: Path, name: str, size: int) -> Question:
        kind = kind_of(file)
        if kind is None:
            raise Unreadable(file, f"of no kind that is known: {', '.join(KIND_NAMES)}")
        if kind != "picture":
            return Question(name, kind, file, size)
        with self._decoding:
            picture = read_image(file, at_least=DROPPED_SIDE)
            picture.thumbnail((DROPPED_SIDE, DROPPED_SIDE), Image.Resampling.LANCZOS)
        return Question(name, kind, picture)

    def _place(self) -> Path:
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="sensorium-"))
                self._remover = weakref.finalize(self, shutil.rmtree, str(self._folder), ignore_errors=True)
            return self._folder


def _safe(name: str) -> str:
    """A name for the file on this machine: its ending and its words tell the kind, and nothing else is taken."""
    plain = re.sub(r"[^\w.-]+", "_", Path(name.replace("\\", "/")).name, flags=re.ASCII).lstrip(".")
    return plain[-80:] or "file"
