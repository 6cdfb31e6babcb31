"""One sense adapted: only what was asked for changes, adapters are merged exactly, kills and two processes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file

import sensorium
from sensorium.checkpoints.bindings import read_binding
from sensorium.checkpoints.load import load_model, save_model
from sensorium.data.errors import SensoriumError
from sensorium.data.preprocess import Preprocess
from sensorium.data.sources import open_source
from sensorium.data.tokenizer import ClipTokenizer
from sensorium.models.imagebind import ImageBind
from sensorium.tasks.embedding import Embedder
from sensorium.training.recipe import Recipe
from sensorium.training.recipes import imagebind, imagebind_tune
from sensorium.training.world import World
from tests import tiny, tiny_pairs
from tests.training.lines import BOUND
from tests.training.processes import go
from tests.training.recipes.test_imagebind import run, trunks_of
from tests.training.test_resume import KILLED, equal, losses, said, weights

pytest.importorskip("peft")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, a CLIP, and in `binding` sound and depth bound to it that know nothing yet."""
    folder = tiny_pairs.make(tmp_path_factory.mktemp("planted")).parent
    s = imagebind.Settings(
        **BOUND, data=(str(folder / "pairs.jsonl"),), towers=str(folder / "clip"), senses=("audio", "depth"), scale=20.0
    )
    recipe = imagebind.imagebind(s, World())
    assert recipe.export is not None
    recipe.export(folder / "binding")
    return folder


def settings(planted: Path, **others: Any) -> imagebind_tune.Settings:
    given: dict[str, Any] = {"data": (str(planted / "pairs.jsonl"),), "model": str(planted / "binding"), "batch": 8}
    return imagebind_tune.Settings(**{**given, "epochs": 0.5, **others})


def exported(recipe: Recipe, folder: Path) -> Path:
    assert recipe.export is not None
    recipe.export(folder)
    return folder


@pytest.mark.parametrize("mode", ["full", "lora", "linear"])
@pytest.mark.parametrize("paired", ["image", "text", "label"])
def test_only_what_was_asked_for_changes(planted: Path, tmp_path: Path, mode: Any, paired: Any) -> None:
    recipe = imagebind_tune.imagebind_tune(
        settings(planted, mode=mode, paired=paired, learning_rate=1e-2, held_out=0.2, evaluations=1), World()
    )
    run(recipe, tmp_path / "run")
    exported(recipe, tmp_path / "model")
    before, after = read_binding(planted / "binding").trunks, read_binding(tmp_path / "model").trunks
    changed = {name for name, value in after.state_dict().items() if not torch.equal(value, before.state_dict()[name])}
    assert after.config == before.config
    assert all(name.startswith("towers.audio.") for name in changed), "neither depth nor a scale"
    parts = {name.removeprefix("towers.audio.").partition(".")[0] for name in changed}
    learned = {
        "full": {"patches", "norm_patches", "cls", "positions", "blocks", "norm_out"} | ({"project"} - {"x"}),
        "lora": {"blocks"},
        "linear": {"project"},
    }[mode]
    assert parts == learned - ({"project"} if paired == "label" else set()), "a head takes the last layer's place"
    if mode == "lora":
        kinds = {name.split("blocks.0.")[1].rpartition(".") for name in changed}
        assert {kind for kind, _, _ in kinds} == {
            *(f"attention.{part}" for part in ("query", "key", "value", "out")), "mlp.up", "mlp.down",
        }  # fmt: skip
        assert {last for _, _, last in kinds} == {"weight"}


