"""Registers for a ViT that was trained without: Vision Transformers Don't Need Trained Registers (Jiang et al. 2025),
https://arxiv.org/abs/2506.08010

A few neurons of the MLPs write the outliers that large models show among their patches. What these neurons say is
moved, as the model runs, to one more token that begins with zeros and has no place in the picture.
"""

from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.nn.attention import Rotation, Tokens
from sensorium.nn.packed import PackedLinear
from sensorium.nn.transformer import MLP, PreNorm, SwiGLU
from sensorium.nn.vit_like import ViTLike

TIMES = 3.0  # medians of its layer above which a token is an outlier, unless said otherwise

Neurons = Mapping[int, Int[Tensor, " neurons"]]
"""Neurons by their block, counted from 0: columns of what goes into the MLP's second linear layer."""


class Found(NamedTuple):
    """The neurons, the outliers among all patches that they were found by, and where these are: after which block, from
    1, they are most, and after which most of them are there already."""

    neurons: Neurons
    outliers: int
    patches: int
    most: int
    since: int


@torch.inference_mode()
def register_neurons(
    vit: ViTLike, images: Iterable[Float[Tensor, "_ 3 _ _"]], count: int, *, cutoff: float | None = None
) -> Found | None:
    """The `count` neurons that are largest on outliers, on average (algorithm 1); None where there are no outliers.

    Outliers are patches whose norm is above `cutoff`, or above three times the median of their layer and picture, after
    the block after which they are most. The paper says up to which block it looks for neurons, by model; here it is
    the first after which at least half of these patches are outliers already. Every picture is seen twice, and memory
    holds one batch's. Raises ValueError where a block has no MLP, or has fewer neurons than asked for.
    """
    hidden = [_down(block).in_features for block in vit.blocks]
    if not 1 <= count <= sum(hidden):
        raise ValueError(f"{count} neurons: the blocks have {sum(hidden)}")
    batches = list(images)
    above = [_outliers(vit, image, cutoff) for image in batches]
    totals = torch.stack([each.flatten(1).sum(1) for each in above]).sum(0)
    most = len(totals) - 1 - int(totals.flip(0).argmax())  # the last of equals
    if not totals[most]:
        return None
    there = torch.stack([(each & each[most]).flatten(1).sum(1) for each in above]).sum(0)
    since = int((2 * there >= totals[most]).nonzero()[0])
    sums = [torch.zeros(width) for width in hidden[: since + 1]]
    for image, each in zip(batches, above, strict=True):
        _add(vit, image, each[most], sums)
    best = torch.cat(sums).topk(min(count, sum(map(len, sums)))).indices
    neurons: dict[int, Tensor] = {}
    for block, width in enumerate(hidden[: since + 1]):
        inside, best = best[best < width], best[best >= width] - width
        if len(inside):
            neurons[block] = inside.sort().values
    return Found(neurons, int(totals[most]), sum(each[0].numel() for each in above), most + 1, since + 1)


def _outliers(vit: ViTLike, image: Float[Tensor, "b 3 h w"], cutoff: float | None) -> Bool[Tensor, "blocks b patches"]:
    norms: list[Tensor] = []
    count = _count(vit, image)

    def see(module: nn.Module, inputs: Any, x: Tokens) -> None:
        norms.append(x[:, -count:].float().norm(dim=-1))

    with ExitStack() as stack:
        for block in vit.blocks:
            stack.callback(block.register_forward_hook(see).remove)
        vit.tokens(image)
    found = torch.stack(norms)
    return found > (TIMES * found.median(-1, keepdim=True).values if cutoff is None else cutoff)


def _add(vit: ViTLike, image: Float[Tensor, "b 3 h w"], mask: Bool[Tensor, "b patches"], sums: list[Tensor]) -> None:
    """To each block's sums, the size of its neurons on the patches of the mask."""
    count = mask.shape[1]

    def adding(block: int) -> Any:
        def see(module: nn.Module, inputs: tuple[Tensor]) -> None:
            sums[block] += inputs[0][:, -count:][mask].float().abs().sum(0).cpu()

        return see

    with ExitStack() as stack:
        for number, block in zip(range(len(sums)), vit.blocks, strict=False):
            stack.callback(_down(block).register_forward_pre_hook(adding(number)).remove)
        vit.tokens(image)


