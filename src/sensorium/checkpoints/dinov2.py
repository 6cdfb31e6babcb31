"""DINOv2, with registers and without, as its authors and transformers save it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from sensorium.checkpoints.files import Checkpoint
from sensorium.checkpoints.format import Family, Format, picture_features
from sensorium.checkpoints.rename import (
    DROP_AXIS,
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
from sensorium.checkpoints.vit import mlp_ratio, square_side
from sensorium.data import preprocess
from sensorium.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from sensorium.models.dinov2 import PRESETS, DINOv2, DINOv2Config
from sensorium.nn.positions import DINOV2, TIMM, TRANSFORMERS

QKV = ("query", "key", "value")
PARTS = ("weight", "bias")
# timm's models with registers have no position for the class token, ours one of zeros
NO_FIRST = one_to_one(lambda t: torch.cat([t.new_zeros(1, t.shape[2]), t[0]]), lambda t: t[None, 1:])
HALVES = Change(lambda t: t.chunk(2), lambda ts: torch.cat(list(ts)))  # a fused gate and up


def _gated(fused: str, down: str) -> list[Row]:
    halves = (Row(f"{fused}.{part}", (f"mlp.gate.{part}", f"mlp.up.{part}"), HALVES) for part in PARTS)
    return [*halves, *linear(down, "mlp.down")]


PLAIN = [*linear("mlp.fc1", "mlp.up"), *linear("mlp.fc2", "mlp.down")]


def official_rows(c: DINOv2Config) -> list[Row]:
    """facebookresearch/dinov2."""
    block = [
        *linear("norm1", "norm1"),
        *linear("norm2", "norm2"),
        *(Row(f"attn.qkv.{p}", tuple(f"attention.{part}.{p}" for part in QKV), SPLIT) for p in PARTS),
        *linear("attn.proj", "attention.out"),
        *(_gated("mlp.w12", "mlp.w3") if c.gated else PLAIN),
        Row("ls1.gamma", "scale1.gain"),
        Row("ls2.gamma", "scale2.gain"),
    ]
    return [
        Row("cls_token", "cls", DROP_AXIS),
        Row("mask_token", "mask"),
        Row("register_tokens", "registers", DROP_AXIS),
        Row("pos_embed", "positions", DROP_AXIS),
        *linear("patch_embed.proj", "patches.project"),
        *under("blocks.*.", "blocks.*.", block),
        *linear("norm", "norm"),
    ]


def transformers_rows(c: DINOv2Config) -> list[Row]:
    """transformers' Dinov2WithRegistersModel and Dinov2Model."""
    block = [
        *linear("norm1", "norm1"),
        *linear("norm2", "norm2"),
        *(row for part in QKV for row in linear(f"attention.attention.{part}", f"attention.{part}")),
        *linear("attention.output.dense", "attention.out"),
        *(_gated("mlp.weights_in", "mlp.weights_out") if c.gated else PLAIN),
        Row("layer_scale1.lambda1", "scale1.gain"),
        Row("layer_scale2.lambda1", "scale2.gain"),
    ]
    return [
        Row("embeddings.cls_token", "cls", DROP_AXIS),
        Row("embeddings.mask_token", "mask"),
        Row("embeddings.register_tokens", "registers", DROP_AXIS),
        Row("embeddings.position_embeddings", "positions", DROP_AXIS),
        *linear("embeddings.patch_embeddings.projection", "patches.project"),
        *under("encoder.layer.*.", "blocks.*.", block),
        *linear("layernorm", "norm"),
    ]


def timm_rows(c: DINOv2Config) -> list[Row]:
    """timm's VisionTransformer, `vit_*_patch14_dinov2` and `vit_*_patch14_reg4_dinov2`."""
    block = [
        *linear("norm1", "norm1"),
        *linear("norm2", "norm2"),
        *(Row(f"attn.qkv.{p}", tuple(f"attention.{part}.{p}" for part in QKV), SPLIT) for p in PARTS),
        *linear("attn.proj", "attention.out"),
        *(_gated("mlp.fc1", "mlp.fc2") if c.gated else PLAIN),
        Row("ls1.gamma", "scale1.gain"),
        Row("ls2.gamma", "scale2.gain"),
    ]
    return [
        Row("cls_token", "cls", DROP_AXIS),
        Row("reg_token", "registers", DROP_AXIS),
        Row("pos_embed", "positions", NO_FIRST if c.registers else DROP_AXIS),
        *linear("patch_embed.proj", "patches.project"),
        *under("blocks.*.", "blocks.*.", block),
        *linear("norm", "norm"),
    ]


