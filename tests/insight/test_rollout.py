"""Attention rollout on attention whose flow is known, and against the matrices written out."""

import pytest
import torch

import sensorium.nn.looking
from sensorium.data.errors import SensoriumError
from sensorium.insight.rollout import attention_rollout, draw_rollout, rollout_of
from sensorium.insight.vit_like import Grid, grid_of, vit_like
from sensorium.nn.looking import looking
from tests.insight.trunks import PREFIX, TRUNKS, build

GRID = Grid(2, 3, (8, 8))


def test_identity_flows_nowhere() -> None:
    result = rollout_of([torch.eye(7).expand(1, 2, 7, 7)] * 3, GRID)
    assert not result.maps.any()
    assert result.prefix.tolist() == [[1.0]]
    mean = rollout_of([torch.eye(6).expand(1, 2, 6, 6)] * 3, GRID, cls=False)
    torch.testing.assert_close(mean.maps, torch.full((1, 2, 3), 1 / 6))


def test_even_attention_through_two_layers() -> None:
    """((U + 1) / 2)² = (3U + 1) / 4 where U mixes all tokens alike."""
    result = rollout_of([torch.full((1, 2, 7, 7), 1 / 7)] * 2, GRID)
    torch.testing.assert_close(result.maps, torch.full((1, 2, 3), 3 / 28))
    torch.testing.assert_close(result.prefix, torch.tensor([[3 / 28 + 1 / 4]]))


def test_a_chain_of_looks_is_followed_to_its_end() -> None:
    """The class token looks at patch 1 in the last layer, which looked at patch 4 in the first."""
    first, last = torch.eye(7)[None, None].clone(), torch.eye(7)[None, None].clone()
    first[0, 0, 2] = torch.eye(7)[5]
    last[0, 0, 0] = torch.eye(7)[2]
    result = rollout_of([first, last], GRID)
    expected = torch.zeros(1, 2, 3)
    expected[0, 0, 1], expected[0, 1, 1] = 0.25, 0.25  # half stays in each layer
    torch.testing.assert_close(result.maps, expected)
    torch.testing.assert_close(result.prefix, torch.tensor([[0.5]]))


@pytest.mark.parametrize("name", TRUNKS)
def test_every_family_equals_the_product_of_its_matrices(name: str) -> None:
    model, images = build(name), torch.randn(2, 3, 40, 24)
    vit, prefix = vit_like(model), PREFIX.get(name, 1)
    result = attention_rollout(model, images)
    with looking(vit.blocks) as seen, torch.inference_mode():
        vit.tokens(images)
    flow = torch.eye(prefix + 15)
    for (weights,) in seen.values():
        flow = (weights.mean(1) + torch.eye(prefix + 15)) / 2 @ flow
    wanted = flow[:, prefix:].mean(1) if len(vit.cls) == 0 else flow[:, 0]
    torch.testing.assert_close(result.maps, wanted[:, prefix:].view(2, 5, 3))
    torch.testing.assert_close(result.prefix, wanted[:, :prefix])
    torch.testing.assert_close(result.maps.sum((1, 2)) + result.prefix.sum(1), torch.ones(2))
    at_hand = rollout_of([weights for (weights,) in seen.values()], grid_of(vit, 40, 24), cls=len(vit.cls) > 0)
    torch.testing.assert_close(at_hand.maps, result.maps)


def test_in_pieces_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = build("DINOv3"), torch.randn(2, 3, 40, 24)
    at_once = attention_rollout(model, images)
    whole = sensorium.nn.looking.watching
    monkeypatch.setattr("sensorium.insight.rollout.watching", lambda *args: whole(*args, numbers=2 * 20 * 3))
    torch.testing.assert_close(attention_rollout(model, images).maps, at_once.maps)


def test_nothing_to_look_at() -> None:
    with pytest.raises(SensoriumError, match="no picture to look at"):
        attention_rollout(build("ViT"), torch.zeros(0, 3, 32, 32))
    with pytest.raises(SensoriumError, match="no layers"):
        rollout_of([], GRID)


def test_drawing_lights_what_has_the_share() -> None:
    weights = torch.full((1, 1, 5, 5), 1 / 5)
    weights[0, 0, 0] = torch.tensor([0, 0, 0, 0, 1.0])
    result = rollout_of([weights], Grid(2, 2, (8, 8)))
    white = torch.full((3, 16, 16), 255, dtype=torch.uint8)
    figure = draw_rollout(result, [white], ["a picture.jpg"])
    left, middle, right, _ = figure.axes
    lit = middle.images[0].get_array()
    assert lit is not None
    assert lit[15, 15].tolist() == [1, 1, 1]
    assert lit[0, 0].tolist() == [0, 0, 0]
    assert left.get_xlabel() == "a picture.jpg"
    torch.testing.assert_close(torch.as_tensor(right.images[0].get_array()), torch.tensor([[0.0, 0], [0, 4]]))
