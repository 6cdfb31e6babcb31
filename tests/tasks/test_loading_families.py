"""`sensorium.load` on every family: what embeds pictures embeds them, the others come as they are and say so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import sensorium
from sensorium.app.collection import load_model as for_search
from sensorium.checkpoints.formats import FAMILIES
from sensorium.checkpoints.load import save_model
from tests import families

PICTURES = {"clip", "vit", "dinov2", "dinov3", "convnext", "dinotxt", "imagebind"}


def saved(name: str, folder: Path) -> Path:
    naming = FAMILIES[name].formats[0].naming
    save_model(families.build(families.CONFIGS[name]), folder, naming=naming)
    return folder


@pytest.mark.parametrize("name", sorted(PICTURES - {"clip", "dinotxt", "imagebind"}))
def test_a_trunk_embeds_pictures(name: str, tmp_path: Path) -> None:
    model = sensorium.load(saved(name, tmp_path))
    assert isinstance(model, sensorium.Embedder)
    vectors = model.embed(images=[np.zeros((40, 30, 3), np.uint8), np.full((30, 40, 3), 200, np.uint8)])["images"]
    assert vectors.shape == (2, model.dim)
    np.testing.assert_allclose(vectors.norm(dim=-1), 1, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(families.CONFIGS) - PICTURES))
def test_what_reads_more_comes_as_it_is(name: str, tmp_path: Path) -> None:
    found = sensorium.load(saved(name, tmp_path))
    assert isinstance(found, sensorium.Loaded)
    assert found.found.startswith(f"{name} under the names of ")
    with pytest.raises(sensorium.SensoriumError, match=rf"is {name} under the names of .*: it does not embed files"):
        for_search(str(tmp_path))


def test_what_was_loaded_can_be_saved(tmp_path: Path) -> None:
    found = sensorium.load(saved("visualbert", tmp_path / "a"))
    sensorium.save(found, tmp_path / "b", naming="transformers")
    again = sensorium.load(tmp_path / "b")
    assert isinstance(again, sensorium.Loaded)
    assert again.found == "visualbert under the names of transformers"


def test_what_does_not_embed_is_not_rounded(tmp_path: Path) -> None:
    """Nothing would run it under autocast: it answers in fp32, whatever precision was asked for."""
    config = replace(families.CONFIGS["visualbert"], width=256, heads=4, features=256)
    save_model(families.build(config), tmp_path, naming="official")
    ids, regions = torch.tensor([[2, 5, 3]]), torch.randn(1, 4, 256)
    plain, asked = (sensorium.load(tmp_path, precision=precision) for precision in ("fp32", "bf16"))
    assert isinstance(asked, sensorium.Loaded)
    torch.testing.assert_close(asked.model(ids, regions), plain.model(ids, regions))
