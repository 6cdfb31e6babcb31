"""CLIP's cases and full-size checkpoints."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sensorium.checkpoints.files import Checkpoint
from sensorium.checkpoints.formats import format_named, recognise
from sensorium.data.preprocess import Preprocess
from sensorium.data.tokenizer import ClipTokenizer
from sensorium.models.clip import CLIP, ResNetTower
from sensorium.objectives.contrastive import contrastive, sigmoid
from tests.conformance.steps import Preset, close, load
from tests.conformance.weights import Case


def clip_towers(case: Case, model: CLIP, images: str, texts: str) -> tuple[Tensor, Tensor]:
    return model.vision(case.inputs[images]), model.text(case.inputs[texts])


def clip_openai(case: Case) -> None:
    c = case.config
    known = format_named("clip", "openai")
    config = known.read(case.state, None)
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
    assert known.naming in ("open_clip", "open_clip_custom_text")
    model = load(case, known, known.read(case.state, case.config))
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
    model = load(case, known, known.read(case.state, case.config))
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
}
MANIFESTS: dict[str, Preset] = {
    "clip_hf_clip-vit-base-patch16": ("clip-vit-b-16", "transformers", {}),
    "clip_hf_clip-vit-base-patch32": ("clip-vit-b-32", "transformers", {}),
    "clip_hf_clip-vit-large-patch14": ("clip-vit-l-14", "transformers", {}),
    "clip_open_clip_ViT-B-32": ("clip-vit-b-32-laion2b", "open_clip", {}),
    "clip_open_clip_ViT-H-14": ("clip-vit-h-14-laion2b", "open_clip", {}),
    "clip_open_clip_ViT-L-14": ("clip-vit-l-14", "open_clip", {}),
    "clip_openai_RN101": ("clip-rn101", "openai", {}),
    "clip_openai_RN50": ("clip-rn50", "openai", {}),
    "clip_openai_RN50x16": ("clip-rn50x16", "openai", {}),
    "clip_openai_RN50x4": ("clip-rn50x4", "openai", {}),
    "clip_openai_RN50x64": ("clip-rn50x64", "openai", {}),
    "clip_openai_ViT-B-16": ("clip-vit-b-16", "openai", {}),
    "clip_openai_ViT-B-32": ("clip-vit-b-32", "openai", {}),
    "clip_openai_ViT-L-14": ("clip-vit-l-14", "openai", {}),
    "clip_openai_ViT-L-14-336": ("clip-vit-l-14-336", "openai", {}),
}
