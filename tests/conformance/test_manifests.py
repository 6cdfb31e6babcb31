"""Full-size checkpoints, name by name and shape by shape, and every preset against the published counts."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sensorium.checkpoints.formats import OPEN_CLIP, Format, export, format_named, parameters
from sensorium.models import clip, vit
from sensorium.nn.blank import blank

FOLDER = Path(__file__).parent / "manifests"
PRESETS = {**clip.PRESETS, **vit.PRESETS}
VIT_IN21K = "vit-{}-in21k"

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
    config = replace(PRESETS[preset], **changes)
    known = naming_of(preset, naming)
    with blank():
        saved = export(known.build(config), known)
    published = manifest(name)
    assert {key: list(tensor.shape) for key, tensor in saved.items()} == published["shapes"]
    assert parameters(config) == published["parameters"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_sizes_are_read_from_the_shapes(name: str) -> None:
    preset, naming, changes = MANIFESTS[name]
    known = naming_of(preset, naming)
    published = manifest(name)
    state = {key: torch.empty(shape, device="meta") for key, shape in published["shapes"].items()}
    read = known.config(state, published["config"])
    with blank():
        rebuilt = export(known.build(read), known)
    assert {key: list(tensor.shape) for key, tensor in rebuilt.items()} == published["shapes"]
    wanted = replace(PRESETS[preset], **changes)
    heads = lambda c: (c.vision.heads, c.text.heads) if isinstance(c, clip.CLIPConfig) else c.heads  # noqa: E731
    assert heads(read) == heads(wanted)


def test_parameter_counts_of_the_papers() -> None:
    millions = {name: round(parameters(config) / 1e6) for name, config in PRESETS.items()}
    assert {s: millions[f"vit-{s}-16"] for s in ("ti", "s", "b", "l")} == {"ti": 6, "s": 22, "b": 87, "l": 304}
    assert millions["vit-h-14"] == 632
    assert millions["clip-vit-b-32"] == 151
    assert millions["clip-rn50"] == 102
