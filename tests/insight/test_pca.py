"""Components of places on planted objects, against the matrix written out, and on a photograph."""

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from skimage import data as photographs
from torch import Tensor

import sensorium
from sensorium.data.errors import SensoriumError
from sensorium.insight.pca import colours, draw_components, otsu, place_components
from sensorium.insight.places import features_of, fitted_to, sight_of


def planted(rows: int, columns: int, object: Tensor, kinds: Tensor) -> Tensor:
    """Ground of one vector; the object's rows from top to bottom of two others; a little noise."""
    features = kinds[0].expand(rows, columns, -1).clone()
    features[object] = kinds[1]
    features[: rows // 2][object[: rows // 2]] = kinds[2]
    return features + 0.05 * torch.randn(features.shape)


@pytest.fixture
def kinds() -> Tensor:
    torch.manual_seed(3)
    ground, thing, part = torch.randn(3, 64)
    return torch.stack([ground, thing + part, thing - part])


def box(rows: int, columns: int) -> Tensor:
    mask = torch.zeros(rows, columns, dtype=torch.bool)
    mask[3:-3, 3:-4] = True
    return mask


def test_objects_are_found_and_parts_share_colours(kinds: Tensor) -> None:
    masks = [box(16, 20), box(14, 12)]
    result = place_components([planted(*mask.shape, mask, kinds) for mask in masks])
    for mask, found in zip(masks, result.objects, strict=True):
        assert torch.equal(mask, found)
    first, second = colours(result.parts, result.objects)
    assert (first[:, ~masks[0]] == 255).all(), "the ground is white"
    for rows in (slice(4, 6), slice(-6, -4)):  # above, then below the middle
        one, other = first[:, rows, 5].float().mean(1), second[:, rows, 5].float().mean(1)
        assert float((one - other).abs()[0]) < 25
    assert float((first[0, 4, 5].float() - first[0, -5, 5].float()).abs()) > 200, "the two parts differ"
    assert float(result.share[1, 0]) > 0.5


def test_long_vectors_do_not_take_the_basis(kinds: Tensor) -> None:
    mask = box(16, 20)
    features = planted(16, 20, mask, kinds)
    plain = place_components([features])
    features[5, 5] *= 50
    torch.testing.assert_close(place_components([features]).whole[0], plain.whole[0])


@pytest.mark.parametrize("channels", [24, 500])
def test_against_a_singular_value_decomposition(channels: int) -> None:
    """With more places than channels, and with fewer."""
    maps = [torch.randn(9, 12, channels), torch.randn(7, 8, channels)]
    result = place_components(maps)
    some = torch.cat([F.normalize(x, dim=-1).flatten(0, 1) for x in maps]).double()
    left, values, _ = torch.linalg.svd(some - some.mean(0), full_matrices=False)
    wanted = (left * values)[:, :3].float()
    found = torch.cat([x.flatten(0, 1) for x in result.whole])
    torch.testing.assert_close(found.abs(), wanted.abs(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(result.share[0], (values.square() / values.square().sum())[:3].float())


def test_otsu_between_two_heaps() -> None:
    values = torch.cat([torch.randn(900), 20 + torch.randn(100)])
    assert 5 < otsu(values) < 15


def test_too_small_or_of_one_colour() -> None:
    with pytest.raises(SensoriumError, match="four places"):
        place_components([torch.randn(1, 3, 8)])
    result = place_components([torch.ones(4, 4, 8)])
    assert not torch.stack(list(result.whole)).any()


def test_a_photograph() -> None:
    """Of a cup on a table, with the classifier inside `pocket`: cup and saucer are off the ground, corners are not."""
    pocket = sensorium.load("pocket")
    assert pocket.model is not None
    sight = sight_of(pocket.model)
    pixels = fitted_to(Image.fromarray(photographs.coffee()), pocket.preprocess, sight.step)
    result = place_components([features_of(sight, pixels, pocket.preprocess, pocket.device)])
    objects = result.objects[0]
    rows, columns = objects.shape
    assert objects[rows // 3 : 2 * rows // 3, columns // 3 : columns // 2].all()
    assert not objects[:2, :2].any()
    assert not objects[-2:, :2].any()
    assert not objects[-2:, -2:].any()
    figure = draw_components(result, [pixels], ["cup.png"])
    assert [axes.get_title() for axes in figure.axes] == ["what the model saw", "all places", "without the ground"]
