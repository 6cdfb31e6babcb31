"""Groups, schedules and the optimisers' formulas, spelled out."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sensorium.models.vit import ViT
from sensorium.training.optimisers import (
    LAST_LAYER,
    adamw,
    by_layer,
    follow_schedule,
    groups,
    lamb,
    lars,
    sgd,
    standard,
    undecayed,
)
from sensorium.training.parameter_groups import Multiplier
from tests import tiny


def names(model: nn.Module, chosen: list[dict[str, Any]], **what: Any) -> set[str]:
    """The names of the parameters in groups that have all these values."""
    of = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [group for group in chosen if all(group[key] == value for key, value in what.items())]
    return {of[id(parameter)] for group in found for parameter in group["params"]}


def vit() -> nn.Module:
    return ViT(tiny.VIT)


def test_norms_and_biases_are_not_decayed_and_the_frozen_are_left_out():
    model = vit()
    frozen = next(name for name, _ in model.named_parameters() if name.startswith("blocks.0."))
    model.get_parameter(frozen).requires_grad_(False)
    decayed = names(model, groups(model), decay=1.0)
    every = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert decayed == {name for name in every if model.get_parameter(name).ndim > 1}
    assert names(model, groups(model), decay=0.0) == every - decayed
    spared = names(model, groups(model, undecayed("cls", "positions")), decay=0.0)
    assert spared == every - decayed | {"cls", "positions"}


def test_deeper_layers_learn_faster():
    model = vit()
    multipliers = by_layer(0.5, depth=2, heads=("head",))
    rates = {name: multipliers(name, p).learning_rate for name, p in model.named_parameters()}
    first = {
        name: rate for name, rate in rates.items() if name.split(".")[0] in ("cls", "registers", "positions", "patches")
    }
    assert set(first.values()) == {0.125}
    assert {rate for name, rate in rates.items() if name.startswith("blocks.0.")} == {0.25}
    assert {rate for name, rate in rates.items() if name.startswith("blocks.1.")} == {0.5}
    rest = {rate for name, rate in rates.items() if name not in first and not name.startswith("blocks.")}
    assert rest == {1.0}


def test_rates_follow_the_schedules_and_the_last_layer_may_wait():
    model = nn.ModuleDict({"trunk": nn.Linear(2, 2, bias=False), "last_layer": nn.Linear(2, 2)})

    def multipliers(name: str, parameter: Tensor) -> Multiplier:
        return standard(name, parameter)._replace(learning_rate=0.5, last_layer="last_layer" in name)

    optimiser = adamw(multipliers=multipliers)(model)
    rate = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    schedule = {"learning_rate": rate, LAST_LAYER: rate * torch.tensor([0, 0, 1]), "weight_decay": rate / 10}
    for step, (trunk, last) in enumerate([(0.5, 0.0), (1.0, 0.0), (1.5, 1.5)]):
        follow_schedule(optimiser, schedule, step)
        for group in optimiser.param_groups:
            assert group["lr"] == (last if group["schedule"] == LAST_LAYER else trunk)
            assert group["weight_decay"] == float(rate[step]) / 10 * group["decay"]


def descend(make: Any, steps: int = 3) -> tuple[Tensor, list[Tensor]]:
    """A weight matrix that has taken some steps at rate 0.1, and the gradients it was given."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2, bias=False)
    optimiser = make(model)
    gradients = [torch.randn(2, 3) for _ in range(steps)]
    with torch.no_grad():
        model.weight.copy_(torch.arange(6).view(2, 3) / 4)
    for gradient in gradients:
        follow_schedule(optimiser, {"learning_rate": torch.full((1,), 0.1, dtype=torch.float64)}, 0)
        model.weight.grad = gradient.clone()
        optimiser.step()
    return model.weight.detach(), gradients


def start() -> Tensor:
    return torch.arange(6).view(2, 3) / 4


def test_adamw_formula():
    found, gradients = descend(adamw(0.1, betas=(0.8, 0.9)))
    w, m, v = start(), torch.zeros(2, 3), torch.zeros(2, 3)
    for t, g in enumerate(gradients, 1):
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
        w = w - 0.1 * 0.1 * w - 0.1 * (m / (1 - 0.8**t)) / ((v / (1 - 0.9**t)).sqrt() + 1e-8)
    torch.testing.assert_close(found, w)


def test_sgd_formula():
    found, gradients = descend(sgd(0.1, momentum=0.8))
    w, v = start(), torch.zeros(2, 3)
    for g in gradients:
        v = 0.8 * v + g + 0.1 * w
        w = w - 0.1 * v
    torch.testing.assert_close(found, w)


def test_lars_formula():
    found, gradients = descend(lars(0.1, momentum=0.8, trust=0.5))
    w, v = start(), torch.zeros(2, 3)
    for g in gradients:
        rate = 0.5 * w.norm() / (g.norm() + 0.1 * w.norm())
        v = 0.8 * v + 0.1 * rate * (g + 0.1 * w)
        w = w - v
    torch.testing.assert_close(found, w)


def test_lamb_formula():
    found, gradients = descend(lamb(0.1, betas=(0.8, 0.9)))
    w, m, v = start(), torch.zeros(2, 3), torch.zeros(2, 3)
    for t, g in enumerate(gradients, 1):
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
        update = (m / (1 - 0.8**t)) / ((v / (1 - 0.9**t)).sqrt() + 1e-6) + 0.1 * w
        w = w - 0.1 * w.norm() / update.norm() * update
    torch.testing.assert_close(found, w)


@pytest.mark.parametrize("make", [lars(0.1), lamb(0.1)])
def test_layerwise_rates_spare_biases_and_start_from_zero(make: Any):
    """Weights that are zero, and gradients that are, have no ratio: 1 stands for it."""
    model = nn.Linear(2, 2)
    nn.init.zeros_(model.weight)
    optimiser = make(model)
    follow_schedule(optimiser, {"learning_rate": torch.ones(1, dtype=torch.float64)}, 0)
    model.weight.grad, model.bias.grad = torch.ones(2, 2), torch.full((2,), 0.5)
    before = model.bias.detach().clone()
    optimiser.step()
    assert model.weight.isfinite().all()
    assert (model.weight != 0).all()
    moved = (before - model.bias.detach()).abs()
    expected = 0.5 if type(optimiser).__name__ == "LARS" else 1.0  # plain momentum, plain Adam
    torch.testing.assert_close(moved, torch.full((2,), expected), rtol=1e-4, atol=0)
