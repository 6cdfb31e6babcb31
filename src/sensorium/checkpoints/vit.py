"""ViT as Google's JAX code, timm and transformers save it."""

from collections.abc import Mapping
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from sensorium.checkpoints.files import Checkpoint
from sensorium.checkpoints.format import Family, Format, Trunk, picture_axes
from sensorium.checkpoints.rename import (
    DROP_AXIS,
    SPLIT,
    TRANSPOSE,
    CheckpointError,
    Row,
    depth,
    linear,
    one_to_one,
    under,
)
from sensorium.data import preprocess
from sensorium.data.preprocess import Preprocess
from sensorium.models.vit import PRESETS, SIZES, ViT, ViTConfig
from sensorium.nn.positions import GOOGLE, TIMM, TRANSFORMERS

QKV = ("query", "key", "value")
# Every published ViT has the heads of its width; a bare file does not say.
HEADS = {size.width: size.heads for size in SIZES.values()}


def google_rows(c: ViTConfig) -> list[Row]:
    """The .npz files of google-research/vision_transformer: flax kernels, (in, out) and (in, heads, head)."""
    heads_in = one_to_one(lambda t: t.flatten(1).T, lambda t: t.T.reshape(t.shape[1], c.heads, -1))
    heads_out = one_to_one(lambda t: t.flatten(0, 1).T, lambda t: t.T.reshape(c.heads, -1, t.shape[0]))
    heads_bias = one_to_one(lambda t: t.flatten(), lambda t: t.reshape(c.heads, -1))
    patches = one_to_one(lambda t: t.permute(3, 2, 0, 1), lambda t: t.permute(2, 3, 1, 0))

    def dense(theirs: str, ours: str) -> list[Row]:
        return [Row(f"{theirs}/kernel", f"{ours}.weight", TRANSPOSE), Row(f"{theirs}/bias", f"{ours}.bias")]

    def norm(theirs: str, ours: str) -> list[Row]:
        return [Row(f"{theirs}/scale", f"{ours}.weight"), Row(f"{theirs}/bias", f"{ours}.bias")]

    attention = "MultiHeadDotProductAttention_1"
    block = [
        *norm("LayerNorm_0", "norm1"),
        *norm("LayerNorm_2", "norm2"),
        *(Row(f"{attention}/{part}/kernel", f"attention.{part}.weight", heads_in) for part in QKV),
        *(Row(f"{attention}/{part}/bias", f"attention.{part}.bias", heads_bias) for part in QKV),
        Row(f"{attention}/out/kernel", "attention.out.weight", heads_out),
        Row(f"{attention}/out/bias", "attention.out.bias"),
        *dense("MlpBlock_3/Dense_0", "mlp.up"),
        *dense("MlpBlock_3/Dense_1", "mlp.down"),
    ]
    return [
        Row("embedding/kernel", "patches.project.weight", patches),
        Row("embedding/bias", "patches.project.bias"),
        Row("cls", "cls", DROP_AXIS),
        Row("Transformer/posembed_input/pos_embedding", "positions", DROP_AXIS),
        *under("Transformer/encoderblock_*/", "blocks.*.", block),
        *norm("Transformer/encoder_norm", "norm"),
        *dense("pre_logits", "pooler.project"),
        *dense("head", "head"),
    ]


def timm_rows(c: ViTConfig) -> list[Row]:
    """timm's VisionTransformer: fused q, k, v; the norm is `fc_norm` where it comes after the average."""
    block = [
        *linear("norm1", "norm1"),
        *linear("norm2", "norm2"),
        *(Row(f"attn.qkv.{p}", tuple(f"attention.{part}.{p}" for part in QKV), SPLIT) for p in ("weight", "bias")),
        *linear("attn.proj", "attention.out"),
        *linear("mlp.fc1", "mlp.up"),
        *linear("mlp.fc2", "mlp.down"),
        Row("ls1.gamma", "scale1.gain"),
        Row("ls2.gamma", "scale2.gain"),
    ]
    return [
        Row("cls_token", "cls", DROP_AXIS),
        Row("reg_token", "registers", DROP_AXIS),
        Row("pos_embed", "positions", DROP_AXIS),
        *linear("patch_embed.proj", "patches.project"),
        *under("blocks.*.", "blocks.*.", block),
        *linear("fc_norm" if c.pool == "mean" else "norm", "norm"),
        *linear("pre_logits.fc", "pooler.project"),
        *linear("head", "head"),
    ]


