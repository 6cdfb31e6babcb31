"""Crops of several sizes in one pass are what they are one by one."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sensorium.models.dinov3 import DINOv3, DINOv3Config
from sensorium.nn.features import Features
from sensorium.nn.rotary_augmentation import augmented_coordinates
from sensorium.training.dropout import drop_path
from tests import tiny_dino as tiny

CONFIGS = {
    "plain": tiny.V3,
    "local norm": tiny.TRUNKS["DINOv3, gated"],
    "untied": tiny.TRUNKS["DINOv3, untied"],
    "both": replace(tiny.V3, untied=True, local_norm=True),
}
LOCAL = [False, True, False]


def crops() -> tuple[list[Tensor], list[Tensor | None]]:
    """Two large ones with hidden patches, five small ones, three of another shape, some hidden."""
    dice = torch.Generator().manual_seed(1)
    images = [torch.randn(b, 3, h, w, generator=dice) for b, h, w in ((2, 64, 64), (5, 24, 24), (3, 16, 40))]
    return images, [torch.rand(2, 64, generator=dice) < 0.3, None, torch.rand(3, 10, generator=dice) < 0.5]


def alone(model: DINOv3, images: list[Tensor], masks: list[Tensor | None]) -> list[Features]:
    return [model(image, mask, local=small) for image, mask, small in zip(images, masks, LOCAL, strict=True)]


def close(ours: list[Features], expected: list[Features]) -> None:
    assert len(ours) == len(expected)
    for one, other in zip(ours, expected, strict=True):
        for part, same in zip(one, other, strict=True):
            torch.testing.assert_close(part, same, atol=1e-5, rtol=1e-5)


def gradients(model: DINOv3, made: list[Features]) -> list[Tensor | None]:
    torch.manual_seed(2)
    model.zero_grad()
    torch.stack(
        [(part * torch.randn_like(part)).mean() for each in made for part in each if part.numel()]
    ).sum().backward()
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("choice", CONFIGS)
def test_values_and_gradients_are_those_of_separate_passes(choice: str) -> None:
    model, (images, masks) = tiny.build(CONFIGS[choice]).requires_grad_(True), crops()
    packed, separate = model.several(images, masks, local=LOCAL), alone(model, images, masks)
    close(packed, separate)
    for ours, expected in zip(gradients(model, packed), gradients(model, separate), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
    assert packed[1].cls.shape == (5, 128)
    assert packed[2].patches.shape == (3, 10, 128)


@torch.no_grad()
def test_masks_and_local_may_be_left_out() -> None:
    model, (images, _) = tiny.build(CONFIGS["local norm"]), crops()
    close(model.several(images), [model(image) for image in images])
    close(model.several(images[1:2]), [model(images[1])])


def test_all_tokens_go_through_a_layer_at_once() -> None:
    model, (images, masks), seen = tiny.build(tiny.V3), crops(), list[torch.Size]()
    model.blocks[1].mlp.register_forward_hook(lambda _, inputs, out: seen.append(inputs[0].shape))
    model.several(images, masks)
    assert seen == [(1, 2 * 69 + 5 * 14 + 3 * 15, 128)]


def drawing(seed: int) -> Callable[[Tensor], Tensor]:
    dice = torch.Generator().manual_seed(seed)
    draws = iter(lambda: float(torch.rand((), generator=dice)), None)
    return lambda places: augmented_coordinates(places, draws, shift=0.1, jitter=2.0, rescale=2.0)


@torch.no_grad()
def test_places_move_block_by_block_and_in_each_batch_by_batch() -> None:
    """The draws in the reference's order: replayed to separate passes, they give the same."""
    model, (images, masks) = tiny.build(tiny.V3), crops()
    packed = model.several(images, masks, local=LOCAL, augment=drawing(5))
    replay, depth = drawing(5), len(model.blocks)
    moved = [[replay(model.places(image)) for image in images] for _ in range(depth)]
    separate: list[Features] = []
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        drawn = iter([block[number] for block in moved])
        separate.append(model(image, mask, augment=lambda _, drawn=drawn: next(drawn)))
    close(packed, separate)
    assert not torch.allclose(packed[0].cls, model(images[0], masks[0]).cls)


@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_recomputed_blocks_have_the_same_gradients(drop: float) -> None:
    model, (images, masks) = tiny.build(tiny.V3).requires_grad_(True).train(), crops()
    drop_path(model.blocks, drop)
    found: list[list[Tensor | None]] = []
    for recompute in (False, True):
        if recompute:
            for block in model.blocks:
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        torch.manual_seed(7)
        found.append(gradients(model, model.several(images, masks, augment=drawing(1))))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)


def test_half_precision_is_as_close_as_a_separate_pass() -> None:
    config = DINOv3Config(patch=8, width=128, depth=2, heads=2, hidden=256)
    model, (images, masks) = tiny.build(config).requires_grad_(True), crops()
    with torch.autocast("cpu", torch.bfloat16):
        packed, separate = model.several(images, masks), alone(model, images, masks)
    for one, other in zip(packed, separate, strict=True):
        for part, same in zip(one, other, strict=True):
            torch.testing.assert_close(part.float(), same.float(), atol=0.05, rtol=0.05)


def test_each_batch_needs_its_own() -> None:
    model, (images, masks) = tiny.build(tiny.V3), crops()
    with pytest.raises(ValueError, match="3 batches, 2 masks, 3 local"):
        model.several(images, masks[:2])
    with pytest.raises(ValueError, match="3 batches, 3 masks, 1 local"):
        model.several(images, local=[True])
    with pytest.raises(ValueError, match="0 batches"):
        model.several([])
