"""The plain kernel equals the fused one, and what is seen is what was computed with."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sensorium.nn.attention import Attention, causal
from sensorium.nn.looking import eager, looking, using, watching, weigh
from tests import tiny


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 6), st.sampled_from(["none", "bool", "float"]))
def test_plain_equals_fused(heads: int, n: int, m: int, kind: str) -> None:
    q, k, v = torch.randn(2, heads, n, 8), torch.randn(2, heads, m, 8), torch.randn(2, heads, m, 5)
    seen = torch.rand(n, m) > 0.3
    seen[:, 0] = True  # every query sees something
    mask = {"none": None, "bool": seen[None, None], "float": torch.randn(1, heads, n, m)}[kind]
    torch.testing.assert_close(
        eager(q, k, v, mask), F.scaled_dot_product_attention(q, k, v, attn_mask=mask), atol=1e-5, rtol=1e-5
    )


def test_weights_are_shares_and_respect_the_mask() -> None:
    weights = weigh(torch.randn(1, 2, 4, 8), torch.randn(1, 2, 4, 8), causal(4, torch.device("cpu")))
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2, 4))
    assert not weights.triu(1).any()


def test_looking_changes_nothing_and_sees_every_layer() -> None:
    model, image = tiny.build(tiny.VIT), torch.randn(2, 3, 32, 32)
    before = model(image)  # type: ignore[operator]
    with looking(model) as seen:
        during = model(image)  # type: ignore[operator]
    torch.testing.assert_close(during, before, atol=1e-5, rtol=1e-5)
    assert {name: [w.shape for w in weights] for name, weights in seen.items()} == {
        f"blocks.{i}.attention": [torch.Size([2, 3, 17, 17])] for i in range(2)
    }
    assert torch.equal(model(image), before), "the fused kernel is back"  # type: ignore[operator]


def test_kernels_come_back_after_an_error() -> None:
    layer = Attention(8, 2)
    own = layer.kernel
    try:
        with using(layer, eager):
            assert layer.kernel is eager
            raise RuntimeError
    except RuntimeError:
        pass
    assert layer.kernel is own


@pytest.mark.parametrize("numbers", [1, 40, 1 << 20])
def test_watching_sees_in_pieces_what_looking_sees_at_once(numbers: int) -> None:
    model, image = tiny.build(tiny.VIT), torch.randn(2, 3, 32, 32)
    before, pieces = model(image), dict[str, list[tuple[int, torch.Tensor]]]()  # type: ignore[operator]
    with watching(
        model, lambda name, first, weights: pieces.setdefault(name, []).append((first, weights)), numbers=numbers
    ):
        during = model(image)  # type: ignore[operator]
    with looking(model) as whole:
        model(image)  # type: ignore[operator]
    torch.testing.assert_close(during, before, atol=1e-5, rtol=1e-5)
    assert pieces.keys() == whole.keys()
    for name, (weights,) in whole.items():
        assert [first for first, _ in pieces[name]] == list(range(0, 17, pieces[name][0][1].shape[2]))
        torch.testing.assert_close(torch.cat([piece for _, piece in pieces[name]], dim=2), weights)
    assert len(pieces[name]) == {1: 17, 40: 17, 1 << 20: 1}[numbers]


@pytest.mark.parametrize(
    "mask", [causal(4, torch.device("cpu")), torch.tensor([True, True, False, True]).view(1, 1, 1, 4)]
)
def test_watching_in_pieces_keeps_the_mask_in_place(mask: torch.Tensor) -> None:
    layer, x, seen = Attention(8, 2), torch.randn(1, 4, 8), list[torch.Tensor]()
    with watching(layer, lambda _, first, weights: seen.append(weights), numbers=2 * 4 * 3):
        during = layer(x, mask=mask)
    torch.testing.assert_close(during, layer(x, mask=mask), atol=1e-5, rtol=1e-5)
    assert [piece.shape[2] for piece in seen] == [3, 1]
    assert not torch.cat(seen, dim=2)[~mask.expand(1, 2, 4, 4)].any()
