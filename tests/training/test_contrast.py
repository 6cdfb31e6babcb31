"""A large batch in small memory, or on several processes: the same loss and the same gradients."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.objectives.contrastive import contrastive, sigmoid
from sensorium.training.chunked import chunked

SCALE, BIAS = torch.tensor(5.0, requires_grad=True), torch.tensor(-2.0, requires_grad=True)


def towers(drop: float = 0.0) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return tuple(nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Dropout(drop), nn.Linear(16, 6)) for _ in range(2))  # pyright: ignore


def gradients(parts: list[nn.Module], loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [p for part in parts for p in part.parameters()] + [SCALE]))


@pytest.mark.parametrize("chunk", [1, 3, 4, 10])
def test_cached_gradients_equal_plain_ones(chunk: int):
    a, b = towers()
    x, y = torch.randn(10, 8), torch.randn(10, 8)

    def loss(size: int) -> Tensor:
        u, v = (F.normalize(chunked(f, rows, chunk=size), dim=-1) for f, rows in ((a, x), (b, y)))
        return contrastive(u, v, SCALE)

    torch.testing.assert_close(loss(chunk), loss(0), rtol=0, atol=1e-6)
    torch.testing.assert_close(gradients([a, b], loss(chunk)), gradients([a, b], loss(0)), rtol=0, atol=1e-6)


def test_a_chunk_keeps_no_activations_and_repeats_its_dropout():
    tower, _ = towers(drop=0.5)
    x, kept = torch.randn(64, 8), list[int]()

    def remember(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        chunked(tower, x, chunk=8)
        saved = sum(kept)
        chunked(tower, x, chunk=0)
    assert saved <= x.numel() < sum(kept) - saved
    torch.manual_seed(1)
    y = chunked(tower, x, chunk=8)
    slope = torch.autograd.grad(y.square().sum() / 2, tower[3].weight)[0]
    torch.manual_seed(1)
    hidden = torch.cat([tower[:3](part) for part in x.split(8)])
    torch.testing.assert_close(slope, y.T @ hidden)


def in_two(loss: Callable[..., Tensor], a: Tensor, b: Tensor) -> Tensor:
    """What two processes with half of the rows each compute together."""
    n = len(a) // 2
    return (loss(a[:n], b[:n], all_a=a, all_b=b, offset=0) + loss(a[n:], b[n:], all_a=a, all_b=b, offset=n)) / 2


def test_gathered_losses_and_gradients_equal_those_of_one_process():
    a, b = towers()
    u, v = F.normalize(a(torch.randn(6, 8)), dim=-1), F.normalize(b(torch.randn(6, 8)), dim=-1)

    def info(a: Tensor, b: Tensor, **rest: object) -> Tensor:
        return contrastive(a, b, SCALE, **rest)  # pyright: ignore

    def pairs(a: Tensor, b: Tensor, *, all_a: Tensor | None = None, **rest: object) -> Tensor:
        return sigmoid(a, b, SCALE, BIAS, **rest)  # pyright: ignore

    for loss in (info, pairs):
        torch.testing.assert_close(in_two(loss, u, v), loss(u, v))
        wanted = [u, v, SCALE]
        one = torch.autograd.grad(loss(u, v), wanted, retain_graph=True)
        two = torch.autograd.grad(in_two(loss, u, v), wanted, retain_graph=True)
        torch.testing.assert_close(two, one)
