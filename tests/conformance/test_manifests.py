"""Full-size checkpoints, name by name and shape by shape, and every preset against the published counts."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from sensorium.checkpoints.files import Checkpoint
from sensorium.checkpoints.format import Config, Format
from sensorium.checkpoints.formats import FAMILIES, PRESETS, configure, export, format_named, parameters
from sensorium.nn.blank import blank
from tests.conformance.steps import Preset, visible
from tests.conformance.test_cases import FAMILIES as CHECKED

FOLDER = Path(__file__).parent / "manifests"
MANIFESTS: dict[str, Preset] = {name: preset for family in CHECKED for name, preset in family.MANIFESTS.items()}


def manifest(name: str) -> dict[str, Any]:
    """A full-size checkpoint: `shapes` by name, `config` and `parameters`."""
    with gzip.open(FOLDER / f"{name}.json.gz") as stream:
        published = json.load(stream)
    if "shapes" not in published:
        published["shapes"] = {key: tensor["shape"] for key, tensor in published["tensors"].items()}
    return published


def preset(name: str) -> tuple[Config, Format]:
    """The configuration and the naming that a manifest should be reached from."""
    name, naming, changes = MANIFESTS[name]
    family = next(family for family in FAMILIES.values() if name in family.presets)
    return replace(cast(Any, PRESETS[name]), **changes), format_named(family.name, naming)


def test_every_manifest_is_listed() -> None:
    assert {path.name.removesuffix(".json.gz") for path in FOLDER.iterdir()} == set(MANIFESTS)


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest(name: str) -> None:
    config, known = preset(name)
    with blank():
        model = FAMILIES[known.family].model(config)
    published = manifest(name)
    shapes = {key: list(tensor.shape) for key, tensor in export(model, known).items()}
    # the numbers 0, 1, 2, ... that BERT's children stored with their weights are nothing that was learned
    assert shapes == {key: shape for key, shape in published["shapes"].items() if not key.endswith("position_ids")}
    assert sum(parameter.numel() for parameter in model.parameters()) == published["parameters"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_sizes_are_read_from_the_shapes(name: str) -> None:
    """Names, shapes and config.json lead to the preset, whose every tensor `test_manifest` compares."""
    config, known = preset(name)
    published = manifest(name)
    tensors = {key: torch.empty(shape, device="meta") for key, shape in published["shapes"].items()}
    beside = {known.file: published["config"]} if known.file and published["config"] else {}
    read = configure(Checkpoint(path=Path(name), tensors=tensors, beside=beside), known)
    assert visible(read) == visible(config)


def test_parameter_counts_of_the_papers() -> None:
    named = ["vit-ti-16", "vit-s-16", "vit-b-16", "vit-l-16", "vit-h-14", "clip-vit-b-32", "clip-rn50"]
    millions = [round(parameters(PRESETS[name]) / 1e6) for name in named]
    assert millions == [6, 22, 87, 304, 632, 151, 102]
