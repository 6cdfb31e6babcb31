"""`sensorium.save` takes what `sensorium.load` gives."""

from pathlib import Path

import pytest
import torch

import sensorium
from sensorium.checkpoints.load import save_model
from sensorium.data.errors import SensoriumError
from sensorium.data.preprocess import HALF, Preprocess
from tests import tiny


def test_what_was_loaded_is_saved_with_its_preprocessing_and_loads_alike(tmp_path: Path):
    steps = Preprocess(32, "squash", mean=HALF, std=HALF, rgb="before", centre="floor")
    save_model(tiny.build(tiny.VIT), tmp_path / "a", naming="transformers", steps=steps)
    model = sensorium.load(tmp_path / "a")
    sensorium.save(model, tmp_path / "b", naming="transformers")
    again = sensorium.load(tmp_path / "b")
    assert again.preprocess == model.preprocess == steps
    assert again.fingerprint == model.fingerprint
    picture = [torch.randint(256, (40, 50, 3), dtype=torch.uint8).numpy()]
    assert torch.equal(again.embed(images=picture)["images"], model.embed(images=picture)["images"])


def test_a_bare_model_is_saved_too(tmp_path: Path):
    assert sensorium.save(tiny.build(tiny.CLIP_VIT), tmp_path, naming="openai").is_file()


def test_pocket_has_no_other_names(tmp_path: Path):
    with pytest.raises(SensoriumError, match="pocket has no other library's names"):
        sensorium.save(sensorium.load("pocket"), tmp_path, naming="transformers")
    assert not list(tmp_path.iterdir())