class Register:
    """The token of a test-time register: what it was after every block of the last pass, `states`, (b, 1, width)."""

    def __init__(self) -> None:
        self.states: list[Tensor] = []

    @property
    def norms(self) -> Float[Tensor, "blocks b"]:
        """Its norms after every block, as those of patches are taken."""
        return torch.stack([x[:, 0].float().norm(dim=-1) for x in self.states])


@contextmanager
def register_at_test_time(vit: ViTLike, neurons: Neurons) -> Generator[Register]:
    """Inside the block the model runs with one more token, just before the patches, which these neurons write to.

    In every block that has some of them, the token gets each neuron's largest value over the patches, and the patches
    get none (section 4); the class token and registers that the model has keep theirs. Largest is meant without the
    sign, which neurons of a gated MLP have. Nothing else sees the token: tokens, states and layers are as many as ever.
    Batches that are packed into one row are refused by ValueError.
    """
    register, patches = Register(), [0]

    def counted(module: nn.Module, inputs: Any, output: Tokens) -> None:
        patches[0] = output.shape[1]
        register.states = []

    def enter(block: nn.Module, inputs: tuple[Tensor], named: dict[str, Any]) -> tuple[tuple[Tensor], dict[str, Any]]:
        if named.get("mask") is not None:
            raise ValueError("a test-time register is for pictures alone: not for masks, nor for packed batches")
        x, before = inputs[0], inputs[0].shape[1] - patches[0]
        token = register.states[-1] if register.states else x.new_zeros(len(x), 1, x.shape[2])
        if (rotate := named.get("rotate")) is not None:
            named = named | {"rotate": _around(rotate, before)}
        return (torch.cat([x[:, :before], token, x[:, before:]], dim=1),), named

    def leave(block: nn.Module, inputs: Any, x: Tensor) -> Tensor:
        at = x.shape[1] - patches[0] - 1
        register.states.append(x[:, at : at + 1])
        return torch.cat([x[:, :at], x[:, at + 1 :]], dim=1)

    def moving(which: Tensor) -> Any:
        def move(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
            x, own = inputs[0].clone(), which.to(inputs[0].device)
            said = x[:, -patches[0] :, own]
            x[:, -patches[0] - 1, own] = said.gather(1, said.abs().argmax(1, keepdim=True))[:, 0]
            x[:, -patches[0] :, own] = 0
            return (x,)

        return move

    with ExitStack() as stack:
        stack.callback(vit.patches.register_forward_hook(counted).remove)
        for number, block in enumerate(vit.blocks):
            stack.callback(block.register_forward_pre_hook(enter, with_kwargs=True, prepend=True).remove)
            stack.callback(block.register_forward_hook(leave, prepend=True).remove)
            if number in neurons:
                stack.callback(_down(block).register_forward_pre_hook(moving(neurons[number])).remove)
        yield register


def _around(rotate: Rotation, at: int) -> Rotation:
    """The same turn of all tokens but one more, which has no place and stays."""

    def around(x: Float[Tensor, "b h n d"]) -> Float[Tensor, "b h n d"]:
        turned = rotate(torch.cat([x[:, :, :at], x[:, :, at + 1 :]], dim=2))
        return torch.cat([turned[:, :, :at], x[:, :, at : at + 1], turned[:, :, at:]], dim=2)

    return around


def _count(vit: ViTLike, image: Float[Tensor, "b 3 h w"]) -> int:
    rows, columns = vit.patches.grid(*vit.patches.patch[:-2], *image.shape[-2:])[-2:]
    return rows * columns


def _down(block: nn.Module) -> nn.Linear | PackedLinear:
    """The second linear layer of a block's MLP, or what stands for it."""
    if not (isinstance(block, PreNorm) and isinstance(block.mlp, MLP | SwiGLU)):
        raise ValueError(f"{type(block).__name__} has no MLP with neurons")
    return block.mlp.down
