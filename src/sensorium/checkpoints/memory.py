"""Parts of a model: which a checkpoint holds, and what they will take in memory, before anything of it is read."""

from collections.abc import Mapping, Sequence
from typing import Literal, cast

import torch
from torch import nn

from sensorium.checkpoints.files import Checkpoint
from sensorium.checkpoints.format import Config
from sensorium.checkpoints.formats import FAMILIES, configure, recognise
from sensorium.checkpoints.rename import CheckpointError
from sensorium.data.kinds import SENSES, Sense
from sensorium.models.imagebind import ImageBind, ImageBindConfig, Modality
from sensorium.nn.blank import blank
from sensorium.nn.packed import is_packable, pays

MODALITY: dict[Sense, Modality] = {
    "image": "vision",
    "video": "vision",
    "text": "text",
    "audio": "audio",
    "depth": "depth",
    "thermal": "thermal",
    "motion": "imu",
}  # what ImageBind calls them: pictures and films have one tower


def part(checkpoint: Checkpoint, config: Config | None, senses: Sequence[Sense]) -> ImageBindConfig:
    """The sizes of an ImageBind with these senses alone; raises CheckpointError for those that it lacks."""
    whole = config or _sizes(checkpoint)
    if not isinstance(whole, ImageBindConfig):
        raise CheckpointError(f"{checkpoint.path} is no ImageBind, and is loaded whole: leave senses out")
    there = [sense for sense in SENSES if MODALITY[sense] in whole.towers]
    for sense in senses:
        if sense not in there:
            raise CheckpointError(f"{checkpoint.path} has no sense {sense}; it has {', '.join(there)}")
    if not senses:
        raise CheckpointError(f"senses: name one at least of {', '.join(there)}")
    return whole.only(*(MODALITY[sense] for sense in senses))


def memory(
    checkpoint: Checkpoint, config: Config | None = None, precision: Literal["fp32", "bf16"] = "fp32"
) -> dict[Sense, int]:
    """Bytes of the weights in memory, by sense; of a model of pictures and words that are no ImageBind, by these two.

    With bf16, layers are rounded on CPUs where that is faster; elsewhere it changes only how they are multiplied.
    """
    known = recognise(checkpoint)
    config = config or _sizes(checkpoint)
    with blank():
        model = FAMILIES[known.family].model(config)
    return of_model(model, precision)


def of_model(model: nn.Module, precision: Literal["fp32", "bf16"] = "fp32") -> dict[Sense, int]:
    """As `memory`, of a model that was built without numbers."""
    rounded = precision == "bf16" and pays(torch.bfloat16)
    small = {name for name, layer in model.named_modules() if rounded and is_packable(layer)}
    named: dict[Modality, Sense] = {modality: sense for sense, modality in reversed(MODALITY.items())}
    found: dict[Sense, int] = {}
    for name, tensor in model.state_dict().items():
        room, _, rest = name.partition(".")
        modality = cast(Modality, rest.partition(".")[0])
        words = room in ("text", "language")
        sense = named[modality] if isinstance(model, ImageBind) else "text" if words else "image"
        each = 2 if name.rpartition(".")[0] in small else tensor.element_size()
        found[sense] = found.get(sense, 0) + tensor.numel() * each
    return {sense: found[sense] for sense in SENSES if sense in found}


def told(sizes: Mapping[Sense, int]) -> str:
    """Sizes in words: "1.2 GB: image 0.9 GB, text 0.3 GB"."""
    each = ", ".join(f"{sense} {_size(size)}" for sense, size in sizes.items())
    return f"{_size(sum(sizes.values()))} of memory ({each})"


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _sizes(checkpoint: Checkpoint) -> Config:
    known = recognise(checkpoint)
    try:
        return configure(checkpoint, known)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from None
