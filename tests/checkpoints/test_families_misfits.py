"""Wrong weights of every family: the message names what is unknown, missing or misshaped."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sensorium.checkpoints.format import Format
from sensorium.checkpoints.formats import FAMILIES
from sensorium.checkpoints.load import load_model, save_model
from sensorium.checkpoints.rename import CheckpointError
from tests import families

Written = tuple[Format, Path, dict[str, Tensor]]


@pytest.fixture(params=list(families.CONFIGS))
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    """A family's naming, a file under it, and the tensors there."""
    name: Any = request.param
    known = next(known for known in FAMILIES[name].formats if known.naming != "google")  # whose files are .npz
    file = save_model(families.build(families.CONFIGS[name]), tmp_path, naming=known.naming)
    return known, file, load_file(file)


def written_again(file: Path, tensors: dict[str, Tensor]) -> Path:
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, str(file))
    return file.parent


def middle(known: Format, tensors: dict[str, Tensor]) -> str:
    """A weight that no size is read from: the bias of something inside."""
    marks = {mark for marks in known.marks for mark in marks}
    inner = [key for key in tensors if key.endswith(".bias") and key not in marks and tensors[key].ndim == 1]
    return sorted(inner)[len(inner) // 2]


def test_an_unknown_name(written: Written) -> None:
    _, file, tensors = written
    folder = written_again(file, {**tensors, "optimizer.step": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"unknown names in the checkpoint: optimizer\.step"):
        load_model(folder)


def test_a_missing_name(written: Written) -> None:
    known, file, tensors = written
    gone = middle(known, tensors)
    folder = written_again(file, {key: tensor for key, tensor in tensors.items() if key != gone})
    with pytest.raises(CheckpointError) as error:
        load_model(folder)
    assert gone in str(error.value)


def test_a_wrong_shape(written: Written) -> None:
    known, file, tensors = written
    odd = middle(known, tensors)
    folder = written_again(file, {**tensors, odd: torch.zeros(len(tensors[odd]) + 1)})
    with pytest.raises(CheckpointError) as error:
        load_model(folder)
    assert odd in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_load_as_fp32(written: Written, dtype: torch.dtype) -> None:
    _, file, tensors = written
    halves = {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}
    model = load_model(written_again(file, halves)).model
    assert {t.dtype for t in model.state_dict().values() if t.is_floating_point()} == {torch.float32}


def test_a_sharded_folder_is_the_same_model(written: Written, tmp_path: Path) -> None:
    _, file, tensors = written
    whole = load_model(file.parent).model.state_dict()
    names, beside = sorted(tensors), [path for path in file.parent.iterdir() if path.suffix == ".json"]
    folder = tmp_path / "sharded"
    folder.mkdir()
    for path in beside:
        (folder / path.name).write_bytes(path.read_bytes())
    where = {name: f"model-{i % 2 + 1:05d}-of-00002.safetensors" for i, name in enumerate(names)}
    for part in set(where.values()):
        written_again(folder / part, {name: tensors[name] for name in names if where[name] == part})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    again = load_model(folder).model.state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())
