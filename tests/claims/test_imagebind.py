"""ImageBind's claim: what is measured, on vectors that are known; and a quick run from nothing to its table."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from sensorium.app.cli import main
from sensorium.claims import imagebind, imagebind_pairs
from sensorium.claims.imagebind_exam import Exam, arithmetic, by_class
from sensorium.claims.imagebind_pairs import Pairs, Prepare, Ready, pairs_of
from sensorium.data.sources.clips import Clips
from sensorium.data.standins import exercises
from sensorium.data.standins.stamp_sounds import stamp_sounds
from sensorium.data.stream import Source
from sensorium.training.recipes import pairs
from tests import tiny_paired


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Clips]:
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    stamps = tiny_paired.stamps(tmp_path / "stamps", 24)
    scenes, sounds = tiny_paired.scenes(tmp_path), stamp_sounds(stamps)
    motion = exercises.opened(exercises.drawn(goal=tmp_path / "made", recordings=tiny_paired.recordings(33)))
    made = {"audio": sounds, "depth": scenes, "thermal": scenes, "motion": motion}
    monkeypatch.setattr(imagebind_pairs, "SETS", {sense: lambda each=each: each for sense, each in made.items()})

    def captioned() -> Sequence[Source]:
        return [scenes.only(split="train"), motion.only(split="train"), stamps, scenes.only(split="train")]

    monkeypatch.setattr(imagebind, "captioned", captioned)
    monkeypatch.setattr(pairs, "open_source", lambda _: scenes)
    return made


def test_a_set_is_read_from_its_files_once(sets: dict[str, Clips], monkeypatch: pytest.MonkeyPatch) -> None:
    first = {sense: pairs_of(sense) for sense in ("audio", "depth", "thermal", "motion")}
    shapes = {sense: tuple(each.inputs.shape[1:]) for sense, each in first.items()}
    assert shapes == {"audio": (1, 128, 204), "depth": (1, 64, 64), "thermal": (1, 64, 64), "motion": (6, 2000)}
    assert first["motion"].inputs.float().std((0, 2)).tolist() == pytest.approx([1] * 6, abs=0.01)
    monkeypatch.setattr(imagebind_pairs, "_inputs", lambda *_: pytest.fail("read again"))
    for sense, each in first.items():
        assert torch.equal(pairs_of(sense).inputs, each.inputs)
    scenes = first["depth"]
    assert {len(scenes.samples[i]["labels"]) for i in scenes.rows("train")} == {1}
    assert len(scenes.rows("pairs", things=2)) == tiny_paired.COUNTS["pairs"]


def test_heat_is_mirrored_with_its_picture(sets: dict[str, Clips]) -> None:
    heat = pairs_of("thermal")
    plain = replace(imagebind.SMALL, erased=0.0)
    ready = Ready(heat, [0], torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
    turned = set[bool]()
    for seed in range(12):
        made = Prepare("thermal", plain)(ready[0], torch.Generator().manual_seed(seed))
        mirrored = bool(made["seen"][1])
        turned.add(mirrored)
        x = heat.inputs[0].float()
        rolls = [
            x.flip(-1).roll((i, j), (-2, -1)) if mirrored else x.roll((i, j), (-2, -1))
            for i in range(-5, 6)
            for j in range(-5, 6)
        ]
        assert any(torch.equal(made["thermal"], each) for each in rolls)
    assert turned == {True, False}


def test_what_an_exam_counts(sets: dict[str, Clips]) -> None:
    sounds = Pairs("audio", sets["audio"], torch.zeros(len(sets["audio"]), 1))
    names = torch.eye(24)
    exam = Exam(sounds, names, bf16=False)
    own = {split: names[sounds.labels(sounds.rows(split))] for split in ("test", "unseen")}
    found = exam.of(own)
    assert (found.top1, found.top5, found.unseen, found.classes) == (1, 1, 1, 24)
    assert found.unseen_chance == pytest.approx(1 / found.unseen_classes)
    assert exam.of({split: -each for split, each in own.items()}).top1 == 0
    lost = exam.of({"test": own["test"], "unseen": torch.ones(len(own["unseen"]), 24)})
    assert lost.unseen == pytest.approx(found.unseen_chance, abs=0.6)
    assert exam(nn.Linear(1, 24)).top1 < 0.4, "a trunk that says the same of everything"


def test_a_sum_finds_the_picture_with_both() -> None:
    vectors = F.normalize(torch.eye(6) + 0.01, dim=-1)
    things = torch.tensor([(a, b) for a in range(6) for b in range(a)])
    gallery = F.normalize(vectors[things].sum(1), dim=-1)
    single = by_class(vectors, list(range(6)))
    sums = arithmetic(things, gallery, single, single)
    assert sums.queries == 30
    assert sums.precision["image + sound"] == pytest.approx(1)
    assert sums.recall["image + sound"][0] == 1
    assert sums.precision["image alone"] < 0.6, "five pictures have the one"
    assert sums.recall["image alone"][2] == pytest.approx(1), "and one of these five has the other"
    assert sums.precision["chance"] == pytest.approx(1 / 15)
    deaf = arithmetic(things, gallery, single, {5: vectors[:1]})
    assert deaf.queries == 5, "of things that have a sound"


def test_a_quick_run_is_written_down_and_not_done_twice(
    sets: dict[str, Clips], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = imagebind.QUICK
    small = replace(quick.clip, batch=16, channels=8, text_width=64, text_depth=1)
    bind = {sense: replace(each, batch=8, epochs=0.5) for sense, each in quick.bind.items()}
    monkeypatch.setattr(imagebind, "QUICK", replace(quick, clip=small, bind=bind))
    monkeypatch.setattr(imagebind, "SETS", imagebind_pairs.SETS)
    out = tmp_path / "claim"
    assert main(["claim", "imagebind", "--quick", "--out", str(out)]) == 0
    assert "verdict" in capsys.readouterr().out
    outcome = json.loads((out / "outcome.json").read_text())
    assert {row["verdict"] for row in outcome["findings"]} == {"not judged"}
    told = ("real sounds", "depth rendered", "heat generated", "pictures generated")
    assert all(word in row["claim"] for word, row in zip(told, outcome["findings"], strict=False)), "what is real"
    assert all("chance" in row["measured"] for row in outcome["findings"] if "stronger" not in row["claim"])
    assert {curve["panel"] for curve in outcome["curves"]} == set(outcome["axes"])
    with Image.open(out / "outcome.png") as picture:
        assert picture.width > 600
    assert main(["claim", "imagebind", "--quick", "--out", str(out), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["findings"] == outcome["findings"], "what was trained stands, and measures the same"