def timm_folds(state: State, c: DINOv2Config) -> State:
    """Beside registers, timm adds the position of the class token to the token itself."""
    if not c.registers:
        return state
    first = state["positions"][:1]
    still = torch.cat([torch.zeros_like(first), state["positions"][1:]])
    return state | {"cls": state["cls"] + first, "positions": still}


def timm_implied(c: DINOv2Config) -> State:
    """timm keeps no mask token."""
    return {"mask": torch.zeros(1, c.width)}


def official_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> DINOv2Config:
    """Every size stands in the shapes, with heads of 64; models without registers resize positions by a factor."""
    width, channels, patch, _ = state["patch_embed.proj.weight"].shape
    gated = "blocks.0.mlp.w12.weight" in state
    registers = state["register_tokens"].shape[1] if "register_tokens" in state else 0
    return DINOv2Config(
        image=square_side(state["pos_embed"].shape[1] - 1, patch),
        patch=patch,
        width=width,
        depth=depth(state, "blocks."),
        heads=max(1, width // 64),
        hidden=state["blocks.0.mlp.w3.weight"].shape[1] if gated else state["blocks.0.mlp.fc1.bias"].shape[0],
        gated=gated,
        channels=channels,
        registers=registers,
        resampling=TIMM if registers else DINOV2,
    )


def timm_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> DINOv2Config:
    """Sizes from the shapes; the heads from timm's model_args where they are written, else of 64."""
    width, channels, patch, _ = state["patch_embed.proj.weight"].shape
    arguments: Mapping[str, Any] = (file or {}).get("model_args") or {}
    inside, hidden = len(state["blocks.0.mlp.fc1.weight"]), state["blocks.0.mlp.fc2.weight"].shape[1]
    registers = state["reg_token"].shape[1] if "reg_token" in state else 0
    return DINOv2Config(
        image=square_side(state["pos_embed"].shape[1] - (not registers), patch),
        patch=patch,
        width=width,
        depth=depth(state, "blocks."),
        heads=int(arguments.get("num_heads") or max(1, width // 64)),
        hidden=hidden,
        gated=inside == 2 * hidden,
        channels=channels,
        registers=registers,
        layer_scale=float(arguments.get("init_values") or 1.0),
        resampling=TIMM,
    )


def transformers_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> DINOv2Config:
    """Sizes from the shapes; heads, activation and epsilon from config.json, else as the published models have them."""
    c = file or {}
    width, channels, patch, _ = state["embeddings.patch_embeddings.projection.weight"].shape
    mlp = "encoder.layer.0.mlp."
    gated = f"{mlp}weights_in.weight" in state
    registers = state["embeddings.register_tokens"].shape[1] if "embeddings.register_tokens" in state else 0
    if not gated and c.get("hidden_act", "gelu") != "gelu":
        raise CheckpointError(f"config.json: hidden_act {c['hidden_act']!r}: DINOv2 is built with gelu")
    return DINOv2Config(
        image=square_side(state["embeddings.position_embeddings"].shape[1] - 1, patch),
        patch=patch,
        width=width,
        depth=depth(state, "encoder.layer."),
        heads=int(c.get("num_attention_heads") or max(1, width // 64)),
        hidden=state[f"{mlp}weights_out.weight"].shape[1] if gated else state[f"{mlp}fc1.bias"].shape[0],
        gated=gated,
        channels=channels,
        registers=registers,
        layer_scale=float(c.get("layerscale_value", 1.0)),
        eps=float(c.get("layer_norm_eps", 1e-6)),
        resampling=TIMM if registers else TRANSFORMERS,
    )


def _ratio(c: DINOv2Config) -> int:
    """transformers writes the width inside the MLP as a whole ratio, two thirds of it (in steps of 8) where gated."""
    for ratio in range(1, 65):
        hidden = c.width * ratio
        if c.hidden == ((int(hidden * 2 / 3) + 7) // 8 * 8 if c.gated else hidden):
            return ratio
    raise CheckpointError(f"transformers has no DINOv2 of width {c.width} with {c.hidden} channels inside its MLP")


def transformers_json(c: DINOv2Config) -> dict[str, Any]:
    """The config.json with which transformers rebuilds the model; raises where it has no MLP of such a width."""
    registers = {"num_register_tokens": c.registers} if c.registers else {}
    return {
        "architectures": ["Dinov2WithRegistersModel" if registers else "Dinov2Model"],
        "model_type": "dinov2_with_registers" if registers else "dinov2",
        "hidden_size": c.width,
        "num_hidden_layers": c.depth,
        "num_attention_heads": c.heads,
        "mlp_ratio": _ratio(c),
        "use_swiglu_ffn": c.gated,
        "image_size": c.image,
        "patch_size": c.patch,
        "num_channels": c.channels,
        "qkv_bias": True,
        "hidden_act": "gelu",
        "layerscale_value": c.layer_scale,
        "layer_norm_eps": c.eps,
        **registers,
    }


def timm_json(c: DINOv2Config) -> dict[str, Any]:
    """The config.json with which timm rebuilds the model; the way in which an MLP is gated stands in the name only."""
    names = {384: "small", 768: "base", 1024: "large"}
    size = "giant" if c.gated else names.get(c.width, "base")
    return {
        "architecture": f"vit_{size}_patch14{'_reg4' if c.registers else ''}_dinov2",
        "num_classes": 0,
        "num_features": c.width,
        "global_pool": "token",
        "model_args": {
            "img_size": c.image,
            "dynamic_img_size": True,
            "patch_size": c.patch,
            "in_chans": c.channels,
            "embed_dim": c.width,
            "depth": c.depth,
            "num_heads": c.heads,
            "mlp_ratio": mlp_ratio(c.hidden * (2 if c.gated else 1), c.width),
            "init_values": c.layer_scale,
            "reg_tokens": c.registers,
            "no_embed_class": bool(c.registers),
        },
    }


def timm_picture(side: int) -> Callable[[Checkpoint, Any], Preprocess]:
    """timm's preprocessing as its config.json states it, else whole pictures of a side, as timm publishes the line."""

    def steps(checkpoint: Checkpoint, config: Any) -> Preprocess:
        file = checkpoint.beside.get("config.json", {})
        stated = (file.get("pretrained_cfg") or file).get("input_size")
        size = int(stated[-1]) if stated else side
        return preprocess.from_timm(file, size, 1.0, mean=IMAGENET_MEAN, std=IMAGENET_STD)

    return steps


def named(word: str) -> Callable[[Mapping[str, Any] | None], bool]:
    """Whether timm's config.json, where it says an architecture, says one with this word in it."""
    return lambda file: word in str((file or {}).get("architecture", word))


def picture(checkpoint: Checkpoint, config: Any) -> Preprocess:
    """The preprocessing of preprocessor_config.json, or the authors' evaluation: 256, bicubic, of which 224."""
    file = checkpoint.beside.get("preprocessor_config.json")
    steps = preprocess.timm(224, 0.875, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return preprocess.from_transformers(file) if file else steps


FORMATS = (
    Format(
        family="dinov2",
        naming="official",
        marks=(("pos_embed", "mask_token", "blocks.0.ls1.gamma", "blocks.0.attn.qkv.weight"),),
        rows=official_rows,
        read=official_config,
        preprocess=picture,
    ),
    Format(
        family="dinov2",
        naming="timm",
        # of timm's other ViTs with such names, DeiT III has a head, or says in its file what it is
        marks=(("cls_token", "pos_embed", "blocks.0.ls1.gamma", "blocks.0.attn.qkv.weight", "norm.weight"),),
        without=("head.weight",),
        rows=timm_rows,
        read=timm_config,
        file="config.json",
        fits=named("dinov2"),
        describe=timm_json,
        implied=timm_implied,
        folds=timm_folds,
        preprocess=timm_picture(518),
    ),
    Format(
        family="dinov2",
        naming="transformers",
        marks=(
            (
                "embeddings.cls_token",
                "encoder.layer.0.layer_scale1.lambda1",
                "encoder.layer.0.attention.attention.query.weight",
            ),
        ),
        rows=transformers_rows,
        read=transformers_config,
        file="config.json",
        describe=transformers_json,
        preprocess=picture,
    ),
)
FAMILIES = (
    Family(
        name="dinov2",
        system="ViT with registers",
        reads="pictures",
        model=DINOv2,
        config=DINOv2Config,
        presets=PRESETS,
        formats=FORMATS,
        trunks=lambda model: picture_features(model, patch=model.config.patch, side=6 * model.config.patch),
        by_naming=("layer_scale", "resampling"),
    ),
)
