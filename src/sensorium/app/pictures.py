"""What the page keeps in memory: thumbnails it has drawn, and pictures that were dropped on it; both bounded."""

import hashlib
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from PIL import Image

from sensorium.data.image import read_image, thumbnail

THUMBNAIL_MEMORY = 96 << 20
DROPPED_KEPT = 48
DROPPED_SIDE = 1024


@dataclass
class Thumbnails:
    """Thumbnails by file, time and size, the longest unused forgotten first. `limit` in bytes."""

    limit: int = THUMBNAIL_MEMORY
    _kept: "OrderedDict[str, bytes]" = field(default_factory=OrderedDict[str, bytes])
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @staticmethod
    def tag(path: Path, size: int) -> str:
        """Names a thumbnail's content: changes when the file does. Raises FileNotFoundError and other OSErrors."""
        status = os.stat(path)
        name = f"{os.fsencode(path)!r} {status.st_mtime_ns} {status.st_size} {size}"
        return hashlib.blake2b(name.encode(), digest_size=12).hexdigest()

    def get(self, path: Path, size: int, tag: str) -> bytes:
        """The JPEG whose longer side is at most `size` pixels. Raises Unreadable."""
        with self._lock:
            if tag in self._kept:
                self._kept.move_to_end(tag)
                return self._kept[tag]
        drawn = thumbnail(path, size)
        with self._lock:
            if tag not in self._kept:
                self._kept[tag] = drawn
                self._bytes += len(drawn)
            while self._bytes > self.limit and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return drawn


@dataclass
class Dropped:
    """Pictures that visitors searched with, so that a link or the back button can ask with them again."""

    limit: int = DROPPED_KEPT
    _kept: "OrderedDict[str, Image.Image]" = field(default_factory=OrderedDict[str, Image.Image])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _decoding: threading.Lock = field(default_factory=threading.Lock)  # one at a time: the largest takes 600 MB

    def add(self, data: bytes) -> str:
        """Keep a picture, reduced to at most 1,024 pixels; returns the token to ask for it. Raises Unreadable."""
        token = hashlib.blake2b(data, digest_size=8).hexdigest()
        with self._decoding:
            picture = read_image(data, at_least=DROPPED_SIDE)
            picture.thumbnail((DROPPED_SIDE, DROPPED_SIDE), Image.Resampling.LANCZOS)
        with self._lock:
            self._kept[token] = picture
            self._kept.move_to_end(token)
            while len(self._kept) > self.limit:
                self._kept.popitem(last=False)
        return token

    def get(self, token: str) -> Image.Image | None:
        """The picture, or None where it was never here or is no longer kept."""
        with self._lock:
            return self._kept.get(token)

    def preview(self, token: str) -> bytes | None:
        """A small JPEG of the picture."""
        picture = self.get(token)
        if picture is None:
            return None
        small, buffer = picture.copy(), BytesIO()
        small.thumbnail((160, 160))
        small.save(buffer, "JPEG", quality=85)
        return buffer.getvalue()
