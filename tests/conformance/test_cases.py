"""Every conformance case, dispatched on its kind; the folder is CONFORMANCE_CASES where that is set."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sensorium.checkpoints.files import Checkpoint
from sensorium.checkpoints.formats import OPEN_CLIP, Config, Format, build, export, fill, format_named, recognise
from sensorium.data.preprocess import Preprocess
from sensorium.data.tokenizer import ClipTokenizer
from sensorium.models.clip import CLIP, ResNetTower
from sensorium.models.vit import ViT
from sensorium.nn.blank import blank
from sensorium.nn.positions import TIMM_NPZ
from sensorium.objectives.contrastive import contrastive, sigmoid
from tests.conformance.weights import Case, digest, list_cases, load_case

FOLDER = os.environ.get("CONFORMANCE_CASES")


def close(case: Case, name: str, actual: Tensor) -> None:
    torch.testing.assert_close(actual, case.outputs[name], **case.tolerance, msg=lambda m: f"{name}: {m}")


def load(case: Case, known: Format, config: Config) -> CLIP | ViT:
    """Load through the rename table, and require that saving gives back every tensor bit by bit."""
    with blank():
        model = known.build(config)
    fill(model, case.state, known.rows(config))
    saved = export(model, known)
    kept = {key: tensor for key, tensor in case.state.items() if not key.endswith("position_ids")}
    assert saved.keys() == kept.keys()
    for name, tensor in kept.items():
        assert torch.equal(saved[name], tensor.float() if tensor.is_floating_point() else tensor), name
    return model.eval()


def clip_towers(case: Case, model: CLIP, images: str, texts: str) -> tuple[Tensor, Tensor]:
    return model.vision(case.inputs[images]), model.text(case.inputs[texts])


def clip_openai(case: Case) -> None:
    c = case.config
    known = format_named("clip", "openai")
    config = known.config(case.state, None)
    config = replace(config, text=replace(config.text, heads=c["transformer_heads"]))
    assert (config.embed, config.vision.image, config.text.context) == (
        c["embed_dim"],
        c["image_resolution"],
        c["context_length"],
    )
    model = load(case, known, config)
    image, text = clip_towers(case, model, "image", "text")
    close(case, "image_features", image)
    close(case, "text_features", text)
    image, text = model(case.inputs["image"], case.inputs["text"])
    scale = model.log_scale.exp()
    close(case, "logits_per_image", scale * image @ text.T)
    close(case, "logits_per_text", scale * text @ image.T)
    close(case, "loss", contrastive(image, text, scale))
    if isinstance(config.vision, ResNetTower):
        assert list(config.vision.depths) == c["vision_layers"]
        for level, feature_map in enumerate(model.vision.trunk.maps(case.inputs["image"]), 1):
            if f"visual.layer{level}" in case.outputs:
                close(case, f"visual.layer{level}", feature_map)


def clip_open_clip(case: Case) -> None:
    checkpoint = Checkpoint(
        path=Path(case.name), tensors=case.state, beside={"open_clip_config.json": {"model_cfg": case.config}}
    )
    known = recognise(checkpoint)
    assert known is OPEN_CLIP or known.naming == "open_clip_custom_text"
    model = load(case, known, known.config(case.state, case.config))
    image, text = clip_towers(case, model, "image", "text")
    close(case, "image_features", image)
    close(case, "text_features", text)
    close(case, "image_features_normalized", F.normalize(image, dim=-1))
    close(case, "text_features_normalized", F.normalize(text, dim=-1))
    scale = model.log_scale.exp()
    close(case, "logit_scale_exp", scale)
    image, text = model(case.inputs["image"], case.inputs["text"])
    close(case, "logits_per_image", scale * image @ text.T)
    close(case, "loss", contrastive(image, text, scale))
    close(case, "siglip_loss_bias_-10", sigmoid(image, text, scale, torch.tensor(-10.0)))


def clip_hf(case: Case) -> None:
    known = format_named("clip", "transformers")
    model = load(case, known, known.config(case.state, case.config))
    pixels, ids = case.inputs["pixel_values"], case.inputs["input_ids"]
    image, text = model(pixels, ids)
    close(case, "image_embeds", image)
    close(case, "text_embeds", text)
    scale = model.log_scale.exp()
    close(case, "logits_per_image", scale * image @ text.T)
    close(case, "loss", contrastive(image, text, scale))
    tokens = model.text.tokens(ids)
    close(case, "text_last_hidden_state", tokens)
    close(case, "text_pooler_output", model.text.project(tokens[torch.arange(len(ids)), model.text.ends(ids)]))
    close(case, "vision_last_hidden_state", model.vision.tokens(pixels))
    close(case, "vision_pooler_output", model.vision.project(model.vision.represent(pixels)))


def clip_tokenizer(case: Case) -> None:
    tokenizer, context = ClipTokenizer(), case.config["context_length"]
    assert [tokenizer.encode(text) for text in case.config["texts"]] == case.facts["bpe_ids"]
    rows = tokenizer(case.config["texts"], context=context, truncate=True)
    assert torch.equal(rows, case.outputs["tokens"].to(rows.dtype))


def clip_preprocess(case: Case) -> None:
    c = case.config
    preprocess = Preprocess(size=c["image_resolution"], mean=tuple(c["mean"]), std=tuple(c["std"]))
    for name, expected in case.outputs.items():
        pixels = case.inputs[name].numpy()
        close(case, name, preprocess(Image.fromarray(pixels)))
        assert torch.equal(preprocess(pixels), preprocess(Image.fromarray(pixels))), name
        assert expected.shape == (3, preprocess.size, preprocess.size)


def nhwc(case: Case, name: str) -> Tensor:
    return case.inputs[name].permute(0, 3, 1, 2)


def vit_google(case: Case) -> None:
    known = format_named("vit", "google")
    config = known.config(case.state, None)
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
    config = known.config(case.state, case.config)
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
    model = load(case, known, known.config(case.state, case.config))
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
    "clip_hf": clip_hf,
    "clip_open_clip": clip_open_clip,
    "clip_open_clip_custom_text": clip_open_clip,
    "clip_open_clip_quickgelu": clip_open_clip,
    "clip_open_clip_resnet": clip_open_clip,
    "clip_openai_resnet": clip_openai,
    "clip_openai_vit": clip_openai,
    "clip_preprocess": clip_preprocess,
    "clip_tokenizer": clip_tokenizer,
    "vit_google_npz": vit_google,
    "vit_google_npz_prelogits": vit_google,
    "vit_hf_classifier": vit_hf,
    "vit_hf_model": vit_hf,
    "vit_timm": vit_timm,
    "vit_timm_gap": vit_timm,
    "vit_timm_reg": vit_timm,
}


@pytest.mark.parametrize("name", list_cases(FOLDER))
def test_case(name: str) -> None:
    case = load_case(name, FOLDER)
    kind = case.meta["kind"].removesuffix("_eps")
    if kind not in KINDS:
        pytest.skip(f"not built: {case.meta['kind']}")
    as_numpy = {key: np.asarray(tensor) for key, tensor in case.state.items()}
    assert digest(as_numpy) == case.meta["weights_sha256"], (
        "this machine makes other weights than the case was run with"
    )
    with torch.no_grad():
        KINDS[kind](case)


def test_every_case_here_is_built() -> None:
    kinds = {load_case(name).meta["kind"].removesuffix("_eps") for name in list_cases()}
    assert kinds == set(KINDS)


def test_wrong_family_is_named() -> None:
    checkpoint = Checkpoint(path=Path("x.safetensors"), tensors={"backbone.weight": torch.zeros(1)})
    with pytest.raises(Exception, match=r"x\.safetensors: these names are of no family.*backbone\.weight"):
        build(checkpoint)
