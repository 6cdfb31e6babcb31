"""Vectors of places: the model's own, at any size and layer, and joined from windows without a seam."""

import pytest
import torch
from PIL import Image
from torch import Tensor

from sensorium.data import preprocess
from sensorium.data.errors import SensoriumError
from sensorium.insight.places import features_of, fitted_to, over_windows, sight_of, spread
from sensorium.insight.vit_like import vit_like
from sensorium.models.efficientnet import EfficientNetLite, EfficientNetLiteConfig
from tests import tiny, tiny_dino
from tests.insight.trunks import PREFIX, TRUNKS, build


@pytest.mark.parametrize("name", TRUNKS)
def test_the_last_layer_is_the_models_own_output(name: str) -> None:
    model, image = build(name), torch.randn(1, 3, 40, 24)
    vit = vit_like(model)
    tokens = vit.tokens(image)[0, PREFIX.get(name, 1) :]
    after = {"CLIP": "norm_out", "ImageBind": "norm_out", "ViT without class token": "norm"}
    after["ViT with registers alone"] = "norm"  # these norm the pooled vector alone
    wanted = getattr(vit, after[name])(tokens) if name in after else tokens
    torch.testing.assert_close(sight_of(model).features(image), wanted.view(5, 3, -1))


@pytest.mark.parametrize("name", ["ViT", "DINOv2", "DINOv3"])
def test_any_layer(name: str) -> None:
    model, image = build(name), torch.randn(1, 3, 24, 40)
    sight = sight_of(model)
    states = model.states(image)  # type: ignore[operator]
    for layer in range(1, sight.depth):
        wanted = states[layer][0, -15:].view(3, 5, -1)
        torch.testing.assert_close(sight.features(image, layer), wanted)
        torch.testing.assert_close(sight.features(image, layer - sight.depth - 1), wanted)
    torch.testing.assert_close(sight.features(image, -1), sight.features(image))
    for layer in (0, sight.depth + 1, -sight.depth - 1):
        with pytest.raises(SensoriumError, match=f"layers 1 to {sight.depth}"):
            sight.features(image, layer)
    assert not any(module._forward_hooks for module in model.modules()), "nothing is left behind"


def test_convolutional_networks() -> None:
    image = torch.randn(1, 3, 96, 64)
    convnext = tiny_dino.build(tiny_dino.CONVNEXT)
    sight = sight_of(convnext)
    torch.testing.assert_close(sight.features(image), convnext(image).patches.view(3, 2, -1))
    assert (sight.depth, sight.features(image, 1).shape) == (4, (3, 2, 16))
    network = EfficientNetLite(EfficientNetLiteConfig()).eval()
    places = sight_of(network).features(image)
    torch.testing.assert_close(places.mean((0, 1)), network.features(image)[0].detach())
    assert sight_of(tiny.build(tiny.CLIP_RESNET)).features(image).shape[:2] == (3, 2)
    with pytest.raises(SensoriumError, match="layers 1 to 1"):
        sight_of(network).features(image, 2)


def test_a_model_without_places() -> None:
    with pytest.raises(SensoriumError, match="no vectors for the places of a picture"):
        sight_of(tiny.build(tiny.IMAGEBIND.only("audio", "text")))


@pytest.mark.parametrize(("size", "short", "wanted"), [((300, 200), 64, (64, 96)), ((200, 300), None, (64, 48))])
def test_the_whole_picture_in_its_shape(size: tuple[int, int], short: int | None, wanted: tuple[int, int]) -> None:
    """Twice 24 pixels where nothing is said."""
    picture = Image.new("RGB", size, (9, 99, 199))
    pixels = fitted_to(picture, preprocess.clip(24), (16, 16), short)
    assert tuple(pixels.shape[1:]) == wanted
    assert pixels[:, 0, 0].tolist() == [9, 99, 199]


def test_a_picture_that_would_be_too_large() -> None:
    with pytest.raises(SensoriumError, match="ask for a smaller --size"):
        fitted_to(Image.new("RGB", (4000, 4)), preprocess.clip(224), (16, 16), 1024)


@pytest.mark.parametrize(("places", "window", "overlap"), [(64, 64, 16), (65, 64, 16), (300, 64, 16), (37, 8, 3)])
def test_windows_cover_a_side(places: int, window: int, overlap: int) -> None:
    total, ends = torch.zeros(places), [0]
    for start, weights in spread(places, window, overlap):
        assert len(weights) == min(window, places)
        assert start <= ends[-1] - (overlap if start else 0)
        total[start : start + len(weights)] += weights
        ends.append(start + len(weights))
    torch.testing.assert_close(total, torch.ones(places))
    assert ends[-1] == places


def test_no_seam() -> None:
    """What depends on a place alone comes out as if it had been read at once, and no window is too large."""
    pixels = torch.randint(0, 256, (3, 8 * 37, 8 * 21), dtype=torch.uint8)
    seen: list[tuple[int, ...]] = []

    def read(part: Tensor) -> Tensor:
        seen.append(tuple(part.shape[2:]))
        return torch.nn.functional.avg_pool2d(part.float(), 8)[0].permute(1, 2, 0)

    joined = over_windows(pixels, (8, 8), read, window=64, overlap=24)
    assert set(seen) == {(64, 64)}
    torch.testing.assert_close(joined, read(pixels[None]))


def test_blended_where_windows_disagree() -> None:
    """Windows that say their own number: the join goes from one to the next in steps no larger than the ramp's."""
    number = iter(range(100))

    def read(part: Tensor) -> Tensor:
        return torch.full((part.shape[2] // 8, part.shape[3] // 8, 1), float(next(number)))

    joined = over_windows(torch.zeros(3, 64, 8 * 14, dtype=torch.uint8), (8, 8), read, window=64, overlap=16)[..., 0]
    assert joined[0, 0] == 0
    assert joined[0, -1] == 1
    assert float(joined.diff(dim=1).max()) < 0.5


def test_a_large_picture_is_close_to_its_whole() -> None:
    model = tiny_dino.build(tiny_dino.V3)
    steps, pixels = preprocess.timm(32), torch.randint(0, 256, (3, 8 * 40, 8 * 24), dtype=torch.uint8)
    sight = sight_of(model)
    whole = features_of(sight, pixels, steps, torch.device("cpu"))
    tiled = over_windows(pixels, sight.step, lambda part: sight.features(steps.normalise(part)), window=128, overlap=64)
    assert tiled.shape == whole.shape
    assert not torch.equal(tiled, whole)
    assert float(torch.nn.functional.cosine_similarity(tiled, whole, dim=-1).mean()) > 0.9
