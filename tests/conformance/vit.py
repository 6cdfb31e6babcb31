"""ViT's cases and full-size checkpoints."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sensorium.checkpoints.formats import format_named
from sensorium.models.vit import ViT
from sensorium.nn.positions import TIMM_NPZ
from tests.conformance.steps import Preset, close, load
from tests.conformance.weights import Case


def nhwc(case: Case, name: str) -> Tensor:
    return case.inputs[name].permute(0, 3, 1, 2)


def vit_google(case: Case) -> None:
    known = format_named("vit", "google")
    config = known.read(case.state, None)
    assert (config.heads, config.image) == (case.config["num_heads"], case.config["image_size"])
    model = load(case, known, config)
    image, other = nhwc(case, "image_nhwc"), nhwc(case, "image_other_size_nhwc")
    close(case, "logits", model(image))
    close(case, "encoded", model.tokens(image))
    if config.representation:
        close(case, "pre_logits_after_tanh", model.pooler(model.represent(image)))
    else:
        close(case, "pre_logits", model.represent(image))
    close(case, "other_size.pos_embed", model.positions_for(*other.shape[-2:])[None])
    close(case, "other_size.logits", model(other))
    if "timm_npz_loader.logits" in case.outputs:  # the same file as timm reads it
        timm = load(case, known, replace(config, activation="gelu", resampling=TIMM_NPZ))
        close(case, "timm_npz_loader.logits", timm(image))
        close(case, "timm_npz_loader.other_size.pos_embed", timm.positions_for(*other.shape[-2:])[None])
        close(case, "timm_npz_loader.other_size.logits", timm(other))


def vit_timm(case: Case) -> None:
    known = format_named("vit", "timm")
    config = known.read(case.state, case.config)
    model = load(case, known, config)
    image, other = case.inputs["image"], case.inputs["image_other_size"]
    close(case, "forward_features", model.tokens(image))
    close(case, "pre_logits", model.represent(image))
    close(case, "logits", model(image))
    close(case, "other_size.forward_features", model.tokens(other))
    close(case, "other_size.logits", model(other))
    positions = model.positions_for(*other.shape[-2:])[None]
    close(case, "pos_embed_resampled", positions)
    states = model.states(image)[1:]
    for index in sorted({int(name.split(".")[1]) for name in case.outputs if name.startswith("intermediate.")}):
        # The case does not say which blocks it took, only that they come in order.
        patches, prefix = (case.outputs[f"intermediate.{index}.{part}"] for part in ("patches", "prefix"))
        # Without prefix tokens the reference gives one tensor, and the case called its two pictures so.
        wanted = torch.cat([prefix, patches], dim=1) if model.prefix else torch.stack([patches, prefix])
        while not torch.allclose(states.pop(0), wanted, **case.tolerance):
            assert states, f"intermediate.{index} is the output of no block"


def vit_hf(case: Case) -> None:
    known = format_named("vit", "transformers")
    model = load(case, known, known.read(case.state, case.config))
    pixels, other = case.inputs["pixel_values"], case.inputs["pixel_values_other_size"]
    if model.config.classes:
        close(case, "logits", model(pixels))
        close(case, "other_size.logits", model(other))
        return
    close(case, "last_hidden_state", model.tokens(pixels))
    close(case, "pooler_output", model(pixels))
    close(case, "other_size.last_hidden_state", model.tokens(other))
    close(case, "other_size.pooler_output", model(other))
    states = model.states(pixels)
    for index, state in enumerate(states):
        close(case, f"hidden_states.{index}", state if index < len(states) - 1 else last_state(case, model, state))


def last_state(case: Case, model: ViT, state: Tensor) -> Tensor:
    """transformers' last hidden state is after the final norm in some releases, before it in others."""
    before = (state - case.outputs[f"hidden_states.{model.config.depth}"]).abs().max()
    return state if before < 1e-3 else model.norm(state)


KINDS: dict[str, Callable[[Case], None]] = {
    "vit_google_npz": vit_google,
    "vit_google_npz_prelogits": vit_google,
    "vit_hf_classifier": vit_hf,
    "vit_hf_model": vit_hf,
    "vit_timm": vit_timm,
    "vit_timm_gap": vit_timm,
    "vit_timm_reg": vit_timm,
}
MANIFESTS: dict[str, Preset] = {
    "vit_google_ViT-B_16_augreg": ("vit-b-16", "google", {}),
    "vit_google_ViT-B_16_imagenet21k": ("vit-b-16-in21k", "google", {"classes": 21843}),
    "vit_google_ViT-H_14_imagenet21k": ("vit-h-14-in21k", "google", {"classes": 21843}),
    "vit_google_ViT-L_16_imagenet21k": ("vit-l-16-in21k", "google", {"classes": 21843}),
    "vit_hf_vit-base-patch16-224": ("vit-b-16", "transformers", {}),
    "vit_hf_vit-base-patch16-224-in21k": ("vit-b-16-in21k", "transformers", {}),
    "vit_hf_vit-huge-patch14-224-in21k": ("vit-h-14-in21k", "transformers", {}),
    "vit_hf_vit-large-patch16-224": ("vit-l-16", "transformers", {}),
    "vit_hf_vit-large-patch16-224-in21k": ("vit-l-16-in21k", "transformers", {}),
    "vit_timm_vit_base_patch16_224": ("vit-b-16", "timm", {}),
    "vit_timm_vit_huge_patch14_224": ("vit-h-14", "timm", {}),
    "vit_timm_vit_large_patch16_224": ("vit-l-16", "timm", {}),
}
