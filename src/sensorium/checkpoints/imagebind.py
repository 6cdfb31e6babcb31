"""ImageBind as its authors save it. A file may hold any of the modalities, and any of those it holds can be loaded."""

from collections.abc import Mapping
from math import isqrt
from typing import Any, cast

import torch
from torch import Tensor

from sensorium.checkpoints.files import Checkpoint
from sensorium.checkpoints.format import Axis, Family, Format, Trunk, picture_axes, text_axes
from sensorium.checkpoints.rename import (
    DROP_AXIS,
    SAME,
    SPLIT,
    Change,
    CheckpointError,
    Row,
    State,
    depth,
    linear,
    one_to_one,
    under,
)
from sensorium.data.preprocess import Preprocess
from sensorium.models.clip import TextTower
from sensorium.models.imagebind import (
    EPS,
    MODALITIES,
    PRESETS,
    ImageBind,
    ImageBindConfig,
    Modality,
    TrunkConfig,
)

BEFORE, TRUNK, HEAD, AFTER = (f"modality_{room}" for room in ("preprocessors", "trunks", "heads", "postprocessors"))
PARTS = ("weight", "bias")
BLOCK = [
    *linear("norm_1", "norm1"),
    *linear("norm_2", "norm2"),
    *(
        Row(f"attn.in_proj_{p}", tuple(f"attention.{part}.{p}" for part in ("query", "key", "value")), SPLIT)
        for p in PARTS
    ),
    *linear("attn.out_proj", "attention.out"),
    *linear("mlp.fc1", "mlp.up"),
    *linear("mlp.fc2", "mlp.down"),
]
NULL = [Row("attn.bias_k", "attention.null_key", DROP_AXIS), Row("attn.bias_v", "attention.null_value", DROP_AXIS)]
STEMS = {"vision": "rgbt_stem", "audio": "rgbt_stem", "thermal": "rgbt_stem", "depth": "depth_stem", "imu": "imu_stem"}
PROJECTIONS: dict[Modality, str] = {"text": "proj.1", "imu": "3"}  # 2 is IMU's dropout
IMU_CHANNELS = 6
# The published heads; a bare file does not say.
HEADS = {(modality, tower.width): tower.heads for modality, tower in PRESETS["imagebind-huge"].towers.items()}


def rows(c: ImageBindConfig) -> list[Row]:
    """The modalities of the config."""
    return [row for modality in c.towers for row in _tower(modality)]


def _tower(modality: Modality) -> list[Row]:
    tower = f"towers.{modality}."
    text, vision = modality == "text", modality == "vision"
    return [
        *under(f"{BEFORE}.{modality}.", tower, TEXT if text else _stem(modality)),
        *(linear(f"{TRUNK}.{modality}.pre_transformer_layer.0", f"{tower}norm_in") if vision else ()),
        *under(f"{TRUNK}.{modality}.blocks.*.", f"{tower}blocks.*.", BLOCK if text or vision else [*BLOCK, *NULL]),
        *linear(f"{HEAD}.{modality}.{'proj.0' if text else '0'}", f"{tower}norm_out"),
        Row(f"{HEAD}.{modality}.{PROJECTIONS.get(modality, '2')}.weight", f"{tower}project.weight"),
        *(() if vision else [Row(f"{AFTER}.{modality}.1.log_logit_scale", f"scales.{modality}.log")]),
    ]


TEXT = [Row("pos_embed", "positions", DROP_AXIS), Row("token_embedding.weight", "words.weight")]
# Theirs multiplies 6 x 8 numbers laid out channel by channel, which is what a convolution of stride 8 does.
SIGNAL = one_to_one(lambda t: t.reshape(len(t), IMU_CHANNELS, -1), lambda t: t.flatten(1))


def _stem(modality: Modality) -> list[Row]:
    stem = STEMS[modality]
    change: Change = SIGNAL if modality == "imu" else SAME
    return [
        Row("cls_token", "cls", DROP_AXIS),
        Row("pos_embed" if modality == "imu" else "pos_embedding_helper.pos_embed", "positions", DROP_AXIS),
        Row(
            f"{stem}.proj.1.weight" if modality == "vision" else f"{stem}.proj.weight", "patches.project.weight", change
        ),
        *(() if modality == "vision" else linear(f"{stem}.norm_layer", "norm_patches")),
    ]


def belongs(c: ImageBindConfig, name: str) -> bool:
    """Whether a tensor is of a modality that the config has, or of none that is known: those must fail."""
    room, _, rest = name.partition(".")
    modality = rest.partition(".")[0]
    return room not in (BEFORE, TRUNK, HEAD, AFTER) or modality not in MODALITIES or modality in c.towers


def mask(c: ImageBindConfig) -> State:
    """The causal mask, which the authors' files carry among the weights."""
    if c.text is None:
        return {}
    side = c.text.context
    return {f"{BEFORE}.text.mask": torch.full((side, side), -torch.inf).triu(1)}


def config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> ImageBindConfig:
    """Sizes from the shapes; heads, frames and the audio's sides from config.json, else as they are published."""
    present = {key.split(".")[1] for key in state if key.startswith("modality_") and "." in key}
    read: dict[str, Any] = dict.fromkeys(MODALITIES)
    embed = 0
    for modality in MODALITIES:
        if modality in present:
            read[modality] = (_text if modality == "text" else _trunk)(modality, state, file or {})
            embed = state[f"{HEAD}.{modality}.{PROJECTIONS.get(modality, '2')}.weight"].shape[0]
    return ImageBindConfig(**read, embed=embed)