def transformers_rows(c: ViTConfig) -> list[Row]:
    """transformers' ViTForImageClassification (a `vit.` before the trunk) and ViTModel (none, with a pooler)."""
    attention = "attention.attention"
    block = [
        *linear("layernorm_before", "norm1"),
        *linear("layernorm_after", "norm2"),
        *(row for part in QKV for row in linear(f"{attention}.{part}", f"attention.{part}")),
        *linear("attention.output.dense", "attention.out"),
        *linear("intermediate.dense", "mlp.up"),
        *linear("output.dense", "mlp.down"),
    ]
    trunk = [
        Row("embeddings.cls_token", "cls", DROP_AXIS),
        Row("embeddings.position_embeddings", "positions", DROP_AXIS),
        *linear("embeddings.patch_embeddings.projection", "patches.project"),
        *under("encoder.layer.*.", "blocks.*.", block),
        *linear("layernorm", "norm"),
        *linear("pooler.dense", "pooler.project"),
    ]
    return [*under("vit." if c.classes else "", "", trunk), *linear("classifier", "head")]


def square_side(positions: int, patch: int) -> int:
    """The side in pixels of the picture that so many positions cover; raises CheckpointError where it is no square."""
    side = isqrt(positions)
    if side * side != positions:
        raise CheckpointError(f"{positions} positions are no square grid: say the config when loading")
    return side * patch