def test_adapters_are_all_that_learns_and_merge_exactly(planted: Path, tmp_path: Path) -> None:
    recipe = imagebind_tune.imagebind_tune(settings(planted, mode="lora", rank=3, learning_rate=1e-2), World())
    names = {name for name, p in recipe.model.named_parameters() if p.requires_grad}
    assert names
    assert all("lora_" in name for name in names)
    assert {p.shape[0] for name, p in recipe.model.named_parameters() if "lora_A" in name} == {3}
    run(recipe, tmp_path / "run")
    sounds = torch.randn(2, 1, 128, 204)
    trunks = trunks_of(recipe).eval()
    before = read_binding(planted / "binding").trunks
    with torch.no_grad():
        adapted = trunks.towers["audio"](sounds)
        plain = read_binding(exported(recipe, tmp_path / "model")).trunks.towers["audio"](sounds)
        torch.testing.assert_close(plain, adapted, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(plain, before.towers["audio"](sounds), atol=1e-2)
    loaded = sensorium.load(tmp_path / "model")
    assert isinstance(loaded, Embedder)
    assert loaded.has("audio")
    assert loaded.has("depth")


@pytest.mark.parametrize(("mode", "paired"), [("full", "image"), ("lora", "image"), ("full", "text")])
def test_it_learns_and_held_out_pairs_find_one_another(planted: Path, tmp_path: Path, mode: Any, paired: Any) -> None:
    s = settings(planted, mode=mode, paired=paired, epochs=25.0, learning_rate=3e-3, evaluations=1)
    s = replace(s, data=(str(planted / "train.jsonl"),), validation=(str(planted / "held.jsonl"),))
    recipe = imagebind_tune.imagebind_tune(replace(s, seen=2 if paired == "image" else 0), World())
    assert recipe.best is not None
    last = run(recipe, tmp_path / "run")[-1]
    score = last[f"evaluate/{recipe.best}"]
    assert score > (0.2 if paired == "image" else 0.6), "chance is 0.125 among pairs, 0.25 among four texts"


@pytest.mark.parametrize("mode", ["full", "linear"])
def test_a_head_learns_labels_and_is_written_beside_the_model(planted: Path, tmp_path: Path, mode: Any) -> None:
    rate = 3e-3 if mode == "full" else 0.1
    s = settings(planted, mode=mode, paired="label", epochs=30.0, learning_rate=rate, evaluations=1)
    s = replace(s, data=(str(planted / "train.jsonl"),), validation=(str(planted / "held.jsonl"),))
    recipe = imagebind_tune.imagebind_tune(s, World())
    last = run(recipe, tmp_path / "run")[-1]
    assert last["evaluate/accuracy"] > 0.6, "chance is 0.25"
    folder = exported(recipe, tmp_path / "model")
    assert json.loads((folder / "head.json").read_text()) == {"classes": ["0", "1", "2", "3"]}
    head, trunk = load_file(folder / "head.safetensors"), read_binding(folder).trunks.towers["audio"]
    model = sensorium.load(folder)
    assert isinstance(model, Embedder)
    source = open_source(planted / "pairs.jsonl")
    sounds = torch.cat([model.senses["audio"].read(source[i]["audio"])[:1] for i in range(12)])
    scores = cast(Any, trunk).represent(sounds) @ head["weight"].T + head["bias"]
    right = (scores.argmax(1) == torch.tensor([source[i]["label"] for i in range(12)])).float().mean()
    assert right > 0.6


def test_one_sense_of_a_whole_imagebind(planted: Path, tmp_path: Path) -> None:
    config = replace(tiny.IMAGEBIND, text=replace(tiny.IMAGEBIND.text, words=600), imu=None)
    save_model(tiny.build(config), tmp_path / "own", naming="imagebind", steps=Preprocess(size=32))
    ClipTokenizer.first(600).save(tmp_path / "own")
    s = settings(planted, model=str(tmp_path / "own"), sense="thermal", mode="lora", learning_rate=1e-2)
    recipe = imagebind_tune.imagebind_tune(s, World())
    run(recipe, tmp_path / "run")
    whole, own = (load_model(path).model for path in (exported(recipe, tmp_path / "model"), tmp_path / "own"))
    assert isinstance(whole, ImageBind)
    before = own.state_dict()
    changed = {name for name, value in whole.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("towers.thermal.blocks.") for name in changed)


def test_a_killed_run_goes_on_bit_by_bit(planted: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {"data": str(planted), "steps": 6, "batch": 4}
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert go(whole, "tuned", **common) == [0], said(whole)
    assert KILLED in go(folder, "tuned", **common, kill=4)
    assert go(folder, "tuned", **common) == [0], said(folder)
    assert losses(folder) == losses(whole)
    assert equal(weights(folder), weights(whole))


def test_two_processes_learn_as_one(planted: Path, tmp_path: Path) -> None:
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        codes = go(folder, "tuned", processes=processes, data=str(planted), steps=4, batch=4)
        assert codes == [0] * processes, said(folder)
    torch.testing.assert_close(losses(tmp_path / "2"), losses(tmp_path / "1"), rtol=1e-4, atol=1e-5)


def test_settings_that_cannot_work_are_refused(planted: Path, tmp_path: Path) -> None:
    (tmp_path / "silent.jsonl").write_text('{"image": "a.png", "text": "words"}\n')
    for changes, said_of in (
        ({"model": ""}, "model: name what is adapted"),
        ({"model": str(planted / "clip")}, "has no audio: bind it first"),
        ({"sense": "motion"}, "has no motion; it has audio, depth"),
        ({"mode": "lora", "rank": 0}, "rank=0: 1 or more"),
        ({"data": (str(tmp_path / "silent.jsonl"),)}, "no pairs of image and audio"),
    ):
        with pytest.raises(SensoriumError, match=said_of):
            imagebind_tune.imagebind_tune(settings(planted, **changes), World())
