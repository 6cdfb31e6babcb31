"""Full-size checkpoints, name by name and shape by shape, and every preset against the published counts."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sensorium.checkpoints.files import Checkpoint
from sensorium.checkpoints.formats import OPEN_CLIP, Config, Format, configure, export, format_named, parameters
from sensorium.models import clip, vit
from sensorium.nn.blank import blank
from sensorium.nn.positions import TIMM

FOLDER = Path(__file__).parent / "manifests"
PRESETS = {**clip.PRESETS, **vit.PRESETS}

# manifest -> (preset, naming, changes of the preset)
MANIFESTS: dict[str, tuple[str, str, dict[str, Any]]] = {
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


def manifest(name: str) -> dict[str, Any]:
    with gzip.open(FOLDER / f"{name}.json.gz") as stream:
        return json.load(stream)


def naming_of(preset: str, naming: str) -> Format:
    return OPEN_CLIP if naming == "open_clip" else format_named(preset.split("-")[0], naming)


def test_every_manifest_is_listed() -> None:
    assert {path.name.removesuffix(".json.gz") for path in FOLDER.iterdir()} == set(MANIFESTS)


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest(name: str) -> None:
    preset, naming, changes = MANIFESTS[name]
    known = naming_of(preset, naming)
    with blank():
        model = known.build(replace(PRESETS[preset], **changes))
    published = manifest(name)
    shapes = {key: list(tensor.shape) for key, tensor in export(model, known).items()}
    assert shapes == published["shapes"]
    assert sum(parameter.numel() for parameter in model.parameters()) == published["parameters"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_sizes_are_read_from_the_shapes(name: str) -> None:
    """Names, shapes and config.json lead to the preset, whose every tensor `test_manifest` compares."""
    preset, naming, changes = MANIFESTS[name]
    published = manifest(name)
    known = naming_of(preset, naming)
    tensors = {key: torch.empty(shape, device="meta") for key, shape in published["shapes"].items()}
    beside = {known.file: published["config"]} if known.file and published["config"] else {}
    read = configure(Checkpoint(path=Path(name), tensors=tensors, beside=beside), known)
    assert sizes(read) == sizes(replace(PRESETS[preset], **changes))


def sizes(config: Config) -> Config:
    """The configuration without the choices that do not show in a shape."""
    if isinstance(config, vit.ViTConfig):
        return replace(config, eps=0.0, activation="gelu", resampling=TIMM)
    towers = {"vision": config.vision, "text": config.text}
    if isinstance(config.vision, clip.ViTTower):
        towers["vision"] = replace(config.vision, eps=0.0, activation="gelu")
    return replace(config, **{**towers, "text": replace(config.text, eps=0.0, activation="gelu", end=None)})


def test_parameter_counts_of_the_papers() -> None:
    named = ["vit-ti-16", "vit-s-16", "vit-b-16", "vit-l-16", "vit-h-14", "clip-vit-b-32", "clip-rn50"]
    millions = [round(parameters(PRESETS[name]) / 1e6) for name in named]
    assert millions == [6, 22, 87, 304, 632, 151, 102]
