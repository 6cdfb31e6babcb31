"""Words for a trunk that stays as it is: what learns and what does not, what is written, kills, two processes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sensorium
from sensorium.checkpoints.load import save_model
from sensorium.data import emoji
from sensorium.data.errors import SensoriumError
from sensorium.models.dinotxt import DINOtxt
from sensorium.tasks.embedding import Embedder
from sensorium.training.loop import train
from sensorium.training.recipe import Engine, Recipe
from sensorium.training.recipes import dino_txt, dinov3, dinov3_distill
from sensorium.training.recipes import dinov3_parts as parts
from sensorium.training.run_folder import RunFolder, read_metrics
from sensorium.training.saving import found, read_weights
from sensorium.training.settings import to_json
from sensorium.training.world import World
from tests import tiny_emoji
from tests.training.lines import SMALL, WORDS
from tests.training.processes import go
from tests.training.test_resume import KILLED, equal, losses, said, weights

COLOURS = ("red", "green", "blue", "white")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures of coloured noise with captions, and a run of self-supervision on them in `run`."""
    folder = tmp_path_factory.mktemp("pictures")
    dice = np.random.default_rng(0)
    for i in range(20):
        small = Image.fromarray(dice.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        small.resize((48, 40), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"{COLOURS[i % 4]} noise, number {i}")
    s = parts.Settings(**{**SMALL, "data": str(folder), "batch": 4, "epochs": 1.5})
    run(dinov3.dinov3(s, World()), folder / "run", settings=s)
    return folder


def run(recipe: Recipe, folder: Path, engine: Engine | None = None, settings: object = None) -> list[dict[str, float]]:
    place = RunFolder(folder)
    place.create({"recipe": "test", "settings": to_json(settings), "engine": {}})
    train(recipe, engine or Engine(), place, World())
    return read_metrics(place)


def settings(pictures: Path, **others: Any) -> dino_txt.Settings:
    given = {**WORDS, "data": str(pictures), "trunk": str(pictures / "run"), "batch": 4, "epochs": 2.0, **others}
    return dino_txt.Settings(**given)


def test_it_learns_words_for_what_the_trunk_sees_and_its_folder_is_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tiny_emoji.make(tmp_path / "emoji")
    monkeypatch.setattr(emoji, "emoji", lambda size=64: small)
    seeing = parts.Settings(**{**SMALL, "batch": 16, "epochs": 4.0, "evaluations": 1, "flip": False})
    run(dinov3.dinov3(seeing, World()), tmp_path / "ssl", Engine(precision="bf16"), seeing)
    s = dino_txt.Settings(
        **{**WORDS, "trunk": str(tmp_path / "ssl"), "batch": 32, "epochs": 20.0, "zoom": 1.0, "evaluations": 1}
    )
    recipe = dino_txt.dino_txt(s, World())
    last = run(recipe, tmp_path / "run")[-1]
    assert last["evaluate/unseen_artist"] > 0.6, "of 16, in the style of an artist it never saw"
    model, taught = recipe.model, read_weights(found(RunFolder(tmp_path / "ssl"))[-1])
    assert isinstance(model, DINOtxt)
    for name, value in model.vision.trunk.state_dict().items():
        assert torch.equal(value, taught[f"teacher.trunk.{name}"]), f"{name} was frozen"
    assert not model.vision.trunk.training

    assert recipe.export is not None
    recipe.export(tmp_path / "model")
    loaded = sensorium.load(tmp_path / "model")
    assert isinstance(loaded, Embedder)
    assert loaded.preprocess == replace(loaded.preprocess, size=32, resize_to=None, resize="short"), "as it was trained"
    assert isinstance(loaded.model, DINOtxt)
    assert equal(loaded.model.state_dict(), model.state_dict())
    noto = small.only(artists=["noto"])
    rows = [noto[i] for i in range(len(noto))]
    z = loaded.embed(images=[np.array(row["image"]) for row in rows], text=[row["text"][0] for row in rows])
    seen = [i for i in range(16) if i not in emoji.held_out(noto.concepts)]
    right = (z["images"] @ z["text"].T).argmax(1) == torch.arange(16)
    assert right[seen].float().mean() == pytest.approx(last["evaluate/unseen_artist"], abs=0.1)


def test_a_trunk_may_be_a_model_and_pairs_find_one_another(pictures: Path, tmp_path: Path) -> None:
    teacher, steps = parts.taught(str(pictures / "run"))
    assert steps.size == 32
    parts.export(teacher, tmp_path / "trunk", steps)
    s = settings(pictures, trunk=str(tmp_path / "trunk"), validation=str(pictures), evaluations=1, image=48)
    recipe = dino_txt.dino_txt(s, World())
    assert next(iter(recipe.data.batches(4, start=0, steps=1)))["image"].shape == (4, 3, 48, 48)
    last = run(recipe, tmp_path / "run")[-1]
    assert 0 <= last["evaluate/text_to_image_r1"] <= 1
    save_model(teacher, tmp_path / "transformers", naming="transformers", steps=steps)
    assert build(pictures, trunk=str(tmp_path / "transformers")).config.trunk.width == 64, "its config.json is no run's"
    own = settings(pictures, trunk=str(tmp_path / "trunk"))
    same = zip(dino_txt.dino_txt(own, World()).model.parameters(), build(pictures).parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same), "the run's teacher is what it wrote"


def build(pictures: Path, **others: Any) -> DINOtxt:
    return dino_txt.build(settings(pictures, **others))[0]


def test_only_what_is_new_learns_and_a_chunk_changes_memory_alone(pictures: Path) -> None:
    gradients: list[torch.Tensor] = []
    for chunk in (0, 3):
        recipe = dino_txt.dino_txt(settings(pictures, chunk=chunk), World())
        recipe.losses(next(iter(recipe.data.batches(8, start=0, steps=1))), 0)["contrast"].backward()
        moved = {name for name, p in recipe.model.named_parameters() if p.grad is not None}
        assert not any(name.startswith("vision.trunk") for name in moved)
        assert {name for name, _ in recipe.model.named_parameters() if "trunk" not in name} == moved
        gradients.append(torch.cat([p.grad.flatten() for p in recipe.model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-6, rtol=1e-4)


def test_a_killed_run_goes_on_bit_by_bit(pictures: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {"data": str(pictures), "steps": 6, "batch": 4}
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert go(whole, "worded", **common) == [0], said(whole)
    assert KILLED in go(folder, "worded", **common, kill=4)
    assert go(folder, "worded", **common) == [0], said(folder)
    assert losses(folder) == losses(whole)
    assert equal(weights(folder), weights(whole))
    begun, state = build(pictures).state_dict(), weights(folder)
    still = {name for name in state if torch.equal(state[name], begun[name])}
    assert {name for name in state if name.startswith("vision.trunk")} <= still
    assert not still & {"text.words.weight", "vision.norm.weight", "log_scale"}


@pytest.mark.parametrize("chunk", [0, 1])
def test_two_processes_learn_as_one(pictures: Path, tmp_path: Path, chunk: int) -> None:
    """Each pair is contrasted with those of both processes."""
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        codes = go(folder, "worded", processes=processes, data=str(pictures), steps=4, batch=4, chunk=chunk)
        assert codes == [0] * processes, said(folder)
    torch.testing.assert_close(losses(tmp_path / "2"), losses(tmp_path / "1"), rtol=1e-4, atol=1e-5)


def test_settings_that_cannot_work_are_refused(pictures: Path, tmp_path: Path) -> None:
    worded = dino_txt.dino_txt(settings(pictures, epochs=0.2), World())
    run(worded, tmp_path / "worded")
    assert worded.export is not None
    worded.export(tmp_path / "model")
    pupil = dinov3_distill.Settings(
        **{**SMALL, "data": str(pictures), "batch": 4, "epochs": 0.6, "teacher": str(pictures / "run")}
    )
    run(dinov3_distill.dinov3_distill(pupil, World()), tmp_path / "small", settings=pupil)
    for changes, said_of in (
        ({"trunk": ""}, "trunk: name what sees"),
        ({"trunk": str(tmp_path / "worded")}, "is no run of self-supervision"),
        ({"trunk": str(tmp_path / "small")}, "is no run of self-supervision"),
        ({"trunk": str(tmp_path / "model")}, "is dinotxt under the names of official, no DINOv3 ViT"),
        ({"image": 30}, "image=30: take a multiple of the trunk's patch, which is 8"),
        ({"blocks": 0}, "blocks=0"),
        ({"text_width": 100}, "text_width=100: heads are 64 wide"),
        ({"words": 100}, "514 to"),
    ):
        with pytest.raises(SensoriumError, match=said_of):
            dino_txt.dino_txt(settings(pictures, **changes), World())
