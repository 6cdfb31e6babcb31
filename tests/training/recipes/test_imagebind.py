"""Senses bound to towers that stay as they are: what learns, what is written, kills, two processes, turns."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from sensorium.checkpoints.bindings import read_binding
from sensorium.checkpoints.load import load_model, save_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.data.errors import SensoriumError
from sensorium.data.preprocess import Preprocess
from sensorium.data.sources import open_source
from sensorium.data.tokenizer import ClipTokenizer
from sensorium.models.imagebind import ImageBind
from sensorium.training.loop import train
from sensorium.training.recipe import Engine, Recipe
from sensorium.training.recipes import imagebind
from sensorium.training.recipes.imagebind_data import Turns, divided
from sensorium.training.recipes.imagebind_towers import open_towers
from sensorium.training.run_folder import RunFolder, read_metrics
from sensorium.training.world import World
from tests import tiny, tiny_pairs
from tests.training.lines import BOUND
from tests.training.processes import go
from tests.training.test_resume import KILLED, equal, losses, said, weights

SENSES = ("audio", "depth", "thermal", "motion")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pairs.make(tmp_path_factory.mktemp("planted")).parent


def run(recipe: Recipe, folder: Path) -> list[dict[str, float]]:
    place = RunFolder(folder)
    place.create({"recipe": "test", "settings": {}, "engine": {}})
    train(recipe, Engine(), place, World())
    return read_metrics(place)


def settings(planted: Path, **others: Any) -> imagebind.Settings:
    given = {**BOUND, "data": (str(planted / "pairs.jsonl"),), "towers": str(planted / "clip"), "batch": 8}
    return imagebind.Settings(**{**given, "epochs": 2.0, **others})


def trunks_of(recipe: Recipe) -> ImageBind:
    trunks = recipe.model.get_submodule("trunks")
    assert isinstance(trunks, ImageBind)
    return trunks


@pytest.mark.parametrize("sense", SENSES)
@pytest.mark.parametrize("seen", [0, 2])
def test_a_sense_learns_to_meet_pictures_and_towers_do_not_move(
    planted: Path, tmp_path: Path, sense: str, seen: int
) -> None:
    flip = sense == "audio"  # the planted depth and warmth are slants: mirrored, they are another kind's
    s = settings(planted, senses=(sense,), seen=seen, epochs=25.0, evaluations=1, flip=flip, scale=20.0)
    s = replace(s, data=(str(planted / "train.jsonl"),), validation=(str(planted / "held.jsonl"),))
    if sense == "motion":
        s = replace(s, learning_rate=6e-3)
    recipe = imagebind.imagebind(s, World())
    begun = recipe.evaluate and recipe.evaluate(0)
    records = run(recipe, tmp_path / "run")
    last = records[-1]
    assert begun is not None
    assert sum(r["loss"] for r in records[-5:]) < 0.8 * sum(r["loss"] for r in records[:5])
    assert last["evaluate/recall"] > max(begun["recall"], 0.2), "it knows the kind; chance among all held out is 0.125"
    modality = {"motion": "imu"}.get(sense, sense)
    names = {name for name, p in recipe.model.named_parameters() if p.requires_grad}
    assert names
    assert all(name.startswith(f"trunks.towers.{modality}.") for name in names), "the scale is fixed, towers no part"


def test_towers_get_no_gradient_and_stay_bit_by_bit(planted: Path) -> None:
    towers = open_towers(str(planted / "clip"), torch.device("cpu"))
    before = {name: value.clone() for name, value in towers.module.state_dict().items()}
    seen = towers.see(torch.randint(256, (3, 1, 3, 32, 32), dtype=torch.uint8), torch.device("cpu"))
    assert not seen.requires_grad
    assert not any(p.requires_grad or p.grad is not None for p in towers.module.parameters())
    assert equal(before, towers.module.state_dict())
    torch.testing.assert_close(seen.norm(dim=1), torch.ones(3))


def test_what_is_written_is_what_was_trained(planted: Path, tmp_path: Path) -> None:
    recipe = imagebind.imagebind(settings(planted, epochs=0.3, senses=("audio", "motion")), World())
    run(recipe, tmp_path / "run")
    assert recipe.export is not None
    recipe.export(tmp_path / "model")
    stated = json.loads((tmp_path / "model/binding.json").read_text())
    assert set(stated) == {"towers", "fingerprint", "sizes"}
    binding = read_binding(tmp_path / "model")
    assert binding.towers == str(planted / "clip")
    assert binding.towers_fingerprint == load_model(planted / "clip").fingerprint
    assert binding.trunks.config == trunks_of(recipe).config
    assert equal(binding.trunks.state_dict(), trunks_of(recipe).state_dict())
    recipe.export(tmp_path / "one.safetensors")  # not a folder but two files of one name
    assert read_binding(tmp_path / "one.safetensors").fingerprint == binding.fingerprint
    assert not (tmp_path / "one.safetensors").is_dir()


def test_a_binding_that_lacks_something_is_refused_by_name(planted: Path, tmp_path: Path) -> None:
    recipe = imagebind.imagebind(settings(planted, senses=("audio",)), World())
    assert recipe.export is not None
    recipe.export(tmp_path / "model")
    facts = tmp_path / "model/binding.json"
    stated = json.loads(facts.read_text())
    facts.write_text(json.dumps({"towers": "pocket"}))
    with pytest.raises(CheckpointError, match="does not say fingerprint, sizes"):
        read_binding(tmp_path / "model")
    stated["sizes"]["audio_target_len"] = 300
    facts.write_text(json.dumps(stated))
    with pytest.raises(CheckpointError, match="of another shape"):
        read_binding(tmp_path / "model")


def test_other_senses_are_added_to_a_binding_and_the_first_stays(planted: Path, tmp_path: Path) -> None:
    first = imagebind.imagebind(settings(planted, senses=("audio",)), World())
    assert first.export is not None
    RunFolder(tmp_path / "first").create({"recipe": "imagebind", "settings": {}, "engine": {}})
    s = settings(planted, senses=("depth",), start=str(tmp_path / "first"), towers="pocket", epochs=0.4)
    with pytest.raises(SensoriumError, match="is a run without a model: sensorium train --resume"):
        imagebind.imagebind(s, World())
    first.export(tmp_path / "first/model")
    second = imagebind.imagebind(s, World())
    run(second, tmp_path / "run")
    assert second.export is not None
    second.export(tmp_path / "both")
    both, one = read_binding(tmp_path / "both").trunks, read_binding(tmp_path / "first/model").trunks
    assert set(both.towers) == {"audio", "depth"}
    assert equal(both.towers["audio"].state_dict(), one.towers["audio"].state_dict())
    again = imagebind.imagebind(replace(s, senses=("audio",), learn_scale=True), World())
    assert equal(trunks_of(again).towers["audio"].state_dict(), one.towers["audio"].state_dict()), "it goes on"
    assert "trunks.scales.audio.log" in {name for name, p in again.model.named_parameters() if p.requires_grad}


def test_imagebinds_own_towers_give_a_whole_imagebind(planted: Path, tmp_path: Path) -> None:
    config = replace(tiny.IMAGEBIND, text=replace(tiny.IMAGEBIND.text, words=600), thermal=None)
    save_model(tiny.build(config), tmp_path / "own", naming="imagebind", steps=Preprocess(size=32))
    ClipTokenizer.first(600).save(tmp_path / "own")
    s = settings(planted, towers=str(tmp_path / "own"), senses=("audio", "thermal"), epochs=0.4)
    recipe = imagebind.imagebind(s, World())
    assert next(iter(recipe.data.batches(8, start=0, steps=1)))["image"].shape == (8, 2, 3, 32, 32), "two frames"
    run(recipe, tmp_path / "run")
    assert recipe.export is not None
    recipe.export(tmp_path / "model")
    whole, own = load_model(tmp_path / "model").model, load_model(tmp_path / "own").model
    assert isinstance(whole, ImageBind)
    assert isinstance(own, ImageBind)
    assert list(whole.towers) == ["vision", "text", "audio", "depth", "thermal", "imu"]
    for modality in ("vision", "text", "depth", "imu"):
        assert equal(whole.towers[modality].state_dict(), own.towers[modality].state_dict())
    for modality in ("audio", "thermal"):
        trained = trunks_of(recipe).towers[modality]
        assert equal(whole.towers[modality].state_dict(), trained.state_dict())


def test_a_chunk_changes_memory_alone_and_each_turn_trains_one_trunk(planted: Path) -> None:
    found: list[torch.Tensor] = []
    for chunk in (0, 3):
        recipe = imagebind.imagebind(settings(planted, chunk=chunk), World())
        batch = next(iter(recipe.data.batches(8, start=1, steps=2)))
        assert set(batch) == {"image", "depth"}, "sound's turn was before"
        recipe.losses(batch, 0)["contrast"].backward()
        moved = {name for name, p in recipe.model.named_parameters() if p.grad is not None}
        assert moved
        assert all(name.startswith("trunks.towers.depth.") for name in moved)
        found.append(torch.cat([p.grad.flatten() for p in recipe.model.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[1], found[0], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("drop", [0.0, 0.1])
def test_a_killed_run_goes_on_bit_by_bit(planted: Path, tmp_path: Path, drop: float) -> None:
    """With pictures that were seen before (drop 0), and with a new crop each time."""
    common: dict[str, Any] = {"data": str(planted), "steps": 6, "batch": 4, "drop": drop}
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert go(whole, "bound", **common) == [0], said(whole)
    assert KILLED in go(folder, "bound", **common, kill=4)
    assert go(folder, "bound", **common) == [0], said(folder)
    assert losses(folder) == losses(whole)
    assert equal(weights(folder), weights(whole))


@pytest.mark.parametrize(("chunk", "drop"), [(0, 0.1), (1, 0.0)])
def test_two_processes_learn_as_one(planted: Path, tmp_path: Path, chunk: int, drop: float) -> None:
    """Each pair is contrasted with those of both processes, which share the looking, too."""
    for processes in (1, 2):
        folder, more = tmp_path / str(processes), {"chunk": chunk, "drop": drop}
        assert go(folder, "bound", processes=processes, data=str(planted), steps=4, batch=4, **more) == (
            [0] * processes
        ), said(folder)
    torch.testing.assert_close(losses(tmp_path / "2"), losses(tmp_path / "1"), rtol=1e-4, atol=1e-5)


def test_seen_pictures_give_the_vectors_of_their_own_crops(planted: Path) -> None:
    """A view that was seen before is the same crop as the depth beside it: looked at again, it has the same vector."""
    recipe = imagebind.imagebind(settings(planted, senses=("depth",), seen=3), World())
    assert isinstance(recipe.data, Turns)
    (stream,) = recipe.data.streams.values()
    towers = open_towers(str(planted / "clip"), torch.device("cpu"))
    sample = stream.sources[0][5]
    pair = stream.prepare
    for number in range(3):
        view = pair.view(sample["views"], number)  # type: ignore[attr-defined]
        again = towers.see(pair.picture(sample, view)[None], torch.device("cpu"))[0]  # type: ignore[attr-defined]
        torch.testing.assert_close(again, sample["seen"][number])
    assert len({tuple(v.tolist()) for v in sample["seen"]}) == 3, "each another crop"
    made = pair(sample, torch.Generator().manual_seed(0))
    assert any(torch.equal(made["seen"], v) for v in sample["seen"])
    assert F.cosine_similarity(sample["seen"][:1], sample["seen"][1:]).min() > 0.5


def test_a_picture_of_several_samples_is_seen_once_and_a_damaged_one_is_passed_over(
    planted: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (planted / "pairs.jsonl").read_text().splitlines()]
    for name in ("image", "audio"):
        for row in rows:
            row[name] = str(planted / row[name])
    (tmp_path / "torn.png").write_bytes(b"no picture")
    twice = [{**rows[i // 2], "audio": rows[i]["audio"]} for i in range(12)]
    twice[4] |= {"image": str(tmp_path / "torn.png")}
    (tmp_path / "twice.jsonl").write_text("\n".join(map(json.dumps, twice)))
    data = (str(tmp_path / "twice.jsonl"),)
    recipe = imagebind.imagebind(settings(planted, data=data, senses=("audio",), seen=2), World())
    assert isinstance(recipe.data, Turns)
    (stream,) = recipe.data.streams.values()
    source = stream.sources[0]
    assert len(source) == 12
    assert len(source.vectors) == 7, "six pictures and a torn one"  # type: ignore[attr-defined]
    assert torch.equal(source[0]["seen"], source[1]["seen"])
    batches = recipe.data.batches(12, start=0, steps=1)
    assert next(iter(batches))["seen"].shape == (12, 24)
    assert [Path(name.partition(":")[0]).name for name in batches.damaged] == ["twice.jsonl"]


def test_turns_follow_from_shares_and_every_sample_is_seen(planted: Path) -> None:
    seen_by: dict[str, list[int]] = {"a": [], "b": []}

    class Told:
        def __init__(self, name: str) -> None:
            self.name = name

        def take(self, position: int, damaged: dict[str, str]) -> dict[str, torch.Tensor]:
            seen_by[self.name].append(position)
            return {self.name: torch.tensor(position)}

    turns = Turns(lambda: {"a": Told("a"), "b": Told("b")}, [3.0, 1.0], 4, 16)  # type: ignore[dict-item]
    kinds = [next(iter(batch)) for batch in turns.batches(4, start=0, steps=16)]
    assert kinds.count("a") == 12
    assert "bb" not in "".join(kinds), "evenly spread"
    assert seen_by["a"] == list(range(48))
    assert seen_by["b"] == list(range(16))
    late = list(turns.batches(4, start=13, steps=16))
    assert [next(iter(batch)) for batch in late] == kinds[13:]


def test_what_is_held_out_is_whole_films(planted: Path, tmp_path: Path) -> None:
    rows = [{"video": f"{i // 5}.mp4", "motion": "m.csv", "begin": i, "end": i + 5} for i in range(200)]
    (tmp_path / "films.jsonl").write_text("\n".join(map(json.dumps, rows)))
    kept, held = divided(open_source(tmp_path / "films.jsonl"), 0.25)
    films = [{str(part[i]["video"]) for i in range(len(part))} for part in (kept, held)]
    assert not films[0] & films[1]
    assert len(kept) + len(held) == 200
    assert 20 < len(held) < 90
    (tmp_path / "moved").mkdir()
    (tmp_path / "films.jsonl").rename(tmp_path / "moved/films.jsonl")
    assert divided(open_source(tmp_path / "moved/films.jsonl"), 0.25)[1].rows == held.rows


def test_settings_that_cannot_work_are_refused(planted: Path, tmp_path: Path) -> None:
    (tmp_path / "words.jsonl").write_text('{"image": "a.png", "text": "words"}\n')
    for changes, said_of in (
        ({"data": ()}, "data: name a set"),
        ({"data": (str(tmp_path / "words.jsonl"),)}, "no pairs of image and audio, depth, thermal, motion"),
        ({"senses": ("smell",)}, "no pairs of image and smell"),
        ({"width": 100}, "width=100: heads are 64 wide"),
        ({"size": 40}, "size=40: patches are 16 wide"),
        ({"preset": "clip"}, "preset=clip: no such size"),
        ({"weights": (1.0, 2.0)}, "weights: 2 for 1 sets"),
        ({"start": str(planted / "clip"), "towers": "pocket"}, "no binding, nor a run"),
        ({"start": str(planted / "clip")}, "start brings its own towers"),
    ):
        with pytest.raises(SensoriumError, match=said_of):
            imagebind.imagebind(settings(planted, **changes), World())


def test_towers_that_changed_since_are_noticed(planted: Path) -> None:
    recipe = imagebind.imagebind(settings(planted, senses=("audio",)), World())
    recipe.model.get_buffer("towers").zero_()
    with pytest.raises(SensoriumError, match="is not what this run began with"):
        recipe.losses(next(iter(recipe.data.batches(4, start=0, steps=1))), 0)
