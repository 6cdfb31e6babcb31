"""Principal components of filters that were put together from known ones."""

from dataclasses import replace

import pytest
import torch

from sensorium.data.errors import SensoriumError
from sensorium.insight.filters import draw_filters, principal_components, principal_filters
from sensorium.nn.packed import PackedPatches, pack
from tests import tiny
from tests.insight.trunks import TRUNKS, build


def test_planted_components_are_found() -> None:
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(48, 2))[0].T
    amounts = torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    result = principal_components((amounts @ basis + 7).view(4, 3, 4, 4), 2)
    torch.testing.assert_close(result.share, torch.tensor([0.9, 0.1]))
    cosines = (result.components.flatten(1) * basis).sum(1)
    torch.testing.assert_close(cosines.abs(), torch.ones(2))
    assert (
        result.components.flatten(1).gather(1, result.components.flatten(1).abs().argmax(1, keepdim=True)) > 0
    ).all()
    assert result.filters == 4


@pytest.mark.parametrize("name", TRUNKS)
def test_every_family(name: str) -> None:
    result = principal_filters(build(name), 5)
    assert result.components.shape == (5, 3, 8, 8)
    torch.testing.assert_close(result.components.flatten(1).norm(dim=1), torch.ones(5))
    assert (result.share.diff() <= 0).all()


def test_filters_of_clips_are_summed_over_time() -> None:
    model = build("ImageBind")
    weight = model.towers["vision"].patches.project.weight  # type: ignore[union-attr, index]
    wanted = principal_components(weight[:, :, 0] + weight[:, :, 1], 3)  # type: ignore[index, operator]
    torch.testing.assert_close(principal_filters(model, 3).components, wanted.components)


def test_packed_filters_are_the_same() -> None:
    model = tiny.build(replace(tiny.VIT, patch=16))
    before = principal_filters(model)
    try:
        pack(model, anyway=True)
    except (AttributeError, NotImplementedError, RuntimeError):
        pytest.skip("this CPU has no packed products")
    assert isinstance(model.patches.project, PackedPatches)  # type: ignore[union-attr]
    assert torch.equal(principal_filters(model).components, before.components)


def test_a_resnet_has_no_patches() -> None:
    with pytest.raises(SensoriumError, match="does not read pictures as patches"):
        principal_filters(tiny.build(tiny.CLIP_RESNET))


def test_more_than_there_are_and_none_that_differ() -> None:
    result = principal_components(torch.ones(2, 3, 1, 1))
    assert len(result.share) == 2
    assert not result.share.any()


def test_drawing_has_a_place_for_each() -> None:
    figure = draw_filters(principal_filters(build("ViT"), 9))
    assert [bool(axes.images) for axes in figure.axes] == [True] * 9 + [False] * 5
    drawn = figure.axes[0].images[0].get_array()
    assert drawn is not None
    assert 0 <= drawn.min() < drawn.max() <= 1
