"""Every naming of every family, and how to tell from the names alone which one a checkpoint has."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn

from sensorium.checkpoints import (
    clip,
    convnext,
    detector,
    dinotxt,
    dinov2,
    dinov3,
    imagebind,
    layoutlmv2,
    videoclip,
    vilbert,
    visualbert,
    vit,
)
from sensorium.checkpoints.files import Checkpoint
from sensorium.checkpoints.format import Config, Family, Format
from sensorium.checkpoints.rename import CheckpointError, State, check, to_ours, to_theirs
from sensorium.nn.blank import blank

# In the order in which they are tried: a naming whose marks are part of another's comes after it.
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        *clip.FAMILIES,
        *dinotxt.FAMILIES,
        *dinov3.FAMILIES,
        *convnext.FAMILIES,
        *dinov2.FAMILIES,
        *vilbert.FAMILIES,
        *layoutlmv2.FAMILIES,
        *vit.FAMILIES,
        *visualbert.FAMILIES,
        *videoclip.FAMILIES,
        *imagebind.FAMILIES,
        *detector.FAMILIES,
    )
}
FORMATS = tuple(known for family in FAMILIES.values() for known in family.formats)
PRESETS: dict[str, Config] = {name: config for family in FAMILIES.values() for name, config in family.presets.items()}

# What config.json states and the shapes show too: where they differ, layers are missing or the file is another model's.
STATED_SIZES = frozenset(
    {"hidden_size", "num_hidden_layers", "intermediate_size", "image_size", "patch_size", "num_channels"}
    | {"vocab_size", "max_position_embeddings", "num_features", "embed_dim", "depth", "visual_embedding_dim"}
)


def recognise(checkpoint: Checkpoint) -> Format:
    """The naming of a checkpoint, from its names; raises CheckpointError listing what it begins with."""
    names = checkpoint.tensors.keys()
    for known in FORMATS:
        marked = any(names >= set(marks) for marks in known.marks) and names.isdisjoint(known.without)
        if marked and known.fits(checkpoint.beside.get(known.file or "")):
            return known
    raise CheckpointError(
        f"{checkpoint.path}: these names are of no family that is built here ({', '.join(FAMILIES)}); "
        f"it begins with {', '.join(list(names)[:5]) or 'nothing'}"
    )


def format_named(family: str, naming: str) -> Format:
    """The naming to write; raises CheckpointError with those that the family has."""
    own = FAMILIES[family].formats
    for known in own:
        if known.naming == naming:
            return known
    raise CheckpointError(f"{family} has no naming {naming!r}; it has {', '.join(known.naming for known in own)}")


def official(family: str) -> str:
    """The naming of the authors' own files."""
    return next(known.naming for known in FAMILIES[family].formats if known.official or known.naming == "official")


def family_of(model: nn.Module) -> Family:
    """The family that a model was built by; raises CheckpointError where no family here builds such a class."""
    for family in FAMILIES.values():
        if family.model is type(model):
            return family
    raise CheckpointError(f"{type(model).__name__} has no other library's names; {', '.join(FAMILIES)} have")


def config_of(model: nn.Module) -> Config:
    """The sizes that a model of any family was built with."""
    return cast(Config, model.config)


def like_preset(model: nn.Module) -> str | None:
    """The published model whose sizes these are, if there is one."""
    config, family = cast(Any, config_of(model)), family_of(model)
    for ignored in ((), family.by_naming):
        for name, preset in family.presets.items():
            if replace(config, **{choice: getattr(preset, choice) for choice in ignored}) == preset:
                return name
    return None


def fill(model: nn.Module, tensors: State, known: Format) -> None:
    """Copy a checkpoint into a model built on the meta device, in fp32; raises CheckpointError naming misfits."""
    config = config_of(model)
    rows = known.rows(config)
    single = _without_copies(asked_for(tensors, known, config), known.tied(config))
    for name, constant in known.constants(config).items():
        if name in single and not torch.equal(single.pop(name).float(), constant):
            raise CheckpointError(f"{name} is not what a model of these sizes has")
    ours = known.implied(config) | to_ours(single, rows)
    wanted = model.state_dict()
    for key, tensor in wanted.items():
        if not tensor.numel():
            ours.setdefault(key, torch.empty(tensor.shape))  # nothing to load: no class token, no registers
    check(single, ours, wanted, rows)
    whole = {k: t.contiguous() if wanted[k].dtype == torch.int64 else t.float().contiguous() for k, t in ours.items()}
    model.load_state_dict(whole, assign=True)


