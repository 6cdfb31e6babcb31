"""The optimisers of the papers, over groups of parameters that differ in learning rate and weight decay.

A group's learning rate is `schedule[group["schedule"]]` times `group["multiplier"]`, its weight decay
`schedule["weight_decay"]` times `group["decay"]`: the loop sets both before every step.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from sensorium.training.parameter_groups import Multiplier
from sensorium.training.schedules import Values
from sensorium.training.sharding import splits, whole

Multipliers = Callable[[str, Tensor], Multiplier]
LAST_LAYER = "last_layer"  # the schedule of parameters that `Multiplier.last_layer` marks


def standard(name: str, parameter: Tensor) -> Multiplier:
    """No weight decay for what has fewer than two dimensions: norms, biases, gains, a logit scale."""
    return Multiplier(1.0, float(parameter.ndim > 1), False)


def undecayed(*parts: str) -> Multipliers:
    """`standard`, and no weight decay for the parameters named by a last part: ("cls", "positions")."""

    def multipliers(name: str, parameter: Tensor) -> Multiplier:
        plain = standard(name, parameter)
        return plain._replace(weight_decay=0.0) if name.rpartition(".")[2] in parts else plain

    return multipliers


def by_layer(rate: float, depth: int, *, heads: tuple[str, ...] = (), like: Multipliers = standard) -> Multipliers:
    """Layer-wise decay (BEiT, Bao et al. 2021, https://arxiv.org/abs/2106.08254): a layer learns by
    rate^(depth + 1 − layer).

    "blocks.3" is layer 4; what comes before the blocks (tokens, positions, patches, words, norm_in) is layer 0; the
    rest, and all below the modules `heads`, is layer depth + 1.
    """

    def multipliers(name: str, parameter: Tensor) -> Multiplier:
        plain, parts = like(name, parameter), set(name.split("."))
        block = re.search(r"(?:^|\.)blocks\.(\d+)\.", name)
        layer = int(block[1]) + 1 if block else 0 if parts & _FIRST else depth + 1
        if parts & set(heads):
            layer = depth + 1
        return plain._replace(learning_rate=plain.learning_rate * rate ** (depth + 1 - layer))

    return multipliers


_FIRST = {"cls", "registers", "mask", "positions", "patches", "words", "embedding", "norm_in"}


def groups(model: nn.Module, multipliers: Multipliers = standard) -> list[dict[str, Any]]:
    """The trained parameters in groups of equal multipliers, as the optimisers of this file and of torch take them.

    Frozen parameters are left out. Weights without dimensions or numbers are never sharded and stand in groups
    of their own: torch updates a group at once and cannot mix the two.
    """
    found: dict[tuple[Multiplier, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found.setdefault((multipliers(name, parameter), splits(parameter)), []).append(parameter)
    return [
        {
            "params": parameters,
            "multiplier": m.learning_rate,
            "decay": m.weight_decay,
            "schedule": LAST_LAYER if m.last_layer else "learning_rate",
        }
        for (m, _), parameters in found.items()
    ]


def follow_schedule(optimiser: Optimizer, schedule: Mapping[str, Values], step: int) -> None:
    """Set every group's learning rate, and its weight decay where that has a schedule."""
    for group in optimiser.param_groups:
        values = schedule.get(group.get("schedule", "learning_rate"), schedule["learning_rate"])
        group["lr"] = float(values[step]) * group.get("multiplier", 1.0)
        if "weight_decay" in schedule:
            group["weight_decay"] = float(schedule["weight_decay"][step]) * group.get("decay", 1.0)


def _decayed(grouped: Iterable[dict[str, Any]], weight_decay: float) -> list[dict[str, Any]]:
    return [{**group, "weight_decay": weight_decay * group["decay"]} for group in grouped]


def adamw(
    weight_decay: float = 0.0,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    multipliers: Multipliers = standard,
) -> Callable[[nn.Module], Optimizer]:
    """AdamW (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101); Adam where `weight_decay` is 0.

    `weight_decay` holds where the schedule has none.
    """
    return lambda model: AdamW(
        _decayed(groups(model, multipliers), weight_decay), lr=0.0, betas=betas, eps=eps, fused=True
    )


def sgd(
    weight_decay: float = 0.0, *, momentum: float = 0.9, nesterov: bool = False, multipliers: Multipliers = standard
) -> Callable[[nn.Module], Optimizer]:
    """Stochastic gradient descent with momentum; the decay is part of the gradient."""
    return lambda model: SGD(
        _decayed(groups(model, multipliers), weight_decay), lr=0.0, momentum=momentum, nesterov=nesterov
    )


def lars(
    weight_decay: float = 0.0, *, momentum: float = 0.9, trust: float = 0.001, multipliers: Multipliers = standard
) -> Callable[[nn.Module], Optimizer]:
    """LARS, see there."""
    return lambda model: LARS(_decayed(groups(model, multipliers), weight_decay), momentum=momentum, trust=trust)


def lamb(
    weight_decay: float = 0.0,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-6,
    multipliers: Multipliers = standard,
) -> Callable[[nn.Module], Optimizer]:
    """LAMB, see there."""
    return lambda model: LAMB(_decayed(groups(model, multipliers), weight_decay), betas=betas, eps=eps)


def _trust(weight: Tensor, update: Tensor) -> Tensor:
    """|weight| / |update|, and 1 where either is zero."""
    w, u = whole(torch.linalg.vector_norm(weight)), whole(torch.linalg.vector_norm(update))
    return torch.where((w > 0) & (u > 0), w / u, 1.0)


class LARS(Optimizer):
    """Layer-wise adaptive rates for momentum (You, Gitman & Ginsburg 2017, https://arxiv.org/abs/1708.03888,
    algorithm 1): v ← m·v + lr·trust·|w| / (|g| + β|w|) · (g + β·w); w ← w − v.

    Groups without decay (norms, biases) take the plain rate, as the paper's followers have it.
    """

    def __init__(self, params: Any, *, lr: float = 0.0, momentum: float = 0.9, trust: float = 0.001) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "trust": trust, "weight_decay": 0.0, "decay": 1.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                update = weight.grad.add(weight, alpha=group["weight_decay"])
                if group["decay"]:
                    w, g = (whole(torch.linalg.vector_norm(x)) for x in (weight, weight.grad))
                    rate = group["trust"] * w / (g + group["weight_decay"] * w)
                    update = update * torch.where((w > 0) & (g > 0), rate, 1.0)
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                weight.sub_(state["momentum"].mul_(group["momentum"]).add_(update, alpha=group["lr"]))


class LAMB(Optimizer):
    """Adam whose update is as long as the weight (You et al. 2020, https://arxiv.org/abs/1904.00962, algorithm 2),
    with φ the identity. Groups without decay take Adam's own length."""

    def __init__(
        self, params: Any, *, lr: float = 0.0, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-6
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0, "decay": 1.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            first, second = group["betas"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["step"] = torch.zeros(())
                    state["mean"], state["square"] = torch.zeros_like(weight), torch.zeros_like(weight)
                state["step"] += 1
                count = float(state["step"])
                mean = state["mean"].lerp_(weight.grad, 1 - first) / (1 - first**count)
                square = state["square"].mul_(second).addcmul_(weight.grad, weight.grad, value=1 - second)
                update = mean / ((square / (1 - second**count)).sqrt() + group["eps"])
                update = update.add(weight, alpha=group["weight_decay"])
                weight.sub_(update * (_trust(weight, update) * group["lr"] if group["decay"] else group["lr"]))
