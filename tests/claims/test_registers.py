"""Registers' claim: what measures is exact on what was planted, and the whole runs from nothing to its table."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from sensorium.app.cli import main
from sensorium.claims import registers
from sensorium.claims.register_exam import (
    Single,
    in_medians,
    known_by_tokens,
    norms_of,
    planted,
    smoothness,
    tail,
)
from sensorium.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from sensorium.models.dinov3 import DINOv3, DINOv3Config
from sensorium.training.recipes import dinov3_parts as parts
from tests import tiny_dino, tiny_things

SMALL = DINOv3Config(patch=8, width=64, depth=4, heads=1, hidden=256, registers=0, layer_scale=0.1)
STEPS = Preprocess(size=48, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def begun(seed: int = 0) -> DINOv3:
    torch.manual_seed(seed)
    return DINOv3(SMALL).apply(parts.begun).eval()


@pytest.mark.parametrize("seed", range(3))
def test_planted_outliers_are_found_exactly(seed: int) -> None:
    found = planted(begun(seed), torch.randn(100, 3, 48, 48), seed=seed)
    assert found.exact, found
    assert found.planted / found.tokens == pytest.approx(0.0237, abs=0.01)


def test_the_planting_is_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the move they stay; a neuron that is not the one is told apart."""
    monkeypatch.setattr("sensorium.claims.register_exam.register_neurons", lambda *_, **__: None)
    found = planted(begun(), torch.randn(100, 3, 48, 48))
    assert not found.exact
    assert not found.neuron
    assert found.left >= 2 * found.planted, "in both layers that have them"


def test_norms_attention_and_tails_as_computed_by_hand() -> None:
    model, images = tiny_dino.build(tiny_dino.V3), torch.randn(3, 3, 24, 40)
    norms = norms_of(model, images)
    for layer, state in enumerate(model.states(images)[1:]):
        torch.testing.assert_close(norms[layer], state[:, 5:].norm(dim=-1))
    assert in_medians(norms).flatten(1).median(1).values.tolist() == [1, 1, 1]
    rough, even = smoothness(model, images)
    assert 0 < rough < 2
    assert 0 < even < 1
    with torch.no_grad():
        model.blocks[-1].attention.query.weight.zero_()
        model.blocks[-1].attention.query.bias.zero_()
    assert smoothness(model, images) == pytest.approx((0, 1), abs=1e-6), "it looks everywhere alike"
    x, y = tail(torch.tensor([1.0] * 90 + [10.0] * 10))
    assert y[0] == y[-1] == pytest.approx(-1)
    assert x[0] == 0
    assert x[-1] < 1


def test_what_single_tokens_know() -> None:
    """Outliers that hold the thing alone, others that hold their place alone, each beside noise."""
    dice = torch.Generator().manual_seed(0)

    def single(pictures: int) -> Single:
        place, thing = torch.arange(9).repeat(pictures), (torch.arange(pictures) % 4).repeat_interleave(9)
        high = torch.rand(len(place), generator=dice) < 0.25
        token = 0.1 * torch.randn(len(place), 16, generator=dice)
        token[high, thing[high]] += 1
        token[~high, 4 + place[~high]] += 1
        return Single(token, place, thing, high)

    known = known_by_tokens(single(150), single(60), 4)
    assert known is not None
    assert known.place[0] < 0.3 < 0.95 < known.place[1]
    assert known.thing[1] < 0.4 < 0.95 < known.thing[0]
    assert known_by_tokens(single(20), single(60), 4) is None, "too few"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tiny_things.make(tmp_path / "things")
    for module in ("sensorium.claims.registers", "sensorium.training.recipes.dinov3"):
        monkeypatch.setattr(f"{module}.things", lambda part="train": parts[part])
    monkeypatch.setattr("sensorium.training.recipes.dinov3_crops.open_source", lambda _: parts["train"])
    monkeypatch.setattr("sensorium.data.standins.composed.boxed", lambda _, n: tiny_things.boxed(parts["train"], n))
    small = replace(registers.QUICK.training, batch=16, epochs=1.0, koleo_group=0)
    monkeypatch.setattr(registers, "QUICK", replace(registers.QUICK, training=small, every=1, scenes=6))


@pytest.mark.usefixtures("tiny")
def test_from_nothing_to_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "claim"
    assert main(["claim", "registers", "--quick", "--out", str(out)]) == 0
    capsys.readouterr()
    outcome = json.loads((out / "outcome.json").read_text())
    assert {row["verdict"] for row in outcome["findings"]} == {"not judged"}, "a quick run judges nothing"
    assert "and 0 others; the neuron; 0 left" in outcome["findings"][0]["measured"]
    assert {curve["panel"] for curve in outcome["curves"]} == set(outcome["axes"])
    with Image.open(out / "outcome.png") as picture:
        assert picture.height > 800, "two rows of panels"
    assert main(["claim", "registers", "--quick", "--out", str(out), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["findings"] == outcome["findings"], "what was trained stands, and measures the same"
