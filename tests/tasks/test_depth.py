"""Linear depth: the measures by hand, and depth that is painted as brightness, which a model of colours learns."""

from collections.abc import Callable
from dataclasses import replace
from math import log, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sensorium.data.dense import DepthPicture, Depths
from sensorium.data.errors import SensoriumError
from sensorium.tasks.dense_features import View
from sensorium.tasks.dense_linear import Training
from sensorium.tasks.depth import counted, depth_errors, depth_of, linear_depth, scale_invariant
from tests.tiny_dense import colours


def test_measures_by_hand() -> None:
    """Errors of 1, -1 and 0 metres."""
    found = depth_errors(torch.tensor([2.0, 4.0, 10.0]), torch.tensor([1.0, 5.0, 10.0]))
    assert found["RMSE"] == pytest.approx(sqrt(2 / 3))
    assert found["AbsRel"] == pytest.approx((1 + 0.2 + 0) / 3)
    assert found["delta1"] == pytest.approx(1 / 3), "4 for 5 is a factor of 1.25, which is not less than that"
    assert depth_errors(torch.tensor([4.01]), torch.tensor([5.0]))["delta1"] == 1


def test_depths_are_weighed_bins() -> None:
    """Three bins of 1, 3 and 5 metres: relu and 0.1 before the weights are made to sum to 1."""
    logits = torch.tensor([[[-3.0, 0.9]], [[0.0, -1.0]], [[0.2, -1.0]]])
    weights = [(0.1, 0.1, 0.3), (1.0, 0.1, 0.1)]
    wanted = [(1 * a + 3 * b + 5 * c) / (a + b + c) for a, b, c in weights]
    assert depth_of(logits, 1.0, 5.0)[0].tolist() == pytest.approx(wanted)


def test_the_loss_by_hand() -> None:
    truth = torch.tensor([1.0, 2.0])
    wrong = [log(2.001 / 1.001), log(8.001 / 2.001)]
    mean = sum(wrong) / 2
    variance = sum((each - mean) ** 2 for each in wrong)
    assert float(scale_invariant(torch.tensor([2.0, 8.0]), truth)) == pytest.approx(sqrt(variance + 0.15 * mean**2))
    assert float(scale_invariant(truth, truth)) < 1e-5


@given(st.lists(st.floats(0.1, 9), min_size=2, max_size=20), st.floats(1.5, 4))
def test_scale_costs_less_than_shape(depths: list[float], factor: float) -> None:
    truth = torch.tensor(depths, dtype=torch.float64)
    loss = float(scale_invariant(truth * factor, truth))
    assert loss == pytest.approx(sqrt(0.15) * log(factor), rel=0.02)


def test_what_counts() -> None:
    truth = torch.tensor([[0.0, float("nan"), 0.5], [1.0, 10.0, 10.1]])
    assert counted(truth, 1.0, 10.0).tolist() == [[False, False, False], [True, True, False]]


def ramps(count: int, seed: int) -> Depths:
    """Pictures of 32 x 48 in gray: what is 1 metre away is black, what is 9 is white, and a corner is unknown."""
    random = np.random.default_rng(seed)
    metres = [np.kron(random.uniform(1, 9, (4, 6)), np.ones((8, 8))).astype(np.float32) for _ in range(count)]

    def read(index: int) -> Callable[[], torch.Tensor]:
        depth = torch.from_numpy(metres[index].copy())
        depth[:4, :4] = 0
        return lambda: depth

    def at(index: int) -> DepthPicture:
        gray = ((metres[index] - 1) / 8 * 255).round().astype(np.uint8)
        return DepthPicture(image=np.stack([gray] * 3, 2), key=f"{index}", read=read(index))

    return Depths(name="ramps", length=count, at=at, far=10.0)


def test_brightness_is_learned_as_depth() -> None:
    train, test = ramps(8, 0), ramps(5, 1)
    how = Training(steps=80, batch=2, rate=0.1, pixels=512)
    result = linear_depth(colours(), train, test, view=View(short=8), training=how)
    spread = float(np.mean([test[i].depth()[4:, 4:].std() for i in range(5)]))
    assert result.own == "RMSE"
    assert result.metrics["RMSE"] < spread / 2
    assert result.metrics["delta1"] > 0.7
    assert result.pictures == 5
    untrained = linear_depth(colours(), train, test, view=View(short=8), training=replace(how, steps=1))
    assert untrained.metrics["RMSE"] > 1.5 * result.metrics["RMSE"]


def test_nothing_to_measure_is_said() -> None:
    data = ramps(2, 0)

    def unknown(index: int) -> DepthPicture:
        return replace(data[index], read=lambda: torch.zeros(32, 48))

    blind = replace(data, at=unknown)
    with pytest.raises(SensoriumError, match="no training picture has a pixel that counts"):
        linear_depth(colours(), blind, data, training=Training(steps=2))
    with pytest.raises(SensoriumError, match="ramps: no pixel that counts"):
        linear_depth(colours(), data, blind, training=Training(steps=2))
