import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sensorium.nn import attention
from sensorium.nn.attention import Attention, causal
from sensorium.nn.transformer import MLP, PostNorm, PreNorm, Transformer


def twin(ours: Attention, width: int, heads: int, context_width: int) -> nn.MultiheadAttention:
    """torch's own layer with the same weights."""
    theirs = nn.MultiheadAttention(width, heads, batch_first=True, kdim=context_width, vdim=context_width)
    layers = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        if theirs.in_proj_weight is None:
            for weight, layer in zip(
                (theirs.q_proj_weight, theirs.k_proj_weight, theirs.v_proj_weight), layers, strict=True
            ):
                weight.copy_(layer.weight)
        else:
            theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in layers]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in layers]))
        theirs.out_proj.weight.copy_(ours.out.weight)
        theirs.out_proj.bias.copy_(ours.out.bias)
    return theirs.eval()


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 7),
    st.integers(1, 7),
    st.integers(1, 4),
    st.integers(1, 6),
    st.sampled_from(["none", "bool", "float"]),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_equals_torch(b: int, n: int, m: int, heads: int, head: int, kind: str, cross: bool, seed: int) -> None:
    torch.manual_seed(seed)
    width = heads * head
    context_width, m = (width + 3, m) if cross else (width, n)
    ours = Attention(width, heads, context_width=context_width)
    x, context = torch.randn(b, n, width), torch.randn(b, m, context_width) if cross else None
    source = x if context is None else context
    mask = theirs_mask = None
    if kind == "bool":
        mask = torch.rand(b, 1, n, m) > 0.4
        mask[..., 0] = True  # a query that may look nowhere has no answer
        theirs_mask = ~mask.expand(b, heads, n, m).reshape(b * heads, n, m)  # torch: True is where it may not look
    elif kind == "float":
        mask = torch.randn(b, heads, n, m)
        theirs_mask = mask.reshape(b * heads, n, m)
    expected, _ = twin(ours, width, heads, context_width)(x, source, source, attn_mask=theirs_mask)
    torch.testing.assert_close(ours(x, context, mask=mask), expected, atol=1e-5, rtol=1e-5)


def test_masked_tokens_cannot_be_seen() -> None:
    attention, x = Attention(8, 2), torch.randn(2, 5, 8)
    mask = torch.ones(1, 1, 5, 5, dtype=torch.bool)
    mask[..., 3] = False
    before = attention(x, mask=mask)
    x[:, 3] += 1
    changed = (attention(x, mask=mask) - before).abs().amax((0, 2))
    assert changed[[0, 1, 2, 4]].max() == 0
    assert changed[3] > 0


def test_null_token_is_one_more_key() -> None:
    attention = Attention(8, 2, null_token=True)
    assert attention.null_key is not None
    assert attention.null_value is not None
    nn.init.normal_(attention.null_key)
    nn.init.normal_(attention.null_value)
    x = torch.randn(3, 4, 8)
    plain = Attention(8, 2)
    plain.load_state_dict({key: t for key, t in attention.state_dict().items() if "null" not in key})
    q, k, v = (layer(x).unflatten(-1, (2, 4)).transpose(1, 2) for layer in (plain.query, plain.key, plain.value))
    null_key, null_value = (
        null.detach().view(1, 2, 1, 4).expand(3, 2, 1, 4) for null in (attention.null_key, attention.null_value)
    )
    k, v = torch.cat([k, null_key], 2), torch.cat([v, null_value], 2)
    weights = (q @ k.mT / 2).softmax(-1)
    torch.testing.assert_close(attention(x), plain.out((weights @ v).transpose(1, 2).flatten(2)))
    alone = torch.zeros(1, 1, 4, 5, dtype=torch.bool)
    alone[..., -1] = True  # every query looks at nothing: it gets the learned nothing
    expected = attention.out(attention.null_value.expand(3, 4, 8))
    torch.testing.assert_close(attention(x, mask=alone), expected)


