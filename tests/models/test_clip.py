from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.models.clip import CLIP, PRESETS, ResNetTower, ViTTower
from tests import tiny


@pytest.fixture(scope="module")
def model() -> CLIP:
    built = tiny.build(tiny.CLIP_VIT)
    assert isinstance(built, CLIP)
    return built


def row(*ids: int, length: int = 16) -> list[int]:
    return [62, *ids, 63, *[0] * (length - len(ids) - 2)]


TEXTS = torch.tensor([row(3, 4), row(), row(*range(5, 19)), row(9)])


def test_computing_nothing_after_the_end_is_exact(model: CLIP) -> None:
    """The tower computes 4 + 2 + 3 tokens, where three rows of 16 give the same."""
    short = TEXTS[[0, 1, 3]]
    tokens = model.text.tokens(short)
    whole = model.text.project(tokens[torch.arange(3), short.argmax(-1)])
    seen: list[torch.Size] = []
    handle = model.text.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[:2]))
    try:
        cut = model.text(short)
    finally:
        handle.remove()
    assert seen == [(1, 9)]
    torch.testing.assert_close(cut, whole, atol=1e-6, rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_a_rows_vector_does_not_depend_on_its_batch(rows: list[int]) -> None:
    model = tiny.build(tiny.CLIP_VIT)
    assert isinstance(model, CLIP)
    alone = torch.cat([model.text(TEXTS[[i]]) for i in rows])
    torch.testing.assert_close(model.text(TEXTS[rows]), alone, atol=1e-5, rtol=1e-5)


def test_what_follows_the_end_does_not_matter(model: CLIP) -> None:
    noisy = TEXTS.clone()
    noisy[0, 4:] = torch.arange(1, 13)
    torch.testing.assert_close(model.text(noisy), model.text(TEXTS), atol=1e-5, rtol=1e-5)


def test_a_stated_end_is_its_first_place() -> None:
    model = tiny.build(replace(tiny.CLIP_VIT, text=replace(tiny.TEXT, end=7)))
    assert isinstance(model, CLIP)
    ids = torch.tensor([[1, 63, 7, 7, 2], [7, 1, 1, 1, 1]])
    assert model.text.ends(ids).tolist() == [2, 0]
    expected = model.text.project(model.text.tokens(ids)[torch.arange(2), torch.tensor([2, 0])])
    torch.testing.assert_close(model.text(ids), expected, atol=1e-6, rtol=1e-5)


def test_text_longer_than_the_context_is_refused(model: CLIP) -> None:
    with pytest.raises(ValueError, match="text of 17 tokens: this tower reads 16"):
        model.text(torch.arange(17)[None])


def test_forward_gives_unit_vectors_of_both(model: CLIP) -> None:
    image, text = model(torch.randn(3, 3, 32, 32), TEXTS)
    assert image.shape == (3, 24)
    assert text.shape == (4, 24)
    torch.testing.assert_close(torch.cat([image, text]).norm(dim=-1), torch.ones(7))


@pytest.mark.parametrize("config", [tiny.CLIP_VIT, tiny.CLIP_RESNET], ids=["vit", "resnet"])
def test_gradient_reaches_every_parameter(config: tiny.CLIPConfig) -> None:
    model = tiny.build(config).requires_grad_(True)
    assert isinstance(model, CLIP)
    side = config.vision.image
    image, text = model(torch.randn(4, 3, side, side), TEXTS)
    (model.log_scale.exp() * image @ text.T * torch.randn(4, 4)).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.numel() and not name.endswith(("attention.key.bias",)):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("config", [tiny.CLIP_VIT, tiny.CLIP_RESNET], ids=["vit", "resnet"])
def test_pictures_of_other_sizes(config: tiny.CLIPConfig) -> None:
    model = tiny.build(config)
    assert isinstance(model, CLIP)
    side = config.vision.image
    assert model.vision(torch.randn(2, 3, 2 * side, side)).shape == (2, 24)


def test_presets_hold_the_tables_of_the_paper() -> None:
    """Tables 19 and 20: embedding, resolution, image layers and width, text width and heads."""
    resnets = {"rn50": (1024, 224, (3, 4, 6, 3), 64, 512), "rn101": (512, 224, (3, 4, 23, 3), 64, 512)}
    resnets |= {"rn50x4": (640, 288, (4, 6, 10, 6), 80, 640), "rn50x16": (768, 384, (6, 8, 18, 8), 96, 768)}
    resnets |= {"rn50x64": (1024, 448, (3, 15, 36, 10), 128, 1024)}
    for name, row_of_table in resnets.items():
        c = PRESETS[f"clip-{name}"]
        assert isinstance(c.vision, ResNetTower)
        assert (c.embed, c.vision.image, c.vision.depths, c.vision.width, c.text.width) == row_of_table
        assert c.vision.heads == c.vision.width * 32 // 64
    vits = {"vit-b-32": (512, 224, 12, 768, 512), "vit-b-16": (512, 224, 12, 768, 512)}
    vits |= {"vit-l-14": (768, 224, 24, 1024, 768), "vit-l-14-336": (768, 336, 24, 1024, 768)}
    for name, row_of_table in vits.items():
        c = PRESETS[f"clip-{name}"]
        assert isinstance(c.vision, ViTTower)
        assert (c.embed, c.vision.image, c.vision.depth, c.vision.width, c.text.width) == row_of_table
        assert c.vision.heads == c.vision.width // 64
        assert c.vision.activation == c.text.activation == "quick_gelu"
    assert all(
        (c.text.context, c.text.words, c.text.heads) == (77, 49408, c.text.width // 64) for c in PRESETS.values()
    )
