"""Correspondence: PCK at its thresholds, and squares of many colours that a model of colours finds again exactly."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sensorium.data.dense import Match, Matched
from sensorium.data.errors import SensoriumError
from sensorium.tasks.correspondence import Found, correspond, match, pck, summary
from sensorium.tasks.dense_features import Patches, View
from tests.tiny_dense import colours


def test_pck_at_its_thresholds() -> None:
    """A box of 100 pixels: 10 pixels off is just within a tenth."""
    distances = torch.tensor([0.0, 1.0, 1.5, 5.0, 10.0, 10.1])
    assert [pck(distances, alpha, 100.0) for alpha in (0.1, 0.05, 0.01)] == pytest.approx([5 / 6, 4 / 6, 2 / 6])


def test_means_over_points_pairs_and_categories() -> None:
    """Cats: 3 of 4 points in two pairs; one dog, whose point is off by more than the box allows, not the picture."""
    pairs = [
        Found("cat", torch.tensor([0.0, 5.0, 9.0]), 100.0, 200.0),
        Found("cat", torch.tensor([6.0]), 50.0, 200.0),
        Found("dog", torch.tensor([15.0]), 100.0, 200.0),
    ]
    found = summary(pairs)
    assert found["PCK@0.1"] == pytest.approx(3 / 5)
    assert found["PCK@0.05"] == pytest.approx(2 / 5)
    assert found["PCK@0.1 by pair"] == pytest.approx((1 + 0 + 0) / 3)
    assert found["PCK@0.1 of picture"] == pytest.approx(1)
    assert found["PCK@0.01 of picture"] == pytest.approx(1 / 5)
    assert found["recall"] == pytest.approx((3 / 4 + 0) / 2)


@given(st.lists(st.floats(0, 50), min_size=1, max_size=20))
def test_wider_thresholds_find_no_less(distances: list[float]) -> None:
    found = summary([Found("a", torch.tensor(distances), 60.0, 90.0)])
    assert found["PCK@0.01"] <= found["PCK@0.05"] <= found["PCK@0.1"] <= found["PCK@0.1 of picture"]
    assert found["recall"] == found["PCK@0.1"] == found["PCK@0.1 by pair"]


def mosaics(folder: Path, count: int) -> Matched:
    """Pairs of mosaics of 6 x 8 squares of 48 colours; the second is another order of the same squares."""
    random = np.random.default_rng(0)
    orders: list[np.ndarray] = []
    for number in range(count):
        angle = np.arange(48) / 48 * 2 * np.pi
        tiles = np.stack([127 + 120 * np.cos(angle), 127 + 120 * np.sin(angle), np.full(48, 90.0)], 1).astype(np.uint8)
        order = random.permutation(48)
        for name, shown in (("source", np.arange(48)), ("target", order)):
            pixels = np.kron(tiles[shown].reshape(6, 8, 3), np.ones((8, 8, 1), dtype=np.uint8))
            Image.fromarray(pixels).save(folder / f"{name}{number}.png")
        orders.append(np.argsort(order))

    def at(index: int) -> Match:
        place = torch.tensor([0, 5, 17, 30, 47])
        moved = torch.from_numpy(orders[index])[place]
        points, others = (torch.stack([8 * (p % 8) + 4, 8 * (p // 8) + 4], 1).float() for p in (place, moved))
        return Match(
            source=folder / f"source{index}.png",
            target=folder / f"target{index}.png",
            key=f"pair {index}",
            category="ab"[index % 2],
            source_points=points,
            target_points=others,
            source_box=torch.tensor([0.0, 0, 64, 48]),
            target_box=torch.tensor([0.0, 0, 64, 48]),
        )

    return Matched(name="mosaics", length=count, at=at)


def test_points_are_found_again(tmp_path: Path) -> None:
    data = mosaics(tmp_path, 3)
    result = correspond(colours(), data, view=View(long=8))
    assert result.metrics["recall"] == result.metrics["PCK@0.01"] == 1, "patch centres are the points"
    assert (result.own, result.pictures) == ("recall", 6)
    assert (result.settings["pairs"], result.settings["points"], result.settings["categories"]) == (3, 15, 2)
    fine = correspond(colours(), data, view=View(long=16))
    assert fine.metrics["PCK@0.1"] == 1, "the nearest of four patches of the square"
    assert fine.metrics["PCK@0.01"] == 0
    assert correspond(colours(), data, view=View(long=3)).metrics["PCK@0.1"] < 0.7
    (tmp_path / "target1.png").write_bytes(b"\x89PNG nothing")
    less = correspond(colours(), data, view=View(long=8))
    assert (less.settings["pairs"], [each.path for each in less.unreadable]) == (2, ["pair 1, target"])
    with pytest.raises(SensoriumError, match="mosaics: no pair that can be read: pair 1, target"):
        correspond(colours(), replace(data, length=1, at=lambda index: data[1]))


def test_pictures_may_differ_in_size(tmp_path: Path) -> None:
    """Each picture's points are in its own pixels."""
    data = mosaics(tmp_path, 1)
    patches = Patches(colours(), View(long=8))
    target = Image.open(tmp_path / "target0.png").resize((192, 144), Image.Resampling.NEAREST)
    found = match(patches(data[0].source), patches(target), data[0].source_points)
    assert torch.allclose(found, 3 * data[0].target_points)
