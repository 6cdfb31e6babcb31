"""CLIP as OpenAI's archives, OpenCLIP and transformers save it."""

from collections.abc import Mapping
from math import isqrt
from typing import Any, Literal

import torch
from torch import Tensor

from sensorium.checkpoints.files import Checkpoint
from sensorium.checkpoints.format import Family, Format, Trunk, picture_axes, text_axes
from sensorium.checkpoints.rename import (
    ADD_AXIS,
    SPLIT,
    TRANSPOSE,
    CheckpointError,
    Row,
    depth,
    linear,
    under,
)
from sensorium.data import preprocess
from sensorium.data.preprocess import Preprocess
from sensorium.models.clip import CLIP, PRESETS, CLIPConfig, ResNetTower, TextTower, ViTTower

QKV = ("query", "key", "value")
PARTS = ("weight", "bias")

# One layer of either transformer, as OpenAI and OpenCLIP name it.
BLOCK = [
    *linear("ln_1", "norm1"),
    *linear("ln_2", "norm2"),
    *(Row(f"attn.in_proj_{p}", tuple(f"attention.{part}.{p}" for part in QKV), SPLIT) for p in PARTS),
    *linear("attn.out_proj", "attention.out"),
    *linear("mlp.c_fc", "mlp.up"),
    *linear("mlp.c_proj", "mlp.down"),
]
VISION_TRANSFORMER = [
    Row("class_embedding", "cls", ADD_AXIS),
    Row("register_tokens", "registers"),  # ours: whoever else reads such a file refuses it, as it must
    Row("positional_embedding", "positions"),
    Row("proj", "project.weight", TRANSPOSE),
    Row("conv1.weight", "patches.project.weight"),
    *linear("ln_pre", "norm_in"),
    *linear("ln_post", "norm_out"),
    *under("transformer.resblocks.*.", "blocks.*.", BLOCK),
]
TEXT = [
    Row("positional_embedding", "positions"),
    Row("token_embedding.weight", "words.weight"),
    Row("text_projection", "project.weight", TRANSPOSE),
    *linear("ln_final", "norm_out"),
    *under("transformer.resblocks.*.", "blocks.*.", BLOCK),
]
# Sizes that OpenAI's archives carry as tensors; ours stand in the config.
SCALARS = [Row(name, None) for name in ("input_resolution", "context_length", "vocab_size")]


def _batch_norm(theirs: str, ours: str) -> list[Row]:
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return [Row(f"{theirs}.{part}", f"{ours}.{part}") for part in parts]


def _resnet_rows() -> list[Row]:
    block = [row for i in (1, 2, 3) for row in _batch_norm(f"bn{i}", f"norm{i}")]
    block += [Row(f"conv{i}.weight", f"conv{i}.weight") for i in (1, 2, 3)]
    block += [Row("downsample.0.weight", "shortcut.conv.weight"), *_batch_norm("downsample.1", "shortcut.norm")]
    stem = [Row(f"conv{i}.weight", f"stem.{3 * i - 3}.weight") for i in (1, 2, 3)]
    stem += [row for i in (1, 2, 3) for row in _batch_norm(f"bn{i}", f"stem.{3 * i - 2}")]
    stages = [row for i in (1, 2, 3, 4) for row in under(f"layer{i}.*.", f"stages.{i - 1}.*.", block)]
    pool = [Row("positional_embedding", "positions"), *linear("c_proj", "attention.out")]
    pool += [row for part in QKV for row in linear(f"{part[0]}_proj", f"attention.{part}")]
    return [*under("", "trunk.", [*stem, *stages]), *under("attnpool.", "pool.", pool)]


VISION_RESNET = _resnet_rows()


def openai_rows(c: CLIPConfig) -> list[Row]:
    """openai/CLIP, and OpenCLIP where the text tower's names have no prefix."""
    vision = VISION_RESNET if isinstance(c.vision, ResNetTower) else VISION_TRANSFORMER
    return [
        *under("visual.", "vision.", vision),
        *under("", "text.", TEXT),
        Row("logit_scale", "log_scale"),
        *SCALARS,
    ]


def open_clip_rows(c: CLIPConfig) -> list[Row]:
    """OpenCLIP's CustomTextCLIP: the text tower's names begin with `text.`."""
    vision = VISION_RESNET if isinstance(c.vision, ResNetTower) else VISION_TRANSFORMER
    return [*under("visual.", "vision.", vision), *under("text.", "text.", TEXT), Row("logit_scale", "log_scale")]


