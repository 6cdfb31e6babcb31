"""A model of colours for the tests, slow on request: it sees 4×4 mean colours and knows their names.

Files that are no pictures are lists of their pieces for it, a line each: "video red", "audio blue", "text green".

As a program it indexes a folder, so that tests can kill it: python fake.py INDEX FOLDER LOG SECONDS_A_BATCH
"""

import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sensorium.data.errors import Unreadable
from sensorium.data.kinds import SENSES, Kind, Sense
from sensorium.tasks.pieces import WAYS
from sensorium.tasks.senses import Finished, Job, Spot, Taken

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


TEXTUAL = (OSError, ValueError, SyntaxError, KeyError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Colours:
    """Embeds files by colour. `log` is a file to which the path of every embedded piece is appended."""

    name: str = "colours"
    fingerprint: str = "colours-1"
    dim: int = 48
    log: Path | None = None
    pause: float = 0.0
    senses: tuple[Sense, ...] = SENSES
    ear: str = ""

    def has(self, sense: Sense) -> bool:
        return sense in self.senses

    def mark(self, sense: Sense) -> str:
        return self.ear if sense == "audio" else ""

    def lacks(self, kind: Kind) -> str | None:
        return None if any(map(self.has, WAYS[kind])) else f"{self.name} lacks a sense: {kind} is left out"

    def embed(self, *, images: Sequence | None = None, text: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        embedded = {}
        if images is not None:
            embedded["images"] = np.stack([self.place(see(image)[0], "image") for image in images])
        if text is not None:
            embedded["text"] = np.stack([self.place(word(each), "text") for each in text])
        return embedded

    def place(self, vector: np.ndarray, sense: Sense) -> np.ndarray:
        """Where what is seen (or heard, or read) stands in the space."""
        return vector

    def embed_example(self, source: Path, kind: Kind | None = None) -> np.ndarray:
        vectors = [vector for _, vector in self.pieces(Path(source), kind or "picture")[0]]
        return np.mean(vectors, axis=0) / np.linalg.norm(np.mean(vectors, axis=0))

    def pieces(self, path: Path, kind: Kind) -> tuple[list[tuple[Spot, np.ndarray]], Finished]:
        if kind == "picture":
            vector, (width, height) = see(path)
            return [(Spot(), self.place(vector, "image"))], Finished(path=path, pieces=1, width=width, height=height)
        found = []
        lines = [line.split(" ", 1) for line in path.read_text().splitlines()]
        reason = "cut off?" if lines[-1:] == [["..."]] else None
        heard = [(sense, said) for sense, *said in lines if sense in self.senses]
        for number, (sense, (said,)) in enumerate(heard):
            time = (None, None, number + 1) if kind == "document" else (2.0 * number, 2.0 * number + 2, None)
            found.append((Spot(number, sense, *time), self.place(word(said), sense)))
        pages = len(found) if kind == "document" else None
        seconds = None if pages else 2.0 * len(found)
        return found, Finished(path=path, pieces=len(found), seconds=seconds, pages=pages, reason=reason)

    def embed_files(self, jobs: Iterable[Job], *, batch: int = 32) -> Iterator[Taken]:
        rows: list[tuple[Path, Spot]] = []
        vectors: list[np.ndarray] = []
        finished: list[Finished] = []
        bad: list[Unreadable] = []

        def given() -> Taken:
            if self.log is not None:
                with self.log.open("ab") as log:
                    log.write(b"".join(os.fsencode(path) + b"\0" for path, _ in rows))
            time.sleep(self.pause)
            matrix = np.reshape(vectors, (-1, self.dim)).astype(np.float32)
            taken = Taken(rows=rows[:], vectors=matrix, finished=finished[:], unreadable=bad[:])
            for each in (rows, vectors, finished, bad):
                each.clear()
            return taken

        for job in jobs:
            try:
                found, end = self.pieces(job.path, job.kind)
            except TEXTUAL as error:
                bad.append(Unreadable(job.path, f"no {job.kind} ({type(error).__name__})"))
                found, end = [], None
            for spot, vector in found[len(job.kept) :]:
                if len(rows) + len(bad) >= batch:
                    yield given()
                rows.append((job.path, spot))
                vectors.append(vector)
            if end is not None:
                finished.append(end)
            if len(rows) + len(bad) >= batch:
                yield given()
        if rows or finished or bad:
            yield given()


@dataclass(frozen=True)
class Apart(Colours):
    """The same with a wide gap between the senses: pages of text are near to any words, pictures to any picture."""

    name: str = "apart"
    fingerprint: str = "apart-1"
    dim: int = 60
    near: tuple[tuple[Sense, float], ...] = (("image", 0.2), ("audio", 0.3), ("text", 0.6), ("video", 0.15))

    def place(self, vector: np.ndarray, sense: Sense) -> np.ndarray:
        """Any two of text have a cosine of 0.6 or more, text and what is of sense s about near[s], before colours."""
        here = np.zeros(12)
        share = dict(self.near)[sense]
        here[0] = share / 0.6**0.5
        here[1 + SENSES.index(sense)] = max(0.0, 0.6 - here[0] ** 2) ** 0.5
        place = np.concatenate([vector * 0.3**0.5, here])
        return (place / np.linalg.norm(place)).astype(np.float32)


def unit(colours: np.ndarray) -> np.ndarray:
    vector = colours.reshape(-1).astype(np.float32) / 255 - 0.45
    return vector / np.linalg.norm(vector)


def film(path: Path, *pieces: str) -> Path:
    """Write a file that is no picture: its pieces, each "sense word"."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(pieces) + "\n")
    return path


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
