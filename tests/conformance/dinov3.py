"""DINOv3's cases and full-size checkpoints: ViTs, ConvNeXts, rotary tables, projection head, dino.txt."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.checkpoints.dinov3 import head_rows
from sensorium.checkpoints.formats import format_named
from sensorium.checkpoints.rename import to_ours, to_theirs
from sensorium.models.convnext import ConvNeXt
from sensorium.models.dinotxt import DINOtxt
from sensorium.models.dinov3 import DINOHead, DINOv3, DINOv3Config
from sensorium.nn.features import Features
from sensorium.nn.rotary import geometric_periods, grid_coordinates, rotary_table, spaced_periods
from tests.conformance.dinov2 import grid
from tests.conformance.steps import Preset, all_close, load
from tests.conformance.weights import Case

EPSILON = {"layernormbf16": 1e-5, "layernorm": 1e-6, "rmsnorm": 1e-5}


def stated(read: DINOv3Config, c: dict[str, Any]) -> DINOv3Config:
    """The configuration read from the shapes, which must agree with the reference's own, and what no shape shows."""
    assert read.bias == c["qkv_bias"]
    assert (read.key_bias == "masked") == (c["qkv_bias"] and c["mask_k_bias"])
    assert (read.out_bias, read.mlp_bias) == (c["proj_bias"], c["ffn_bias"])
    assert (read.registers, read.gated) == (c["n_storage_tokens"], c["ffn_layer"].startswith("swiglu"))
    assert read.untied == c["untie_cls_and_patch_norms"]
    assert read.local_norm == c["untie_global_and_local_cls_norm"]
    assert (read.heads, read.norm == "rms") == (c["num_heads"], c["norm_layer"] == "rmsnorm")
    normalise, base = c["pos_embed_rope_normalize_coords"], c["pos_embed_rope_base"]
    return replace(read, eps=EPSILON[c["norm_layer"]], normalise=normalise, base=base)


def dinov3_vit(case: Case) -> None:
    known = format_named("dinov3", "official")
    config = stated(known.read(case.state, None), case.config)
    model = load(case, known, config)
    assert isinstance(model, DINOv3)
    image, other, masks = (case.inputs[name] for name in ("image", "image_other_size", "masks"))
    outputs: dict[str, Tensor] = {}

    def add(prefix: str, features: Features, state: Tensor | None = None) -> None:
        outputs.update({f"{prefix}x_norm_clstoken": features.cls, f"{prefix}x_storage_tokens": features.registers})
        if state is not None:
            outputs.update({f"{prefix}x_norm_patchtokens": features.patches, f"{prefix}x_prenorm": state})

    add("", model(image), model.states(image)[-1])
    add("masked.", model(image, masks.bool()), model.last_state(image, masks.bool()))
    add("other_size.", model(other), model.last_state(other))
    add("list.0.", model(image, masks.bool()))
    add("list.1.", model(other))
    for index, features in enumerate(model.layers(other, [-2, -1])):
        outputs[f"intermediate_last2.{index}.patch_map"] = features.map(grid(other, config.patch))
        outputs[f"intermediate_last2.{index}.cls"] = features.cls
        outputs[f"intermediate_last2.{index}.extra"] = features.registers
    for index, features in enumerate(model.layers(image, [0, -1], norm=False)):
        outputs[f"intermediate_raw.{index}"] = features.patches
    if config.local_norm:
        outputs["train_mode.global_crop.x_norm_clstoken"] = model(image, masks.bool()).cls
        outputs["train_mode.local_crop.x_norm_clstoken"] = model(other, local=True).cls
    all_close(case, outputs)


def dinov3_vit_hf(case: Case) -> None:
    known = format_named("dinov3", "transformers")
    model = load(case, known, known.read(case.state, case.config))
    assert isinstance(model, DINOv3)
    image, other, masks = (case.inputs[name] for name in ("image", "image_other_size", "masks"))
    outputs: dict[str, Tensor] = {}
    for prefix, features in (
        ("", model(image)),
        ("masked.", model(image, masks.bool())),
        ("other_size.", model(other)),
    ):
        outputs[f"{prefix}last_hidden_state"] = torch.cat([features.cls[:, None], *features[1:]], dim=1)
        outputs[f"{prefix}pooler_output"] = features.cls
    all_close(case, outputs)


