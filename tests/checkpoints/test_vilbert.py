"""ViLBERT's files, under the authors' names."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sensorium.checkpoints.load import load_model, save_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.models.vilbert import ViLBERT, ViLBERTConfig
from tests.models.test_vilbert import TASKS, TINY, build

WORD_EMBEDDING = "bert.embeddings.word_embeddings.weight"


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        TASKS,
        replace(TINY, dynamic=True, fusion="sum"),
        replace(TINY, coattention=False, meetings=((1, 0), (2, 1))),
        replace(TASKS, task_tokens=0),
    ],
)
def test_saved_and_loaded_again(config: ViLBERTConfig, tmp_path: Path) -> None:
    model = build(config)
    save_model(model, tmp_path, naming="official")
    again = load_model(tmp_path)
    assert isinstance(again.model, ViLBERT)
    assert again.found == "vilbert under the names of official"
    assert again.model.config == config
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name


def test_bare_and_wrapped_weights_have_the_published_heads(tmp_path: Path) -> None:
    """The authors' .bin says no sizes, and is often of a model wrapped for several processes."""
    wide = {"width": 128, "heads": 2}, {"width": 256, "heads": 2}
    config = replace(
        TINY, text=replace(TINY.text, **wide[0]), vision=replace(TINY.vision, **wide[1]), co_width=256, co_heads=2
    )
    save_model(build(config), tmp_path, naming="official")
    state = load_file(next(tmp_path.glob("*.safetensors")))
    path = tmp_path / "bare" / "pytorch_model.bin"
    path.parent.mkdir()
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, path)
    model = load_model(path).model
    assert isinstance(model, ViLBERT)
    assert model.config == config


def test_misfits_are_named(tmp_path: Path) -> None:
    save_model(build(TASKS), tmp_path, naming="official")
    path = next(tmp_path.glob("*.safetensors"))
    whole = load_file(path)
    assert torch.equal(whole["cls.predictions.decoder.weight"], whole[WORD_EMBEDDING])
    missing = "bert.encoder.c_layer.1.biattention.key2.bias"
    save_file({name: tensor for name, tensor in whole.items() if name != missing}, path)
    with pytest.raises(CheckpointError, match=f"missing: {missing}"):
        load_model(tmp_path)
    save_file(whole | {"bert.encoder.c_layer.1.extra": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"unknown names .*c_layer\.1\.extra"):
        load_model(tmp_path)
    save_file(whole | {"vil_logit.weight": torch.zeros(2, 28)}, path)
    with pytest.raises(CheckpointError, match=r"vil_logit\.weight is \[2, 28\], should be \[1, 28\]"):
        load_model(tmp_path)
    save_file(whole | {"cls.predictions.decoder.weight": torch.zeros(41, 24)}, path)
    with pytest.raises(CheckpointError, match=f"should be the same tensor as {WORD_EMBEDDING}"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
        ({"fusion_method": "cat"}, "fusion_method 'cat'"),
        ({"t_biattention_id": [2]}, "should list 2 layers"),
        ({"t_biattention_id": [2, 9]}, "do not go up through 4 and 2 layers"),
        ({"num_hidden_layers": 6}, "num_hidden_layers is 6 in the file, 4 in the weights"),
    ],
)
def test_a_file_that_contradicts_the_weights(change: dict[str, object], message: str, tmp_path: Path) -> None:
    save_model(build(), tmp_path, naming="official")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path)
