"""The Gram matrix's drift: blind to a turn of all features, equal to the loss of Gram anchoring."""

import pytest
import torch

from sensorium.data.errors import SensoriumError
from sensorium.insight.drift import draw_drift, gram_drift
from sensorium.objectives.gram import gram


def test_drift_of_two_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.insight.drift.ROWS", 5)
    first = [torch.randn(4, 6, 16), torch.randn(3, 2, 16)]
    turn = torch.linalg.qr(torch.randn(16, 16)).Q
    turned = [3 * x @ turn for x in first]
    other = [torch.randn(4, 6, 16), torch.randn(3, 2, 16)]
    result = gram_drift([first, turned, other], [(1, 5), (0, 0)])
    torch.testing.assert_close(result.drift[:2], torch.zeros(2, 2), atol=1e-6, rtol=0)
    for picture in range(2):
        ours, theirs = (x[picture].flatten(0, 1)[None] for x in (first, other))
        assert float(result.drift[2, picture]) == pytest.approx(float(gram(ours, theirs)), rel=1e-4)
    wanted = torch.nn.functional.cosine_similarity(other[0], other[0][1, 5].expand(4, 6, -1), dim=-1)
    torch.testing.assert_close(result.maps[2][0], wanted)
    pixels = [torch.zeros(3, 32, 48, dtype=torch.uint8), torch.zeros(3, 24, 16, dtype=torch.uint8)]
    figure = draw_drift(result, pixels, ["a", "b", "c"], ["x.png", "y.png"])
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["a", "b", "c"]
    lines = next(axes for axes in figure.axes if "drift" in axes.get_ylabel()).lines
    assert list(lines[-1].get_ydata()) == pytest.approx(result.drift.mean(1).tolist())


def test_another_grid() -> None:
    with pytest.raises(SensoriumError, match="patches of one size"):
        gram_drift([[torch.randn(4, 6, 8)], [torch.randn(4, 5, 8)]], [(0, 0)])
