"""DINOv3's ViTs and projection heads, as its authors and transformers save them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sensorium.checkpoints.dinov2 import picture, timm_picture
from sensorium.checkpoints.format import Family, Format, picture_features
from sensorium.checkpoints.rename import DROP_AXIS, SPLIT, Change, CheckpointError, Row, State, depth, linear, under
from sensorium.checkpoints.vit import mlp_ratio
from sensorium.models.dinov3 import PRESETS, DINOv3, DINOv3Config
from sensorium.nn.rotary import geometric_periods

QKV = ("query", "key", "value")
PARTS = ("weight", "bias")
# How timm's Eva, a class of many models, is told to be DINOv3; its architectures say so, their files may not.
TIMM_ROTATION = {"rope_type": "dinov3", "rope_rotate_half": True, "rope_grid_offset": 0, "rope_grid_indexing": "ij"}
HEADS = {4096: 32}  # 7B has heads of 128; all others of 64


def _keys_only(masks: Tensor) -> list[Tensor]:
    query, key, value = masks.reshape(3, -1)
    if not (query.all() and value.all() and not key.any()):
        raise CheckpointError("a bias_mask hides other biases than those of all keys: no DINOv3 is published so")
    return [key]


def _all_three(keys: Sequence[Tensor]) -> Tensor:
    (key,) = keys
    return torch.cat([torch.ones_like(key), key, torch.ones_like(key)])


def _without_key(biases: Sequence[Tensor]) -> Tensor:
    query, value = biases
    return torch.cat([query, torch.zeros_like(query), value])


MASK = Change(_keys_only, _all_three)
NO_KEY = Change(lambda t: t.reshape(3, -1)[::2].unbind(), _without_key)  # for models that never stored the key's bias


def official_rows(c: DINOv3Config) -> list[Row]:
    """facebookresearch/dinov3."""
    query, key, value = (f"blocks.*.attention.{part}.bias" for part in QKV)
    biases = {
        "plain": Row("blocks.*.attn.qkv.bias", (query, key, value), SPLIT),
        "masked": Row("blocks.*.attn.qkv.bias", (query, "unused.*.bias", value), SPLIT),
        "none": Row("blocks.*.attn.qkv.bias", (query, value), NO_KEY),
    }
    gated = [row for i, part in enumerate(("gate", "up", "down"), 1) for row in linear(f"mlp.w{i}", f"mlp.{part}")]
    block = [
        *linear("norm1", "norm1"),
        *linear("norm2", "norm2"),
        Row("attn.qkv.weight", tuple(f"attention.{part}.weight" for part in QKV), SPLIT),
        *linear("attn.proj", "attention.out"),
        *(gated if c.gated else [*linear("mlp.fc1", "mlp.up"), *linear("mlp.fc2", "mlp.down")]),
        Row("ls1.gamma", "scale1.gain"),
        Row("ls2.gamma", "scale2.gain"),
    ]
    return [
        Row("cls_token", "cls", DROP_AXIS),
        Row("mask_token", "mask"),
        Row("storage_tokens", "registers", DROP_AXIS),
        Row("rope_embed.periods", "periods"),
        *linear("patch_embed.proj", "patches.project"),
        *under("blocks.*.", "blocks.*.", block),
        biases[c.key_bias],
        Row("blocks.*.attn.qkv.bias_mask", "unused.*.mask", MASK),
        *linear("norm", "norm"),
        *linear("cls_norm", "cls_norm"),
        *linear("local_cls_norm", "local_norm"),
    ]


def transformers_rows(c: DINOv3Config) -> list[Row]:
    """transformers' DINOv3ViTModel."""
    projections = [("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("o_proj", "out")]
    block = [
        *linear("norm1", "norm1"),
        *linear("norm2", "norm2"),
        *(row for theirs, ours in projections for row in linear(f"attention.{theirs}", f"attention.{ours}")),
        *(row for part in ("gate", "up", "down") for row in linear(f"mlp.{part}_proj", f"mlp.{part}")),
        Row("layer_scale1.lambda1", "scale1.gain"),
        Row("layer_scale2.lambda1", "scale2.gain"),
    ]
    return [
        Row("embeddings.cls_token", "cls", DROP_AXIS),
        Row("embeddings.mask_token", "mask", DROP_AXIS),
        Row("embeddings.register_tokens", "registers", DROP_AXIS),
        *linear("embeddings.patch_embeddings", "patches.project"),
        *under("layer.*.", "blocks.*.", block),
        *linear("norm", "norm"),
    ]


def timm_rows(c: DINOv3Config) -> list[Row]:
    """timm's Eva, `vit_*_patch16_dinov3`, and `vit_*_patch16_dinov3_qkvb` with biases of queries and values."""
    gated = [*linear("mlp.fc1_g", "mlp.gate"), *linear("mlp.fc1_x", "mlp.up")]
    block = [
        *linear("norm1", "norm1"),
        *linear("norm2", "norm2"),
        Row("attn.qkv.weight", tuple(f"attention.{part}.weight" for part in QKV), SPLIT),
        Row("attn.q_bias", "attention.query.bias"),
        Row("attn.v_bias", "attention.value.bias"),
        *linear("attn.proj", "attention.out"),
        *(gated if c.gated else linear("mlp.fc1", "mlp.up")),
        *linear("mlp.fc2", "mlp.down"),
        Row("gamma_1", "scale1.gain"),
        Row("gamma_2", "scale2.gain"),
    ]
    return [
        Row("cls_token", "cls", DROP_AXIS),
        Row("reg_token", "registers", DROP_AXIS),
        *linear("patch_embed.proj", "patches.project"),
        *under("blocks.*.", "blocks.*.", block),
        *linear("norm", "norm"),
    ]


def timm_implied(c: DINOv3Config) -> State:
    """What timm computes or leaves away: all that transformers does, and the mask token."""
    return transformers_implied(c) | {"mask": torch.zeros(1, c.width)}


def transformers_implied(c: DINOv3Config) -> dict[str, Tensor]:
    """What transformers computes (periods) or leaves away (masked biases, the norm of local crops)."""
    implied = {"periods": geometric_periods(c.width // c.heads, c.base)}
    for index in range(c.depth if c.bias and c.key_bias != "plain" else 0):
        implied[f"unused.{index}.bias"] = torch.zeros(c.width if c.key_bias == "masked" else 0)
        implied[f"unused.{index}.mask"] = torch.zeros(c.width)
    if c.local_norm:
        implied |= {"local_norm.weight": torch.ones(c.width), "local_norm.bias": torch.zeros(c.width)}
    return implied


def official_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> DINOv3Config:
    """Every size stands in the shapes, the heads in the number of their periods."""
    width, channels, patch, _ = state["patch_embed.proj.weight"].shape
    block, gated = "blocks.0.", "blocks.0.mlp.w1.weight" in state
    bias = f"{block}attn.qkv.bias" in state
    masked = f"{block}attn.qkv.bias_mask" in state
    return DINOv3Config(
        patch=patch,
        width=width,
        depth=depth(state, "blocks."),
        heads=width // (4 * len(state["rope_embed.periods"])),
        hidden=len(state[f"{block}mlp.w1.weight" if gated else f"{block}mlp.fc1.weight"]),
        gated=gated,
        channels=channels,
        registers=state["storage_tokens"].shape[1] if "storage_tokens" in state else 0,
        bias=bias,
        key_bias="masked" if masked else "plain" if bias else "none",
        out_bias=f"{block}attn.proj.bias" in state,
        mlp_bias=f"{block}mlp.{'w1' if gated else 'fc1'}.bias" in state,
        norm="layer" if "norm.bias" in state else "rms",
        untied="cls_norm.weight" in state,
        local_norm="local_cls_norm.weight" in state,
    )


def transformers_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> DINOv3Config:
    """Sizes from the shapes; heads, epsilon and the base of the periods from config.json, else as published."""
    c = file or {}
    width, channels, patch, _ = state["embeddings.patch_embeddings.weight"].shape
    block, gated = "layer.0.", "layer.0.mlp.gate_proj.weight" in state
    activation = "silu" if gated else "gelu"
    if c.get("hidden_act", activation) != activation:
        raise CheckpointError(f"config.json: hidden_act {c['hidden_act']!r}: this MLP is built with {activation}")
    return DINOv3Config(
        patch=patch,
        width=width,
        depth=depth(state, "layer."),
        heads=int(c.get("num_attention_heads") or HEADS.get(width, max(1, width // 64))),
        hidden=len(state[f"{block}mlp.up_proj.weight"]),
        gated=gated,
        channels=channels,
        registers=state["embeddings.register_tokens"].shape[1],
        bias=f"{block}attention.q_proj.bias" in state,
        key_bias="plain" if f"{block}attention.k_proj.bias" in state else "none",
        out_bias=f"{block}attention.o_proj.bias" in state,
        mlp_bias=f"{block}mlp.up_proj.bias" in state,
        eps=float(c.get("layer_norm_eps", 1e-5)),
        layer_scale=float(c.get("layerscale_value", 1e-5)),
        base=float((c.get("rope_parameters") or c).get("rope_theta", 100.0)),
    )


def timm_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> DINOv3Config:
    """Sizes from the shapes; heads and the base of the periods from timm's model_args, else as published."""
    width, channels, patch, _ = state["patch_embed.proj.weight"].shape
    arguments: Mapping[str, Any] = (file or {}).get("model_args") or {}
    for key, value in TIMM_ROTATION.items():
        if arguments.get(key, value) != value:
            raise CheckpointError(f"config.json: {key}={arguments[key]!r} is no DINOv3, which has {value!r}")
    return DINOv3Config(
        patch=patch,
        width=width,
        depth=depth(state, "blocks."),
        heads=int(arguments.get("num_heads") or HEADS.get(width, max(1, width // 64))),
        hidden=state["blocks.0.mlp.fc2.weight"].shape[1],
        gated="blocks.0.mlp.fc1_g.weight" in state,
        channels=channels,
        registers=state["reg_token"].shape[1],
        bias="blocks.0.attn.q_bias" in state,
        key_bias="none",
        layer_scale=float(arguments.get("init_values") or 1e-5),
        base=float(arguments.get("rope_temperature") or 100.0),
    )


def timm_json(c: DINOv3Config) -> dict[str, Any]:
    """The config.json with which timm rebuilds the model; raises where it has no such trunk."""
    usual = c.norm == "layer" and not c.untied and c.normalise == "separate" and c.key_bias != "plain"
    if not (usual and c.out_bias and c.mlp_bias and c.registers):
        raise CheckpointError(
            "timm has no DINOv3 with RMSNorm, untied norms, another grid, biased keys, fewer biases or no registers; "
            "save as official"
        )
    names = {
        (384, False): "small",
        (384, True): "small_plus",
        (1024, False): "large",
        (1280, True): "huge_plus",
        (4096, True): "base" if c.bias else "7b",
    }
    return {
        "architecture": f"vit_{names.get((c.width, c.gated), 'base')}_patch16_dinov3{'_qkvb' if c.bias else ''}",
        "num_classes": 0,
        "num_features": c.width,
        "global_pool": "token",
        "model_args": {
            "global_pool": "token",
            "patch_size": c.patch,
            "in_chans": c.channels,
            "embed_dim": c.width,
            "depth": c.depth,
            "num_heads": c.heads,
            "mlp_ratio": mlp_ratio(c.hidden, c.width),
            "swiglu_mlp": c.gated,
            "swiglu_align_to": int(c.gated),  # 1: gate and up apart, and no wider than they are
            "init_values": c.layer_scale,
            "num_reg_tokens": c.registers,
            "rope_temperature": c.base,
        },
    }


def transformers_json(c: DINOv3Config) -> dict[str, Any]:
    """The config.json with which transformers rebuilds the model; raises where it has no such trunk."""
    if c.norm != "layer" or c.untied or c.normalise != "separate":
        raise CheckpointError("transformers has no DINOv3 with RMSNorm, untied norms or another grid; save as official")
    return {
        "architectures": ["DINOv3ViTModel"],
        "model_type": "dinov3_vit",
        "hidden_size": c.width,
        "num_hidden_layers": c.depth,
        "num_attention_heads": c.heads,
        "intermediate_size": c.hidden,
        "use_gated_mlp": c.gated,
        "hidden_act": "silu" if c.gated else "gelu",
        "patch_size": c.patch,
        "num_channels": c.channels,
        "num_register_tokens": c.registers,
        "query_bias": c.bias,
        "key_bias": c.key_bias == "plain",
        "value_bias": c.bias,
        "proj_bias": c.out_bias,
        "mlp_bias": c.mlp_bias,
        "layerscale_value": c.layer_scale,
        "layer_norm_eps": c.eps,
        "rope_theta": c.base,
    }


def head_rows(layers: int) -> list[Row]:
    """The projection head of so many linear layers, `dino_head` and `ibot_head` of the training code."""
    steps = range(0, 2 * layers, 2)  # an activation stands after each
    return [
        *(row for step in steps for row in linear(f"mlp.{step}", f"mlp.{step}")),
        Row("last_layer.weight", "prototypes.weight"),
    ]


FORMATS = (
    Format(
        family="dinov3",
        naming="official",
        marks=(("rope_embed.periods", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"),),
        rows=official_rows,
        read=official_config,
        preprocess=picture,
    ),
    Format(
        family="dinov3",
        naming="timm",
        marks=(("cls_token", "reg_token", "blocks.0.gamma_1", "blocks.0.attn.qkv.weight", "norm.weight"),),
        rows=timm_rows,
        read=timm_config,
        file="config.json",
        describe=timm_json,
        implied=timm_implied,
        preprocess=timm_picture(256),
    ),
    Format(
        family="dinov3",
        naming="transformers",
        marks=(("embeddings.patch_embeddings.weight", "layer.0.attention.q_proj.weight", "layer.0.norm1.weight"),),
        rows=transformers_rows,
        read=transformers_config,
        file="config.json",
        describe=transformers_json,
        implied=transformers_implied,
        preprocess=picture,
    ),
)
FAMILIES = (
    Family(
        name="dinov3",
        system="DINOv3",
        reads="pictures",
        model=DINOv3,
        config=DINOv3Config,
        presets=PRESETS,
        formats=FORMATS,
        trunks=lambda model: picture_features(model, patch=model.config.patch, side=6 * model.config.patch),
        by_naming=("bias", "key_bias", "layer_scale", "local_norm"),
    ),
)