def transformers_rows(c: CLIPConfig) -> list[Row]:
    """transformers' CLIPModel. `pre_layrnorm` is how its checkpoints spell it."""
    projections = [("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out")]
    block = [
        *linear("layer_norm1", "norm1"),
        *linear("layer_norm2", "norm2"),
        *(row for theirs, ours in projections for row in linear(f"self_attn.{theirs}", f"attention.{ours}")),
        *linear("mlp.fc1", "mlp.up"),
        *linear("mlp.fc2", "mlp.down"),
    ]
    vision = [
        Row("embeddings.class_embedding", "cls", ADD_AXIS),
        Row("embeddings.patch_embedding.weight", "patches.project.weight"),
        Row("embeddings.position_embedding.weight", "positions"),
        Row("embeddings.position_ids", None),
        *linear("pre_layrnorm", "norm_in"),
        *linear("post_layernorm", "norm_out"),
        *under("encoder.layers.*.", "blocks.*.", block),
    ]
    text = [
        Row("embeddings.token_embedding.weight", "words.weight"),
        Row("embeddings.position_embedding.weight", "positions"),
        Row("embeddings.position_ids", None),
        *linear("final_layer_norm", "norm_out"),
        *under("encoder.layers.*.", "blocks.*.", block),
    ]
    return [
        *under("vision_model.", "vision.", vision),
        *under("text_model.", "text.", text),
        Row("visual_projection.weight", "vision.project.weight"),
        Row("text_projection.weight", "text.project.weight"),
        Row("logit_scale", "log_scale"),
    ]


def openai_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> CLIPConfig:
    """Every size stands in the shapes, with heads of 64; the activation is OpenAI's QuickGELU."""
    return _from_shapes(state, "")


