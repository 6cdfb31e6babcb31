from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from sensorium.checkpoints.formats import parameters
from sensorium.models.vit import PRESETS, SIZES, ViT, ViTConfig
from tests import tiny

CHOICES: dict[str, dict[str, Any]] = {
    "plain": {},
    "pre-training head": {"representation": 48},
    "no head": {"classes": 0},
    "pooler and no head": {"classes": 0, "representation": 48},
    "mean": {"pool": "mean"},
    "mean with registers": {"pool": "mean", "registers": 2},
    "registers": {"registers": 3},
    "registers, class token without a position": {"registers": 3, "class_position": False, "layer_scale": 1e-2},
    "one channel": {"channels": 1},
}


def vit(**changes: Any) -> ViT:
    model = tiny.build(replace(tiny.VIT, **changes))
    assert isinstance(model, ViT)
    return model


@pytest.mark.parametrize("choice", CHOICES)
def test_shapes_of_every_choice(choice: str) -> None:
    changes = CHOICES[choice]
    model, c = vit(**changes), replace(tiny.VIT, **changes)
    image = torch.randn(2, c.channels, 32, 32)
    assert model(image).shape == (2, c.classes or c.representation or c.width)
    assert model.represent(image).shape == (2, c.width)
    prefix = (c.pool == "cls") + c.registers
    assert model.prefix == prefix
    assert model.tokens(image).shape == (2, prefix + 16, c.width)
    assert [state.shape for state in model.states(image)] == [(2, prefix + 16, c.width)] * (c.depth + 1)


@pytest.mark.parametrize("choice", CHOICES)
def test_gradient_reaches_every_parameter(choice: str) -> None:
    model = vit(**CHOICES[choice]).requires_grad_(True)
    c = model.config
    weights = torch.randn(2, c.classes or c.representation or c.width)
    (model(torch.randn(2, c.channels, 32, 32)) * weights).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.numel() and not name.endswith("attention.key.bias"):  # a softmax does not feel a common shift
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 1e-12, name


def test_forward_is_the_papers_equations() -> None:
    """z_0 = [cls; E·patches] + positions; z_l = MSA and MLP with residuals; y = LN(z_L)[0]; then the head."""
    model, image = vit(representation=48), torch.randn(2, 3, 32, 32)
    patches = nn.functional.unfold(image, 8, stride=8).mT @ model.patches.project.weight.flatten(1).T  # type: ignore[operator, union-attr]
    z = torch.cat([model.cls.expand(2, 1, -1), patches + model.patches.project.bias], 1) + model.positions  # type: ignore[operator]
    for block in model.blocks:
        z = block(z)
    y = nn.functional.layer_norm(z, (192,), model.norm.weight, model.norm.bias, 1e-6)[:, 0]
    expected = model.head(torch.tanh(model.pooler.project(y)))  # type: ignore[operator, union-attr]
    torch.testing.assert_close(model(image), expected, atol=1e-5, rtol=1e-5)


def test_mean_pools_patches_only_and_norms_the_mean() -> None:
    model, image = vit(pool="mean", registers=2), torch.randn(2, 3, 32, 32)
    tokens = model.states(image)[-1]
    torch.testing.assert_close(model.represent(image), model.norm(tokens[:, 2:].mean(1)))
    torch.testing.assert_close(model.represent(image), model.norm(model.tokens(image)[:, 2:].mean(1)))


def test_registers_stand_between_class_token_and_patches_without_position() -> None:
    model = vit(registers=2)
    embedded = model.embed(torch.randn(1, 3, 32, 32))
    assert torch.equal(embedded[0, 1:3], model.registers)
    torch.testing.assert_close(embedded[0, :1], model.cls + model.positions[:1])
    bare = vit(registers=2, class_position=False)
    assert torch.equal(bare.embed(torch.randn(1, 3, 32, 32))[0, :1], bare.cls)


@pytest.mark.parametrize(("height", "width"), [(384, 384), (224, 384), (208, 240)])
def test_another_resolution(height: int, width: int) -> None:
    """384 on a model of 224: more patches, positions interpolated, the class token's position untouched."""
    model = vit(image=224, patch=16, depth=1)
    rows, columns = height // 16, width // 16
    positions = model.positions_for(height, width)
    assert positions.shape == (1 + rows * columns, 192)
    assert torch.equal(positions[0], model.positions[0])
    image = torch.randn(1, 3, height, width)
    assert model.tokens(image).shape == (1, 1 + rows * columns, 192)
    assert model(image).shape == (1, 10)


def test_the_learned_resolution_is_not_touched() -> None:
    model = vit()
    assert model.positions_for(32, 32) is model.positions


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 192 does not divide into 5 heads"):
        ViT(replace(tiny.VIT, heads=5))


def test_presets_hold_the_table_of_the_paper() -> None:
    table = {"ti": (12, 192, 768, 3), "s": (12, 384, 1536, 6), "b": (12, 768, 3072, 12)}
    table |= {"l": (24, 1024, 4096, 16), "h": (32, 1280, 5120, 16)}
    assert {name: (c.depth, c.width, c.mlp, c.heads) for name, c in SIZES.items()} == table
    for size, patch in product(SIZES, (8, 14, 16, 32)):
        c = PRESETS[f"vit-{size}-{patch}"]
        assert (c.patch, c.depth, c.width, c.mlp, c.heads) == (patch, *table[size])
    assert PRESETS["vit-b-16-384"].image == 384
    assert PRESETS["vit-h-14-in21k"].representation == 1280


def test_smaller_patches_cost_positions_and_save_filters() -> None:
    b8, b16 = parameters(PRESETS["vit-b-8"]), parameters(PRESETS["vit-b-16"])
    assert b8 - b16 == (28**2 - 14**2) * 768 - (16**2 - 8**2) * 3 * 768


def test_configs_are_values() -> None:
    assert PRESETS["vit-b-32"] == ViTConfig(patch=32)
    with pytest.raises(AttributeError):
        ViTConfig().width = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        ViTConfig(witdh=3)  # type: ignore[call-arg]
