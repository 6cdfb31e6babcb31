"""Checkpoints that do not fit: nothing is loaded in part, and the message names the checkpoint's own tensors."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sensorium.checkpoints.load import load_model, locate, save_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.models.vit import PRESETS
from tests import tiny

State = dict[str, Tensor]


def rewrite(folder: Path, change: Callable[[State], None]) -> None:
    path = next(folder.glob("*.safetensors"))
    state = load_file(path)
    change(state)
    save_file(state, path)


@pytest.fixture
def openai(tmp_path: Path) -> Path:
    save_model(tiny.build(tiny.CLIP_VIT), tmp_path, naming="openai")
    return tmp_path


def test_unknown_names(openai: Path) -> None:
    rewrite(openai, lambda state: state.update({"visual.extra": torch.zeros(1), "decoder.w": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"unknown names in the checkpoint: (decoder\.w|visual\.extra), "):
        load_model(openai)


def test_missing_names_are_theirs_not_ours(openai: Path) -> None:
    def change(state: State) -> None:
        del state["transformer.resblocks.1.attn.in_proj_weight"], state["visual.ln_post.bias"]

    rewrite(openai, change)
    with pytest.raises(CheckpointError) as caught:
        load_model(openai)
    assert str(caught.value) == (
        f"{openai}: the checkpoint does not fit the model; "
        "missing: visual.ln_post.bias, transformer.resblocks.1.attn.in_proj_weight"
    )


def test_other_shapes_are_given_as_the_file_has_them(openai: Path) -> None:
    def change(state: State) -> None:
        state["visual.proj"] = torch.zeros(64, 25)
        state["transformer.resblocks.1.attn.in_proj_weight"] = torch.zeros(189, 64)

    rewrite(openai, change)
    with pytest.raises(CheckpointError) as caught:
        load_model(openai)
    message = str(caught.value)
    assert "visual.proj is [64, 25], should be [64, 24]" in message
    assert "transformer.resblocks.1.attn.in_proj_weight is [189, 64], should be [192, 64]" in message


@pytest.mark.parametrize("shape", [(100, 64), (), (2, 2, 2)])
def test_shapes_that_no_change_can_take(openai: Path, shape: tuple[int, ...]) -> None:
    rewrite(openai, lambda state: state.update({"transformer.resblocks.0.attn.in_proj_weight": torch.zeros(shape)}))
    with pytest.raises(CheckpointError, match=r"transformer\.resblocks\.0\.attn\.in_proj_weight"):
        load_model(openai)


def test_shapes_from_which_no_size_can_be_read(openai: Path) -> None:
    rewrite(openai, lambda state: state.update({"text_projection": torch.zeros(3)}))
    with pytest.raises(CheckpointError, match="the shapes make no sense"):
        load_model(openai)


def test_a_layer_that_is_missing_altogether(tmp_path: Path) -> None:
    """Without the middle layer the depth read from the names is right; without the last, config.json contradicts."""
    for layer, words in (
        (0, r"'vision_model\.encoder\.layers\.0\.\S+' is missing"),
        (1, "num_hidden_layers is 2 in the file, 1 in"),
    ):
        save_model(tiny.build(tiny.CLIP_VIT), tmp_path, naming="transformers")

        def change(state: State, layer: int = layer) -> None:
            for name in [name for name in state if name.startswith(f"vision_model.encoder.layers.{layer}.")]:
                del state[name]

        rewrite(tmp_path, change)
        with pytest.raises(CheckpointError, match=words):
            load_model(tmp_path)


def test_no_layer_at_all(openai: Path) -> None:
    def change(state: State) -> None:
        for name in [name for name in state if name.startswith("visual.transformer")]:
            del state[name]

    rewrite(openai, change)
    with pytest.raises(CheckpointError, match=r"clip \(openai\), but 'visual\.transformer\.resblocks\.0' is missing"):
        load_model(openai)


def test_another_family(tmp_path: Path) -> None:
    bert = {"bert.embeddings.word_embeddings.weight": torch.zeros(2, 2), "bert.pooler.dense.bias": torch.zeros(2)}
    save_file(bert, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load_model(tmp_path)
    for word in (str(tmp_path), "of no family that is built here", "clip", "vit", "bert.embeddings.word_embeddings"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("naming", "keys", "value", "words"),
    [
        ("transformers", ("vision_config", "num_attention_heads"), 5, "width 64 does not divide into 5 heads"),
        ("transformers", ("vision_config", "num_attention_heads"), 0, "does not divide into 0 heads"),
        ("transformers", ("vision_config", "num_attention_heads"), "many", "config.json make no sense"),
        ("transformers", ("vision_config",), [1], "config.json make no sense"),
        ("transformers", ("text_config", "hidden_act"), "relu", "hidden_act 'relu'"),
        ("transformers", ("text_config", "vocab_size"), 65, "vocab_size is 65 in the file, 64 in the weights"),
        ("transformers", ("vision_config", "image_size"), 64, "image_size is 64 in the file, 32 in the weights"),
        ("open_clip", ("model_cfg", "vision_cfg", "width"), 128, "does not fit the model; of another shape: visual"),
        ("open_clip", ("model_cfg", "text_cfg", "layers"), 3, r"missing: transformer\.resblocks\.2"),
        ("open_clip", ("model_cfg", "text_cfg", "layers"), 1, r"not part of this model: transformer\.resblocks\.1"),
        ("open_clip", ("model_cfg", "vision_cfg", "timm_model_name"), "x", "taken from timm or transformers"),
        ("open_clip", ("model_cfg", "text_cfg", "heads"), 0, "does not divide into 0 heads"),
    ],
)
def test_contradictory_configuration(
    naming: str, keys: tuple[str, ...], value: Any, words: str, tmp_path: Path
) -> None:
    save_model(tiny.build(tiny.CLIP_VIT), tmp_path, naming=naming)
    path = tmp_path / ("config.json" if naming == "transformers" else "open_clip_config.json")
    file = json.loads(path.read_text())
    inner = file
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(file))
    with pytest.raises(CheckpointError, match=words) as caught:
        load_model(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_vit_configuration_is_checked_too(tmp_path: Path) -> None:
    for naming, key in (("transformers", "hidden_size"), ("timm", "num_features")):
        save_model(tiny.build(tiny.VIT), tmp_path / naming, naming=naming)
        path = tmp_path / naming / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: 384}))
        with pytest.raises(CheckpointError, match=f"{key} is 384 in the file, 192 in the weights"):
            load_model(tmp_path / naming)


def test_the_config_given_overrules_the_file(tmp_path: Path) -> None:
    save_model(tiny.build(tiny.VIT), tmp_path, naming="timm")
    model = load_model(tmp_path, config=replace(tiny.VIT, heads=6)).model
    assert model.config == replace(tiny.VIT, heads=6)
    with pytest.raises(CheckpointError, match=r"missing: blocks\.2"):
        load_model(tmp_path, config=replace(tiny.VIT, depth=3))


@pytest.mark.parametrize(
    ("name", "hints"),
    [
        ("clip-vit-b32", ["clip-vit-b-32"]),
        ("CLIP-ViT-B-32", ["clip-vit-b-32"]),
        ("ViT-B/32", ["clip-vit-b-32", "vit-b-32"]),
        ("ViT-L/14@336px", ["clip-vit-l-14-336"]),
        ("RN50x4", ["clip-rn50x4"]),
        ("poket", ["pocket"]),
    ],
)
def test_near_misses_of_presets(name: str, hints: list[str]) -> None:
    with pytest.raises(CheckpointError, match=r"no preset, file, folder or hub id .*did you mean") as caught:
        locate(name)
    for hint in hints:
        assert hint in str(caught.value).split("did you mean")[1]


@pytest.mark.parametrize(
    "name",
    [
        "nothing here",
        "./models/clip",
        "/no/such/file",
        "weights/model.safetensors",
        "",
        "a\0b",
        "x" * 5000,
        "~/none/of/it",
    ],
)
def test_paths_that_do_not_exist(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"no preset, file, folder or hub id|sensorium models"):
        locate(name)


def test_sizes_without_public_weights_say_so() -> None:
    assert "vit-ti-8" in PRESETS
    with pytest.raises(CheckpointError, match="vit-ti-8 is a size without public weights"):
        locate("vit-ti-8")
