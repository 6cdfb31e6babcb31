"""Patch features of pictures of any size, computed when asked for and kept if asked to: what dense tasks read.

A picture is resized so that both sides are whole numbers of patches, its aspect kept as nearly as that allows, or it
stays as it is and is filled up with zeros to the right and at the bottom (LOST). Features are rounded to half
precision, kept or not, so that a run from kept ones gives the same numbers.
"""

import hashlib
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float16, UInt8
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sensorium.checkpoints.files import write_safetensors
from sensorium.data.dense import DenseSet
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.image import read_image
from sensorium.data.preprocess import FILTERS
from sensorium.nn.patch_maps import Kind, patch_maps, sample_map
from sensorium.nn.vit_like import find_vit
from sensorium.tasks.decoding import decoded
from sensorium.tasks.embedding import Embedder, Picture
from sensorium.tasks.features import Progress, Report, identity, silent

Named = tuple[str, Picture]  # what a picture is called in messages, and the picture
Decoded = tuple[UInt8[Tensor, "3 h w"], tuple[int, int]]  # resized; height and width before

AHEAD = 8  # pictures decoded together


@runtime_checkable
class Pictured(Protocol):
    """An item with one picture and a name for it."""

    @property
    def image(self) -> Picture:
        """The picture."""
        ...

    @property
    def key(self) -> str:
        """Its name in messages."""
        ...


Request = TypeVar("Request")
Item = TypeVar("Item")
One = TypeVar("One", bound=Pictured)