def dinov3_rope_tables(case: Case) -> None:
    outputs: dict[str, Tensor] = {}
    for name, c in case.config["tables"].items():
        head, dtype = c["embed_dim"] // c["num_heads"], torch.bfloat16 if c.get("dtype") == "bf16" else torch.float32
        periods = (
            geometric_periods(head, c["base"], dtype)
            if "base" in c
            else spaced_periods(head, c["min_period"], c["max_period"], dtype)
        )
        how = c.get("normalize_coords", "separate")
        sin, cos = rotary_table(grid_coordinates(c["H"], c["W"], normalise=how, dtype=dtype), periods)
        for part, table in (("sin", sin), ("cos", cos)):
            outputs[f"{name}.{part}"] = torch.cat([table, table], dim=-1).float()  # both channels of every pair
        outputs[f"{name}.periods"] = periods.float()
    all_close(case, outputs)


def dinov3_dino_head(case: Case) -> None:
    c = case.config
    rows = head_rows(c["nlayers"])
    sizes = {"hidden": c["hidden_dim"], "bottleneck": c["bottleneck_dim"], "layers": c["nlayers"]}
    head = DINOHead(c["in_dim"], c["out_dim"], **sizes)
    head.load_state_dict(to_ours(case.state, rows))
    back = to_theirs(head.state_dict(), rows)
    assert back.keys() == case.state.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in case.state.items())
    x = case.inputs["x"]
    all_close(case, {"out": head(x), "bottleneck_normalized": head.embed(x)})


def dinov3_convnext(case: Case) -> None:
    known = format_named("convnext", "official")
    config = known.read(case.state, None)
    assert (list(config.depths), list(config.widths)) == (case.config["depths"], case.config["dims"])
    model = load(case, known, config)
    assert isinstance(model, ConvNeXt)
    image, other = case.inputs["image"], case.inputs["image_other_size"]
    outputs: dict[str, Tensor] = {}
    for prefix, pixels in (("", image), ("other_size.", other)):
        features = model(pixels)
        outputs |= {f"{prefix}x_norm_clstoken": features.cls, f"{prefix}x_storage_tokens": features.registers}
        outputs[f"{prefix}x_norm_patchtokens"] = features.patches
        outputs[f"{prefix}x_prenorm"] = model.maps(pixels)[-1].flatten(2).mT
    stages = range(len(config.depths))
    for stage, features in zip(stages, model.layers(image, stages), strict=True):
        outputs[f"intermediate.{stage}.map"] = features.map(grid(image, 4 << stage))
        outputs[f"intermediate.{stage}.cls"] = features.cls
    raw = sorted(name for name in case.outputs if name.startswith("intermediate_ps16_raw."))
    chosen = [config.widths.index(case.outputs[name].shape[-1]) for name in raw]
    for name, features in zip(raw, model.layers(image, chosen, norm=False, patch=16), strict=True):
        outputs[name] = features.patches
    all_close(case, outputs)


def dinov3_convnext_hf(case: Case) -> None:
    known = format_named("convnext", "transformers")
    model = load(case, known, known.read(case.state, case.config))
    assert isinstance(model, ConvNeXt)
    outputs: dict[str, Tensor] = {}
    for prefix, pixels in (("", case.inputs["image"]), ("other_size.", case.inputs["image_other_size"])):
        features = model(pixels)
        outputs[f"{prefix}last_hidden_state"] = torch.cat([features.cls[:, None], features.patches], dim=1)
        outputs[f"{prefix}pooler_output"] = features.cls
    maps = model.maps(case.inputs["image"])
    outputs |= {f"hidden_states.{stage}": feature_map for stage, feature_map in enumerate(maps, 1)}
    all_close(case, outputs)


