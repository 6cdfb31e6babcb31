"""DINOv3's claim: what is measured, on trunks and truths that are known; and a quick run from nothing to its table."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from sensorium.app.cli import main
from sensorium.claims import dinov3
from sensorium.data.dense import IGNORED
from sensorium.data.standins import things as standin
from sensorium.models.dinov3 import DINOv3, DINOv3Config
from sensorium.training.recipes import dinov3 as ssl
from sensorium.training.recipes import dinov3_crops
from sensorium.training.recipes.dinov3_parts import steps_for
from tests import tiny_things


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, standin.Things]:
    made = tiny_things.make(tmp_path / "things")

    def things(split: str = "train", progress: object = None) -> standin.Things:
        return made[split]

    for module in (dinov3, ssl):
        monkeypatch.setattr(module, "things", things)
    monkeypatch.setattr(dinov3_crops, "open_source", lambda _: made["train"])
    return made


def test_what_an_exam_asks(small: dict[str, standin.Things]) -> None:
    """A trunk without blocks knows colours: enough for patches of squares on grey grounds."""
    train, test = (dinov3.Truth.of(small[part], steps_for(96), 8) for part in ("train", "validation"))
    assert train.patches.shape == (48, 144)
    assert set(train.patches.unique().tolist()) == {0, 1, 2, 3, 4, IGNORED}
    exam = dinov3.Exam(train, test, 4)
    torch.manual_seed(0)
    trunk = DINOv3(DINOv3Config(patch=8, width=64, depth=0, heads=1, hidden=64)).eval()
    knows = exam(trunk)
    assert knows["miou"] > 0.7
    assert knows["knn"] < 0.5, "the class token has seen nothing"
    assert knows["apart"] > 0.1
    flat = dinov3.Exam(train, replace(test, patches=test.patches.roll(1, 0)), 4)(trunk)
    assert flat["miou"] < 0.4, "of another picture"


def test_a_quick_run_is_written_down_and_not_done_twice(
    small: dict[str, standin.Things],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    less = replace(dinov3.QUICK.long, batch=16, epochs=2.0)
    monkeypatch.setattr(dinov3, "QUICK", replace(dinov3.QUICK, long=less, refine=0.7, student=1.0, every=1))
    out = tmp_path / "claim"
    assert main(["claim", "dinov3", "--quick", "--out", str(out)]) == 0
    assert "distilled student" in capsys.readouterr().out
    outcome = json.loads((out / "outcome.json").read_text())
    assert {row["verdict"] for row in outcome["findings"]} == {"not judged"}
    assert {curve["name"] for curve in outcome["curves"]} >= {"long training", "then with fine anchor"}
    with Image.open(out / "outcome.png") as picture:
        assert picture.width > 600
    assert main(["claim", "dinov3", "--quick", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == outcome["findings"]
