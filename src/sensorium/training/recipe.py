"""What an experiment is, and how it is run: two values that the loop takes, and the loop knows nothing else.

A recipe is a function `(settings, world) -> Recipe`, where `settings` is a frozen dataclass of its own (what `--set`
changes) and its docstring states command, cost and expected score. Steps are counted from 0: `losses(batch, step)`,
`after_step(step)` and `schedule[name][step]` speak of the same step, so that momentum, temperature or a coefficient is
`values[step]` in a closure, and nothing of it needs to be saved. What is counted in steps *done* says so.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from sensorium.nn.transformer import PostNorm, PreNorm
from sensorium.training.schedules import Values

Batch = Mapping[str, Tensor]
Losses = Callable[[Batch, int], Mapping[str, Tensor]]


class Batches(Protocol):
    """The batches of a run in order, this process's rows of each."""

    @property
    def damaged(self) -> Mapping[str, str]:
        """The samples that could not be read so far: name and reason."""
        ...

    def __iter__(self) -> Iterator[Batch]:
        """In the order of steps."""
        ...


class Data(Protocol):
    """Where batches come from: any step's batch without those before it, the same for any number of processes."""

    def batches(
        self, batch: int, *, start: int, steps: int, rank: int = 0, world: int = 1, workers: int = 0
    ) -> Batches:
        """The batches of steps `start` to `steps` (not included): process `rank`'s slice of `batch` rows over all."""
        ...


def nothing(step: int) -> None:
    """After a step, do nothing more."""


def residual_blocks(model: nn.Module) -> Iterable[nn.Module]:
    """Every transformer block."""
    return [module for module in model.modules() if isinstance(module, PreNorm | PostNorm)]


def entire(model: nn.Module) -> Iterable[nn.Module]:
    """The model, as one part."""
    return [model]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An experiment as one value.

    `model` is everything that is saved and resumed, a moving average too; it is built on the CPU, in the modes (train,
    eval) and with the frozen parameters (requires_grad) that training wants. `losses` gets this process's rows and
    gives named scalars, means over its rows, weighted already: their sum is trained on, but for those whose name begins
    with "_", which are only logged. It may call any part of the model. Where gradients are accumulated it sees a part
    of the rows at a time.
    """

    model: nn.Module
    losses: Losses
    data: Data
    optimiser: Callable[[nn.Module], torch.optim.Optimizer]  # after sharding; see training/optimisers.py for its groups
    schedule: Mapping[str, Values]  # "learning_rate", "weight_decay" where it moves, and what groups name
    steps: int
    batch: int  # rows of a step, over all processes
    clip_norm: float | None = None  # what the gradient's length is held to
    clipped: Callable[[nn.Module], Iterable[nn.Module]] = entire  # the parts that are clipped apart
    seed: int = 0  # of what is random inside a step: dropout, masks drawn on the device
    after_step: Callable[[int], None] = nothing  # without gradients: move the teacher, clamp the logit scale
    evaluate: Callable[[int], Mapping[str, float]] | None = None  # gets steps done; all call it, 0's numbers count
    evaluate_every: int = 0  # steps; 0: only after the last
    best: str | None = None  # the metric of `evaluate` that names the best checkpoint: higher is better
    export: Callable[[Path], None] | None = None  # writes what was learned into a folder, as `sensorium.load` reads it
    blocks: Callable[[nn.Module], Iterable[nn.Module]] = residual_blocks  # units of sharding, recomputing, compiling


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How to run a recipe: but for rounding, `accumulate` (see there) and `clip_norm`, the same is learned."""

    device: str = "auto"  # auto: the GPU where there is one
    precision: Literal["fp32", "bf16"] = "fp32"  # bf16: autocast; weights, sums and the optimiser stay in fp32
    accumulate: int = 1  # parts of a step whose gradients are added; a contrastive loss then contrasts within a part
    clip_norm: float | None = None  # in place of the recipe's
    checkpoint_activations: bool = False  # recompute every block in the backward pass: less memory, a third more time
    compile: bool = False  # every block by torch.compile
    workers: int = 0  # processes that prepare data, for each training process
    save_every: int = 500  # steps; 0: only the best and the last
    keep: int = 2  # the newest checkpoints that stay, beside the best
    log_every: int = 20  # steps between lines where nobody watches a terminal
    tensorboard: bool = False  # curves for TensorBoard beside metrics.jsonl
