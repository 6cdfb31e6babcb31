import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sensorium.nn import products
from sensorium.nn.products import fast_products, faster, linear
from sensorium.nn.transformer import MLP

pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise") or not torch.backends.mkldnn.is_available(),
    reason="this torch has no such products",
)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes of what was multiplied by oneDNN; every CPU counts as one where that pays."""
    shapes: list[torch.Size] = []
    real = products.product

    def seen(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        shapes.append(x.shape)
        return real(x, weight, bias)

    monkeypatch.setattr(products, "product", seen)
    monkeypatch.setattr(products, "faster", lambda: True)
    torch.manual_seed(0)
    return shapes


def gradients(model: nn.Module, x: Tensor, *, recomputed: bool = False) -> list[Tensor]:
    """Of the input and of every weight, after two parts of a batch."""
    model.zero_grad()
    x = x.clone().requires_grad_()
    for part in x.chunk(2):
        y = checkpoint(model, part, use_reentrant=False) if recomputed else model(part)
        y.square().mean().backward()
    return [y.detach(), x.grad, *(p.grad.clone() for p in model.parameters())]  # type: ignore[list-item, union-attr]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("recomputed", [True, False])
def test_same_gradients_as_torch_and_the_same_every_time(taken: list[torch.Size], bias: bool, recomputed: bool) -> None:
    model, x = MLP(96, 384, bias=bias), torch.randn(4, 70, 96)
    plain = gradients(model, x)
    with fast_products(model):
        ours, again = (gradients(model, x, recomputed=recomputed) for _ in range(2))
    assert len(taken) == 2 * 2 * (8 if recomputed else 6)
    for mine, other, torchs in zip(ours, again, plain, strict=True):
        assert torch.equal(mine, other)
        assert mine.stride() == torchs.stride()
        torch.testing.assert_close(mine, torchs, atol=1e-6 * float(torchs.abs().max()), rtol=1e-5)


def test_any_layout_and_a_second_derivative(taken: list[torch.Size]) -> None:
    weight, bias = torch.randn(24, 16, requires_grad=True), torch.randn(24, requires_grad=True)
    for x in (torch.randn(16, 5).T, torch.randn(16), torch.randn(2, 16, 7).mT):
        for use in (linear, F.linear):
            z = x.clone().requires_grad_()
            y = use(z, weight, bias).sum()  # its gradient is one number, expanded
            first = torch.autograd.grad(y, (z, weight, bias), create_graph=True)
            second = torch.autograd.grad(first[0].square().sum() + first[1].square().sum(), (z, weight))
            if use is linear:
                ours = [y, *first, *second]
            else:
                for mine, torchs in zip(ours, [y, *first, *second], strict=True):
                    torch.testing.assert_close(mine, torchs, atol=1e-4, rtol=1e-5)


def test_what_is_frozen_gets_no_gradient(taken: list[torch.Size]) -> None:
    model = nn.Linear(96, 384)
    model.weight.requires_grad_(False)
    with fast_products(model):
        model(torch.randn(70, 96)).sum().backward()
    assert model.weight.grad is None
    assert model.bias.grad is not None
    assert len(taken) == 1


def test_torchs_own_products_where_ours_do_not_fit(taken: list[torch.Size]) -> None:
    layer, x = nn.Linear(96, 384), torch.randn(70, 96)
    with fast_products(layer):
        layer(x[:2])  # small
        layer(x[:0])
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16
        assert not taken
        layer(x)
        assert len(taken) == 1
    exact = nn.Linear(96, 384).double()
    with fast_products(exact):
        exact(x.double())
        assert torch.export.export(layer, (x,)).module()(x).shape == (70, 384)
    assert len(taken) == 1


def test_nothing_of_it_stays(taken: list[torch.Size]) -> None:
    model = nn.Sequential(nn.Linear(96, 384), nn.GELU())
    before = set(vars(model[0]))
    with fast_products(model):
        assert list(model.state_dict()) == ["0.weight", "0.bias"]
        assert [type(module) for module in model] == [nn.Linear, nn.GELU]
        twin = copy.deepcopy(model)
        nn.init.zeros_(twin[0].weight)  # a copy multiplies by its own weights
        assert torch.equal(twin(torch.ones(70, 96))[0], F.gelu(twin[0].bias))
    assert set(vars(model[0])) == before
    taken.clear()
    model(torch.randn(70, 96))
    assert not taken


def test_only_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(96, 384)
    monkeypatch.setattr(products, "faster", lambda: False)
    with fast_products(layer):
        assert "forward" not in vars(layer)


def test_without_the_operators_it_does_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        raise AttributeError("no such operator")

    monkeypatch.setattr(products, "product", missing)
    faster.cache_clear()
    try:
        assert faster() is False
    finally:
        faster.cache_clear()