def asked_for(tensors: State, known: Format, config: Config) -> State:
    """The tensors of the parts that a config asks for: the whole checkpoint, but where a model is built in part."""
    return {name: tensor for name, tensor in tensors.items() if known.belongs(config, name)}


def _without_copies(tensors: State, tied: Mapping[str, str]) -> State:
    """The checkpoint with every tied tensor once, under the name that the tables know.

    Some writers keep both names, some only one. Raises CheckpointError where both are there and differ.
    """
    single = {name: tensor for name, tensor in tensors.items() if name not in tied}
    for copy, source in tied.items():
        if copy in tensors and not torch.equal(single.setdefault(source, tensors[copy]), tensors[copy]):
            raise CheckpointError(f"{copy} should be the same tensor as {source}, and differs")
    return single


def build(checkpoint: Checkpoint, config: Config | None = None) -> tuple[nn.Module, Format]:
    """The model of a checkpoint, in eval mode, its weights in fp32 and its sizes from the files or from `config`."""
    known = recognise(checkpoint)
    try:
        if config is None:
            config = configure(checkpoint, known)
        with blank():
            model = FAMILIES[known.family].model(config)
        fill(model, checkpoint.tensors, known)
    except (CheckpointError, ValueError) as error:  # ValueError: sizes of which no model can be built
        raise CheckpointError(f"{checkpoint.path}: {error}") from None
    return model.eval().requires_grad_(False), known


def configure(checkpoint: Checkpoint, known: Format) -> Config:
    """The sizes of a checkpoint, from its shapes and the file beside it.

    Raises CheckpointError where the two contradict each other, or where either makes no sense.
    """
    file = checkpoint.beside.get(known.file or "")
    try:
        config = known.read(checkpoint.tensors, file)
    except KeyError as missing:
        raise CheckpointError(
            f"the names are those of {known.family} ({known.naming}), but {missing} is missing"
        ) from None
    except (AttributeError, TypeError, ValueError, ZeroDivisionError) as error:
        beside = f" and {known.file}" if file else ""
        raise CheckpointError(f"the shapes{beside} make no sense ({error})") from None
    if file and known.describe and (wrong := list(_contradictions(known.describe(config), file))):
        raise CheckpointError(f"{known.file} and the weights contradict each other: {'; '.join(wrong)}")
    return config


def _contradictions(weights: Mapping[str, Any], file: Mapping[str, Any]) -> Iterator[str]:
    """Sizes that a configuration file states otherwise than the weights have them."""
    for key, value in weights.items():
        stated = file.get(key)
        if isinstance(value, Mapping) and isinstance(stated, Mapping):
            yield from _contradictions(cast(Mapping[str, Any], value), cast(Mapping[str, Any], stated))
        elif key in STATED_SIZES and stated is not None and stated not in (value, [value, value]):
            yield f"{key} is {stated} in the file, {value} in the weights"


def export(model: nn.Module, known: Format) -> State:
    """The weights under the names of another naming, tied tensors under each of their names.

    Raises CheckpointError where the naming has no place for a tensor, or the weights were rounded to run faster.
    """
    config = config_of(model)
    implied = known.implied(config)
    try:
        state = model.state_dict()
    except RuntimeError as error:
        raise CheckpointError(str(error)) from None
    state = known.folds(state, config)
    ours = {key: tensor for key, tensor in state.items() if tensor.numel() and key not in implied}
    theirs = to_theirs(ours, known.rows(config))
    copies = {copy: theirs[source] for copy, source in known.tied(config).items()}
    return theirs | copies | known.constants(config)


def parameters(config: Config) -> int:
    """How many numbers a model of this configuration learns, counted without building it."""
    family = next(family for family in FAMILIES.values() if family.config is type(config))
    with blank():
        model = family.model(config)
    return sum(p.numel() for p in model.parameters())
