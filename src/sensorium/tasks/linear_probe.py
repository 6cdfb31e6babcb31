"""Linear probe: what a frozen model knows, read by logistic regression (Radford et al. 2021, section 3.2 and A.3).

min over W, b:  mean cross-entropy of (Wx + b)  +  |W|² / (2 C n), by L-BFGS of at most 1000 iterations. C is found on a
validation split among 97 values, eight a decade from 1e-6 to 1e6: first every second decade, then around the best by
halves. The final model learns from training and validation pictures together. Where pictures have several labels, each
class is a yes or no of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sensorium.data.errors import SensoriumError
from sensorium.tasks.metrics import Scores, membership

Labels = Sequence[tuple[int, ...]]
ITERATIONS = 1000
STEPS = 96
COARSE = 16
HISTORY = 10  # pairs that L-BFGS remembers
FLAT = 1e-5  # it stops where no derivative is larger, for vectors whose length is about 1
HELD_OUT = 0.2


@dataclass(frozen=True)
class Linear:
    """Scores of each class: x W + b."""

    weight: Float[Tensor, "d classes"]
    bias: Float[Tensor, " classes"]
    iterations: int

    def __call__(self, x: Float[Tensor, "n d"]) -> Scores:
        """Score vectors."""
        return x @ self.weight + self.bias


@dataclass(frozen=True)
class Probe:
    """The final model, its C, and what the validation split said of every C that was tried."""

    model: Linear
    c: float
    tried: dict[float, float]


def strength(step: int) -> float:
    """C of a step of the grid: 1e-6 at 0, eight steps a decade, 1e6 at 96."""
    return 10.0 ** (step / 8 - 6)


def fit(
    x: Float[Tensor, "n d"],
    labels: Labels,
    classes: int,
    *,
    c: float,
    start: Linear | None = None,
    iterations: int = ITERATIONS,
    flat: float = FLAT,
) -> Linear:
    """Logistic regression; the minimum is unique, so `start` only saves time.

    Vectors are centred and scaled as a whole on the way, which changes neither the minimum nor its model.
    """
    target = _targets(x, labels, classes)
    several = target.is_floating_point()
    mean = x.mean(0)
    inside = x - mean
    size = inside.square().sum(1).mean().sqrt().clamp(min=torch.finfo(x.dtype).tiny)
    inside = inside / size
    penalty = 1 / (2 * c * len(x) * size.square())
    weight = (start.weight * size if start else x.new_zeros(x.shape[1], classes)).clone().requires_grad_()
    bias = (start.bias + mean @ start.weight if start else x.new_zeros(classes)).clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [weight, bias],
        max_iter=iterations,
        max_eval=2 * iterations,
        history_size=HISTORY,
        tolerance_grad=flat,
        tolerance_change=torch.finfo(x.dtype).eps,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        scores = inside @ weight + bias
        if several:
            wrong = F.binary_cross_entropy_with_logits(scores, target, reduction="none").sum(1).mean()
        else:
            wrong = F.cross_entropy(scores, target)
        total = wrong + penalty * weight.square().sum()
        total.backward()
        return total

    optimiser.step(loss)  # pyright: ignore[reportArgumentType]: torch says float, and takes the tensor itself
    found = weight.detach() / size
    return Linear(found, bias.detach() - mean @ found, int(optimiser.state_dict()["state"][0]["n_iter"]))


def sweep(
    x: Float[Tensor, "n d"],
    labels: Labels,
    valid: Float[Tensor, "m d"],
    valid_labels: Labels,
    classes: int,
    *,
    judge: Callable[[Scores, Labels], float],
    tried: Callable[[int], None] = lambda number: None,
) -> tuple[float, dict[float, float]]:
    """The C whose model `judge` likes best on the validation pictures, the smallest of equals, and every C tried."""
    found: dict[int, float] = {}
    models: dict[int, Linear] = {}

    def try_all(steps: Sequence[int]) -> None:
        for step in steps:
            if 0 <= step <= STEPS and step not in found:
                near = min(models, key=lambda other: abs(other - step)) if models else None
                models[step] = fit(
                    x, labels, classes, c=strength(step), start=models[near] if near is not None else None
                )
                found[step] = judge(models[step](valid), valid_labels)
                tried(len(found))

    try_all(range(0, STEPS + 1, COARSE))
    apart = COARSE // 2
    while apart:
        best = min(found, key=lambda step: (-found[step], step))
        try_all((best - apart, best + apart))
        apart //= 2
    best = min(found, key=lambda step: (-found[step], step))
    return strength(best), {strength(step): found[step] for step in sorted(found)}


def probe(
    x: Float[Tensor, "n d"],
    labels: Labels,
    classes: int,
    *,
    judge: Callable[[Scores, Labels], float],
    valid: tuple[Float[Tensor, "m d"], Labels] | None = None,
    seed: int = 0,
    tried: Callable[[int], None] = lambda number: None,
) -> Probe:
    """Sweep C on `valid`, or on a fifth of each class that is held out, then learn from all pictures.

    Raises SensoriumError where a class has a single picture and nothing can be held out of it.
    """
    if valid is None:
        held = hold_out(labels, classes, seed=seed)
        kept = [row for row in range(len(labels)) if row not in held]
        rows = sorted(held)
        c, scores = sweep(
            x[kept], [labels[i] for i in kept], x[rows], [labels[i] for i in rows], classes, judge=judge, tried=tried
        )
    else:
        c, scores = sweep(x, labels, *valid, classes, judge=judge, tried=tried)
        x, labels = torch.cat([x, valid[0]]), [*labels, *valid[1]]
    return Probe(fit(x, labels, classes, c=c), c, scores)


def hold_out(labels: Labels, classes: int, *, share: float = HELD_OUT, seed: int = 0) -> set[int]:
    """Rows for validation: a share of each class, one at least, and never a whole class."""
    generator = torch.Generator().manual_seed(seed)
    if any(len(label) != 1 for label in labels):
        return set(torch.randperm(len(labels), generator=generator)[: max(1, int(len(labels) * share))].tolist())
    members: list[list[int]] = [[] for _ in range(classes)]
    for row, (label,) in enumerate(labels):
        members[label].append(row)
    held: set[int] = set()
    for number, rows in enumerate(members):
        if len(rows) == 1:
            raise SensoriumError(
                f"class {number} has a single picture to learn from: a probe holds some out; give more, or few-shot"
            )
        order = torch.randperm(len(rows), generator=generator).tolist()
        held |= {rows[i] for i in order[: max(1, int(len(rows) * share)) if rows else 0]}
    return held


def _targets(x: Tensor, labels: Labels, classes: int) -> Tensor:
    """Class numbers, or a table of 0 and 1 where pictures have several labels."""
    if any(len(label) != 1 for label in labels):
        return membership(labels, classes).to(x)
    return torch.tensor([label[0] for label in labels], device=x.device)