@dataclass(frozen=True, kw_only=True)
class View:
    """How a model looks at a picture, and what is read of it.

    `short` or `long` is how many patches its short or its long side becomes; with neither it stays as large as it is.
    `what` is read after (or in) the named `blocks`, which stand side by side in the features' width.
    """

    short: int | None = None
    long: int | None = None
    what: Kind = "tokens"
    blocks: tuple[int, ...] = (-1,)

    def sides(self, height: int, width: int, patch: tuple[int, int]) -> tuple[int, int]:
        """Height and width that a picture is resized to: the nearest whole numbers of patches, at least one."""
        named = self.short if self.long is None else self.long
        if named is None:
            return height, width
        scale = named / (min if self.long is None else max)(height / patch[0], width / patch[1])
        rows, columns = (max(1, round(scale * side / p)) for side, p in zip((height, width), patch, strict=True))
        return rows * patch[0], columns * patch[1]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A picture as a model saw it. `size` is its height and width, `shown` those it was resized to, `patch` a patch's.

    Points are x and y in pixels of the picture; the upper left corner of its first pixel is (0, 0).
    """

    stored: Float16[Tensor, "width rows columns"]
    size: tuple[int, int]
    shown: tuple[int, int]
    patch: tuple[int, int]

    @property
    def patches(self) -> Float[Tensor, "width rows columns"]:
        """The features, in single precision."""
        return self.stored.float()

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.stored.shape[1], self.stored.shape[2]

    @property
    def scale(self) -> Float[Tensor, "2"]:
        """How many of the picture's pixels, in x and in y, are one of those that the model saw."""
        return torch.tensor([self.size[1] / self.shown[1], self.size[0] / self.shown[0]])

    def places(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Points as `sample_map` takes them: the model's whole input goes from -1 to 1."""
        rows, columns = self.grid
        whole = torch.tensor([columns * self.patch[1], rows * self.patch[0]])
        return 2 * (points / self.scale) / whole - 1

    def at(self, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n width"]:
        """Features at points, between patch centres bilinearly."""
        return sample_map(self.patches, self.places(points))

    def centres(self) -> Float[Tensor, "patches 2"]:
        """The points at the middle of the patches, in raster order."""
        rows, columns = self.grid
        y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
        return torch.stack([x.flatten() * self.patch[1], y.flatten() * self.patch[0]], 1) * self.scale


class Patches:
    """The patches of any ViT-like model. Calling it with a picture gives what the model saw.

    Raises SensoriumError where the model has no patches, or not so many blocks.
    """

    def __init__(self, embedder: Embedder, view: View, *, keep: Path | None = None) -> None:
        vit = None if embedder.model is None else find_vit(embedder.model)
        if vit is None:
            raise SensoriumError(
                f"{embedder.name} does not read pictures as patches: this needs a ViT, a CLIP whose image tower is "
                "one, a DINOv2 or DINOv3, or ImageBind"
            )
        if any(not -len(vit.blocks) <= block < len(vit.blocks) for block in view.blocks):
            asked = ", ".join(map(str, view.blocks))
            raise SensoriumError(f"{embedder.name} has blocks 0 to {len(vit.blocks) - 1}; asked for: {asked}")
        self.embedder, self.vit, self.view, self.keep = embedder, vit, view, keep
        self.patch = (vit.patches.patch[-2], vit.patches.patch[-1])
        self.computed, self.seconds = 0, 0.0

    @property
    def rate(self) -> float:
        """Pictures a second while the model ran; 0 where everything had been kept."""
        return self.computed / self.seconds if self.computed else 0.0

    def __call__(self, picture: Picture, name: str = "picture") -> Seen:
        """What the model sees in one picture. Raises Unreadable, by `name`."""
        return self._finish((name, picture), self._prepare((name, picture)))

    def over(
        self,
        requests: Sequence[Request],
        read: Callable[[Request], tuple[Item, Named]],
        *,
        progress: Report = silent,
        stage: str = "understanding",
        first: int = 0,
        total: int | None = None,
    ) -> Generator[tuple[Item, Seen] | Unreadable]:
        """What the model sees in the picture that `read` gives for each request, in their order, or why nothing.

        `read` runs in threads that decode ahead; what it gives beside the picture comes along. `first` and `total`
        tell the progress where these pictures stand among more. Closing it ends the threads.
        """
        began, already, total = time.perf_counter(), self.computed, total or len(requests)

        def decode(request: Request) -> tuple[Item, Named, Seen | Decoded]:
            item, named = read(request)
            return item, named, self._prepare(named)

        with closing(decoded(requests, decode, AHEAD)) as blocks:
            done = first
            for block in blocks:
                for _, row in block:
                    yield row if isinstance(row, Unreadable) else (row[0], self._finish(row[1], row[2]))
                    done += 1
                    fresh, taken = self.computed - already, time.perf_counter() - began
                    rate = fresh / taken if taken > 0 else 0.0
                    left = (total - done) / rate if fresh else None
                    progress(Progress(stage=stage, done=done, total=total, rate=rate, seconds_left=left))

    def pixels(self, picture: Picture) -> Decoded:
        """The resized picture, and its height and width before. Raises Unreadable."""
        image = read_image(picture)
        height, width = self.view.sides(image.height, image.width, self.patch)
        if (width, height) != image.size:
            filter = FILTERS[self.embedder.preprocess.interpolation]
            return _tensor(image.resize((width, height), filter)), (image.height, image.width)
        return _tensor(image), (image.height, image.width)

    def _prepare(self, named: Named) -> Seen | Decoded:
        try:
            if (kept := self.kept(self.file(named))) is not None:
                return kept
            return self.pixels(named[1])
        except Unreadable as error:
            raise Unreadable(named[0], error.reason) from error

    def _finish(self, named: Named, row: Seen | Decoded) -> Seen:
        if isinstance(row, Seen):
            return row
        pixels, size = row
        began = time.perf_counter()
        found = self._look(pixels)
        self.computed, self.seconds = self.computed + 1, self.seconds + time.perf_counter() - began
        if not found.isfinite().all():
            raise SensoriumError(f"{self.embedder.name} gives numbers that are not finite, first for {named[0]}")
        seen = Seen(stored=found, size=size, shown=(pixels.shape[1], pixels.shape[2]), patch=self.patch)
        self._store(named, seen)
        return seen

    def _look(self, pixels: UInt8[Tensor, "3 h w"]) -> Float16[Tensor, "width rows columns"]:
        device, precision = self.embedder.device, self.embedder.precision
        fast = nullcontext() if precision == "fp32" else torch.autocast(device.type, torch.bfloat16)
        with torch.inference_mode(), fast:
            image = self.embedder.preprocess.normalise(pixels.to(device))
            more = [-side % patch for side, patch in zip(image.shape[1:], self.patch, strict=True)]
            image = F.pad(image, (0, more[1], 0, more[0]))
            maps = patch_maps(self.vit, image[None], what=self.view.what, blocks=self.view.blocks)
            found = torch.cat([each[0] for each in maps])
        return found.half().cpu().clone()  # a clone is an ordinary tensor, which a head may learn from

    def file(self, named: Named) -> Path | None:
        """Where a picture's features are kept."""
        if self.keep is None:
            return None
        said = f"{self.embedder.fingerprint} {self.embedder.precision} {self.view}"
        digest = hashlib.blake2b(said.encode() + identity(named[1]), digest_size=16).hexdigest()
        return self.keep / digest[:2] / f"{digest}.safetensors"

    def kept(self, file: Path | None) -> Seen | None:
        """What a file of kept features holds; None where it is not there, damaged, or not ours."""
        if file is None or not file.is_file():
            return None
        try:
            tensors = load_file(str(file))
            sides = tensors["sides"].tolist()
            patches = tensors["patches"]
        except (OSError, SafetensorError, KeyError):
            return None
        return Seen(stored=patches, size=(sides[0], sides[1]), shown=(sides[2], sides[3]), patch=self.patch)

    def _store(self, named: Named, seen: Seen) -> None:
        if (file := self.file(named)) is None:
            return
        try:
            write_safetensors({"patches": seen.stored, "sides": torch.tensor([*seen.size, *seen.shown])}, file)
        except (OSError, SafetensorError) as error:
            raise SensoriumError(
                f"{self.keep}: features cannot be kept there: {error}; make room, or go without"
            ) from error


def pictured(data: DenseSet[One]) -> Callable[[int], tuple[One, Named]]:
    """How `Patches.over` reads a set of single pictures by their numbers."""

    def read(row: int) -> tuple[One, Named]:
        item = data[row]
        return item, (item.key, item.image)

    return read


def _tensor(image: Image.Image) -> UInt8[Tensor, "3 h w"]:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
