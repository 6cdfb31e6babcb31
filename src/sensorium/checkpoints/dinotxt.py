"""dino.txt as DINOv3's authors save it: one file with the whole model, or one beside the trunk's own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sensorium.checkpoints import dinov3
from sensorium.checkpoints.dinov2 import picture
from sensorium.checkpoints.files import Checkpoint
from sensorium.checkpoints.format import Family, Format, Trunk, picture_axes, text_axes
from sensorium.checkpoints.rename import DROP_AXIS, SPLIT, CheckpointError, Row, depth, linear, under
from sensorium.models.dinotxt import PRESETS, TEXT, DINOtxt, DINOtxtConfig

QKV = tuple(f"attention.{part}.weight" for part in ("query", "key", "value"))
TRUNK, HEAD, WORDS = "visual_model.backbone.", "visual_model.head.", "text_model.backbone."


def official_rows(c: DINOtxtConfig) -> list[Row]:
    """facebookresearch/dinov3, dinov3/eval/text."""
    picture_block = [
        *linear("norm1", "norm1"),
        *linear("norm2", "norm2"),
        Row("attn.qkv.weight", QKV, SPLIT),
        *linear("attn.proj", "attention.out"),
        *(row for i, part in enumerate(("gate", "up", "down"), 1) for row in linear(f"mlp.w{i}", f"mlp.{part}")),
        Row("ls1.gamma", "scale1.gain"),
        Row("ls2.gamma", "scale2.gain"),
    ]
    text_block = [
        *linear("attention_norm", "norm1"),
        *linear("ffn_norm", "norm2"),
        Row("attention.qkv.weight", QKV, SPLIT),
        *linear("attention.proj", "attention.out"),
        *linear("feed_forward.fc1", "mlp.up"),
        *linear("feed_forward.fc2", "mlp.down"),
    ]
    text = [
        Row("positional_embedding", "positions"),
        Row("token_embedding.weight", "words.weight"),
        *under("blocks.*.", "blocks.*.", text_block),
        *linear("ln_final", "norm_out"),
    ]
    return [
        *under(TRUNK, "vision.trunk.", dinov3.official_rows(c.trunk)),
        *under(f"{HEAD}blocks.*.", "vision.blocks.*.", picture_block),
        *linear(f"{HEAD}ln_final", "vision.norm"),
        *under(WORDS, "text.", text),
        Row("text_model.head.linear_projection.weight", "text.project.weight"),
        Row("logit_scale", "log_scale", DROP_AXIS),
    ]


def official_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> DINOtxtConfig:
    """Every size stands in the shapes, with heads of 64 in the text tower."""
    trunk = {name.removeprefix(TRUNK): tensor for name, tensor in state.items() if name.startswith(TRUNK)}
    if not trunk:
        raise CheckpointError(
            "this dino.txt has no trunk: its authors publish the two apart; "
            "join them with sensorium.checkpoints.dinotxt.with_trunk"
        )
    words, width = state[f"{WORDS}token_embedding.weight"].shape
    return DINOtxtConfig(
        trunk=dinov3.official_config(trunk, None),
        blocks=depth(state, f"{HEAD}blocks."),
        hidden=len(state[f"{HEAD}blocks.0.mlp.w1.bias"]),
        text=replace(
            TEXT,
            context=len(state[f"{WORDS}positional_embedding"]),
            words=words,
            width=width,
            depth=depth(state, f"{WORDS}blocks."),
            heads=max(1, width // 64),
            mlp=len(state[f"{WORDS}blocks.0.feed_forward.fc1.bias"]),
        ),
    )


def with_trunk(released: Checkpoint, trunk: Checkpoint) -> Checkpoint:
    """The whole model from the released file, which has no trunk, and the official file of the trunk beneath it."""
    tensors = {f"{TRUNK}{name}": tensor for name, tensor in trunk.tensors.items()}
    return replace(released, tensors={**released.tensors, **tensors})


FORMATS = (
    Format(
        family="dinotxt",
        naming="official",
        marks=(("text_model.head.linear_projection.weight", f"{HEAD}ln_final.weight"),),
        rows=official_rows,
        read=official_config,
        preprocess=picture,
    ),
)


def trunks(model: DINOtxt) -> list[Trunk]:
    """The picture's side and the text's."""
    patch, t = model.config.trunk.patch, model.config.text
    return [
        Trunk(
            name="image",
            module=model.vision,
            inputs={"image": torch.randn(2, 3, 6 * patch, 6 * patch)},
            varies={"image": picture_axes(patch)},
        ),
        Trunk(
            name="text",
            module=model.text,
            inputs={"ids": torch.randint(1, t.words, (2, min(12, t.context)))},
            varies={"ids": text_axes(t.context)},
        ),
    ]


FAMILIES = (
    Family(
        name="dinotxt",
        system="DINOv3",
        reads="words and pictures",
        model=DINOtxt,
        config=DINOtxtConfig,
        presets=PRESETS,
        formats=FORMATS,
        trunks=trunks,
    ),
)
