"""`sensorium.load`: one verb from a name to something that embeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.checkpoints.bindings import is_binding, read_binding
from sensorium.checkpoints.format import Config
from sensorium.checkpoints.load import Loaded, fingerprint, load_model, save_model
from sensorium.checkpoints.sentences import ClipText, PocketText, clip_tokenizer
from sensorium.data.errors import SensoriumError
from sensorium.data.kinds import Sense
from sensorium.data.preprocess import Preprocess
from sensorium.data.tokenizer import ClipTokenizer
from sensorium.models.clip import CLIP
from sensorium.models.dinotxt import DINOtxt
from sensorium.models.imagebind import ImageBind
from sensorium.models.imagebind import Trunk as Tower
from sensorium.models.vit import ViT
from sensorium.nn.allocator import keep_freed_memory
from sensorium.nn.packed import pack
from sensorium.tasks.bindings import bound
from sensorium.tasks.embedding import Blind, Embedder, ImageTower, Precision, TextTower, choose
from sensorium.tasks.senses import SenseTower
from sensorium.tasks.towers import bound_senses, films_as_pictures


@runtime_checkable
class Trunk(Protocol):
    """A model that reads pictures alone: it stands for one by a vector of `dim` numbers."""

    dim: int

    def represent(self, image: Float[Tensor, "b 3 h w"], /) -> Float[Tensor, "b dim"]:
        """Embed a batch, not normalised."""
        ...


def load(
    source: str | Path = "pocket",
    *,
    revision: str | None = None,
    config: Config | None = None,
    senses: Sequence[Sense] | None = None,
    device: str = "auto",
    precision: Precision = "fp32",
) -> Embedder | Loaded:
    """A model with its preprocessing, recognised by the names in its file alone.

    `source` is `pocket` (the embedded default), a preset such as `clip-vit-b-32` (fetched from the hub once), a
    hub id (`org/name`, `org/name@revision`), a folder as transformers, timm or open_clip write it, an official
    checkpoint file, or a binding (senses trained for another model, which is loaded with them). A model that reads
    pictures alone comes as an `Embedder`; one that reads words with regions, pages or clips comes as `Loaded`: its
    `model`, ready to call, and `found`, which says what it is. `senses` loads a part of an ImageBind or of a binding,
    such as ("image", "audio"): the rest is not read, and vectors can be compared with those of the whole.
    `precision="auto"` takes bf16 where the hardware multiplies it faster than fp32. Raises
    CheckpointError naming the file or tensor at fault, with the remedy.
    """
    place, digits = choose(device, precision)
    if place.type == "cpu":
        keep_freed_memory()
    if source == "pocket":
        if senses is not None:
            raise SensoriumError("pocket is loaded whole: leave senses out")
        return _pocket(place)
    if is_binding(source):
        binding = read_binding(source)
        base = load(binding.towers, device=device, precision=precision)
        return bound(base, binding, source, senses)
    loaded = load_model(source, revision=revision, config=config, senses=senses)
    loaded.model.to(place)
    embeds = isinstance(loaded.model, ImageBind) or (
        _sight(loaded.model)[0] is not None and loaded.preprocess is not None
    )
    if place.type == "cpu":  # rounding is for embedders alone: they run under autocast
        pack(loaded.model, dtype=torch.bfloat16 if digits == "bf16" and embeds else None)
    if not embeds:
        return loaded
    words = _vocabulary(loaded.model)
    tokenizer = None if words is None else clip_tokenizer(words, loaded.folder)
    whole = _embedder(
        loaded.model, loaded.preprocess or Preprocess(), loaded.fingerprint, loaded.name, tokenizer, place
    )
    return replace(whole, precision=digits)


def in_memory(
    model: nn.Module,
    steps: Preprocess,
    *,
    name: str = "model in memory",
    tokenizer: ClipTokenizer | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Embedder:
    """A model that was just built or trained, as `load` gives one from a file: for measuring it as it stands.

    Nothing is copied, and it runs where its weights lie. The fingerprint is that of its weights now: after more
    training, ask anew. `tokenizer` is CLIP's where none is given. Raises SensoriumError for one that does not embed.
    """
    place = next((x.device for x in model.parameters()), torch.device("cpu"))
    mark = fingerprint(model.state_dict(), steps)
    return replace(_embedder(model, steps, mark, name, tokenizer, place), precision=precision)


def _embedder(
    model: nn.Module, steps: Preprocess, mark: str, name: str, tokenizer: ClipTokenizer | None, place: torch.device
) -> Embedder:
    image, dim = _sight(model)
    if image is None and not isinstance(model, ImageBind):
        raise SensoriumError(f"{name} does not embed pictures")
    text, scale = _words(model, tokenizer, place)
    features, scores = _before_and_beyond(model)
    return Embedder(
        name=name,
        fingerprint=mark,
        dim=dim,
        image=image or Blind(name),
        text=text,
        senses=_senses(model, image, steps),
        features=features,
        scores=scores,
        preprocess=steps,
        logit_scale=scale,
        device=place,
        model=model,
    )


def _sight(model: nn.Module) -> tuple[ImageTower | None, int]:
    """What turns pictures into vectors, and how long these are; None where nothing does."""
    if isinstance(model, CLIP | DINOtxt):
        return model.vision, model.config.embed
    if isinstance(model, ImageBind):
        return (None if model.config.vision is None else model.towers["vision"]), model.config.embed
    return (model.represent, model.dim) if isinstance(model, Trunk) else (None, 0)


def _senses(model: nn.Module, image: ImageTower | None, steps: Preprocess) -> Mapping[Sense, SenseTower]:
    """What else it takes in: an ImageBind what it has towers for, a model of pictures films."""
    if isinstance(model, ImageBind):
        return bound_senses(model)
    return {} if image is None else {"video": films_as_pictures(image, steps)}


def _before_and_beyond(model: nn.Module) -> tuple[ImageTower | None, ImageTower | None]:
    """What gives features before the projection, where `_sight` gives others, and the scores of a model's own classes.

    A tower of ImageBind or CLIP has features; a trunk alone is its own; a ViT's head is fit for classes.
    """
    if isinstance(model, CLIP | DINOtxt):
        return model.vision.represent, None
    if isinstance(model, ImageBind):
        tower = model.towers["vision"] if model.config.vision is not None else None
        return (tower.represent if isinstance(tower, Tower) else None), None
    return None, model if isinstance(model, ViT) and model.config.classes else None


def _words(model: nn.Module, tokenizer: ClipTokenizer | None, place: torch.device) -> tuple[TextTower | None, float]:
    """What turns sentences into vectors of the same space, and what cosines are multiplied by."""
    if isinstance(model, CLIP | DINOtxt):
        text = ClipText(model.text, tokenizer or ClipTokenizer(), model.config.text.context, place)
        return text, float(model.log_scale.detach().exp())
    if isinstance(model, ImageBind) and model.config.text is not None:
        text = ClipText(model.towers["text"], tokenizer or ClipTokenizer(), model.config.text.context, place)
        return text, float(model.scales["text"](torch.ones(1, device=place)).detach())
    return None, 1.0


def _vocabulary(model: nn.Module) -> int | None:
    """How many words the text tower knows; one that knows another number than CLIP's has its own beside the weights."""
    text = model.config.text if isinstance(model, CLIP | DINOtxt | ImageBind) else None
    return None if text is None else text.words


