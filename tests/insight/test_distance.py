"""Mean attention distance on attention whose distance is known, and on every family."""

import pytest
import torch

import sensorium.nn.looking
from sensorium.data.errors import SensoriumError
from sensorium.insight.distance import attention_distance, distance_of, distances, draw_distance
from sensorium.insight.vit_like import Grid, grid_of, vit_like
from sensorium.nn.looking import looking
from tests.insight.trunks import TRUNKS, build

LINE = Grid(1, 5, (16, 16))


def test_distances_are_in_pixels_between_centres() -> None:
    apart = distances(Grid(2, 3, (4, 3)))
    assert apart.diagonal().tolist() == [0] * 6
    assert apart[0].tolist() == pytest.approx([0, 3, 6, 4, 5, (36 + 16) ** 0.5])


def test_even_attention() -> None:
    """Along a line of n patches the mean of |i - j| is (n² - 1) / 3n."""
    result = distance_of([torch.full((2, 3, 5, 5), 1 / 5)] * 2, LINE)
    torch.testing.assert_close(result.pixels, torch.full((2, 3), 16 * 24 / 15))
    assert result.even == pytest.approx(16 * 24 / 15)
    assert result.pictures == 2
    assert not result.elsewhere.any()


def test_attention_to_oneself_and_to_one_neighbour() -> None:
    itself, right = torch.eye(5), torch.eye(5).roll(1, 1)
    weights = torch.stack([itself, right, (itself + right) / 2])[None]
    result = distance_of([weights], LINE)
    step = (4 * 16 + 64) / 5  # the last looks at the first
    torch.testing.assert_close(result.pixels, torch.tensor([[0.0, step, step / 2]]))


def test_tokens_without_a_place_are_neither_near_nor_far() -> None:
    even = torch.full((1, 1, 5, 5), 1 / 5)
    weights = torch.zeros(1, 1, 8, 8)
    weights[..., 3:, 3:] = even / 4
    weights[..., 3:, :3] = 0.25
    weights[..., :3, 7] = 1.0  # what the class token looks at is not a distance
    result = distance_of([weights], LINE)
    torch.testing.assert_close(result.pixels, torch.tensor([[16 * 24 / 15]]))
    torch.testing.assert_close(result.elsewhere, torch.tensor([[0.75]]))


@pytest.mark.parametrize("name", TRUNKS)
def test_every_family_at_any_size(name: str) -> None:
    model, images = build(name), torch.randn(3, 3, 40, 24)
    vit = vit_like(model)
    result = attention_distance(model, [images[:2], images[2:]])
    assert result.pictures == 3
    assert result.pixels.shape[0] == len(vit.blocks)
    assert 0 < result.pixels.min() <= result.pixels.max() < (32**2 + 16**2) ** 0.5
    assert bool(result.elsewhere.any()) == (name != "ViT without class token")
    with looking(vit.blocks) as seen, torch.inference_mode():
        vit.tokens(images)
    whole = distance_of([weights for (weights,) in seen.values()], grid_of(vit, 40, 24))
    torch.testing.assert_close(result.pixels, whole.pixels)
    torch.testing.assert_close(result.elsewhere, whole.elsewhere)
    assert result.even == pytest.approx(whole.even)


def test_in_pieces_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = build("DINOv2"), torch.randn(2, 3, 40, 24)
    at_once = attention_distance(model, [images])
    whole = sensorium.nn.looking.watching
    monkeypatch.setattr("sensorium.insight.distance.watching", lambda *args: whole(*args, numbers=2 * 2 * 20 * 3))
    pieces = attention_distance(model, [images])
    torch.testing.assert_close(pieces.pixels, at_once.pixels)
    torch.testing.assert_close(pieces.elsewhere, at_once.elsewhere)


def test_a_model_that_cannot_tell_patches_apart_looks_everywhere() -> None:
    model = build("ViT")
    for block in model.blocks:  # type: ignore[union-attr]
        block.attention.query.weight.data.zero_()  # type: ignore[union-attr]
        block.attention.query.bias.data.zero_()  # type: ignore[union-attr]
    result = attention_distance(model, [torch.randn(1, 3, 32, 32), torch.randn(1, 3, 64, 64)])
    small, large = (float(distances(Grid(n, n, (8, 8))).mean()) for n in (4, 8))
    assert result.even == pytest.approx((small + large) / 2)
    far = (small * 16 * 16 / 17 + large * 64 * 64 / 65) / (16 * 16 / 17 + 64 * 64 / 65)  # a patch counts as a patch
    torch.testing.assert_close(result.pixels, torch.full((2, 3), far))


def test_no_picture() -> None:
    with pytest.raises(SensoriumError, match="no picture to look at"):
        attention_distance(build("ViT"), [])


def test_drawing_has_a_dot_for_every_head() -> None:
    figure = draw_distance(attention_distance(build("ViT"), [torch.randn(1, 3, 32, 32)]), "a title")
    (axes,) = figure.axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [2, 2, 2]  # type: ignore[arg-type]
    assert "pixels" in axes.get_ylabel()
    assert "a title" in [text.get_text() for text in figure.texts]
