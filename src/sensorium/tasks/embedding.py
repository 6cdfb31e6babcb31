"""A model with its preprocessing, as search, tasks and the application see it: pictures and words in, vectors out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from os import PathLike, fsdecode
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.image import read_image
from sensorium.data.kinds import SENSES, Kind, Sense, kind_of
from sensorium.data.labelled import Entry, Listed
from sensorium.data.preprocess import Preprocess
from sensorium.tasks import pieces as parts
from sensorium.tasks.decoding import decoded
from sensorium.tasks.senses import Job, SenseTower, Taken
from sensorium.tasks.taking_in import take_in

File = str | PathLike[str]
Picture = str | PathLike[str] | bytes | Image.Image | NDArray[Any]
Precision = Literal["fp32", "bf16", "auto"]
Reading = Literal["embedding", "features", "scores"]

CPU = torch.device("cpu")
IMAGE_BATCH = 32
TEXT_BATCH = 64
FILES = 2  # films read at once: each is dozens of megabytes
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


class Blind:
    """The image tower of a model that was loaded without."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, pixels: Float[Tensor, "b 3 h w"], /) -> Float[Tensor, "b d"]:
        """There is nothing that could embed."""
        raise SensoriumError(f"{self.name} was loaded without pictures: name image among its senses")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What `Embedder.stream` yields: files and their vectors row by row, and the files that could not be read."""

    paths: list[Path]
    vectors: Float[NDArray[Any], "n d"]
    sizes: list[tuple[int, int]]
    unreadable: list[Unreadable]


@dataclass(frozen=True, kw_only=True)
class Embedder:
    """Embeds pictures, words and what else the model has senses for into one space of `dim` numbers.

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
    senses: Mapping[Sense, SenseTower] = field(default_factory=dict[Sense, SenseTower])
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
        video: Sequence[File] | None = None,
        audio: Sequence[File] | None = None,
        depth: Sequence[File] | None = None,
        thermal: Sequence[File] | None = None,
        motion: Sequence[File] | None = None,
        unreadable: Literal["raise", "mask"] = "raise",
    ) -> dict[str, Tensor]:
        """{"images": (N, dim), "text": (M, dim)}, whichever was given: float32, on the CPU, of length 1.

        Images are paths, bytes of a file, PIL pictures or uint8 arrays (H, W, 3). A file that cannot be read raises
        `Unreadable` with its name before anything is embedded after it; with `unreadable="mask"` its row is zeros
        and "readable" (N,) says which rows count.

        video, audio, depth, thermal and motion are files, read as the paper of the model reads them: the clips of one
        are averaged, and the mean is of length 1. With `unreadable="mask"` "audio_readable" (N,) says which rows
        count. Raises SensoriumError, naming it, for a sense that the model lacks.
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
        asked: dict[Sense, Sequence[File] | None] = {"video": video, "audio": audio, "depth": depth}
        asked |= {"thermal": thermal, "motion": motion}
        for sense, files in asked.items():
            if files is None:
                continue
            if isinstance(files, str | PathLike):
                raise SensoriumError(f"{sense} takes a list; for one file write {sense}=[file]")
            vectors[sense], readable = self._embed_media(sense, [Path(fsdecode(file)) for file in files], unreadable)
            if unreadable == "mask":
                vectors[f"{sense}_readable"] = readable
        return vectors

    def has(self, sense: Sense) -> bool:
        """Whether the model has a sense."""
        if sense == "image":
            return not isinstance(self.image, Blind)
        return self.text is not None if sense == "text" else sense in self.senses

    def tower(self, sense: Sense) -> SenseTower:
        """What takes in files of a sense beside pictures and words; raises SensoriumError where the model lacks it."""
        if sense not in self.senses:
            has = ", ".join(sense for sense in SENSES if self.has(sense))
            raise SensoriumError(f"{self.name} has no {sense}: it has {has}")
        return self.senses[sense]

    def mark(self, sense: Sense) -> str:
        """Identity of what `fingerprint` leaves out of a sense: by another mark files are to be taken in anew."""
        return self.senses[sense].mark if sense in self.senses else ""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of files that it can take in."""
        return parts.kinds(self)

    def lacks(self, kind: Kind) -> str | None:
        """Why it cannot take in files of a kind, in a sentence; None where it can."""
        return parts.lacks(self, kind)

    def embed_example(self, source: Path | Picture, kind: Kind | None = None) -> Float[Tensor, " dim"]:
        """A file of any kind, or a picture, as one unit vector: the mean of its pieces', of 64 at most, evenly spaced.

        Of a film so long that its pieces are more, only pictures count where the model sees them, of such a sound only
        what is heard. Raises Unreadable, also for a kind that is not known or that the model cannot take in.
        """
        if not isinstance(source, str | PathLike):
            return self.embed(images=[source])["images"][0]
        path = Path(fsdecode(source))
        kind = kind or kind_of(path)
        if kind is None:
            raise Unreadable(path, "neither picture, film, sound, depth, heat, motion nor PDF")
        if (reason := self.lacks(kind)) is not None:
            raise Unreadable(path, reason)
        if kind == "picture":
            return self.embed(images=[path])["images"][0]
        inputs: dict[Sense, list[Tensor | str]] = {}
        for piece in parts.example(self, path, kind):
            inputs.setdefault(piece.sense, []).append(piece.input)
        rows = torch.cat([self.vectors(sense, some) for sense, some in inputs.items()])
        return F.normalize(rows.mean(0), dim=0)

    def embed_files(self, jobs: Iterable[Job], *, batch: int = IMAGE_BATCH) -> Iterator[Taken]:
        """Take in files of every kind, of any number and length, in bounded memory.

        Pictures are decoded ahead as `stream` does it; films, sounds and all others by one thread. Pieces of one sense
        are embedded together, whatever file they are of; rows of one file come in their order. What cannot be read is
        listed, and never stops the run. Closing the iterator ends the threads.
        """
        return take_in(self, jobs, batch)

    def vectors(self, sense: Sense, inputs: Sequence[Tensor | str]) -> Float[Tensor, "b dim"]:
        """The unit vectors of a batch of inputs of one sense, as pieces have them: float32, on the CPU."""
        if sense == "text":
            return self._embed_text([text for text in inputs if isinstance(text, str)])
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        if sense == "image":
            return self.forward(tensors, self.image)
        with torch.inference_mode(), self._autocast():
            rows = self.senses[sense].forward(torch.stack(tensors).to(self.device)).float()
            return F.normalize(rows, dim=-1).cpu()

    def stream(self, paths: Iterable[Path], *, batch: int = IMAGE_BATCH) -> Iterator[Batch]:
        """Embed files of any number in their order: threads decode ahead while the model runs.

        JPEGs are decoded at a reduced scale of at least one and a half times the model's input, and resized by the
        fast path: embeddings differ from `embed`'s by a cosine of about 0.9999. Files that cannot be read are listed
        in the batch in which they stood, and never stop the run. Memory is bounded by three batches. Closing the
        iterator ends the threads.
        """
        with closing(decoded(paths, self.decode_fast, batch)) as blocks:
            for block in blocks:
                good = [(path, row) for path, row in block if not isinstance(row, Unreadable)]
                yield Batch(
                    paths=[path for path, _ in good],
                    vectors=self.forward([pixels for _, (pixels, _) in good], self.image).numpy(),
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
                vectors = self.forward(good, tower, unit=what == "embedding")
                yield vectors, [row if isinstance(row, Unreadable) else None for _, row in block]

    def _embed_media(
        self, sense: Sense, files: list[Path], unreadable: Literal["raise", "mask"]
    ) -> tuple[Float[Tensor, "n d"], Bool[Tensor, " n"]]:
        read = self.tower(sense).read
        vectors, readable = torch.zeros(len(files), self.dim), torch.zeros(len(files), dtype=torch.bool)
        failed: list[Unreadable] = []
        with closing(decoded(files, lambda path: parts.told(path, read), FILES)) as blocks:
            for i, (_, clips) in enumerate(pair for block in blocks for pair in block):
                if isinstance(clips, Unreadable):
                    failed.append(clips)
                elif unreadable == "mask" or not failed:
                    rows = torch.cat([self.vectors(sense, list(some)) for some in clips.split(IMAGE_BATCH)])
                    vectors[i], readable[i] = F.normalize(rows.mean(0), dim=0), True
        if failed and unreadable == "raise":
            raise _all(failed)
        return vectors, readable

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
                vectors[good] = self.forward([row for _, row in block if not isinstance(row, Unreadable)], self.image)
            start += len(block)
        if failed and not mask:
            raise _all(failed)
        return vectors, readable

    def _decode_exact(self, picture: Picture) -> UInt8[Tensor, "3 h w"]:
        return self.preprocess.pixels(read_image(picture))

    def decode_fast(self, path: Path) -> tuple[UInt8[Tensor, "3 h w"], tuple[int, int]]:
        """Pixels of a file by the fast path, and the picture's whole (width, height); raises Unreadable."""
        image = read_image(path, at_least=round(DECODE_MARGIN * (self.preprocess.resize_to or self.preprocess.size)))
        return self.preprocess.fast(image), image.info["size"]

    def _decode_listed(self, picture: Listed | Picture) -> UInt8[Tensor, "3 h w"]:
        if not isinstance(picture, Entry):
            return self._decode_exact(picture)
        try:
            return self._decode_exact(picture.open())
        except Unreadable as error:
            raise Unreadable(picture.name, error.reason) from error

    def forward(self, pixels: Sequence[Tensor], tower: ImageTower, *, unit: bool = True) -> Float[Tensor, "b d"]:
        """What a tower makes of pictures, of length 1 or as it comes: float32, on the CPU."""
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


def _all(failed: Sequence[Unreadable]) -> Unreadable:
    """The first of several errors, which names the others too."""
    first, more = failed[0], failed[1:]
    others = f"; and {len(more)} more: " + "; ".join(map(str, more[:7])) if more else ""
    return Unreadable(first.path, first.reason + others)


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
