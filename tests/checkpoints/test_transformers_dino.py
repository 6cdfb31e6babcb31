"""DINOv2 and DINOv3 in transformers and here: the same files, equal outputs both ways, on random weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.checkpoints.files import read_checkpoint
from sensorium.checkpoints.load import load_model, save_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.models.convnext import ConvNeXt
from sensorium.models.dinov2 import DINOv2
from sensorium.models.dinov3 import DINOv3
from sensorium.nn.features import Features
from sensorium.nn.positions import TRANSFORMERS
from tests import tiny_dino as tiny
from tests.checkpoints.peers import close, from_ours, randomise

transformers: Any = pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("quiet")
SIZES: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
    "layerscale_value": 0.7,
}
MASK = torch.arange(16).remainder(3).eq(0).expand(2, -1)


def joined(features: Features) -> Tensor:
    return torch.cat([features.cls[:, None], *features[1:]], dim=1)


def agree(ours: Any, theirs: Any) -> None:
    """Last states and pooled outputs for a picture, one with hidden patches, and one of another shape."""
    image, wide = torch.randn(2, 3, 32, 32), torch.randn(1, 3, 48, 24)
    for expected, features in (
        (theirs(image), ours(image)),
        (theirs(image, bool_masked_pos=MASK), ours(image, MASK)),
        (theirs(wide), ours(wide)),
    ):
        close(joined(features), expected.last_hidden_state)
        close(features.cls, expected.pooler_output)
    close(ours.represent(wide), theirs(wide).pooler_output)
    states = theirs(image, output_hidden_states=True).hidden_states
    for ours_state, state in zip(ours.states(image)[:-1], states, strict=False):
        close(ours_state, state)


@torch.no_grad()
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("registers", [0, 3])
def test_dinov2(registers: int, gated: bool, tmp_path: Path) -> None:
    more = {**SIZES, "use_swiglu_ffn": gated, "mlp_ratio": 3}
    if registers:
        config = transformers.Dinov2WithRegistersConfig(**more, num_register_tokens=registers)
        theirs = randomise(transformers.Dinov2WithRegistersModel(config))
    else:
        theirs = randomise(transformers.Dinov2Model(transformers.Dinov2Config(**more)))
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path).model
    assert isinstance(ours, DINOv2)
    agree(ours, theirs)
    save_model(ours, tmp_path / "back", naming="transformers")
    agree(ours, from_ours(type(theirs), tmp_path / "back"))


@torch.no_grad()
@pytest.mark.parametrize("choice", [name for name in tiny.TRUNKS if name.startswith("DINOv2")])
def test_dinov2_goes_over(choice: str, tmp_path: Path) -> None:
    config = tiny.TRUNKS[choice]
    config = replace(config, hidden=344) if config.gated else config
    ours = tiny.build(config if config.registers else replace(config, resampling=TRANSFORMERS))
    save_model(ours, tmp_path, naming="transformers")
    kind = transformers.Dinov2WithRegistersModel if config.registers else transformers.Dinov2Model
    agree(ours, from_ours(kind, tmp_path))


def test_dinov2_of_a_width_that_transformers_cannot_say(tmp_path: Path) -> None:
    ours = tiny.build(replace(tiny.V2, hidden=200))
    with pytest.raises(CheckpointError, match="no DINOv2 of width 128 with 200 channels"):
        save_model(ours, tmp_path, naming="transformers")
    assert not list(tmp_path.iterdir())


V3: dict[str, dict[str, Any]] = {
    "plain": {},
    "gated": {"use_gated_mlp": True, "hidden_act": "silu", "query_bias": False, "value_bias": False},
    "biased keys": {"key_bias": True, "rope_theta": 50.0},
    "few biases": {"proj_bias": False, "mlp_bias": False},
}


@torch.no_grad()
@pytest.mark.parametrize("choice", V3)
def test_dinov3(choice: str, tmp_path: Path) -> None:
    config = transformers.DINOv3ViTConfig(**SIZES, num_register_tokens=2, intermediate_size=160, **V3[choice])
    theirs = randomise(transformers.DINOv3ViTModel(config))
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path).model
    assert isinstance(ours, DINOv3)
    agree(ours, theirs)
    save_model(ours, tmp_path / "back", naming="transformers")
    agree(ours, from_ours(transformers.DINOv3ViTModel, tmp_path / "back"))


@torch.no_grad()
@pytest.mark.parametrize("choice", ["DINOv3", "DINOv3, gated"])
def test_dinov3_goes_from_official_files_to_transformers_and_back(choice: str, tmp_path: Path) -> None:
    """The masked bias of the keys is left away, and comes back as the zeros that it acts as."""
    ours = tiny.build(tiny.TRUNKS[choice])
    save_model(ours, tmp_path / "official", naming="official")
    ours = load_model(tmp_path / "official").model
    save_model(ours, tmp_path / "over", naming="transformers")
    agree(ours, from_ours(transformers.DINOv3ViTModel, tmp_path / "over"))
    again = load_model(tmp_path / "over").model
    save_model(again, tmp_path / "back", naming="official")
    before, after = (read_checkpoint(tmp_path / name).tensors for name in ("official", "back"))
    assert before.keys() - after.keys() == {n for n in before if n.startswith("local_cls_norm")}
    for name, tensor in after.items():
        keys = slice(128, 256) if name.endswith("qkv.bias") else slice(0)
        assert not tensor[keys].any()
        before[name][keys] = 0
        assert torch.equal(before[name], tensor), name
    agree(ours, from_ours(transformers.DINOv3ViTModel, tmp_path / "over"))


def test_dinov3_that_transformers_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no DINOv3 with RMSNorm"):
        save_model(tiny.build(tiny.TRUNKS["DINOv3, untied"]), tmp_path, naming="transformers")


@torch.no_grad()
def test_convnext_both_ways(tmp_path: Path) -> None:
    config = transformers.DINOv3ConvNextConfig(hidden_sizes=[16, 24, 32, 40], depths=[1, 2, 1, 1])
    theirs = randomise(transformers.DINOv3ConvNextModel(config))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs").model
    assert isinstance(ours, ConvNeXt)
    save_model(ours, tmp_path / "ours", naming="transformers")
    for model in (theirs, from_ours(transformers.DINOv3ConvNextModel, tmp_path / "ours")):
        for image in (torch.randn(2, 3, 64, 64), torch.randn(1, 3, 64, 96)):
            expected, features = model(image, output_hidden_states=True), ours(image)
            close(joined(features), expected.last_hidden_state)
            close(ours.represent(image), expected.pooler_output)
            for feature_map, state in zip(ours.maps(image), expected.hidden_states[1:], strict=True):
                close(feature_map, state)
