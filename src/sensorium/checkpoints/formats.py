"""Every naming of every family, and how to tell from the names alone which one a checkpoint has."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from sensorium.checkpoints import clip as clip_names
from sensorium.checkpoints import vit as vit_names
from sensorium.checkpoints.files import Checkpoint
from sensorium.checkpoints.rename import CheckpointError, Row, State, check, to_ours, to_theirs
from sensorium.models.clip import CLIP, CLIPConfig
from sensorium.models.vit import ViT, ViTConfig
from sensorium.nn.blank import blank

Config = ViTConfig | CLIPConfig
Model = ViT | CLIP


@dataclass(frozen=True, kw_only=True)
class Format:
    """One naming of one family.

    `marks` are alternatives: a checkpoint is of this naming if it holds all names of one of them.
    `file` is the configuration file that goes with the weights, where the naming has one, and `describe` writes it.
    """

    family: str
    naming: str
    marks: tuple[tuple[str, ...], ...]
    rows: Callable[[Any], list[Row]]
    config: Callable[[Mapping[str, Tensor], Mapping[str, Any] | None], Config]
    build: Callable[[Any], Model]
    file: str | None = None
    describe: Callable[[Any], dict[str, Any]] | None = None


# What config.json states and the shapes show too: where they differ, layers are missing or the file is another model's.
STATED_SIZES = frozenset(
    {"hidden_size", "num_hidden_layers", "intermediate_size", "image_size", "patch_size", "num_channels"}
    | {"vocab_size", "max_position_embeddings", "num_features", "embed_dim", "depth"}
)
FORMATS = (
    Format(
        family="clip",
        naming="transformers",
        marks=(("text_model.final_layer_norm.weight", "vision_model.pre_layrnorm.weight", "text_projection.weight"),),
        rows=clip_names.transformers_rows,
        config=clip_names.transformers_config,
        build=CLIP,
        file="config.json",
        describe=clip_names.transformers_json,
    ),
    Format(
        family="clip",
        naming="open_clip_custom_text",
        marks=(("text.ln_final.weight", "text.token_embedding.weight", "visual.conv1.weight"),),
        rows=clip_names.open_clip_rows,
        config=clip_names.open_clip_config,
        build=CLIP,
        file="open_clip_config.json",
        describe=clip_names.open_clip_json,
    ),
    Format(
        family="clip",
        naming="openai",
        marks=(("ln_final.weight", "token_embedding.weight", "text_projection", "visual.conv1.weight"),),
        rows=clip_names.openai_rows,
        config=clip_names.openai_config,
        build=CLIP,
    ),
    Format(
        family="vit",
        naming="google",
        marks=(("Transformer/posembed_input/pos_embedding", "embedding/kernel"),),
        rows=vit_names.google_rows,
        config=vit_names.google_config,
        build=ViT,
    ),
    Format(
        family="vit",
        naming="timm",
        marks=(("pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"),),
        rows=vit_names.timm_rows,
        config=vit_names.timm_config,
        build=ViT,
        file="config.json",
        describe=vit_names.timm_json,
    ),
    Format(
        family="vit",
        naming="transformers",
        marks=tuple(
            (f"{stem}embeddings.cls_token", f"{stem}encoder.layer.0.attention.attention.query.weight")
            for stem in ("vit.", "")
        ),
        rows=vit_names.transformers_rows,
        config=vit_names.transformers_config,
        build=ViT,
        file="config.json",
        describe=vit_names.transformers_json,
    ),
)
# OpenCLIP writes OpenAI's names; what differs is the file beside them, and the activation that it states.
OPEN_CLIP = Format(
    family="clip",
    naming="open_clip",
    marks=(),
    rows=clip_names.openai_rows,
    config=clip_names.open_clip_config,
    build=CLIP,
    file="open_clip_config.json",
    describe=clip_names.open_clip_json,
)


def recognise(checkpoint: Checkpoint) -> Format:
    """The naming of a checkpoint, from its names; raises CheckpointError listing what it begins with."""
    names = checkpoint.tensors.keys()
    for known in FORMATS:
        if any(names >= set(marks) for marks in known.marks):
            return OPEN_CLIP if known.naming == "openai" and OPEN_CLIP.file in checkpoint.beside else known
    families = sorted({known.family for known in FORMATS})
    raise CheckpointError(
        f"{checkpoint.path}: these names are of no family that is built here ({', '.join(families)}); "
        f"it begins with {', '.join(list(names)[:5]) or 'nothing'}"
    )


def format_named(family: str, naming: str) -> Format:
    """The naming to write; raises CheckpointError with those that the family has."""
    own = [known for known in (*FORMATS, OPEN_CLIP) if known.family == family]
    for known in own:
        if known.naming == naming:
            return known
    raise CheckpointError(f"{family} has no naming {naming!r}; it has {', '.join(known.naming for known in own)}")


def fill(model: Model, tensors: State, rows: list[Row]) -> None:
    """Copy a checkpoint into a model built on the meta device, in fp32; raises CheckpointError naming misfits."""
    ours = to_ours(tensors, rows)
    wanted = model.state_dict()
    for key, tensor in wanted.items():
        if not tensor.numel():
            ours.setdefault(key, torch.empty(tensor.shape))  # nothing to load: no class token, no registers
    check(tensors, ours, wanted, rows)
    whole = {k: t.contiguous() if wanted[k].dtype == torch.int64 else t.float().contiguous() for k, t in ours.items()}
    model.load_state_dict(whole, assign=True)


def build(checkpoint: Checkpoint, config: Config | None = None) -> tuple[Model, Format]:
    """The model of a checkpoint, in eval mode, its weights in fp32 and its sizes from the files or from `config`."""
    known = recognise(checkpoint)
    try:
        if config is None:
            config = configure(checkpoint, known)
        with blank():
            model = known.build(config)
        fill(model, checkpoint.tensors, known.rows(config))
    except (CheckpointError, ValueError) as error:  # ValueError: sizes of which no model can be built
        raise CheckpointError(f"{checkpoint.path}: {error}") from None
    return model.eval().requires_grad_(False), known


def configure(checkpoint: Checkpoint, known: Format) -> Config:
    """The sizes of a checkpoint, from its shapes and the file beside it.

    Raises CheckpointError where the two contradict each other, or where either makes no sense.
    """
    file = checkpoint.beside.get(known.file or "")
    try:
        config = known.config(checkpoint.tensors, file)
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


def export(model: Model, known: Format) -> State:
    """The weights under the names of another naming."""
    ours = {key: tensor for key, tensor in model.state_dict().items() if tensor.numel()}
    return to_theirs(ours, known.rows(model.config))


def parameters(config: Config) -> int:
    """How many numbers a model of this configuration learns, counted without building it."""
    with blank():
        model: nn.Module = CLIP(config) if isinstance(config, CLIPConfig) else ViT(config)
    return sum(p.numel() for p in model.parameters())
