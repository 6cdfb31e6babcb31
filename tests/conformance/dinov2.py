"""DINOv2's cases and full-size checkpoints, with registers and without."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from sensorium.checkpoints.formats import format_named
from sensorium.models.dinov2 import DINOv2
from sensorium.nn.features import Features
from sensorium.nn.positions import DINOV2, TIMM
from tests.conformance.steps import Preset, all_close, load
from tests.conformance.weights import Case


def grid(image: Tensor, patch: int) -> tuple[int, int]:
    return image.shape[2] // patch, image.shape[3] // patch


def dinov2_official(case: Case) -> None:
    c, known = case.config, format_named("dinov2", "official")
    config = replace(known.read(case.state, None), heads=c["num_heads"])
    assert (config.image, config.registers, config.gated) == (
        c["img_size"],
        c["num_register_tokens"],
        c["ffn_layer"] == "swiglufused",
    )
    assert config.resampling == (TIMM if c["interpolate_antialias"] else DINOV2)
    model = load(case, known, config)
    assert isinstance(model, DINOv2)
    image, other, masks = (case.inputs[name] for name in ("image", "image_other_size", "masks"))
    outputs: dict[str, Tensor] = {}

    def add(prefix: str, features: Features, state: Tensor) -> None:
        parts = dict(zip(("clstoken", "regtokens", "patchtokens"), features, strict=True))
        outputs.update({f"{prefix}x_norm_{part}": tensor for part, tensor in parts.items()})
        outputs[f"{prefix}x_prenorm"] = state

    add("", model(image), model.states(image)[-1])
    add("masked.", model(image, masks.bool()), model.states(image, masks.bool())[-1])
    add("other_size.", model(other), model.states(other)[-1])
    for index, features in enumerate(model.layers(other, [-2, -1])):
        outputs[f"intermediate_last2.{index}.patch_map"] = features.map(grid(other, config.patch))
        outputs[f"intermediate_last2.{index}.cls"] = features.cls
    for index, features in enumerate(model.layers(image, [0, -1], norm=False)):
        outputs[f"intermediate_raw.{index}"] = features.patches
    all_close(case, outputs)


def dinov2_hf(case: Case) -> None:
    known = format_named("dinov2", "transformers")
    model = load(case, known, known.read(case.state, case.config))
    assert isinstance(model, DINOv2)
    image, other, masks = (case.inputs[name] for name in ("image", "image_other_size", "masks"))
    outputs: dict[str, Tensor] = {}
    for prefix, tokens in (
        ("", model.tokens(image)),
        ("masked.", model.tokens(image, masks.bool())),
        ("other_size.", model.tokens(other)),
    ):
        outputs |= {f"{prefix}last_hidden_state": tokens, f"{prefix}pooler_output": tokens[:, 0]}
    all_close(case, outputs)


KINDS: dict[str, Callable[[Case], None]] = {
    "dinov2_plain": dinov2_official,
    "dinov2_reg": dinov2_official,
    "dinov2_reg_hf": dinov2_hf,
    "dinov2_reg_swiglu": dinov2_official,
}
MANIFESTS: dict[str, Preset] = {
    "dinov2_hf_vitb14_reg4": ("dinov2-vit-b-14-reg", "transformers", {}),
    "dinov2_hf_vitg14_reg4": ("dinov2-vit-g-14-reg", "transformers", {}),
    "dinov2_hf_vitl14_reg4": ("dinov2-vit-l-14-reg", "transformers", {}),
    "dinov2_hf_vits14_reg4": ("dinov2-vit-s-14-reg", "transformers", {}),
    "dinov2_vitb14_reg4": ("dinov2-vit-b-14-reg", "official", {}),
    "dinov2_vitg14_reg4": ("dinov2-vit-g-14-reg", "official", {}),
    "dinov2_vitl14_reg4": ("dinov2-vit-l-14-reg", "official", {}),
    "dinov2_vits14_reg4": ("dinov2-vit-s-14-reg", "official", {}),
}
