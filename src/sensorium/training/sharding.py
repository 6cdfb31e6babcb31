"""A model made ready to train: on its device, its blocks recomputed and compiled where asked for, and its weights,
gradients and optimiser states spread over all processes (FSDP2; ZeRO, Rajbhandari et al. 2020,
https://arxiv.org/abs/1910.02054)."""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint

from sensorium.training.recipe import Engine, Recipe
from sensorium.training.world import World

T = TypeVar("T")


class Root(nn.Module):
    """The model as FSDP sees it: whatever is computed from it is computed inside this module's forward.

    Weights outside the blocks are then whole for any part of the model that a loss calls, not for `model(...)` alone.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[..., T], *arguments: object) -> T:
        """`function(*arguments)`, with all weights at hand."""
        return function(*arguments)

    @contextmanager
    def evaluating(self) -> Generator[None]:
        """Without gradients, all parts in eval mode; afterwards each in the mode in which it was."""
        modes = {module: module.training for module in self.model.modules()}
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module, mode in modes.items():
                module.training = mode
            if isinstance(self, FSDPModule):
                self.reshard()  # a forward without a backward leaves the root's weights whole

    def synchronise(self, now: bool) -> None:
        """Whether the next backward pass exchanges gradients: the last part of a step does."""
        if isinstance(self, FSDPModule):
            self.set_requires_gradient_sync(now)


def prepare(recipe: Recipe, engine: Engine, world: World) -> Root:
    """Move, recompute, compile and shard the recipe's model in place. Names of parameters stay what they are.

    All processes get the weights of process 0. Weights without dimensions (a logit scale) or numbers (no
    registers) cannot be split: every process has them whole, and `average` brings their gradients together.
    """
    model = recipe.model.to(world.device)
    world.broadcast([*model.parameters(), *model.buffers()])
    blocks = list(recipe.blocks(model))
    for block in blocks:
        if engine.checkpoint_activations:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        if engine.compile:
            block.compile()
    root = Root(model)
    if world.mesh is not None:
        whole = {parameter for parameter in model.parameters() if not splits(parameter)}
        for block in blocks:
            fully_shard(block, mesh=world.mesh, ignored_params=whole)
        fully_shard(root, mesh=world.mesh, ignored_params=whole)
    return root


def splits(parameter: Tensor) -> bool:
    """Whether a weight can be spread over processes."""
    return parameter.ndim > 0 and parameter.numel() > 0


def scalars(model: nn.Module) -> list[nn.Parameter]:
    """The parameters without dimensions."""
    return [parameter for parameter in model.parameters() if parameter.ndim == 0]


def average(model: nn.Module, world: World) -> None:
    """Give the gradients of weights that are not sharded their mean over processes."""
    loose = [p for p in scalars(model) if p.requires_grad] if world.size > 1 else []
    if loose:
        given = [torch.zeros_like(p) if p.grad is None else p.grad for p in loose]
        for parameter, mean in zip(loose, world.mean(torch.stack(given)), strict=True):
            parameter.grad = mean.clone()


def norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The length of the whole gradient, over all processes."""
    with_gradient = [p for p in parameters if p.grad is not None]
    total = torch.zeros((), device=with_gradient[0].device if with_gradient else None)
    for sharded in (True, False):  # the two kinds do not mix in one operation
        gradients = [p.grad for p in with_gradient if p.grad is not None and isinstance(p, DTensor) == sharded]
        if gradients:
            total = torch.hypot(total, whole(nn.utils.get_total_norm(gradients)))
    return total


def clip(parameters: Iterable[nn.Parameter], longest: float | None, length: Tensor) -> None:
    """Scale a gradient of this length down to at most `longest`, if that is given."""
    if not longest:
        return
    factor = (longest / (length + 1e-6)).clamp(max=1)
    for parameter in parameters:
        if parameter.grad is not None:
            local(parameter.grad).mul_(factor)


def local(x: Tensor) -> Tensor:
    """What this process holds of a tensor, in place: all of it where it is not sharded."""
    return x.to_local() if isinstance(x, DTensor) else x


def whole(x: Tensor) -> Tensor:
    """A tensor brought together from all processes: every one must ask for it."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """A model's state on the CPU, brought together from all processes: every one must ask for it."""
    return {name: whole(value.detach()).cpu() for name, value in model.state_dict().items()}
