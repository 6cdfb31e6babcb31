"""What users of the DINO trunks rely on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import sensorium
from sensorium.checkpoints.files import read_checkpoint, write_safetensors
from sensorium.checkpoints.formats import FAMILIES, PRESETS, build, parameters
from sensorium.checkpoints.load import load_model, save_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.models.dinov3 import DINOHead, DINOv3
from tests import tiny_dino as tiny

VITS = [name for name in tiny.TRUNKS if name != "ConvNeXt"]


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_parameters_of_the_papers() -> None:
    """DINOv3, table 2 and section 5.2: 21, 29, 86, 300, 840 million, 6.7 billion; ConvNeXt 29, 50, 89, 198."""
    named = ["dinov3-vit-s-16", "dinov3-vit-s-plus-16", "dinov3-vit-b-16", "dinov3-vit-l-16", "dinov3-vit-h-plus-16"]
    assert [round(parameters(PRESETS[name]) / 1e6) for name in named] == [22, 29, 86, 303, 841]
    assert round(parameters(PRESETS["dinov3-vit-7b-16"]) / 1e9, 1) == 6.7
    assert round(parameters(PRESETS["dinov2-vit-g-14-reg"]) / 1e9, 1) == 1.1


@torch.no_grad()
@pytest.mark.parametrize("choice", tiny.TRUNKS)
def test_a_picture_is_the_same_alone_and_in_a_batch(choice: str) -> None:
    model, images = tiny.build(tiny.TRUNKS[choice]), torch.randn(3, 3, 64, 64)
    together = model(images)
    for index in range(3):
        for part, whole in zip(model(images[index : index + 1]), together, strict=True):
            close(part, whole[index : index + 1])
    close(model.represent(images), together.cls)
    assert together.cls.shape == (3, model.dim)


@torch.no_grad()
@pytest.mark.parametrize("choice", tiny.TRUNKS)
def test_the_last_layer_is_the_output_and_layers_come_in_the_order_named(choice: str) -> None:
    model, image = tiny.build(tiny.TRUNKS[choice]), torch.randn(2, 3, 64, 32)
    last, first, again = model.layers(image, [-1, 0, -1])
    for part, other, expected in zip(last, again, model(image), strict=True):
        close(part, expected)
        close(other, expected)
    assert first.cls.shape[0] == 2
    with pytest.raises(IndexError):
        model.layers(image, [9])


@torch.no_grad()
@pytest.mark.parametrize("choice", VITS)
def test_raw_layers_are_the_states(choice: str) -> None:
    model, image = tiny.build(tiny.TRUNKS[choice]), torch.randn(2, 3, 32, 48)
    states = model.states(image)
    for index, features in enumerate(model.layers(image, range(3), norm=False)):
        close(torch.cat([features.cls[:, None], *features[1:]], dim=1), states[index + 1])
    assert features.map((4, 6)).shape == (2, 128, 4, 6)
    close(features.map((4, 6))[:, :, 1, 2], features.patches[:, 8])


@torch.no_grad()
@pytest.mark.parametrize("choice", VITS)
def test_hidden_patches_are_not_seen(choice: str) -> None:
    model, image = tiny.build(tiny.TRUNKS[choice]), torch.randn(1, 3, 32, 32)
    mask = torch.zeros(1, 16, dtype=torch.bool)
    mask[0, 5] = True  # second row, second column
    other = image.clone()
    other[:, :, 8:16, 8:16] += 1
    for part, same in zip(model(image, mask), model(other, mask), strict=True):
        assert torch.equal(part, same)
    assert not torch.allclose(model(image).cls, model(other).cls)
    assert not torch.allclose(model(image).cls, model(image, mask).cls)


@torch.no_grad()
@pytest.mark.parametrize("choice", VITS)
def test_a_kernel_that_keeps_its_weights_agrees(choice: str) -> None:
    model, image = tiny.build(tiny.TRUNKS[choice]), torch.randn(2, 3, 32, 32)
    expected, seen = model(image), list[Tensor]()

    def kernel(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        seen.append((q @ k.mT * q.shape[-1] ** -0.5).softmax(-1))
        return seen[-1] @ v

    for block in model.blocks:
        block.attention.kernel = kernel
    for part, whole in zip(model(image), expected, strict=True):
        close(part, whole)
    assert len(seen) == 3


@torch.no_grad()
def test_coordinates_are_moved_anew_in_every_block() -> None:
    model, image, drawn = tiny.build(tiny.V3), torch.randn(1, 3, 32, 32), list[Tensor]()

    def stretch(places: Tensor) -> Tensor:
        drawn.append(places)
        return places * len(drawn)

    moved = model(image, augment=stretch)
    assert len(drawn) == 3
    assert not torch.allclose(moved.patches, model(image).patches)
    close(model(image, augment=lambda places: places).patches, model(image).patches)


@torch.no_grad()
def test_local_crops_have_a_norm_of_their_own() -> None:
    model, image = tiny.build(tiny.TRUNKS["DINOv3, gated"]), torch.randn(1, 3, 24, 24)
    local, whole = model(image, local=True), model(image)
    assert not torch.allclose(local.cls, whole.cls)
    close(local.patches, whole.patches)
    close(local.cls, model.local_norm(model.last_state(image)[:, 0]))


@pytest.mark.parametrize("choice", ["DINOv2", "DINOv3", "DINOv3, untied", "ConvNeXt"])
def test_gradient_reaches_every_parameter_that_is_used(choice: str) -> None:
    model: Any = tiny.build(tiny.TRUNKS[choice]).requires_grad_(True)
    image = torch.randn(2, 3, 32, 32)
    features = model(image) if choice == "ConvNeXt" else model(image, torch.arange(16).lt(4).expand(2, -1))
    sum((part * torch.randn(part.shape)).sum() for part in features).backward()
    for name, parameter in model.named_parameters():
        if not name.startswith("unused.") and not name.endswith("attention.key.bias"):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 1e-9, name


def test_the_masked_bias_of_fresh_models_is_not_trained() -> None:
    frozen = [name for name, p in DINOv3(tiny.V3).named_parameters() if not p.requires_grad]
    assert frozen == [f"unused.{index}.bias" for index in range(3)]


@pytest.mark.parametrize("choice", tiny.TRUNKS)
def test_official_files_come_back_bit_by_bit(choice: str, tmp_path: Path) -> None:
    model = tiny.build(tiny.TRUNKS[choice])
    save_model(model, tmp_path, naming="official")
    loaded = load_model(tmp_path)
    assert loaded.format.naming == "official"
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


@torch.no_grad()
@pytest.mark.parametrize("choice", tiny.TRUNKS)
def test_trunks_embed_pictures(choice: str, tmp_path: Path) -> None:
    model = tiny.build(tiny.TRUNKS[choice])
    save_model(model, tmp_path, naming="official")
    embedder, picture = sensorium.load(tmp_path), torch.randint(256, (60, 80, 3), dtype=torch.uint8).numpy()
    vector = embedder.embed(images=[picture])["images"]
    expected = F.normalize(model.represent(embedder.preprocess(picture)[None]), dim=-1)
    torch.testing.assert_close(vector, expected, atol=1e-4, rtol=1e-3)
    assert (embedder.dim, embedder.preprocess.size, embedder.preprocess.resize_to) == (model.dim, 224, 256)


def test_masks_of_other_biases_are_refused(tmp_path: Path) -> None:
    path = save_model(tiny.build(tiny.V3), tmp_path, naming="official")
    state = read_checkpoint(path).tensors
    state["blocks.1.attn.qkv.bias_mask"] = torch.ones(384)
    write_safetensors(state, path)
    with pytest.raises(CheckpointError, match="hides other biases than those of all keys"):
        load_model(path)


@torch.no_grad()
def test_dinotxt_embeds_words_and_pictures_and_its_trunk_may_lie_apart(tmp_path: Path) -> None:
    from sensorium.checkpoints.dinotxt import TRUNK, with_trunk

    model = tiny.build(replace(tiny.TXT, text=replace(tiny.TXT.text, words=49408, context=77)))
    whole = read_checkpoint(save_model(model, tmp_path / "whole", naming="official"))
    embedder = sensorium.load(tmp_path / "whole")
    vectors = embedder.embed(images=[torch.zeros(40, 40, 3, dtype=torch.uint8).numpy()], text=["a cat", "a dog"])
    assert vectors["images"].shape == (1, 256)
    assert vectors["text"].shape == (2, 256)

    released = {name: tensor for name, tensor in whole.tensors.items() if not name.startswith(TRUNK)}
    write_safetensors(released, tmp_path / "text.safetensors")
    with pytest.raises(CheckpointError, match="no trunk"):
        load_model(tmp_path / "text.safetensors")
    save_model(model.vision.trunk, tmp_path / "trunk", naming="official")
    joined, known = build(with_trunk(*(read_checkpoint(tmp_path / name) for name in ("text.safetensors", "trunk"))))
    assert known.family == "dinotxt"
    for name, tensor in joined.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


@torch.no_grad()
def test_words_after_the_end_do_not_count() -> None:
    model = tiny.build(tiny.TXT)
    short, long = torch.tensor([[5, 9, 63]]), torch.tensor([[5, 9, 63, 7, 8]])
    close(model.text(short), model.text(long))
    with pytest.raises(ValueError, match="text of 13 tokens: this tower reads 12"):
        model.text(torch.arange(13)[None])


@torch.no_grad()
def test_dinotxt_leaves_its_trunk_as_it_is() -> None:
    model, image = tiny.build(tiny.TXT), torch.randn(2, 3, 32, 32)
    vector = model.vision(image)
    features = model.vision.features(image)
    close(vector, torch.cat([features.cls, features.patches.mean(1)], dim=1))


def test_head_compares_unit_vectors_with_prototypes() -> None:
    head, x = DINOHead(12, 7, hidden=16, bottleneck=5, layers=2), torch.randn(2, 3, 12)
    close(head.embed(x).norm(dim=-1), torch.ones(2, 3))
    close(head(x), head.embed(x) @ head.prototypes.weight.T)
    close(head(x), head(x.flatten(0, 1)).unflatten(0, (2, 3)))


def test_every_trunk_here_is_a_family() -> None:
    classes = {family.config for family in FAMILIES.values()}
    assert {type(config) for config in tiny.TRUNKS.values()} <= classes


@pytest.mark.parametrize("name", ["blocks.1.attn.qkv.bias", "blocks.2.attn.qkv.bias_mask"])
def test_what_is_missing_is_named_in_their_words(name: str, tmp_path: Path) -> None:
    path = save_model(tiny.build(tiny.V3), tmp_path, naming="official")
    state = read_checkpoint(path).tensors
    del state[name]
    write_safetensors(state, path)
    with pytest.raises(CheckpointError, match=rf"missing: {name}$"):
        load_model(path)
