"""What can be looked into, by its parts and not by its name."""

import pytest
import torch

from sensorium.data.errors import SensoriumError
from sensorium.insight.vit_like import Grid, grid_of, learned_positions, patch_side, visible, vit_like
from tests import tiny, tiny_dino
from tests.insight.trunks import PREFIX, TRUNKS, build


@pytest.mark.parametrize("name", TRUNKS)
def test_every_trunk_is_found(name: str) -> None:
    vit = vit_like(build(name))
    grid = grid_of(vit, 40, 24)
    assert grid == Grid(5, 3, (8, 8))
    assert vit.tokens(torch.randn(1, 3, 40, 24)).shape[1] == PREFIX.get(name, 1) + 15
    assert patch_side(build(name)) == 8


def test_what_is_visible() -> None:
    places = ("attention", "pca", "cosine", "norms", "gram")
    assert visible(build("CLIP")) == ("filters", "positions", "distance", "rollout", *places)
    assert visible(build("DINOv3")) == ("filters", "distance", "rollout", *places)
    assert visible(tiny.build(tiny.CLIP_RESNET)) == ()
    assert visible(tiny_dino.build(tiny_dino.CONVNEXT)) == ()


@pytest.mark.parametrize("model", [tiny.build(tiny.CLIP_RESNET), tiny_dino.build(tiny_dino.CONVNEXT)])
def test_no_patches(model: torch.nn.Module) -> None:
    with pytest.raises(SensoriumError, match=r"(CLIP|ConvNeXt) does not read pictures as patches: this needs a ViT"):
        vit_like(model)
    assert patch_side(model) is None


def test_a_model_of_sounds_is_not_taken_for_one_of_pictures() -> None:
    with pytest.raises(SensoriumError, match="does not read pictures"):
        vit_like(tiny.build(tiny.IMAGEBIND.only("audio", "text")))


def test_no_learned_positions_names_what_there_is() -> None:
    with pytest.raises(SensoriumError, match=r"DINOv3 has no learned positions.*: filters, distance, rollout"):
        learned_positions(build("DINOv3"))


def test_learned_positions_leave_the_class_token_out() -> None:
    clip = build("CLIP")
    assert torch.equal(learned_positions(clip).flatten(0, 1), clip.vision.positions[1:])  # type: ignore[union-attr, index]
    mean = build("ViT without class token")
    assert torch.equal(learned_positions(mean).flatten(0, 1), mean.positions)  # type: ignore[arg-type]


def test_a_picture_smaller_than_a_patch() -> None:
    with pytest.raises(SensoriumError, match="7 x 40 pixels is smaller than a patch"):
        grid_of(vit_like(build("ViT")), 7, 40)
