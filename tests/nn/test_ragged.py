import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor

from sensorium.nn.attention import Attention
from sensorium.nn.ragged import Ragged, without_padding
from sensorium.nn.transformer import MLP, PostNorm, PreNorm, Transformer


def transformer(kind: type[PostNorm] | type[PreNorm] = PostNorm) -> Transformer:
    torch.manual_seed(0)
    return Transformer(kind(Attention(12, 3), MLP(12, 20), 12, eps=1e-6) for _ in range(2)).eval()


masks = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1, max_size=4)
)


@settings(max_examples=60, deadline=None)
@given(masks)
def test_packing_comes_back(rows: list[list[bool]]) -> None:
    mask = torch.tensor(rows)
    x = torch.randn(*mask.shape, 5)
    ragged = Ragged(mask)
    assert ragged.pack(x).shape == (1, int(mask.sum()), 5)
    assert torch.equal(ragged.unpack(ragged.pack(x)), x * mask[..., None])


@torch.no_grad()
@settings(max_examples=60, deadline=None)
@given(masks, st.sampled_from([PostNorm, PreNorm]))
def test_real_tokens_are_as_with_padding(rows: list[list[bool]], kind: type[PostNorm]) -> None:
    """Padding anywhere in a row, and rows that are all padding."""
    mask, blocks = torch.tensor(rows), transformer(kind)
    x = torch.randn(*mask.shape, 12)
    close(without_padding(blocks, x, mask)[mask], blocks(x, mask=mask[:, None, None])[mask])


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_gradients_are_the_same() -> None:
    mask, blocks = torch.tensor([[1, 1, 0, 1], [0, 1, 0, 0]]).bool(), transformer()
    gradients = []
    for packed in (True, False):
        x = torch.randn(2, 4, 12, generator=torch.Generator().manual_seed(3), requires_grad=True)
        y = without_padding(blocks, x, mask) if packed else blocks(x, mask=mask[:, None, None])
        blocks.zero_grad()
        y[mask].square().sum().backward()
        assert x.grad is not None
        gradients.append([x.grad, *(p.grad for p in blocks.parameters())])
    for a, b in zip(*gradients, strict=True):
        close(a, b)


@pytest.mark.parametrize("mask", [None, torch.ones(2, 4, dtype=torch.bool)])
def test_without_padding_nothing_is_packed(mask: Tensor | None) -> None:
    blocks, x = transformer(), torch.randn(2, 4, 12)
    shapes: list[torch.Size] = []
    blocks[0].register_forward_hook(lambda _, inputs, out: shapes.append(inputs[0].shape))
    close(without_padding(blocks, x, mask), blocks(x))
    assert shapes == [x.shape] * 2


def test_a_kernel_sees_rows_as_ever() -> None:
    """So that insight, which listens there, need not know of packing."""
    blocks, mask = transformer(), torch.tensor([[1, 1, 1, 0], [1, 0, 1, 1]]).bool()
    seen: list[tuple[torch.Size, Tensor]] = []
    plain = blocks[0].attention.kernel

    def listen(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor) -> Tensor:
        seen.append((q.shape, attn_mask))
        return plain(q, k, v, attn_mask=attn_mask)  # type: ignore[operator, no-any-return]

    blocks[0].attention.kernel = listen  # type: ignore[union-attr, assignment]
    without_padding(blocks, torch.randn(2, 4, 12), mask)
    assert seen[0][0] == (2, 3, 4, 4)
    assert torch.equal(seen[0][1], mask[:, None, None])


def test_what_does_not_fit_a_packed_row_fails() -> None:
    """A null token would stand behind the last row alone."""
    attention, ragged = Attention(12, 3, null_token=True), Ragged(torch.tensor([[True, False], [True, True]]))
    with pytest.raises((RuntimeError, IndexError, TypeCheckError)):
        attention(ragged.pack(torch.randn(2, 2, 12)), mask=ragged)
