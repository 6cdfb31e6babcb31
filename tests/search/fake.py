"""A model of colours for the tests, slow on request: it sees 4×4 mean colours and knows their names.

As a program it indexes a folder, so that tests can kill it: python fake.py INDEX FOLDER LOG SECONDS_A_BATCH
"""

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from sensorium.data.errors import Unreadable

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
}
THINGS = {
    "strawberries": "red",
    "grass": "green",
    "the open sea": "blue",
    "a lemon": "yellow",
    "a blue sky with clouds": "cyan",
    "an orchid": "magenta",
}


@dataclass(frozen=True)
class Batch:
    paths: list[Path]
    vectors: np.ndarray
    sizes: list[tuple[int, int]]
    unreadable: list[Unreadable]


@dataclass(frozen=True)
class Colours:
    """Embeds pictures by colour. `log` is a file to which every embedded path is appended."""

    name: str = "colours"
    fingerprint: str = "colours-1"
    dim: int = 48
    log: Path | None = None
    pause: float = 0.0

    def embed(self, *, images: Sequence | None = None, text: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        embedded = {}
        if images is not None:
            embedded["images"] = np.stack([see(image)[0] for image in images])
        if text is not None:
            embedded["text"] = np.stack([word(each) for each in text])
        return embedded

    def stream(self, paths: Iterable[Path], *, batch: int = 32) -> Iterator[Batch]:
        todo = iter(paths)
        while chunk := list(islice(todo, batch)):
            good, vectors, sizes, bad = [], [], [], []
            for path in chunk:
                try:
                    vector, size = see(path)
                except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                    bad.append(Unreadable(path, f"no picture ({type(error).__name__})"))
                    continue
                good.append(path)
                vectors.append(vector)
                sizes.append(size)
            if self.log is not None:
                with self.log.open("ab") as log:
                    log.write(b"".join(os.fsencode(path) + b"\0" for path in good))
            time.sleep(self.pause)
            yield Batch(good, np.reshape(vectors, (-1, self.dim)).astype(np.float32), sizes, bad)


def unit(colours: np.ndarray) -> np.ndarray:
    vector = colours.reshape(-1).astype(np.float32) / 255 - 0.45
    return vector / np.linalg.norm(vector)


def see(source: object) -> tuple[np.ndarray, tuple[int, int]]:
    with Image.open(source) as image:
        small = image.convert("RGB").resize((4, 4), Image.Resampling.BOX)
        return unit(np.asarray(small)), image.size


def word(text: str) -> np.ndarray:
    """Its colour for a colour and for what has one, and a direction of its own for everything else."""
    if (colour := THINGS.get(text, text)) in COLOURS:
        return unit(np.tile(COLOURS[colour], (16, 1)))
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    vector = np.random.default_rng(seed).standard_normal(48).astype(np.float32)
    return vector / np.linalg.norm(vector)


def paint(path: Path, colour: str | tuple[int, int, int], *, noise: int = 0, size: tuple[int, int] = (24, 16)) -> Path:
    """Write a picture of about one colour; `noise` makes its content its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), COLOURS.get(colour, colour), np.int16)
    pixels += np.random.default_rng(noise).integers(-40, 41, pixels.shape, dtype=np.int16)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


if __name__ == "__main__":
    from sensorium.search.index import Index

    place, folder, record, pause = sys.argv[1:]
    with Index.open(place, Colours(log=Path(record), pause=float(pause))) as opened:
        print("begun", flush=True)
        opened.update(folder, batch=8)
    print("done", flush=True)
