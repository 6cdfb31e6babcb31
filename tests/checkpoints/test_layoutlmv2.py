"""LayoutLMv2's files: written and read again, and refused by name where something is wrong."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sensorium.checkpoints.load import load_model, save_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.models.layoutlmv2 import Head, LayoutLMv2
from tests import tiny_layoutlmv2 as tiny

HEADS: tuple[Head, ...] = ("none", "tokens", "page", "answer", "relations", "pretraining")


@pytest.mark.parametrize("naming", ["official", "transformers"])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("line", tiny.CONFIGS)
def test_comes_back_as_it_was(line: str, head: Head, naming: str, tmp_path: Path) -> None:
    labels = 5 if head in ("tokens", "page") else 2
    config = replace(tiny.CONFIGS[line], head=head, labels=labels, reach=40, spatial_reach=90, heads=4)
    model = tiny.build(config)
    save_model(model, tmp_path, naming=naming)
    loaded = load_model(tmp_path).model
    assert isinstance(loaded, LayoutLMv2)
    assert loaded.config == config
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    page = tiny.pages()
    assert torch.equal(model(*page), loaded(*page))


def saved(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    save_model(tiny.build(replace(tiny.BASE, head="tokens")), tmp_path, naming="official")
    path = next(tmp_path.glob("*.safetensors"))
    return path, load_file(path)


def test_what_published_files_hold_besides_is_dropped(tmp_path: Path) -> None:
    path, tensors = saved(tmp_path)
    trunk = "layoutlmv2.visual.backbone.bottom_up"
    tensors["layoutlmv2.embeddings.position_ids"] = torch.arange(60)[None]
    tensors[f"{trunk}.res2.0.conv1.norm.num_batches_tracked"] = torch.tensor(0)
    tensors[f"{trunk}.stem.conv1.norm.num_batches_tracked"] = torch.tensor(0)
    save_file(tensors, path)
    load_model(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "layoutlmv2.encoder.layer.1.attention.self.q_bias",
        "layoutlmv2.visual.backbone.bottom_up.res4.0.conv2.norm.running_var",
        "layoutlmv2.visual.backbone.fpn_output4.bias",
        "layoutlmv2.visual.pixel_std",
        "layoutlmv2.encoder.rel_pos_y_bias.weight",
    ],
)
def test_a_missing_tensor_is_named(name: str, tmp_path: Path) -> None:
    path, tensors = saved(tmp_path)
    del tensors[name]
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_model(tmp_path)


def test_an_unknown_tensor_is_named(tmp_path: Path) -> None:
    path, tensors = saved(tmp_path)
    save_file(tensors | {"layoutlmv2.visual.proposal.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"layoutlmv2\.visual\.proposal\.weight"):
        load_model(tmp_path)


def test_a_tensor_of_another_shape_is_named(tmp_path: Path) -> None:
    path, tensors = saved(tmp_path)
    tensors["layoutlmv2.encoder.layer.0.attention.self.q_bias"] = torch.zeros(1, 1, 23)
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"q_bias is \[1, 1, 23\], should be \[1, 1, 24\]"):
        load_model(tmp_path)