def _sizes(modality: Modality, state: Mapping[str, Tensor], c: Mapping[str, Any]) -> dict[str, Any]:
    blocks = f"{TRUNK}.{modality}.blocks."
    mlp, width = state[f"{blocks}0.mlp.fc1.weight"].shape
    heads = c.get(f"{modality}_num_heads") or HEADS.get((modality, width), max(1, width // 64))
    return {"width": width, "depth": depth(state, blocks), "heads": int(heads), "mlp": mlp}


def _text(modality: Modality, state: Mapping[str, Tensor], c: Mapping[str, Any]) -> TextTower:
    return TextTower(
        context=state[f"{BEFORE}.text.pos_embed"].shape[1],
        words=state[f"{BEFORE}.text.token_embedding.weight"].shape[0],
        activation="gelu",
        eps=EPS,
        **_sizes(modality, state, c),
    )


def _trunk(modality: Modality, state: Mapping[str, Tensor], c: Mapping[str, Any]) -> TrunkConfig:
    stem = f"{BEFORE}.{modality}.{STEMS[modality]}.proj"
    kernel = state[f"{stem}.1.weight" if modality == "vision" else f"{stem}.weight"].shape
    helper = "" if modality == "imu" else "pos_embedding_helper."
    places = state[f"{BEFORE}.{modality}.{helper}pos_embed"].shape[1] - 1
    sizes = _sizes(modality, state, c)
    if modality == "imu":
        channels, patch = IMU_CHANNELS, (kernel[1] // IMU_CHANNELS,)
        return TrunkConfig(channels=channels, sides=(places * patch[0],), patch=patch, **sizes)
    channels, patch = kernel[1], tuple(kernel[2:])
    if modality == "audio":
        step = int(c.get("audio_stride", 10))
        sides = (int(c.get("audio_num_mel_bins", 128)), int(c.get("audio_target_len", 204)))
        return TrunkConfig(channels=channels, sides=sides, patch=patch, stride=(step, step), **sizes)
    if modality != "vision":
        return TrunkConfig(channels=channels, sides=_square(places, patch), patch=patch, **sizes)
    frames = int(c.get("video_frames", 2))
    sides = (frames, *_square(places // max(1, frames // patch[0]), patch[1:]))
    return TrunkConfig(channels=channels, sides=sides, patch=patch, norm="tokens", null_token=False, **sizes)


def _square(places: int, patch: tuple[int, ...]) -> tuple[int, int]:
    side = isqrt(places)
    if side * side != places:
        raise CheckpointError(f"{places} positions are no square grid: say the config when loading")
    return side * patch[0], side * patch[1]


def arguments(c: ImageBindConfig) -> dict[str, Any]:
    """The arguments of the authors' ImageBindModel, as the hub's files state them."""
    stated: dict[str, Any] = {"out_embed_dim": c.embed}
    for modality, tower in c.towers.items():
        names = {"embed_dim": tower.width, "num_blocks": tower.depth, "num_heads": tower.heads}
        stated |= {f"{modality}_{name}": value for name, value in names.items()}
        if isinstance(tower, TrunkConfig) and modality in ("depth", "thermal", "imu"):
            stated[f"{modality}_kernel_size"] = tower.patch[0]
    if c.vision:
        stated |= {"video_frames": c.vision.sides[0], "kernel_size": list(c.vision.patch)}
    if c.audio:
        bins, length = c.audio.sides
        stated |= {"audio_kernel_size": c.audio.patch[0], "audio_stride": (c.audio.stride or c.audio.patch)[0]}
        stated |= {"audio_num_mel_bins": bins, "audio_target_len": length}
    return stated


def picture(checkpoint: Checkpoint, c: ImageBindConfig) -> Preprocess | None:
    """The authors' picture transform: RGB first, short side bicubic, centre crop, CLIP's mean and deviation."""
    return Preprocess(c.vision.sides[-1], rgb="before") if c.vision else None


FORMATS = (
    Format(
        family="imagebind",
        naming="imagebind",
        marks=tuple((f"{TRUNK}.{modality}.blocks.0.norm_1.weight",) for modality in MODALITIES),
        rows=rows,
        read=config,
        file="config.json",
        describe=arguments,
        preprocess=picture,
        belongs=belongs,
        constants=mask,
    ),
)


def trunks(model: ImageBind) -> list[Trunk]:
    """Every modality that was built; pictures may have any size, the others have the one they were learned with."""
    found: list[Trunk] = []
    for modality, c in model.config.towers.items():
        if isinstance(c, TextTower):
            inputs = torch.randint(1, c.words, (2, min(12, c.context)))
            axes = text_axes(c.context)
        elif modality == "vision":
            *_, patch = c.patch
            inputs, axes = torch.randn(2, c.channels, 6 * patch, 6 * patch), picture_axes(patch)
        else:
            inputs, axes = torch.randn(2, c.channels, *c.sides), {0: Axis("batch")}
        tower = model.towers[modality]
        found.append(Trunk(name=modality, module=tower, inputs={modality: inputs}, varies={modality: axes}))
    return found


FAMILIES = (
    Family(
        name="imagebind",
        system="ImageBind",
        reads="words, pictures, clips, sound, depth, heat and motion",
        model=ImageBind,
        config=ImageBindConfig,
        presets=cast("Mapping[str, ImageBindConfig]", PRESETS),
        formats=FORMATS,
        trunks=trunks,
    ),
)