def save(model: Embedder | Loaded | nn.Module, folder: str | Path, *, naming: str) -> Path:
    """Write what `load` returned, or a bare model, under another library's names; returns the weight file.

    `naming` is one of the family's: official, transformers, openai, open_clip, open_clip_custom_text, timm, google ...
    The preprocessing is written too where the naming has a file for it. Raises CheckpointError where the naming
    cannot hold the model, SensoriumError for `pocket`, which is no other library's.
    """
    if isinstance(model, nn.Module):
        return save_model(model, folder, naming=naming)
    if model.model is None or model.name == "pocket":
        raise SensoriumError(f"{model.name} has no other library's names to be saved under")
    return save_model(model.model, folder, naming=naming, steps=model.preprocess)


def _pocket(device: torch.device) -> Embedder:
    from sensorium.checkpoints.pocket import fingerprint as pocket_fingerprint
    from sensorium.checkpoints.pocket import load_pocket
    from sensorium.tasks.hearing import Hearing

    model, preprocess, tokenizer = load_pocket()
    model.to(device)

    return Embedder(
        name="pocket",
        fingerprint=pocket_fingerprint(),
        dim=model.config.embed,
        image=model.embed_image,
        text=PocketText(model, tokenizer, device),
        senses={"video": films_as_pictures(model.embed_image, preprocess), "audio": Hearing(device).tower},
        features=model.represent,
        scores=model.classify,
        preprocess=preprocess,
        logit_scale=float(model.logit_scale),
        device=device,
        model=model,
    )
