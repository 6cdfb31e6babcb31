"""The recipes of CLIP and ViT learn, and what they write is what `sensorium.load` reads."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

import sensorium
from sensorium.checkpoints.load import Loaded, save_model
from sensorium.data import emoji
from sensorium.data.errors import SensoriumError
from sensorium.data.tokenizer import ClipTokenizer
from sensorium.models.clip import CLIP
from sensorium.models.vit import ViT
from sensorium.tasks.embedding import Embedder
from sensorium.training.loop import train
from sensorium.training.recipe import Engine, Recipe
from sensorium.training.recipes import clip, pairs, vit
from sensorium.training.run_folder import RunFolder, read_metrics
from sensorium.training.world import World
from tests import tiny_emoji

SMALL = clip.Settings(
    tower="vit",
    patch=16,
    zoom=1.0,
    width=64,
    depth=1,
    text_width=64,
    text_depth=1,
    words=1024,
    embed=32,
    batch=32,
    epochs=12,
    learning_rate=2e-3,
    evaluations=1,
)


@pytest.fixture(autouse=True)
def drawings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> emoji.Emoji:
    small = tiny_emoji.make(tmp_path / "emoji")
    monkeypatch.setattr(emoji, "emoji", lambda size=64: small)
    return small


def run(recipe: Recipe, folder: Path) -> list[dict[str, float]]:
    place = RunFolder(folder)
    place.create({"recipe": "test", "settings": {}, "engine": {}})
    train(recipe, Engine(), place, World())
    return read_metrics(place)


@pytest.mark.parametrize("tower", ["vit", "resnet"])
def test_clip_learns_names_and_its_folder_is_a_model(
    tower: Literal["vit", "resnet"], tmp_path: Path, drawings: emoji.Emoji
) -> None:
    epochs = 12 if tower == "vit" else 40  # batch norms take a while to know the mean
    recipe = clip.clip(replace(SMALL, tower=tower, channels=8, epochs=epochs), World())
    last = run(recipe, tmp_path / "run")[-1]
    assert last["evaluate/unseen_artist"] > 0.6, "of 16, in the style of an artist it never saw"
    assert last["evaluate/unseen_concepts_among_all"] <= last["evaluate/unseen_concepts"]
    assert recipe.export is not None
    recipe.export(tmp_path / "model")
    model = sensorium.load(tmp_path / "model")
    assert isinstance(model, Embedder)
    assert model.preprocess.size == 64
    noto = drawings.only(artists=["noto"])
    pictures = [np.array(noto[i]["image"]) for i in range(len(noto))]
    names = [concept.text[0] for concept in noto.concepts]
    z = model.embed(images=pictures, text=names)
    seen = [row for row in range(16) if row not in emoji.held_out(noto.concepts)]
    right = (z["images"] @ z["text"].T).argmax(1) == torch.arange(16)
    assert right[seen].float().mean() == pytest.approx(last["evaluate/unseen_artist"])


@pytest.mark.parametrize("objective", ["sigmoid", "words"])
def test_other_objectives_learn_too(objective: clip.Objective, tmp_path: Path) -> None:
    records = run(clip.clip(replace(SMALL, objective=objective, epochs=6), World()), tmp_path / "run")
    assert records[-1]["loss"] < 0.9 * records[0]["loss"]


def test_a_chunk_changes_memory_and_nothing_else() -> None:
    gradients: list[torch.Tensor] = []
    for chunk in (0, 8):
        recipe = clip.clip(replace(SMALL, chunk=chunk), World())
        batch = next(iter(recipe.data.batches(32, start=0, steps=1)))
        recipe.losses(batch, 0)["contrast"].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in recipe.model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-6, rtol=1e-4)


def test_captions_are_the_name_or_tags_and_vary() -> None:
    prepare = pairs.Prepare(tokenizer=ClipTokenizer.first(600), context=8, crop=clip.SquareCrop(8), tags=True)
    sample = {"text": ("red heart", "love", "emotion")}
    said = {prepare.caption(sample, torch.Generator().manual_seed(i)) for i in range(60)}
    assert {"red heart", "red heart, love", "red heart, emotion, love"} <= said
    assert any("red heart" not in text for text in said)
    assert prepare.caption({"text": ("alone",)}, torch.Generator().manual_seed(0)) == "alone"


def test_the_scale_never_passes_a_hundred() -> None:
    recipe = clip.clip(SMALL, World())
    model = recipe.model.get_submodule("clip")
    assert isinstance(model, CLIP)
    with torch.no_grad():
        model.log_scale.fill_(7)
        recipe.after_step(0)
    assert model.log_scale.exp().item() == pytest.approx(100)


def test_vit_learns_and_is_tuned_at_a_higher_resolution(tmp_path: Path) -> None:
    s = vit.Settings(
        width=64, depth=1, patch=16, batch=32, epochs=12, learning_rate=2e-3, evaluations=1, flip=False, crop=0.9
    )
    recipe = vit.vit(s, World())
    assert run(recipe, tmp_path / "first")[-1]["evaluate/accuracy"] > 0.8, "of four patterns"
    assert recipe.export is not None
    recipe.export(tmp_path / "model")
    assert isinstance(sensorium.load(tmp_path / "model"), Embedder | Loaded)
    tuned = vit.vit(replace(s, start=str(tmp_path / "model"), image=96, epochs=1, learning_rate=0.01), World())
    assert isinstance(tuned.model, ViT)
    assert tuned.model.positions.shape == (1 + 36, 64)
    assert not tuned.model.get_parameter("head.weight").any()
    assert type(tuned.optimiser(tuned.model)) is torch.optim.SGD
    batch = next(iter(tuned.data.batches(32, start=0, steps=1)))
    assert batch["image"].shape == (32, 3, 96, 96)
    assert tuned.losses(batch, 0)["cross_entropy"].item() == pytest.approx(np.log(4), rel=1e-4)


@pytest.mark.parametrize("registers", [1, 16])
def test_a_vit_with_registers_is_trained_loaded_and_tuned(registers: int, tmp_path: Path) -> None:
    s = vit.Settings(width=64, depth=1, patch=16, batch=16, epochs=1, registers=registers, evaluations=1)
    recipe = vit.vit(s, World())
    assert isinstance(recipe.model, ViT)
    assert len(recipe.model.registers.unique(dim=0)) == registers, "they begin apart: alike they would stay"
    begun = recipe.model.registers.detach().clone()
    run(recipe, tmp_path / "first")
    assert (recipe.model.registers - begun).abs().amax(1).min() > 0, "all of them learn"
    assert recipe.export is not None
    recipe.export(tmp_path / "model")
    model = loaded(tmp_path / "model")
    image = torch.randn(2, 3, 64, 48)
    assert isinstance(model, ViT)
    with torch.inference_mode():
        assert model.tokens(image).shape == (2, 1 + registers + 12, 64)
        torch.testing.assert_close(model(image), recipe.model.eval()(image))
    tuned = vit.vit(replace(s, registers=0, start=str(tmp_path / "model"), image=96), World())
    assert isinstance(tuned.model, ViT)
    assert torch.equal(tuned.model.registers, model.registers)
    assert tuned.export is not None
    tuned.export(tmp_path / "tuned")
    assert len(loaded(tmp_path / "tuned").registers) == registers


def test_clip_with_registers_is_saved_where_they_have_a_place(tmp_path: Path, drawings: emoji.Emoji) -> None:
    recipe = clip.clip(replace(SMALL, registers=3, epochs=1), World())
    run(recipe, tmp_path / "run")
    assert recipe.export is not None
    recipe.export(tmp_path / "model")
    model, own = loaded(tmp_path / "model"), recipe.model.get_submodule("clip")
    assert isinstance(own, CLIP)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert model.vision.tokens(image).shape == (1, 1 + 3 + 16, 64)
        torch.testing.assert_close(model.vision(image), own.eval().vision(image))
    with pytest.raises(SensoriumError, match=r"no place for: vision\.registers"):
        save_model(own, tmp_path / "other", naming="transformers")


def loaded(folder: Path) -> Any:
    """What `sensorium.load` found in a folder, as a module."""
    found = sensorium.load(folder)
    return found.model


def test_mixup_and_cutout_are_there_when_asked_for() -> None:
    recipe = vit.vit(vit.Settings(width=64, depth=1, batch=8, mixup=0.2, cutout=0.5, dropout=0.1), World())
    batch = next(iter(recipe.data.batches(8, start=0, steps=1)))
    torch.manual_seed(0)
    one = recipe.losses(batch, 0)["cross_entropy"]
    assert not torch.equal(one, recipe.losses(batch, 0)["cross_entropy"]), "dropout, mixup and cutout are drawn anew"
    one.backward()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (replace(SMALL, preset="clip-vit-b-31"), "no such size"),
        (replace(SMALL, preset="clip-vit-b-32", start="x"), "leave preset out"),
        (replace(SMALL, words=100), "514 to"),
        (replace(SMALL, tower="resnet", chunk=8), "batch norm"),
        (replace(SMALL, tower="resnet", registers=4), "tokens of a ViT"),
        (replace(SMALL, registers=4, start="x"), "leave registers out"),
        (replace(SMALL, registers=-1), "0 or more"),
    ],
)
def test_settings_that_make_no_sense(wrong: clip.Settings, says: str) -> None:
    with pytest.raises(SensoriumError, match=says):
        clip.clip(wrong, World())


TWO = """
from pathlib import Path
from sensorium.data import emoji
from sensorium.training.recipe import Recipe
from sensorium.training.recipes.clip import Settings, clip
from sensorium.training.world import World
from tests import tiny_emoji

def pairs(settings: Settings, world: World) -> Recipe:
    small = tiny_emoji.make(Path(f"emoji-{world.rank}"))
    emoji.emoji = lambda size=64: small
    return clip(settings, world)
"""


def test_two_processes_train_a_resnet_and_leave_one_model(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO)
    settings = ["tower=resnet", "channels=8", "text_width=64", "text_depth=1", "words=1024", "batch=32", "epochs=1"]
    words = ["train", "two:pairs", "--into", "run", "--set", *settings]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "-m", "sensorium", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "the model is in run/model" in done.stdout
    model = sensorium.load(tmp_path / "run" / "model")
    assert isinstance(model, Embedder)
    assert model.embed(text=["red rows"])["text"].shape == (1, 256)