def _heads(width: int) -> int:
    return HEADS.get(width, max(1, width // 64))


def google_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> ViTConfig:
    """Every size stands in the shapes of the .npz."""
    patch, _, channels, width = state["embedding/kernel"].shape
    pooled = state.get("pre_logits/kernel")
    head = state.get("head/bias")
    has_cls = "cls" in state
    positions = state["Transformer/posembed_input/pos_embedding"].shape[1]
    return ViTConfig(
        image=square_side(positions - has_cls, patch),
        patch=patch,
        width=width,
        depth=depth(state, "Transformer/encoderblock_", "/"),
        heads=state["Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/bias"].shape[0],
        mlp=state["Transformer/encoderblock_0/MlpBlock_3/Dense_0/bias"].shape[0],
        channels=channels,
        classes=0 if head is None else len(head),
        representation=0 if pooled is None else pooled.shape[1],
        pool="cls" if has_cls else "mean",
        activation="gelu_tanh",
        resampling=GOOGLE,
    )


def timm_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> ViTConfig:
    """Sizes from the shapes; the heads from timm's model_args where they are written, else from the width."""
    width, channels, patch, _ = state["patch_embed.proj.weight"].shape
    arguments: Mapping[str, Any] = {**(file or {}), **((file or {}).get("model_args") or {})}
    has_cls = "cls_token" in state
    positions = state["pos_embed"].shape[1]
    class_position = has_cls and isqrt(positions) ** 2 != positions
    scale = state.get("blocks.0.ls1.gamma")
    head = state.get("head.bias")
    return ViTConfig(
        image=square_side(positions - class_position, patch),
        patch=patch,
        width=width,
        depth=depth(state, "blocks.", "."),
        heads=int(arguments.get("num_heads") or _heads(width)),
        mlp=state["blocks.0.mlp.fc1.bias"].shape[0],
        channels=channels,
        classes=0 if head is None else len(head),
        representation=len(state["pre_logits.fc.bias"]) if "pre_logits.fc.bias" in state else 0,
        registers=state["reg_token"].shape[1] if "reg_token" in state else 0,
        pool="cls" if has_cls else "mean",
        class_position=class_position or not has_cls,
        layer_scale=None if scale is None else float(arguments.get("init_values") or 1e-5),
        resampling=TIMM,
    )


def transformers_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> ViTConfig:
    """Sizes from config.json, from the shapes where it is silent or absent."""
    c = file or {}
    stem = "vit." if "vit.embeddings.cls_token" in state else ""
    width, channels, patch, _ = state[f"{stem}embeddings.patch_embeddings.projection.weight"].shape
    head = state.get("classifier.bias")
    activation = c.get("hidden_act", "gelu")
    if activation not in ("gelu", "gelu_new", "gelu_pytorch_tanh"):
        raise CheckpointError(f"config.json: hidden_act {activation!r} is not one that ViT is built with (gelu)")
    return ViTConfig(
        image=square_side(state[f"{stem}embeddings.position_embeddings"].shape[1] - 1, patch),
        patch=patch,
        width=width,
        depth=depth(state, f"{stem}encoder.layer.", "."),
        heads=int(c.get("num_attention_heads") or _heads(width)),
        mlp=state[f"{stem}encoder.layer.0.intermediate.dense.bias"].shape[0],
        channels=channels,
        classes=0 if head is None else len(head),
        representation=len(state["pooler.dense.bias"]) if "pooler.dense.bias" in state else 0,
        activation="gelu" if activation == "gelu" else "gelu_tanh",
        eps=float(c.get("layer_norm_eps", 1e-12)),
        resampling=TRANSFORMERS,
    )


def transformers_json(c: ViTConfig) -> dict[str, Any]:
    """The config.json with which transformers rebuilds the model."""
    labels = {"id2label": {str(i): f"LABEL_{i}" for i in range(c.classes)}} if c.classes else {}
    return {
        "architectures": ["ViTForImageClassification" if c.classes else "ViTModel"],
        "model_type": "vit",
        "hidden_size": c.width,
        "num_hidden_layers": c.depth,
        "num_attention_heads": c.heads,
        "intermediate_size": c.mlp,
        "image_size": c.image,
        "patch_size": c.patch,
        "num_channels": c.channels,
        "qkv_bias": True,
        "hidden_act": "gelu" if c.activation == "gelu" else "gelu_pytorch_tanh",
        "layer_norm_eps": c.eps,
        **labels,
    }


def mlp_ratio(hidden: int, width: int) -> float:
    """The ratio from which timm makes the width inside an MLP again, rounding down."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else (hidden + 0.5) / width


def timm_json(c: ViTConfig) -> dict[str, Any]:
    """The config.json with which timm rebuilds the model; its arguments overrule the architecture's own."""
    size = {192: "tiny", 384: "small", 768: "base", 1024: "large", 1280: "huge"}.get(c.width, "base")
    pool = "token" if c.pool == "cls" else "avg"
    return {
        "architecture": f"vit_{size}_patch{14 if size == 'huge' else 16}_224",  # of other patches and sides some exist
        "num_classes": c.classes,
        "num_features": c.width,
        "global_pool": pool,
        "model_args": {
            "global_pool": pool,
            "img_size": c.image,
            "patch_size": c.patch,
            "embed_dim": c.width,
            "depth": c.depth,
            "num_heads": c.heads,
            "mlp_ratio": mlp_ratio(c.mlp, c.width),
            "class_token": c.pool == "cls",
            "reg_tokens": c.registers,
            "no_embed_class": c.pool == "mean" or not c.class_position,
            "init_values": c.layer_scale,
        },
    }


def plain_picture(checkpoint: Checkpoint, c: ViTConfig) -> Preprocess:
    """The preprocessing of preprocessor_config.json where transformers wrote one, or Google's."""
    file = checkpoint.beside.get("preprocessor_config.json")
    return preprocess.from_transformers(file) if file else preprocess.vit(c.image)


def timm_picture(checkpoint: Checkpoint, c: ViTConfig) -> Preprocess:
    """The pretrained_cfg of timm's config.json, or what its line was trained with."""
    file, crop = checkpoint.beside.get("config.json", {}), 0.9 if c.image == 224 else 1.0
    return preprocess.from_timm(file, c.image, crop, mean=preprocess.HALF, std=preprocess.HALF)


FORMATS = (
    Format(
        family="vit",
        naming="google",
        official=True,
        marks=(("Transformer/posembed_input/pos_embedding", "embedding/kernel"),),
        rows=google_rows,
        read=google_config,
        preprocess=plain_picture,
    ),
    Format(
        family="vit",
        naming="timm",
        marks=(("pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"),),
        rows=timm_rows,
        read=timm_config,
        file="config.json",
        describe=timm_json,
        preprocess=timm_picture,
    ),
    Format(
        family="vit",
        naming="transformers",
        marks=tuple(
            (f"{stem}embeddings.cls_token", f"{stem}encoder.layer.0.attention.attention.query.weight")
            for stem in ("vit.", "")
        ),
        rows=transformers_rows,
        read=transformers_config,
        file="config.json",
        describe=transformers_json,
        preprocess=plain_picture,
    ),
)


def trunks(model: ViT) -> list[Trunk]:
    """The whole model."""
    c = model.config
    side = c.image + c.patch  # not the size it was trained at, for which positions take another path
    return [
        Trunk(
            name="image",
            module=model,
            inputs={"image": torch.randn(2, c.channels, side, side)},
            varies={"image": picture_axes(c.patch)},
            outputs=("logits" if c.classes else "vector",),
        )
    ]


FAMILIES = (
    Family(
        name="vit",
        system="ViT",
        reads="pictures",
        model=ViT,
        config=ViTConfig,
        presets=PRESETS,
        formats=FORMATS,
        trunks=trunks,
    ),
)
