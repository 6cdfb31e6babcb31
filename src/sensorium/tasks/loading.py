"""`sensorium.load`: one verb from a name to something that embeds."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.checkpoints.format import Config
from sensorium.checkpoints.load import Loaded, load_model, save_model
from sensorium.data.errors import SensoriumError
from sensorium.data.tokenizer import ClipTokenizer
from sensorium.models.clip import CLIP, TextTransformer
from sensorium.models.imagebind import ImageBind
from sensorium.models.vit import ViT
from sensorium.nn.packed import pack
from sensorium.tasks.embedding import Embedder, Precision, choose

VOCABULARY = 49408  # CLIP's byte pairs with the two ends


def load(
    source: str | Path = "pocket",
    *,
    revision: str | None = None,
    config: Config | None = None,
    device: str = "auto",
    precision: Precision = "fp32",
) -> Embedder:
    """A model with its preprocessing, ready to embed.

    `source` is `pocket` (the embedded default), a preset such as `clip-vit-b-32` (fetched from the hub once), a
    hub id (`org/name`, `org/name@revision`), a folder as transformers, timm or open_clip write it, or an official
    checkpoint file. `precision="auto"` takes bf16 where the hardware multiplies it faster than fp32. Raises
    CheckpointError naming the file or tensor at fault, with the remedy.
    """
    place, digits = choose(device, precision)
    if source == "pocket":
        return _pocket(place)
    loaded = load_model(source, revision=revision, config=config)
    loaded.model.to(place)
    if place.type == "cpu" and digits == "fp32":
        pack(loaded.model)
    model = loaded.model
    if isinstance(model, CLIP):
        image, text = model.vision, ClipText(model.text, _tokenizer(loaded), place)
        dim, scale = model.config.embed, float(model.log_scale.exp())
    elif isinstance(model, ImageBind) and "vision" in model.towers:
        image, text, dim, scale = model.towers["vision"], None, model.config.embed, 1.0
        if "text" in model.towers:
            tower, one = model.towers["text"], torch.ones(1, device=place)
            assert isinstance(tower, TextTransformer)
            text, scale = ClipText(tower, _tokenizer(loaded), place), float(model.scales["text"](one))
    elif isinstance(model, ViT):
        image, text, dim, scale = model.represent, None, model.config.width, 1.0
    else:
        raise SensoriumError(f"{source} is {loaded.found}: it does not embed pictures")
    assert loaded.preprocess is not None
    return Embedder(
        name=loaded.name,
        fingerprint=loaded.fingerprint,
        dim=dim,
        image=image,
        text=text,
        preprocess=loaded.preprocess,
        logit_scale=scale,
        device=place,
        precision=digits,
        model=model,
    )


def save(model: Embedder | ViT | CLIP | ImageBind, folder: str | Path, *, naming: str) -> Path:
    """Write what `load` returned, or a bare model, under another library's names; returns the weight file.

    `naming` is one of the family's: transformers, openai, open_clip, open_clip_custom_text, timm, google, imagebind.
    The preprocessing is written too where the naming has a file for it. Raises CheckpointError where the naming cannot
    hold the model, SensoriumError for `pocket`, which is no other library's.
    """
    bare, steps = (model.model, model.preprocess) if isinstance(model, Embedder) else (model, None)
    if not isinstance(bare, ViT | CLIP | ImageBind):
        name = model.name if isinstance(model, Embedder) else type(model).__name__
        raise SensoriumError(f"{name} has no other library's names to be saved under; ViT, CLIP and ImageBind have")
    return save_model(bare, folder, naming=naming, steps=steps)


def _tokenizer(loaded: Loaded) -> ClipTokenizer:
    """The vocabulary beside the weights where it is another one than CLIP's."""
    model = loaded.model
    text = model.config.text if isinstance(model, CLIP | ImageBind) else None
    standard = text is not None and text.words == VOCABULARY
    return ClipTokenizer() if standard else ClipTokenizer.from_file(loaded.folder)


def _pocket(device: torch.device) -> Embedder:
    from sensorium.checkpoints.pocket import fingerprint, load_pocket

    model, preprocess, tokenizer = load_pocket()
    model.to(device)

    def text(texts: Sequence[str]) -> Float[Tensor, "b d"]:
        ids, mask = tokenizer(texts)
        return model.embed_text(ids.to(device), mask.to(device))

    return Embedder(
        name="pocket",
        fingerprint=fingerprint(),
        dim=model.config.embed,
        image=model.embed_image,
        text=text,
        preprocess=preprocess,
        logit_scale=float(model.logit_scale),
        device=device,
        model=model,
    )


class ClipText:
    """Sentences through CLIP's tokeniser and text tower; long ones are cut at the tower's context."""

    def __init__(self, tower: TextTransformer, tokenizer: ClipTokenizer, device: torch.device) -> None:
        self.tower, self.tokenizer, self.device = tower, tokenizer, device
        self.context = len(tower.positions)

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "b d"]:
        """Embed a batch, not normalised."""
        return self.tower(self.tokenizer(texts, context=self.context, truncate=True).to(self.device))
