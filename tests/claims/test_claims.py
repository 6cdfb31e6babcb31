"""A claim from nothing to its table: trained, measured, written, taken up again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from sensorium.app.cli import main
from sensorium.claims import clip, vit
from sensorium.claims.outcome import Finding
from sensorium.claims.training import spent
from sensorium.data import emoji
from sensorium.models.vit import ViT, ViTConfig
from tests import tiny_emoji


@pytest.fixture(autouse=True)
def drawings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tiny_emoji.make(tmp_path / "emoji")
    monkeypatch.setattr(emoji, "emoji", lambda size=64: small)
    monkeypatch.setattr(clip, "QUICK", replace(clip.QUICK, clip=replace(clip.QUICK.clip, epochs=10), supervised=5))


@pytest.mark.parametrize("name", ["clip", "vit"])
def test_a_claim_is_written_down_and_not_done_twice(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "claim"
    assert main(["claim", name, "--quick", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "verdict" in printed.out
    outcome = json.loads((out / "outcome.json").read_text())
    assert {row["verdict"] for row in outcome["findings"]} == {"not judged"}, "a quick run judges nothing"
    assert all(0 <= y <= 1 for curve in outcome["curves"] for y in curve["y"])
    with Image.open(out / "outcome.png") as picture:
        assert picture.width > 600
    assert main(["claim", name, "--quick", "--out", str(out), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["findings"] == outcome["findings"], "what was trained stands, and measures the same"


def test_a_verdict_in_words() -> None:
    found = [Finding(claim="", measured="", verdict=verdict).word for verdict in (True, False, None)]
    assert found == ["reproduced", "not reproduced at this scale", "not judged"]


def test_a_claim_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claim", "alexnet"]) == 1
    assert "there are vit, clip, dinov3, registers, imagebind" in capsys.readouterr().err


def test_what_it_took_to_reach_a_level() -> None:
    assert spent([10, 20, 30], [0.1, 0.3, 0.2], 0.2) == pytest.approx(15)
    assert spent([10], [0.4], 0.2) == pytest.approx(5)
    assert spent([10], [0.1], 0.2) is None


def test_planted_positions_are_found() -> None:
    model = ViT(ViTConfig(image=64, patch=8, width=64, depth=0, heads=1, mlp=64, classes=2))
    near, far, hit = vit.neighbours(model)
    assert hit < 0.3, "positions of chance"
    place = torch.arange(8) * torch.pi / 8
    row, column = torch.meshgrid(place, place, indexing="ij")
    waves = torch.stack([row.cos(), row.sin(), column.cos(), column.sin()], dim=-1)
    with torch.no_grad():
        model.positions[1:] = torch.nn.functional.pad(waves.flatten(0, 1), (0, 60))
    near, far, hit = vit.neighbours(model)
    assert near > far
    assert hit > 0.9
