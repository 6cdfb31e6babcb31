"""Patch maps of every model that is one: laid out as the picture, normed, of any block, and of what attention reads."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sensorium.nn.patch_maps import patch_maps, sample_map
from sensorium.nn.vit_like import find_vit
from tests import tiny, tiny_dino

SIZE = (32, 48)  # of patches of 8: 4 x 6


def models() -> dict[str, nn.Module]:
    found = {name: tiny_dino.build(config) for name, config in tiny_dino.TRUNKS.items() if name != "ConvNeXt"}
    found |= {"dino.txt": tiny_dino.build(tiny_dino.TXT)}
    found |= {"ViT": tiny.build(tiny.VIT), "CLIP": tiny.build(tiny.CLIP_VIT), "ImageBind": tiny.build(tiny.IMAGEBIND)}
    return found


MODELS = models()


@pytest.fixture(params=MODELS)
def vit(request: pytest.FixtureRequest) -> Any:
    found = find_vit(MODELS[request.param])
    assert found is not None
    return found


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def test_the_last_block_is_what_the_model_gives(vit: Any, image: torch.Tensor) -> None:
    (found,) = patch_maps(vit, image)
    tokens = vit.tokens(image)
    if hasattr(vit, "norm_out"):  # CLIP and ImageBind norm only the class token that they give
        tokens = vit.norm_out(tokens)
    assert found.shape == (2, tokens.shape[2], 4, 6)
    assert found[1, :, 2, 5].tolist() == pytest.approx(tokens[1, -24 + 2 * 6 + 5].tolist(), abs=1e-5)
    assert not any(layer._forward_hooks for layer in vit.modules()), "nothing stays behind"


def test_any_block_and_what_its_attention_reads(vit: Any, image: torch.Tensor) -> None:
    first, last = patch_maps(vit, image, blocks=(0, -1))
    assert not torch.allclose(first, last)
    if hasattr(vit, "layers"):
        normed, _ = vit.layers(image, (0, -1))
        assert torch.allclose(first, normed.map((4, 6)), atol=1e-5)
    inputs: list[torch.Tensor] = []
    hook = vit.blocks[-1].norm1.register_forward_hook(lambda module, args, output: inputs.append(output))
    keys, *_ = patch_maps(vit, image, what="keys")
    hook.remove()
    wanted = vit.blocks[-1].attention.key(inputs[0])[:, -24:]
    assert torch.allclose(keys.flatten(2).mT, wanted, atol=1e-5)
    values = patch_maps(vit, image, what="values")[0]
    assert not torch.allclose(values, keys)
    with pytest.raises(IndexError):
        patch_maps(vit, image, blocks=(9,))


def test_sampling_is_what_interpolation_gives() -> None:
    features = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    large = F.interpolate(features[None], size=(12, 20), mode="bilinear")[0]
    y, x = torch.meshgrid(torch.arange(12), torch.arange(20), indexing="ij")
    places = torch.stack([(2 * x.flatten() + 1) / 20 - 1, (2 * y.flatten() + 1) / 12 - 1], 1)
    assert torch.allclose(sample_map(features, places), large.flatten(1).mT, atol=1e-5)
