"""What was bound to a model is loaded with it, as it was trained, and refused where the model is another."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import sensorium
from sensorium.checkpoints.bindings import read_binding, write_binding
from sensorium.checkpoints.load import load_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.models.imagebind import ImageBind, ImageBindConfig, TrunkConfig
from sensorium.tasks.embedding import Embedder
from tests import tiny, tiny_pairs

SMALL = {"width": 64, "depth": 1, "heads": 1, "mlp": 128}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pairs.make(tmp_path_factory.mktemp("planted"), 4).parent


def trunks(embed: int = 24) -> ImageBind:
    return tiny.build(  # type: ignore[return-value]
        ImageBindConfig(
            vision=None,
            text=None,
            depth=None,
            thermal=None,
            audio=TrunkConfig(channels=1, sides=(128, 204), patch=(16, 16), stride=(16, 16), **SMALL),
            imu=TrunkConfig(channels=6, sides=(2000,), patch=(8,), **SMALL),
            embed=embed,
        )
    )


def bind(planted: Path, folder: Path, embed: int = 24) -> ImageBind:
    model, mark = trunks(embed), load_model(planted / "clip").fingerprint
    write_binding(model, folder, towers=str(planted / "clip"), towers_fingerprint=mark)
    return model


def test_a_binding_is_its_model_with_more_senses(planted: Path, tmp_path: Path) -> None:
    own = bind(planted, tmp_path / "binding")
    model, base = sensorium.load(tmp_path / "binding"), sensorium.load(planted / "clip")
    assert isinstance(model, Embedder)
    assert isinstance(base, Embedder)
    picture, words = planted / "1.png", ["a red thing"]
    for name, vectors in base.embed(images=[picture], text=words).items():
        assert torch.equal(model.embed(images=[picture], text=words)[name], vectors), "what was there is as it was"
    for sense, file, modality in (("audio", "1.wav", "audio"), ("motion", "motion-1.npy", "imu")):
        assert model.has(sense)
        assert not base.has(sense)
        z = model.embed(**{sense: [planted / file]})[sense]
        clips = model.senses[sense].read(planted / file)
        expected = F.normalize(F.normalize(own.towers[modality](clips), dim=-1).mean(0), dim=-1)
        torch.testing.assert_close(z[0], expected, atol=1e-5, rtol=1e-4)
    assert model.lacks("thermal")
    assert {"sound", "motion", "picture"} <= set(model.kinds)
    assert model.fingerprint not in (base.fingerprint, read_binding(tmp_path / "binding").fingerprint)
    assert sensorium.load(tmp_path / "binding/model.safetensors").fingerprint == model.fingerprint
    part = sensorium.load(tmp_path / "binding", senses=("image", "audio"))
    assert isinstance(part, Embedder)
    assert part.has("audio")
    assert not part.has("motion")
    assert part.fingerprint == model.fingerprint


def test_another_model_than_it_was_trained_for_is_refused(planted: Path, tmp_path: Path) -> None:
    bind(planted, tmp_path / "binding")
    with pytest.raises(CheckpointError, match="has no depth"):
        sensorium.load(tmp_path / "binding", senses=("depth",))
    facts = tmp_path / "binding/binding.json"
    stated = json.loads(facts.read_text())
    facts.write_text(json.dumps({**stated, "fingerprint": "another"}))
    with pytest.raises(CheckpointError, match="put the old weights back, or bind the senses anew"):
        sensorium.load(tmp_path / "binding")
    bind(planted, tmp_path / "wide", embed=32)
    with pytest.raises(CheckpointError, match="vectors of 32 numbers"):
        sensorium.load(tmp_path / "wide")


def test_a_folder_of_runs_may_move(planted: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (planted / "clip").rename(tmp_path / "a/clip")
    write_binding(
        trunks(),
        tmp_path / "a/binding",
        towers=str(tmp_path / "a/clip"),
        towers_fingerprint=load_model(tmp_path / "a/clip").fingerprint,
    )
    (tmp_path / "a").rename(tmp_path / "b")
    model = sensorium.load(tmp_path / "b/binding")
    assert isinstance(model, Embedder)
    assert model.has("audio")
    (tmp_path / "b/clip").rename(planted / "clip")
