import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sensorium.models.vit import ViT, ViTConfig
from sensorium.nn.attention import Attention
from sensorium.nn.ragged import Groups, Ragged
from sensorium.nn.transformer import MLP, PreNorm
from sensorium.training.dropout import drop_path, dropout

SMALL = ViTConfig(image=16, patch=8, width=32, depth=3, heads=2, mlp=64, classes=5)


def test_dropout_draws_in_training_alone_and_adds_no_names() -> None:
    model, image = ViT(SMALL).eval(), torch.randn(2, 3, 16, 16)
    before, names = model(image), list(model.state_dict())
    dropout(model, 0.5)
    assert list(model.state_dict()) == names
    assert torch.equal(model(image), before)
    model.train()
    torch.manual_seed(0)
    first, second = model(image), model(image)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(model(image), first), "the seed decides"


def test_no_rate_no_hook() -> None:
    model = ViT(SMALL)
    dropout(model, 0.0)
    drop_path(model.blocks, 0.0)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any("forward" in vars(module) for module in model.modules())


def block(width: int = 12) -> PreNorm:
    torch.manual_seed(0)
    return PreNorm(Attention(width, 3), MLP(width, 20), width, eps=1e-6).train()


def test_drop_path_leaves_out_so_many_rows_of_every_batch_and_counts_the_others_more() -> None:
    """As DINOv2 and DINOv3 do: max(int(b (1 - p)), 1) rows, times b / kept, and others for the MLP."""
    alone, dropping, computed = block(), block(), list[tuple[int, int]]()
    drop_path([dropping], 0.4)
    dropping.attention.register_forward_hook(lambda _, inputs, out: computed.append((1, inputs[0].shape[1])))
    dropping.mlp.register_forward_hook(lambda _, inputs, out: computed.append((2, inputs[0].shape[1])))
    batches = [torch.randn(5, 4, 12), torch.randn(1, 7, 12), torch.randn(8, 2, 12)]
    groups = Groups([(5, 4), (1, 7), (8, 2)])
    differ = False
    for seed in range(20):
        torch.manual_seed(seed)
        made = groups.unpack(dropping(groups.pack(batches), mask=groups))
        torch.manual_seed(seed)
        drawn = [torch.randperm(len(x))[:kept] for _ in range(2) for x, kept in zip(batches, (3, 1, 4), strict=True)]
        differ |= set(drawn[0].tolist()) != set(drawn[3].tolist())
        for x, y, first, second in zip(batches, made, drawn[:3], drawn[3:], strict=True):
            expected = x.clone()
            expected[first] += alone.attention(alone.norm1(x[first])) * len(x) / len(first)
            expected[second] += alone.mlp(alone.norm2(expected[second])) * len(x) / len(second)
            torch.testing.assert_close(y, expected)
    assert differ
    assert set(computed) == {(1, 3 * 4 + 7 + 4 * 2), (2, 3 * 4 + 7 + 4 * 2)}, "what is left out is not computed"


def test_drop_path_of_one_batch_turns_it_as_ever_and_rests_in_eval_mode() -> None:
    alone, dropping, x = block(), block(), torch.randn(3, 4, 12)
    drop_path([dropping], 0.01)  # of one row one is kept
    torch.testing.assert_close(dropping(x[:1], rotate=torch.cos), alone(x[:1], rotate=torch.cos))
    drop_path([dropping], 0.9)
    assert not torch.allclose(dropping(x), alone(x))
    assert torch.equal(dropping.eval()(x, rotate=torch.cos), alone(x, rotate=torch.cos))


def test_drop_path_keeps_the_mean() -> None:
    alone, dropping, x = block(), block(), torch.randn(1, 2, 12).expand(500, -1, -1)
    drop_path([dropping], 0.5)
    with torch.no_grad():
        expected = x + alone.attention(alone.norm1(x))
        dropping.mlp.register_forward_hook(lambda _, inputs, out: 0 * out)
        torch.testing.assert_close(dropping(x).mean(0), expected.mean(0))


def test_drop_path_goes_with_a_copy_and_with_recomputation() -> None:
    """A teacher is a copy: its blocks must be its own."""
    model = nn.ModuleList([block()])
    drop_path(model, 0.5)
    teacher = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.zero_()
    x = torch.randn(4, 2, 12)
    assert torch.equal(teacher[0](x), x)
    gradients: list[list[Tensor | None]] = []
    for run in (model[0], partial(checkpoint, model[0], use_reentrant=False)):
        torch.manual_seed(3)
        model.zero_grad()
        run(x).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("mask", [torch.ones(1, 1, 4, 4).bool(), Ragged(torch.ones(3, 4).bool())])
def test_drop_path_refuses_masks(mask: Any) -> None:
    dropping = block()
    drop_path([dropping], 0.5)
    with pytest.raises(TypeError, match="can have none"):
        dropping(torch.randn(3, 4, 12), mask=mask)
