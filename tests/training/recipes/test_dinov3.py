"""Self-distillation and Gram anchoring as users run them: what is learned, hidden, frozen, followed; kills and resumes;
one process and two."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import sensorium
from sensorium.data import emoji
from sensorium.data.errors import SensoriumError
from sensorium.models.dinov3 import DINOv3
from sensorium.tasks.embedding import Embedder
from sensorium.training.loop import train
from sensorium.training.recipe import Engine, Recipe
from sensorium.training.recipes import dinov3, dinov3_distill, dinov3_gram, dinov3_highres
from sensorium.training.recipes import dinov3_parts as parts
from sensorium.training.recipes.dinov3_crops import Crops
from sensorium.training.run_folder import RunFolder, read_metrics
from sensorium.training.saving import found, read_weights
from sensorium.training.settings import to_json
from sensorium.training.world import World
from tests import tiny_emoji
from tests.training.lines import SMALL
from tests.training.processes import go
from tests.training.test_resume import KILLED, equal, losses, said, weights


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures of coloured noise, and a run of six steps on them in `run`."""
    folder = tmp_path_factory.mktemp("pictures")
    dice = np.random.default_rng(0)
    for i in range(20):
        small = Image.fromarray(dice.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        small.resize((48, 40), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    s = settings(folder, epochs=1.5)
    run(dinov3.dinov3(s, World()), folder / "run", Engine(save_every=3), s)
    return folder


def settings(pictures: Path, **others: Any) -> parts.Settings:
    return parts.Settings(**{**SMALL, "data": str(pictures), "batch": 4, "epochs": 2.0, **others})


def run(recipe: Recipe, folder: Path, engine: Engine | None = None, settings: object = None) -> list[dict[str, float]]:
    place = RunFolder(folder)
    place.create({"recipe": "test", "settings": to_json(settings), "engine": {}})
    train(recipe, engine or Engine(), place, World())
    return read_metrics(place)


def copied(recipe: Recipe) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in recipe.model.state_dict().items()}


def test_it_learns_without_collapse_and_its_folder_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tiny_emoji.make(tmp_path / "emoji")
    monkeypatch.setattr(emoji, "emoji", lambda size=64: small)
    s = parts.Settings(
        **{
            **SMALL,
            "data": "emoji",
            "batch": 16,
            "epochs": 20.0,
            "evaluations": 1,
            "learning_rate": 2e-3,
            "flip": False,
        }
    )
    recipe = dinov3.dinov3(s, World())
    records = run(recipe, tmp_path / "run", Engine(precision="bf16"))
    assert records[-1]["evaluate/knn"] > 0.45, "of four patterns, by an artist it never saw"
    assert records[-1]["loss"] < 0.95 * records[0]["loss"]
    assert records[-1]["prototypes"] > 5, "no collapse"
    assert recipe.export is not None
    recipe.export(tmp_path / "model")
    model = sensorium.load(tmp_path / "model")
    assert isinstance(model, Embedder)
    assert model.preprocess.size == 32, "as large as it was trained"
    assert isinstance(model.model, DINOv3)
    assert torch.equal(model.model.cls, recipe.model.get_parameter("teacher.trunk.cls"))


@pytest.mark.parametrize("registers", [0, 16])
def test_as_many_registers_as_were_asked_for(registers: int, pictures: Path, tmp_path: Path) -> None:
    s = settings(pictures, registers=registers, epochs=0.4)
    recipe = dinov3.dinov3(s, World())
    run(recipe, tmp_path / "run")
    assert recipe.export is not None
    recipe.export(tmp_path / "model")
    model = sensorium.load(tmp_path / "model").model
    assert isinstance(model, DINOv3)
    assert model.registers.shape == (registers, model.dim)
    image = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        wanted = recipe.model.get_submodule("teacher.trunk")(image)
        torch.testing.assert_close(model(image), wanted)


def test_a_teacher_follows_and_prototypes_are_thawed_late(pictures: Path) -> None:
    s = settings(pictures, frozen=0.5, momentum=(0.9, 0.9), warmup=0.0)
    recipe = dinov3.dinov3(s, World())
    begun = copied(recipe)
    seen: list[dict[str, Tensor]] = []

    def after(step: int) -> None:
        recipe.after_step(step)
        seen.append(copied(recipe))

    run(replace(recipe, after_step=after), pictures / "thawed")
    moved = [
        not torch.equal(x["student.dino.prototypes.weight"], begun["student.dino.prototypes.weight"]) for x in seen
    ]
    assert moved == [False] * 5 + [True] * 5
    for before, now in zip([begun, *seen], seen, strict=False):
        for name in ("trunk.blocks.0.mlp.up.weight", "ibot.mlp.0.weight"):
            expected = 0.9 * before[f"teacher.{name}"] + 0.1 * now[f"student.{name}"]
            torch.testing.assert_close(now[f"teacher.{name}"], expected)
    assert not any(p.requires_grad for n, p in recipe.model.named_parameters() if n.startswith("teacher"))


def test_as_many_patches_are_hidden_in_every_batch_however_it_is_shared(pictures: Path) -> None:
    crops = Crops(settings(pictures), 8)
    counts = [batch["mask"].flatten(1).sum(1) for batch in crops.batches(8, start=0, steps=5)]
    assert len({int(count.sum()) for count in counts}) == 1, "exact counts, section 3.2"
    assert sum((count == 0).sum() for count in counts) > 0, "half of the crops are whole"
    parts = [list(crops.batches(8, start=3, steps=5, rank=rank, world=2)) for rank in range(2)]
    for whole, *shared in zip(crops.batches(8, start=3, steps=5), *parts, strict=True):
        for name in whole:
            assert torch.equal(whole[name], torch.cat([part[name] for part in shared]))


@pytest.mark.parametrize("line", ["dino", "anchored"])
def test_a_killed_run_goes_on_bit_by_bit(line: str, pictures: Path, tmp_path: Path) -> None:
    """Student, teacher, Gram teacher, heads, centres, schedules and data."""
    common: dict[str, Any] = {"data": str(pictures), "steps": 6, "batch": 4, "optimiser": "sgd"}
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert go(whole, line, **common) == [0], said(whole)
    assert KILLED in go(folder, line, **common, kill=4)
    assert go(folder, line, **common) == [0], said(folder)
    assert losses(folder) == losses(whole)
    assert equal(weights(folder), weights(whole))
    assert {name.split(".")[0] for name in weights(folder)} >= {"student", "teacher", "centre", "patch_centre"}


@pytest.mark.parametrize("line", ["dino", "anchored", "distilled"])
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"], ids=["sinkhorn", "softmax"])
def test_two_processes_learn_as_one(line: str, optimiser: str, pictures: Path, tmp_path: Path) -> None:
    """Sinkhorn's sums and the centres are of both processes; KoLeo's groups of two stay within one."""
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        codes = go(folder, line, processes=processes, data=str(pictures), steps=4, batch=4, optimiser=optimiser)
        assert codes == [0] * processes, said(folder)
    torch.testing.assert_close(losses(tmp_path / "2"), losses(tmp_path / "1"), rtol=1e-4, atol=1e-5)


def test_a_run_brings_its_own_sizes(pictures: Path) -> None:
    recipe = dinov3.dinov3(settings(pictures, start=str(pictures / "run"), width=128, prototypes=(7, 7)), World())
    state = read_weights(found(RunFolder(pictures / "run"))[-1])
    assert all(torch.equal(state[name], value) for name, value in recipe.model.state_dict().items())


def test_crops_of_several_sizes_change_from_step_to_step(pictures: Path) -> None:
    s = dinov3_highres.Settings(
        **{
            **SMALL,
            "data": str(pictures),
            "batch": 4,
            "start": str(pictures / "run"),
            "large": (32, 48),
            "small": (16, 24),
        }
    )
    recipe = dinov3_highres.dinov3_highres(s, World())
    seen: set[tuple[int, int, int, int]] = set()
    for step, batch in enumerate(recipe.data.batches(4, start=0, steps=12)):
        sides = [batch[name].shape[-1] for name in ("global", "local", "plain")]
        seen.add((*sides, batch["mask"].shape[-1]))
        if step < 2:
            assert all(value.isfinite() for value in recipe.losses(batch, step).values())
    assert seen == {(32, 16, 32, 16), (48, 24, 48, 36)}
    again = next(iter(recipe.data.batches(4, start=5, steps=6)))
    there = list(recipe.data.batches(4, start=0, steps=6))[5]
    assert all(torch.equal(again[name], there[name]) for name in there)


def test_students_of_several_sizes_learn_from_one_teacher(pictures: Path, tmp_path: Path) -> None:
    s = dinov3_distill.Settings(
        **{**SMALL, "data": str(pictures), "batch": 4, "epochs": 4.0, "teacher": str(pictures / "run")},
        students=("64x1", "128x2"),
    )
    recipe = dinov3_distill.dinov3_distill(s, World())
    model = recipe.model
    assert isinstance(model, dinov3_distill.Class)
    begun, asked = copied(recipe), 0

    def count(*_: object) -> None:
        nonlocal asked
        asked += 1

    model.teacher.trunk.register_forward_hook(count)
    records = run(recipe, tmp_path / "run")
    assert asked == len(records), "once a step, for both"
    for name in s.students:
        assert records[-1][f"loss/{name}/ibot"] < records[0][f"loss/{name}/ibot"]
    now = recipe.model.state_dict()
    assert all(torch.equal(now[name], value) for name, value in begun.items() if name.startswith("teacher"))
    assert recipe.export is not None
    recipe.export(tmp_path / "model")
    widths = {}
    for name in s.students:
        loaded = sensorium.load(tmp_path / "model" / name)
        assert isinstance(loaded, Embedder)
        assert isinstance(loaded.model, DINOv3)
        widths[name] = (loaded.model.config.width, loaded.model.config.depth)
    assert widths == {"64x1": (64, 1), "128x2": (128, 2)}
    for changes, said_of in (
        ({"teacher": str(tmp_path / "model")}, "teacher: name a run of dinov3"),
        ({"students": ("65x2",)}, "'65x2' is no preset and no WIDTHxDEPTH"),
        ({"students": ("dinov3-vit-s-16",)}, "has patches of 16 pixels, its teacher of 8"),
        ({"students": ("64x1", "64x1")}, "each once"),
    ):
        with pytest.raises(SensoriumError, match=said_of):
            dinov3_distill.dinov3_distill(replace(s, **changes), World())


def refined(pictures: Path, **others: Any) -> dinov3_gram.Settings:
    start = str(pictures / "run")
    return dinov3_gram.Settings(**{**SMALL, "data": str(pictures), "batch": 4, "epochs": 2.0, "start": start, **others})


def test_a_refinement_begins_where_the_run_ended_and_its_anchor_is_replaced(pictures: Path, tmp_path: Path) -> None:
    checkpoints = found(RunFolder(pictures / "run"))
    s = refined(pictures, early=str(checkpoints[0]), replace_first=0.5, replace_every=0.2, replacements=2)
    recipe = dinov3_gram.dinov3_gram(s, World())
    first, last = (read_weights(path) for path in (checkpoints[0], checkpoints[-1]))
    begun, name = copied(recipe), "blocks.1.mlp.up.weight"
    assert torch.equal(begun[f"student.trunk.{name}"], last[f"student.trunk.{name}"])
    assert torch.equal(begun[f"teacher.trunk.{name}"], last[f"teacher.trunk.{name}"])
    assert torch.equal(begun[f"anchor.{name}"], first[f"teacher.trunk.{name}"])
    anchors: list[Tensor] = []
    teachers: list[Tensor] = []

    def after(step: int) -> None:
        recipe.after_step(step)
        anchors.append(copied(recipe)[f"anchor.{name}"])
        teachers.append(copied(recipe)[f"teacher.trunk.{name}"])

    records = run(replace(recipe, after_step=after), tmp_path / "run")
    changed = [i for i in range(10) if not torch.equal(anchors[i], ([begun[f"anchor.{name}"], *anchors])[i])]
    assert changed == [5, 7], "after steps that are multiples of two, from the fifth on, twice"
    assert all(torch.equal(anchors[i], teachers[i]) for i in changed)
    assert records[0]["loss/gram"] == 0 < records[-1]["loss/gram"]


def test_an_anchor_that_is_the_student_asks_for_nothing(pictures: Path) -> None:
    """The same pixels, weights and size: then the term is as good as zero, and grows with the distance."""
    s = refined(pictures, finer=1.0)
    recipe = dinov3_gram.dinov3_gram(s, World())
    model = recipe.model
    assert isinstance(model, parts.Distilled)
    assert model.anchor is not None
    model.anchor.load_state_dict(model.student.trunk.state_dict())
    batch = dict(next(iter(recipe.data.batches(4, start=0, steps=1))))
    batch |= {"global": batch["plain"], "mask": torch.zeros_like(batch["mask"])}
    with torch.no_grad():
        same = recipe.losses(batch, 9)["gram"]
        model.anchor.blocks[0].mlp.up.weight.mul_(-1)
        other = recipe.losses(batch, 9)["gram"]
    assert same < 1e-9 < other


def test_settings_that_cannot_work_are_refused(pictures: Path, tmp_path: Path) -> None:
    for changes, said_of in (
        ({"size": 30}, "crops of 30 pixels: take a multiple of the patch, which is 8"),
        ({"measured": 60, "validation": str(pictures)}, "measured=60: take a multiple of the patch"),
        ({"preset": "dinov3-vit-x"}, "no such size; there are dinov3-vit-s-16"),
        ({"start": str(pictures / "run"), "preset": "dinov3-vit-s-16"}, "leave preset out"),
    ):
        with pytest.raises(SensoriumError, match=said_of):
            dinov3.dinov3(settings(pictures, **changes), World())
    with pytest.raises(SensoriumError, match="koleo_group=3 does not divide the 4 pictures"):
        run(dinov3.dinov3(settings(pictures, koleo_group=3), World()), tmp_path / "odd")
    with pytest.raises(SensoriumError, match="start: name the run"):
        dinov3_gram.dinov3_gram(refined(pictures, start=""), World())
    shallow = dinov3.dinov3(settings(pictures, depth=1), World())
    assert shallow.export is not None
    shallow.export(tmp_path / "model")
    with pytest.raises(SensoriumError, match=r"is of another model: blocks\.1"):
        dinov3_gram.dinov3_gram(refined(pictures, early=str(tmp_path / "model")), World())