def test_rotation_turns_queries_and_keys_per_head() -> None:
    """Scores of rotary positions depend on the distance alone, so a common shift changes nothing."""
    attention, x = Attention(8, 2), torch.randn(1, 6, 8)

    def rotary(offset: int) -> "nn.Module":
        class Turn(nn.Module):
            def forward(self, t: Tensor) -> Tensor:
                assert t.shape == (1, 2, 6, 4)
                angle = (torch.arange(6) + offset)[:, None] * torch.tensor([1.0, 0.1])
                cos, sin = angle.cos().repeat(1, 2), angle.sin().repeat(1, 2)
                half = torch.cat([-t[..., 2:], t[..., :2]], -1)
                return t * cos + half * sin

        return Turn()

    shifted = attention(x, rotate=rotary(5))
    torch.testing.assert_close(attention(x, rotate=rotary(0)), shifted, atol=1e-5, rtol=1e-5)
    assert (attention(x) - shifted).abs().max() > 1e-3


def test_inner_width_and_no_key_bias() -> None:
    attention = Attention(8, 3, context_width=5, inner=12, key_bias=False)
    assert attention.key.bias is None
    assert attention.query.bias is not None
    assert attention(torch.randn(2, 4, 8), torch.randn(2, 7, 5)).shape == (2, 4, 8)
    with pytest.raises(ValueError, match="width 8 does not divide into 3 heads"):
        Attention(8, 3)


def test_the_kernel_is_one_swappable_function() -> None:
    attention, x, seen = Attention(8, 2), torch.randn(1, 3, 8), []
    expected, inner = attention(x), attention.kernel

    def listening(q: Tensor, k: Tensor, v: Tensor, *, attn_mask: Tensor | None = None) -> Tensor:
        seen.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1))
        return inner(q, k, v, attn_mask=attn_mask)

    attention.kernel = listening
    torch.testing.assert_close(attention(x), expected)
    torch.testing.assert_close(seen[0].sum(-1), torch.ones(1, 2, 3))


def test_causal() -> None:
    assert causal(3, torch.device("cpu"))[0, 0].tolist() == [[True, False, False], [True, True, False], [True] * 3]


@pytest.mark.parametrize("block", [PreNorm, PostNorm])
def test_blocks_by_hand(block: type[PreNorm] | type[PostNorm]) -> None:
    layer = block(Attention(8, 2), MLP(8, 16), 8, eps=1e-6)
    for norm in (layer.norm1, layer.norm2):
        nn.init.normal_(norm.weight)
    x = torch.randn(2, 3, 8)
    if block is PreNorm:
        y = x + layer.attention(layer.norm1(x))
        expected = y + layer.mlp(layer.norm2(y))
    else:
        y = layer.norm1(x + layer.attention(x))
        expected = layer.norm2(y + layer.mlp(y))
    torch.testing.assert_close(layer(x), expected)


def test_trace_ends_where_forward_ends() -> None:
    stack = Transformer(PreNorm(Attention(8, 2), MLP(8, 16), 8, eps=1e-6, layer_scale=0.5) for _ in range(3))
    x = torch.randn(2, 4, 8)
    states = stack.trace(x, mask=causal(4, x.device))
    assert len(states) == 4
    assert torch.equal(states[0], x)
    torch.testing.assert_close(states[-1], stack(x, mask=causal(4, x.device)))


@pytest.mark.parametrize("whole", [attention.WHOLE, 0], ids=["formed in full", "fused"])
@pytest.mark.parametrize("masked", [False, True])
def test_bf16_is_fp32_rounded_forwards_and_backwards(whole: int, masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "WHOLE", whole)
    torch.manual_seed(0)
    mask = causal(9, torch.device("cpu")) if masked else None
    exact = [torch.randn(2, 3, 9, 8, requires_grad=True) for _ in range(3)]
    rounded = [x.detach().bfloat16().requires_grad_() for x in exact]
    for inputs in (exact, rounded):
        attention.attend(*inputs, attn_mask=mask).float().pow(2).sum().backward()
    for one, other in zip(exact, rounded, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert (other.grad.float() - one.grad).abs().max() < 0.03 * one.grad.abs().max()
