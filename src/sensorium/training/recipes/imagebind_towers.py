"""The frozen towers to which senses are bound: what sees, what reads, and that neither ever changes (Girdhar et al.
2023, section 3.2: vision and text stay as they are)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from sensorium.checkpoints.bindings import is_binding, towers_of
from sensorium.checkpoints.load import load_model
from sensorium.checkpoints.pocket import fingerprint as pocket_fingerprint
from sensorium.checkpoints.pocket import load_pocket
from sensorium.checkpoints.sentences import ClipText, PocketText, clip_tokenizer
from sensorium.data.errors import SensoriumError
from sensorium.data.preprocess import Preprocess
from sensorium.data.tokenizer import ClipTokenizer
from sensorium.models.clip import CLIP
from sensorium.models.dinotxt import DINOtxt
from sensorium.models.imagebind import ImageBind
from sensorium.training.run_folder import RunFolder

SEEN_AT_ONCE = 64  # pictures


@dataclass(frozen=True, kw_only=True, eq=False)
class Towers:
    """Two towers of one space of `dim` numbers, and how pictures are shown to them.

    `image` takes normalised frames as the tower does, `text` sentences; `frames` is how many of a moment are seen at
    once. `module` holds the weights, for moving them; `source` and `fingerprint` say whose they are. `whole` is the
    ImageBind that they are part of, with its tokeniser's words in `tokenizer`.
    """

    source: str
    fingerprint: str
    dim: int
    steps: Preprocess
    image: Callable[[Tensor], Tensor]
    text: Callable[[Sequence[str]], Tensor]
    module: nn.Module
    frames: int = 1
    whole: ImageBind | None = None
    tokenizer: ClipTokenizer | None = None

    @torch.no_grad()
    def see(self, pixels: UInt8[Tensor, "n frames 3 h w"], device: torch.device) -> Float[Tensor, "n dim"]:
        """Unit vectors of pictures or moments, in fp32; without gradients."""
        parts: list[Tensor] = []
        for some in pixels.split(SEEN_AT_ONCE):
            x = self.steps.normalise(some.to(device))
            x = x[:, 0] if self.frames == 1 else x.transpose(1, 2)
            parts.append(F.normalize(self.image(x).float(), dim=-1))
        return torch.cat(parts)

    @torch.no_grad()
    def read(self, texts: Sequence[str]) -> Float[Tensor, "n dim"]:
        """Unit vectors of sentences, in fp32; without gradients."""
        parts = [self.text(texts[i : i + SEEN_AT_ONCE]) for i in range(0, len(texts), SEEN_AT_ONCE)]
        return F.normalize(torch.cat(parts).float(), dim=-1)


def model_folder(source: str) -> str:
    """The weights that a name means: of a run, the model that it wrote. Raises SensoriumError where it wrote none."""
    path = Path(source).expanduser()
    if not path.is_dir() or not RunFolder(path).begun:
        return source
    if not (path / "model").is_dir():
        raise SensoriumError(f"{source} is a run without a model: {RunFolder(path).how_to_resume}")
    return str(path / "model")


def open_towers(source: str, device: torch.device) -> Towers:
    """Towers by their name: `pocket`, a run of `clip`, a CLIP, dino.txt or ImageBind (preset, hub id, folder, file), or
    a binding, whose towers are meant. Raises SensoriumError for what does not read and see."""
    if source == "pocket":
        return _pocket(device)
    name = model_folder(source)
    if is_binding(name):
        return _same(*towers_of(name), device)
    loaded = load_model(name)
    model, steps = loaded.model.to(device), loaded.preprocess
    common: dict[str, Any] = {"source": name, "fingerprint": loaded.fingerprint, "module": model}
    if isinstance(model, CLIP | DINOtxt) and steps is not None:
        words = model.config.text
        text = ClipText(model.text, clip_tokenizer(words.words, loaded.folder), words.context, device)
        return Towers(**common, dim=model.config.embed, steps=steps, image=model.vision, text=text)
    c = model.config if isinstance(model, ImageBind) else None
    if isinstance(model, ImageBind) and c is not None and c.vision and c.text and steps is not None:
        tokenizer = clip_tokenizer(c.text.words, loaded.folder)
        return Towers(
            **common,
            dim=c.embed,
            steps=steps,
            image=model.towers["vision"],
            text=ClipText(model.towers["text"], tokenizer, c.text.context, device),
            frames=c.vision.sides[0],
            whole=model,
            tokenizer=tokenizer,
        )
    raise SensoriumError(
        f"{source} is {loaded.found}, which does not both see and read: take pocket, a CLIP, ImageBind"
    )


def _same(source: str, fingerprint: str, device: torch.device) -> Towers:
    towers = open_towers(source, device)
    if towers.fingerprint != fingerprint:
        raise SensoriumError(f"{source} is no longer what the binding was trained to meet: bind the senses anew")
    return towers


def _pocket(device: torch.device) -> Towers:
    model, steps, tokenizer = load_pocket()
    model.to(device)

    return Towers(
        source="pocket",
        fingerprint=pocket_fingerprint(),
        dim=model.config.embed,
        steps=steps,
        image=model.embed_image,
        text=PocketText(model, tokenizer, device),
        module=model,
    )