def open_clip_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> CLIPConfig:
    """Sizes from open_clip_config.json; without it from the shapes, with heads of 64 and the exact GELU."""
    stem = "text." if "text.positional_embedding" in state else ""
    if file is None or "vision_cfg" not in (file.get("model_cfg") or file):
        return _from_shapes(state, stem, activation="gelu")
    c: Mapping[str, Any] = file.get("model_cfg") or file
    vision, text = c["vision_cfg"], c["text_cfg"]
    activation = "quick_gelu" if c.get("quick_gelu") else "gelu"
    if "timm_model_name" in vision or "hf_model_name" in text:
        raise CheckpointError("open_clip_config.json: towers taken from timm or transformers are not CLIP's own")
    width = int(vision["width"])
    head_width = int(vision.get("head_width", 64))
    image = int(vision["image_size"])
    if isinstance(vision["layers"], list):
        d1, d2, d3, d4 = (int(d) for d in vision["layers"])
        tower = ResNetTower(image=image, depths=(d1, d2, d3, d4), width=width, heads=width * 32 // head_width)
    else:
        tower = ViTTower(
            image=image,
            patch=int(vision["patch_size"]),
            width=width,
            depth=int(vision["layers"]),
            heads=width // head_width,
            mlp=int(width * float(vision.get("mlp_ratio", 4.0))),
            registers=_registers(state),
            activation=activation,
        )
    return CLIPConfig(
        embed=int(c["embed_dim"]),
        vision=tower,
        text=TextTower(
            context=int(text["context_length"]),
            words=int(text["vocab_size"]),
            width=int(text["width"]),
            depth=int(text["layers"]),
            heads=int(text["heads"]),
            mlp=int(int(text["width"]) * float(text.get("mlp_ratio", 4.0))),
            activation=activation,
        ),
    )


def _registers(state: Mapping[str, Tensor]) -> int:
    tokens = state.get("visual.register_tokens")
    return 0 if tokens is None else len(tokens)


def _from_shapes(
    state: Mapping[str, Tensor], stem: str, *, activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
) -> CLIPConfig:
    width, embed = state[f"{stem}text_projection"].shape
    context = state[f"{stem}positional_embedding"].shape[0]
    text = TextTower(
        context=context,
        words=state[f"{stem}token_embedding.weight"].shape[0],
        width=width,
        depth=depth(state, f"{stem}transformer.resblocks."),
        heads=max(1, width // 64),
        mlp=state[f"{stem}transformer.resblocks.0.mlp.c_fc.bias"].shape[0],
        activation=activation,
    )
    if "visual.attnpool.positional_embedding" in state:
        d1, d2, d3, d4 = (depth(state, f"visual.layer{level}.") for level in (1, 2, 3, 4))
        side = isqrt(state["visual.attnpool.positional_embedding"].shape[0] - 1)
        stage = state["visual.layer1.0.conv1.weight"].shape[0]
        vision = ResNetTower(image=32 * side, depths=(d1, d2, d3, d4), width=stage, heads=stage * 32 // 64)
        return CLIPConfig(embed=embed, vision=vision, text=text)
    vision_width, _, patch, _ = state["visual.conv1.weight"].shape
    side = isqrt(state["visual.positional_embedding"].shape[0] - 1)
    vision = ViTTower(
        image=side * patch,
        patch=patch,
        width=vision_width,
        depth=depth(state, "visual.transformer.resblocks."),
        heads=max(1, vision_width // 64),
        mlp=state["visual.transformer.resblocks.0.mlp.c_fc.bias"].shape[0],
        registers=_registers(state),
        activation=activation,
    )
    return CLIPConfig(embed=embed, vision=vision, text=text)


def _activation(name: str) -> Literal["quick_gelu", "gelu"]:
    if name not in ("quick_gelu", "gelu"):
        raise CheckpointError(f"config.json: hidden_act {name!r} is not one that CLIP is built with (quick_gelu, gelu)")
    return "quick_gelu" if name == "quick_gelu" else "gelu"


def transformers_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> CLIPConfig:
    """Sizes from the shapes; heads, activations and the end id from config.json, else as OpenAI's models have them."""
    c = file or {}
    vision, text = c.get("vision_config") or {}, c.get("text_config") or {}
    embed, text_width = state["text_projection.weight"].shape
    width, _, patch, _ = state["vision_model.embeddings.patch_embedding.weight"].shape
    words = state["text_model.embeddings.token_embedding.weight"].shape[0]
    # transformers once wrote 2 by mistake; its code then takes the largest id, as OpenAI's does.
    end = int(text.get("eos_token_id", 2))
    return CLIPConfig(
        embed=embed,
        vision=ViTTower(
            image=patch * isqrt(state["vision_model.embeddings.position_embedding.weight"].shape[0] - 1),
            patch=patch,
            width=width,
            depth=depth(state, "vision_model.encoder.layers."),
            heads=int(vision.get("num_attention_heads", max(1, width // 64))),
            mlp=state["vision_model.encoder.layers.0.mlp.fc1.bias"].shape[0],
            activation=_activation(vision.get("hidden_act", "quick_gelu")),
            eps=float(vision.get("layer_norm_eps", 1e-5)),
        ),
        text=TextTower(
            context=state["text_model.embeddings.position_embedding.weight"].shape[0],
            words=words,
            width=text_width,
            depth=depth(state, "text_model.encoder.layers."),
            heads=int(text.get("num_attention_heads", max(1, text_width // 64))),
            mlp=state["text_model.encoder.layers.0.mlp.fc1.bias"].shape[0],
            activation=_activation(text.get("hidden_act", "quick_gelu")),
            eps=float(text.get("layer_norm_eps", 1e-5)),
            end=None if end == 2 else end,
        ),
    )


def transformers_json(c: CLIPConfig) -> dict[str, Any]:
    """The config.json with which transformers rebuilds the model; raises where it has no such image tower."""
    v, t = c.vision, c.text
    if isinstance(v, ResNetTower):
        raise CheckpointError("transformers has no CLIP with a ResNet; save this model as openai or open_clip")

    def tower(s: ViTTower | TextTower) -> dict[str, Any]:
        return {
            "hidden_size": s.width,
            "intermediate_size": s.mlp,
            "num_hidden_layers": s.depth,
            "num_attention_heads": s.heads,
            "hidden_act": s.activation,
            "layer_norm_eps": s.eps,
            "projection_dim": c.embed,
        }

    # 2 is how transformers says "the largest id"; see transformers_config
    ids = {"bos_token_id": t.words - 2, "eos_token_id": 2 if t.end is None else t.end}
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": c.embed,
        "vision_config": {**tower(v), "image_size": v.image, "patch_size": v.patch},
        "text_config": {**tower(t), "vocab_size": t.words, "max_position_embeddings": t.context, **ids},
    }


def open_clip_json(c: CLIPConfig) -> dict[str, Any]:
    """The model_cfg of open_clip_config.json."""
    v, t = c.vision, c.text
    resnet = isinstance(v, ResNetTower)
    layers = list(v.depths) if isinstance(v, ResNetTower) else v.depth
    patch = None if isinstance(v, ResNetTower) else v.patch
    trunk = v.width * 32 if resnet else v.width
    vision: dict[str, Any] = {"image_size": v.image, "layers": layers, "width": v.width, "patch_size": patch}
    text = {"context_length": t.context, "vocab_size": t.words, "width": t.width, "heads": t.heads, "layers": t.depth}
    if isinstance(v, ViTTower):
        vision["mlp_ratio"] = v.mlp / v.width
    return {
        "embed_dim": c.embed,
        "quick_gelu": t.activation == "quick_gelu",
        "vision_cfg": {**vision, "head_width": trunk // v.heads},
        "text_cfg": {**text, "mlp_ratio": t.mlp / t.width},
    }


def openai_picture(checkpoint: Checkpoint, c: CLIPConfig) -> Preprocess:
    """OpenAI's preprocessing, which every CLIP shares unless a file beside the weights says otherwise."""
    return preprocess.clip(c.vision.image)


def transformers_picture(checkpoint: Checkpoint, c: CLIPConfig) -> Preprocess:
    """The preprocessing of preprocessor_config.json, or OpenAI's."""
    file = checkpoint.beside.get("preprocessor_config.json")
    return preprocess.from_transformers(file) if file else openai_picture(checkpoint, c)


def open_clip_picture(checkpoint: Checkpoint, c: CLIPConfig) -> Preprocess:
    """The preprocess_cfg of open_clip_config.json, or OpenAI's."""
    file = checkpoint.beside.get("open_clip_config.json", {}).get("preprocess_cfg")
    return preprocess.from_open_clip({"size": c.vision.image, **file}) if file else openai_picture(checkpoint, c)


OPENAI_MARKS = (("ln_final.weight", "token_embedding.weight", "text_projection", "visual.conv1.weight"),)
FORMATS = (
    Format(
        family="clip",
        naming="transformers",
        marks=(("text_model.final_layer_norm.weight", "vision_model.pre_layrnorm.weight", "text_projection.weight"),),
        rows=transformers_rows,
        read=transformers_config,
        file="config.json",
        describe=transformers_json,
        preprocess=transformers_picture,
    ),
    Format(
        family="clip",
        naming="open_clip_custom_text",
        marks=(("text.ln_final.weight", "text.token_embedding.weight", "visual.conv1.weight"),),
        rows=open_clip_rows,
        read=open_clip_config,
        file="open_clip_config.json",
        describe=open_clip_json,
        preprocess=open_clip_picture,
    ),
    Format(  # OpenAI's names; the file beside them tells the two apart, and states the activation
        family="clip",
        naming="open_clip",
        marks=OPENAI_MARKS,
        rows=openai_rows,
        read=open_clip_config,
        file="open_clip_config.json",
        fits=lambda file: file is not None,
        describe=open_clip_json,
        preprocess=open_clip_picture,
    ),
    Format(
        family="clip",
        naming="openai",
        official=True,
        marks=OPENAI_MARKS,
        rows=openai_rows,
        read=openai_config,
        preprocess=openai_picture,
    ),
)


def trunks(model: CLIP) -> list[Trunk]:
    """The image tower and the text tower."""
    v, t = model.config.vision, model.config.text
    patched = isinstance(v, ViTTower)
    side = v.image + v.patch if isinstance(v, ViTTower) else v.image
    ids = torch.randint(1, t.words - 1, (2, min(12, t.context)))
    ids[0, -1] = ids[1, -3] = t.words - 1 if t.end is None else t.end
    return [
        Trunk(
            name="image",
            module=model.vision,
            inputs={"image": torch.randn(2, 3, side, side)},
            varies={"image": picture_axes(v.patch if isinstance(v, ViTTower) else 1, sizes=patched)},
        ),
        Trunk(
            name="text",
            module=model.text,
            inputs={"ids": ids},
            varies={"ids": text_axes(t.context)},
        ),
    ]


FAMILIES = (
    Family(
        name="clip",
        system="CLIP",
        reads="words and pictures",
        model=CLIP,
        config=CLIPConfig,
        presets=PRESETS,
        formats=FORMATS,
        trunks=trunks,
    ),
)