def dinotxt(case: Case) -> None:
    known, c = format_named("dinotxt", "official"), case.config
    read = known.read(case.state, None)
    text = replace(read.text, heads=c["text_backbone"]["num_heads"])
    config = replace(read, text=text, trunk=stated(read.trunk, c["vision_backbone"]))
    assert config.embed == c["dinotxt"]["embed_dim"]
    model = load(case, known, config)
    assert isinstance(model, DINOtxt)
    image, ids = case.inputs["image"], case.inputs["text"]
    scale = model.log_scale.exp()
    pictures, texts = model(image, ids)
    all_close(
        case,
        {
            "image_features": pictures,
            "text_features": texts,
            "logit_scale_exp": scale[None],
            "patch_tokens": model.vision.features(image).patches,
            "backbone_patch_tokens": model.vision.trunk(image).patches,
            "image_features_raw": model.vision(image),
            "text_features_raw": model.text(ids),
            "logits_per_image": scale * pictures @ texts.T,
        },
    )
    torch.testing.assert_close(F.normalize(model.vision(image), dim=-1), pictures)


KINDS: dict[str, Callable[[Case], None]] = {
    "dinotxt": dinotxt,
    "dinov3_convnext": dinov3_convnext,
    "dinov3_convnext_hf": dinov3_convnext_hf,
    "dinov3_dino_head": dinov3_dino_head,
    "dinov3_rope_tables": dinov3_rope_tables,
    "dinov3_vit": dinov3_vit,
    "dinov3_vit_7b_style": dinov3_vit,
    "dinov3_vit_hf": dinov3_vit_hf,
    "dinov3_vit_hf_gated": dinov3_vit_hf,
    "dinov3_vit_swiglu": dinov3_vit,
    "dinov3_vit_untied": dinov3_vit,
}
NO_KEY = {"key_bias": "none"}  # transformers' checkpoints hold no bias of the keys
MANIFESTS: dict[str, Preset] = {
    "dinov3_convnext_base": ("dinov3-convnext-base", "official", {}),
    "dinov3_convnext_large": ("dinov3-convnext-large", "official", {}),
    "dinov3_convnext_small": ("dinov3-convnext-small", "official", {}),
    "dinov3_convnext_tiny": ("dinov3-convnext-tiny", "official", {}),
    "dinov3_hf_convnext_base": ("dinov3-convnext-base", "transformers", {}),
    "dinov3_hf_convnext_large": ("dinov3-convnext-large", "transformers", {}),
    "dinov3_hf_convnext_small": ("dinov3-convnext-small", "transformers", {}),
    "dinov3_hf_convnext_tiny": ("dinov3-convnext-tiny", "transformers", {}),
    "dinov3_hf_vit7b16": ("dinov3-vit-7b-16", "transformers", {"local_norm": False}),
    "dinov3_hf_vitb16": ("dinov3-vit-b-16", "transformers", NO_KEY),
    "dinov3_hf_vith16plus": ("dinov3-vit-h-plus-16", "transformers", NO_KEY),
    "dinov3_hf_vitl16": ("dinov3-vit-l-16", "transformers", NO_KEY),
    "dinov3_hf_vitl16plus": ("dinov3-vit-l-plus-16", "transformers", NO_KEY),
    "dinov3_hf_vits16": ("dinov3-vit-s-16", "transformers", NO_KEY),
    "dinov3_hf_vits16plus": ("dinov3-vit-s-plus-16", "transformers", NO_KEY),
    "dinov3_vit7b16": ("dinov3-vit-7b-16", "official", {}),
    "dinov3_vitb16": ("dinov3-vit-b-16", "official", {}),
    "dinov3_vith16plus": ("dinov3-vit-h-plus-16", "official", {}),
    "dinov3_vitl16": ("dinov3-vit-l-16", "official", {}),
    "dinov3_vitl16_dinotxt_tet1280d20h24l": ("dinov3-vit-l-16-dinotxt", "official", {}),
    "dinov3_vitl16_sat493m": ("dinov3-vit-l-16-sat493m", "official", {}),
    "dinov3_vitl16plus": ("dinov3-vit-l-plus-16", "official", {}),
    "dinov3_vits16": ("dinov3-vit-s-16", "official", {}),
    "dinov3_vits16plus": ("dinov3-vit-s-plus-16", "official", {}),
}
