"""Test-time registers: planted neurons are found and moved, and a token that takes nothing over is a plain register."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from sensorium.nn.packed import pack
from sensorium.nn.patch_maps import patch_maps
from sensorium.nn.register_neurons import Neurons, register_at_test_time, register_neurons
from sensorium.nn.vit_like import find_vit
from tests import tiny_dino
from tests.insight.trunks import TRUNKS, build

BLOCK, NEURON, PATCH, WIDTH = 1, 17, 6, 128


def planted(*, gated: bool = False) -> Any:
    """A DINOv2 in which one neuron of the second block speaks at one patch, and writes a vector ten times too long.

    Attention writes nothing, so that what one token says reaches no other.
    """
    model = tiny_dino.build(replace(tiny_dino.V2, registers=1, gated=gated))
    with torch.no_grad():
        for block in model.blocks:
            block.attention.out.weight.zero_()
        direction = torch.nn.functional.normalize(torch.randn(WIDTH), dim=0)
        model.positions[1 + PATCH] = 15 * direction
        block, mlp = model.blocks[BLOCK], model.blocks[BLOCK].mlp
        block.norm2.weight.fill_(1), block.norm2.bias.zero_()
        mlp.up.weight[NEURON], mlp.up.bias[NEURON] = 4 * direction, -20.0
        if gated:
            mlp.gate.weight[NEURON], mlp.gate.bias[NEURON], mlp.up.bias[NEURON] = 6 * direction, -36.0, 0.0
            mlp.up.weight[NEURON] = -4 * direction  # such a neuron speaks with either sign
        mlp.down.weight[:, NEURON] = 30 * torch.nn.functional.normalize(torch.randn(WIDTH), dim=0)
    return model


@pytest.mark.parametrize("gated", [False, True], ids=["plain", "gated"])
def test_a_planted_neuron_is_found_and_its_outlier_moves_to_the_register(gated: bool) -> None:
    model = planted(gated=gated)
    images = [torch.randn(2, 3, 32, 32), torch.randn(1, 3, 32, 32)]
    found = register_neurons(model, images, 1)
    assert found is not None
    assert {block: which.tolist() for block, which in found.neurons.items()} == {BLOCK: [NEURON]}
    assert (found.outliers, found.patches, found.since) == (3, 48, BLOCK + 1)
    with torch.inference_mode():
        plain = model.states(images[0])
        with register_at_test_time(model, found.neurons) as register:
            moved = model.states(images[0])
        assert all(torch.equal(x, y) for x, y in zip(model.states(images[0]), plain, strict=True)), "all is as it was"
    others = [i for i in range(18) if i != 2 + PATCH]
    for before, after in zip(plain, moved, strict=True):
        torch.testing.assert_close(after[:, others], before[:, others], atol=1e-4, rtol=1e-4)
    before, after = (x[-1][:, 2:].norm(dim=-1) for x in (plain, moved))
    assert (before[:, PATCH] > 3 * before.median(1).values).all()
    assert (after[:, PATCH] < 2 * after.median(1).values).all(), "a patch like the others"
    lost = plain[BLOCK + 1][:, 2 + PATCH] - moved[BLOCK + 1][:, 2 + PATCH]
    assert (register.norms[BLOCK] > 0.9 * lost.norm(dim=-1)).all(), "the register has what the patch has no more"
    assert (register.norms[0] < 0.2 * register.norms[BLOCK]).all()
    assert register.norms.shape == (3, 2)


@pytest.mark.parametrize("name", ["DINOv2", "DINOv2, gated", "DINOv3"])
def test_a_register_that_takes_nothing_over_is_one_of_zeros(name: str) -> None:
    """Of DINOv3 also: the token has no place, and the patches keep theirs."""
    config = tiny_dino.TRUNKS[name]
    model, image = tiny_dino.build(config), torch.randn(2, 3, 40, 24)
    wider = type(model)(replace(config, registers=5)).eval()
    state = model.state_dict()
    state["registers"] = torch.cat([state["registers"], torch.zeros(1, WIDTH)])
    wider.load_state_dict(state)
    with torch.inference_mode():
        wanted = wider.tokens(image)
        with register_at_test_time(model, {}):
            got = model.tokens(image)
    torch.testing.assert_close(got, torch.cat([wanted[:, :5], wanted[:, 6:]], dim=1))
    assert (got - model.tokens(image)).abs().max() > 1e-3


@pytest.mark.parametrize("name", TRUNKS)
def test_every_family_runs_with_one(name: str) -> None:
    vit: Any = find_vit(build(name))
    images = [torch.randn(1, 3, 40, 24), torch.randn(2, 3, 32, 32)]
    found = register_neurons(vit, images, 5, cutoff=0.1)
    assert found is not None
    assert sum(map(len, found.neurons.values())) == 5
    assert found.outliers == found.patches == 15 + 32, "all of them, at such a cutoff"
    with torch.inference_mode(), register_at_test_time(vit, found.neurons) as register:
        tokens = vit.tokens(images[0])
        (keys,) = patch_maps(vit, images[0], what="keys")
    assert tokens.shape == vit.tokens(images[0]).shape
    assert keys.shape[2:] == (5, 3)
    assert register.norms.shape == (len(vit.blocks), 1)


def test_packed_models_have_them_too() -> None:
    model, image = planted(), torch.randn(2, 3, 32, 32)
    neurons: Neurons = {BLOCK: torch.tensor([NEURON])}
    with torch.inference_mode(), register_at_test_time(model, neurons):
        wanted = model.tokens(image)
    pack(model, anyway=True)
    found = register_neurons(model, [image], 1)
    assert found is not None
    assert found.neurons[BLOCK].tolist() == [NEURON]
    with torch.inference_mode(), register_at_test_time(model, found.neurons):
        torch.testing.assert_close(model.tokens(image), wanted, atol=1e-4, rtol=1e-4)


def test_what_is_refused() -> None:
    model = tiny_dino.build(tiny_dino.V3)
    image = torch.randn(2, 3, 32, 32)
    assert register_neurons(model, [image], 3) is None, "no outliers"
    with pytest.raises(ValueError, match="the blocks have 768"):
        register_neurons(model, [image], 769)
    with register_at_test_time(model, {}), pytest.raises(ValueError, match="packed"):
        model.several([image])
