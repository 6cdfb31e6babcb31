"""A model with its preprocessing, as search, tasks and the application see it: pictures and words in, vectors out."""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from os import PathLike, cpu_count, fsdecode
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.image import read_image
from sensorium.data.labelled import Entry, Listed
from sensorium.data.preprocess import Preprocess

Picture = str | PathLike[str] | bytes | Image.Image | NDArray[Any]
Source = TypeVar("Source")
Row = TypeVar("Row")
Precision = Literal["fp32", "bf16", "auto"]
Reading = Literal["embedding", "features", "scores"]

CPU = torch.device("cpu")
IMAGE_BATCH = 32
TEXT_BATCH = 64
DECODE_MARGIN = 1.5  # a JPEG may be decoded at a reduced scale that is still this many times the model's input


@runtime_checkable
class ImageTower(Protocol):
    """Pixels to vectors; not normalised."""

    def __call__(self, pixels: Float[Tensor, "b 3 h w"], /) -> Float[Tensor, "b d"]:
        """Embed a batch."""
        ...


@runtime_checkable
class TextTower(Protocol):
    """Sentences to vectors; not normalised. Tokenising is the tower's own affair."""

    def __call__(self, texts: Sequence[str], /) -> Float[Tensor, "b d"]:
        """Embed a batch."""
        ...


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What `Embedder.stream` yields: files and their vectors row by row, and the files that could not be read."""

    paths: list[Path]
    vectors: Float[NDArray[Any], "n d"]
    sizes: list[tuple[int, int]]
    unreadable: list[Unreadable]


@dataclass(frozen=True, kw_only=True)
class Embedder:
    """Embeds pictures, and words where the model has a text tower, into one space of `dim` numbers.

    `fingerprint` is the identity of weights and preprocessing: vectors of equal fingerprints can be compared.
    `logit_scale` turns cosines into logits for a softmax over labels. `features` gives what linear probes read, before
    the projection into the space, where that is another vector than `image`'s; `scores` are a classifier's own.
    """

    name: str
    fingerprint: str
    dim: int
    image: ImageTower
    preprocess: Preprocess
    text: TextTower | None = None
    features: ImageTower | None = None
    scores: ImageTower | None = None
    logit_scale: float = 100.0
    device: torch.device = CPU
    precision: Literal["fp32", "bf16"] = "fp32"
    model: torch.nn.Module | None = None

    def embed(
        self,
        *,
        images: Sequence[Picture] | None = None,
        text: Sequence[str] | str | None = None,
        unreadable: Literal["raise", "mask"] = "raise",
    ) -> dict[str, Tensor]:
        """{"images": (N, dim), "text": (M, dim)}, whichever was given: float32, on the CPU, of length 1.

        Images are paths, bytes of a file, PIL pictures or uint8 arrays (H, W, 3). A file that cannot be read raises
        `Unreadable` with its name before anything is embedded after it; with `unreadable="mask"` its row is zeros
        and "readable" (N,) says which rows count.
        """
        vectors: dict[str, Tensor] = {}
        if images is not None:
            if isinstance(images, str | bytes | PathLike | Image.Image) or getattr(images, "ndim", 4) < 4:
                raise SensoriumError("images takes a list; for one picture write images=[picture]")
            vectors["images"], readable = self._embed_images(list(images), mask=unreadable == "mask")
            if unreadable == "mask":
                vectors["readable"] = readable
        if text is not None:
            vectors["text"] = self._embed_text([text] if isinstance(text, str) else list(text))
        return vectors

    def stream(self, paths: Iterable[Path], *, batch: int = IMAGE_BATCH) -> Iterator[Batch]:
        """Embed files of any number in their order: threads decode ahead while the model runs.

        JPEGs are decoded at a reduced scale of at least one and a half times the model's input, and resized by the
        fast path: embeddings differ from `embed`'s by a cosine of about 0.9999. Files that cannot be read are listed
        in the batch in which they stood, and never stop the run. Memory is bounded by three batches. Closing the
        iterator ends the threads.
        """
        with closing(decoded(paths, self._decode_fast, batch)) as blocks:
            for block in blocks:
                good = [(path, row) for path, row in block if not isinstance(row, Unreadable)]
                yield Batch(
                    paths=[path for path, _ in good],
                    vectors=self._forward([pixels for _, (pixels, _) in good], self.image).numpy(),
                    sizes=[size for _, (_, size) in good],
                    unreadable=[row for _, row in block if isinstance(row, Unreadable)],
                )

    def read(
        self, pictures: Iterable[Listed | Picture], what: Reading = "features", *, batch: int = IMAGE_BATCH
    ) -> Iterator[tuple[Float[Tensor, "n d"], list[Unreadable | None]]]:
        """As `stream`, for measuring: pixels exactly as `embed` sees them, and any of the model's outputs.

        "embedding" is what `embed` gives, of length 1; "features" are what the model knows before it projects into
        the space, as they come; "scores" those of the model's own classes. Yields the vectors of a batch's readable
        pictures, and for each of its pictures None or why it has none. Raises SensoriumError where the model has no
        such output.
        """
        tower = {"embedding": self.image, "features": self.features or self.image, "scores": self.scores}[what]
        if tower is None:
            raise SensoriumError(f"{self.name} has no classes of its own; a ViT with a head has, and so has `pocket`")
        with closing(decoded(pictures, self._decode_listed, batch)) as blocks:
            for block in blocks:
                good = [row for _, row in block if not isinstance(row, Unreadable)]
                vectors = self._forward(good, tower, unit=what == "embedding")
                yield vectors, [row if isinstance(row, Unreadable) else None for _, row in block]

    def _embed_images(self, images: list[Picture], *, mask: bool) -> tuple[Float[Tensor, "n d"], Bool[Tensor, " n"]]:
        vectors, readable = torch.zeros(len(images), self.dim), torch.zeros(len(images), dtype=torch.bool)
        failed: list[Unreadable] = []
        start = 0
        for block in decoded(images, self._decode_exact, IMAGE_BATCH):
            good = [i for i, (_, row) in enumerate(block, start) if not isinstance(row, Unreadable)]
            failed += [
                _named(image, i, row) for i, (image, row) in enumerate(block, start) if isinstance(row, Unreadable)
            ]
            if mask or not failed:  # once one has failed, the rest is read only to name all that fail
                readable[good] = True
                vectors[good] = self._forward([row for _, row in block if not isinstance(row, Unreadable)], self.image)
            start += len(block)
        if failed and not mask:
            first, more = failed[0], failed[1:]
            others = f"; and {len(more)} more: " + "; ".join(map(str, more[:7])) if more else ""
            raise Unreadable(first.path, first.reason + others)
        return vectors, readable

    def _decode_exact(self, picture: Picture) -> UInt8[Tensor, "3 h w"]:
        return self.preprocess.pixels(read_image(picture))

    def _decode_fast(self, path: Path) -> tuple[UInt8[Tensor, "3 h w"], tuple[int, int]]:
        image = read_image(path, at_least=round(DECODE_MARGIN * (self.preprocess.resize_to or self.preprocess.size)))
        return self.preprocess.fast(image), image.info["size"]

    def _decode_listed(self, picture: Listed | Picture) -> UInt8[Tensor, "3 h w"]:
        if not isinstance(picture, Entry):
            return self._decode_exact(picture)
        try:
            return self._decode_exact(picture.open())
        except Unreadable as error:
            raise Unreadable(picture.name, error.reason) from error

    def _forward(self, pixels: Sequence[Tensor], tower: ImageTower, *, unit: bool = True) -> Float[Tensor, "b d"]:
        if not pixels:
            return torch.zeros(0, self.dim)
        with torch.inference_mode(), self._autocast():
            inputs = self.preprocess.normalise(torch.stack(list(pixels)).to(self.device))
            vectors = tower(inputs).float()
            return (F.normalize(vectors, dim=-1) if unit else vectors).cpu()

    def _embed_text(self, texts: list[str]) -> Float[Tensor, "m d"]:
        if self.text is None:
            raise SensoriumError(f"{self.name} has no text tower: it embeds pictures only; choose a CLIP or `pocket`")
        vectors = torch.zeros(len(texts), self.dim)
        # Texts of like length share a batch, so that short ones do not pay for long ones.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        with torch.inference_mode(), self._autocast():
            for start in range(0, len(order), TEXT_BATCH):
                some = order[start : start + TEXT_BATCH]
                vectors[some] = F.normalize(self.text([texts[i] for i in some]).float(), dim=-1).cpu()
        return vectors

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


def decoded(
    sources: Iterable[Source], decode: Callable[[Source], Row], batch: int
) -> Generator[list[tuple[Source, Row | Unreadable]]]:
    """Batches of (source, what `decode` made of it or why it could not), threads working two batches ahead.

    Closing the generator drops what waits and ends the threads. Raises SensoriumError where `batch` is below 1.
    """
    if batch < 1:
        raise SensoriumError(f"batch={batch}: must be 1 or more")
    workers = max(2, cpu_count() or 2)
    todo = iter(sources)
    pending: deque[tuple[Source, Future[Row]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode", initializer=_stand_back) as pool:
        try:
            while True:
                for source in islice(todo, 3 * batch - len(pending)):
                    pending.append((source, pool.submit(decode, source)))
                if not pending:
                    return
                block = [pending.popleft() for _ in range(min(batch, len(pending)))]
                yield [(source, _outcome(future)) for source, future in block]
        finally:
            for _, future in pending:
                future.cancel()


def _stand_back() -> None:
    """Let this thread take what the model leaves: a core that is taken from a product holds up all the others."""
    if sys.platform == "linux":  # where every thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _outcome(future: Future[Row]) -> Row | Unreadable:
    try:
        return future.result()
    except Unreadable as error:
        return error


def _named(picture: Picture, position: int, error: Unreadable) -> Unreadable:
    """The error under the name of a file, or the place in the list where there is none."""
    name = fsdecode(picture) if isinstance(picture, str | PathLike) else f"images[{position}]"
    return Unreadable(name, error.reason)


def choose(device: str, precision: Precision) -> tuple[torch.device, Literal["fp32", "bf16"]]:
    """The device to run on, and bf16 where `auto` finds hardware that multiplies it faster than fp32."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    place = torch.device(device)
    if precision != "auto":
        return place, precision
    if place.type == "cuda":
        return place, "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return place, "bf16" if place.type == "cpu" and _cpu_multiplies_bf16() else "fp32"


def _cpu_multiplies_bf16() -> bool:
    """Emulated bf16 is many times slower than fp32, so the capability is asked for, never assumed."""
    flags = torch.backends.cpu.get_cpu_capability()
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return "AVX512" in flags and probe is not None and bool(probe())
