"""Norms of tokens: as computed by hand, and planted outliers found exactly."""

import pytest
import torch

from sensorium.data import preprocess
from sensorium.data.errors import SensoriumError
from sensorium.insight.norms import draw_norms, in_words, norms_of_tokens, outliers_in
from sensorium.insight.vit_like import vit_like
from tests import tiny_dino
from tests.insight.trunks import TRUNKS, build

CPU, STEPS = torch.device("cpu"), preprocess.timm(32)


@pytest.mark.parametrize("name", TRUNKS)
def test_norms_of_every_family(name: str) -> None:
    vit = vit_like(build(name))
    pixels = torch.randint(0, 256, (3, 40, 24), dtype=torch.uint8)
    norms = norms_of_tokens(vit, pixels, STEPS, CPU)
    assert norms.shape == (len(vit.blocks), 5, 3)
    if hasattr(vit, "states"):
        states = vit.states(STEPS.normalise(pixels[None]))  # type: ignore[operator]
        wanted = torch.stack([x[0, -15:].norm(dim=-1).view(5, 3) for x in states[1:]])
        torch.testing.assert_close(norms, wanted)


def test_planted_outliers_are_found_exactly() -> None:
    """Three positions ten times as long as tokens are: their patches stand out in every layer, and no other."""
    model = tiny_dino.build(tiny_dino.V2)
    pixels = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    plain = norms_of_tokens(model, pixels, STEPS, CPU)
    assert not outliers_in([plain]).fractions.any(), "a model without any"
    places = [2, 7, 13]
    for place in places:
        direction = torch.randn(model.dim)
        model.positions[1 + place] = 10 * plain[0].median() * direction / direction.norm()
    result = outliers_in([norms_of_tokens(model, pixels, STEPS, CPU)])
    for layer in range(1, len(model.blocks) + 1):
        assert result.outliers(0, layer).flatten().nonzero().flatten().tolist() == places
    torch.testing.assert_close(result.fractions, torch.full((3,), 3 / 16))
    assert in_words(result, 3) == "3 of 16 tokens (18.75%) are outliers"
    figure = draw_norms(result, [pixels], ["a.png"], layer=3)
    frames = [(patch.get_x(), patch.get_y()) for patch in figure.axes[1].patches]
    assert frames == [(16, 0), (24, 8), (8, 24)]
    bars = [bar.get_height() for axes in figure.axes for bar in axes.patches if axes.get_xlabel() == "layer"]
    assert bars == pytest.approx([18.75] * 3)


def test_a_cutoff_of_ones_own() -> None:
    norms = torch.tensor([[[1.0, 2, 3, 4]], [[10, 20, 30, 160]]])
    assert outliers_in([norms], 150.0).fractions.tolist() == [0, 0.25]
    assert outliers_in([norms]).cutoffs.tolist() == [6, 60]
    with pytest.raises(SensoriumError, match="no picture"):
        outliers_in([])
