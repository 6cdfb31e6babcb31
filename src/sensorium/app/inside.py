"""What the page shows of how a model sees one picture: a map of its places, coloured, for the picture to be laid under.

Pictures are read at twice the model's own size. What was computed of the last ones is kept, so that a click costs one
product; one picture is computed at a time.
"""

import threading
from collections import OrderedDict
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from sensorium.data.errors import SensoriumError
from sensorium.data.image import read_image
from sensorium.insight.attention import token_attention
from sensorium.insight.cosine import place_at, place_similarity
from sensorium.insight.film import ramp
from sensorium.insight.norms import in_words, norms_of_tokens, outliers_in
from sensorium.insight.pca import colours, place_components
from sensorium.insight.places import Sight, features_of, fitted_to, sight_of
from sensorium.insight.vit_like import ViTLike, find_vit
from sensorium.tasks.embedding import Embedder

Look = Literal["cosine", "pca", "norms", "attention"]
LOOKS: tuple[Look, ...] = ("cosine", "pca", "norms", "attention")
KEPT = 64 << 20  # bytes of vectors


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """A colour for every place of a picture, and what the colours mean; `low` and `high` are the ends of their scale,
    None where they have none; `place` (row, column) is the one that was asked for."""

    colours: UInt8[Tensor, "3 rows columns"]
    said: str
    low: float | None = None
    high: float | None = None
    place: tuple[int, int] | None = None


@dataclass(kw_only=True)
class _Kept:
    pixels: UInt8[Tensor, "3 h w"]
    features: Float[Tensor, "rows columns channels"]
    drawn: dict[Look, Overlay] = field(default_factory=dict[Look, Overlay])

    @property
    def bytes(self) -> int:
        return self.pixels.nbytes + self.features.nbytes


class Inside:
    """The looks at one model; `cannot` says by name which of them it has none of, and why."""

    def __init__(self, embedder: object) -> None:
        self.name = Path(str(getattr(embedder, "name", "this model"))).name  # a model of one's own is a path
        self.embedder = embedder if isinstance(embedder, Embedder) else None
        self.model: nn.Module | None = self.embedder.model if self.embedder else None
        self.vit: ViTLike | None = None if self.model is None else find_vit(self.model)
        self.sight: Sight | None = None
        self.cannot: dict[Look, str] = {}
        if self.model is None:
            self.cannot = dict.fromkeys(LOOKS, f"{self.name} does not show how it works")
            return
        try:
            self.sight = sight_of(self.model)
        except SensoriumError as error:
            self.cannot = dict.fromkeys(LOOKS, str(error))
            return
        if self.vit is None:
            reason = f"{self.name} is a convolutional network: it has no tokens and no attention"
            self.cannot = {"norms": reason, "attention": reason}
        self._kept: OrderedDict[tuple[Path, int], _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def look(self, path: Path, what: Look, x: float = 0.5, y: float = 0.5) -> Overlay:
        """A look at a picture; x and y (of the cosine) are fractions of its sides, from the left and from the top.

        Raises SensoriumError where the model has no such look, Unreadable where the file is no picture any more.
        """
        if what in self.cannot:
            raise SensoriumError(self.cannot[what])
        with self._lock, self._precision():
            kept = self._read(path)
            if what == "cosine":
                return _cosine(kept, x, y)
            if what not in kept.drawn:
                kept.drawn[what] = {"pca": self._pca, "norms": self._norms, "attention": self._attention}[what](kept)
            return kept.drawn[what]

    def _precision(self) -> AbstractContextManager[object]:
        assert self.embedder is not None
        rounded = self.embedder.precision == "bf16"
        return torch.autocast(self.embedder.device.type, torch.bfloat16, enabled=rounded)

    def _read(self, path: Path) -> _Kept:
        assert self.embedder is not None
        assert self.sight is not None
        key = (path, path.stat().st_mtime_ns if path.exists() else 0)
        if key not in self._kept:
            steps = self.embedder.preprocess
            pixels = fitted_to(read_image(path), steps, self.sight.step)
            self._kept[key] = _Kept(
                pixels=pixels, features=features_of(self.sight, pixels, steps, self.embedder.device)
            )
            while sum(each.bytes for each in self._kept.values()) > KEPT and len(self._kept) > 1:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _pca(self, kept: _Kept) -> Overlay:
        found = place_components([kept.features])
        objects = float(found.objects[0].float().mean())
        return Overlay(
            colours=colours(found.parts, found.objects)[0],
            said=f"like parts have like colours; {objects:.0%} of the picture is off its ground, which is white",
        )

    def _norms(self, kept: _Kept) -> Overlay:
        assert self.embedder is not None
        assert self.vit is not None
        norms = norms_of_tokens(self.vit, kept.pixels, self.embedder.preprocess, self.embedder.device)
        last, found = norms[-1], outliers_in([norms])
        logs = last.clamp(min=1e-6).log()
        return Overlay(
            colours=ramp(logs),
            said=f"norms of tokens after the last layer, by their logarithm; {in_words(found, len(norms))}",
            low=float(last.min()),
            high=float(last.max()),
        )

    def _attention(self, kept: _Kept) -> Overlay:
        assert self.embedder is not None
        assert self.model is not None
        found = token_attention(
            self.model, self.embedder.preprocess.normalise(kept.pixels[None].to(self.embedder.device))
        )
        map = found.mean()
        return Overlay(
            colours=ramp(map, 0.0),
            said=f"what the {found.asking[0]} looks at in the last layer, mean of {found.maps.shape[1]} heads",
            low=0.0,
            high=float(map.max()),
        )


def _cosine(kept: _Kept, x: float, y: float) -> Overlay:
    place = place_at(x, y, *kept.features.shape[:2])
    map = place_similarity([kept.features], place).cosines[0]
    return Overlay(
        colours=ramp(map, high=1.0),
        said="cosine similarity with the place in the ring",
        low=float(map.min()),
        high=1.0,
        place=place,
    )
