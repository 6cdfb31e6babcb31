"""Attention of class token and registers against the weights that passed."""

import pytest
import torch

import sensorium.nn.looking
from sensorium.data.errors import SensoriumError
from sensorium.insight.attention import draw_attention, draw_film, token_attention
from sensorium.insight.vit_like import vit_like
from sensorium.nn.looking import looking
from tests.insight.trunks import PREFIX, TRUNKS, build


@pytest.mark.parametrize("pieces", [1 << 22, 60], ids=["at once", "in pieces"])
@pytest.mark.parametrize("name", TRUNKS)
def test_every_family(name: str, pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, image, prefix = build(name), torch.randn(1, 3, 40, 24), PREFIX.get(name, 1)
    vit, whole = vit_like(model), sensorium.nn.looking.watching
    monkeypatch.setattr("sensorium.insight.attention.watching", lambda *given: whole(*given, numbers=pieces))
    with looking(vit.blocks) as seen, torch.inference_mode():
        vit.tokens(image)
    for layer in (1, len(vit.blocks), -1, None):
        result = token_attention(model, image, layer)
        weights = list(seen.values())[result.layer - 1][0][0]
        asked = weights[:, :prefix].transpose(0, 1)
        if len(vit.cls) == 0:
            asked = torch.cat([weights[:, prefix:].mean(1)[None], asked])
        torch.testing.assert_close(result.maps.flatten(2), asked[..., prefix:])
        torch.testing.assert_close(result.maps.sum((2, 3)) + result.elsewhere, torch.ones(asked.shape[:2]))
    registers = prefix - len(vit.cls)
    assert result.asking[1:] == tuple(f"register {i + 1}" for i in range(registers))
    assert result.asking[0] == ("class token" if len(vit.cls) else "mean of the patches")


def test_no_such_layer() -> None:
    with pytest.raises(SensoriumError, match="layers 1 to 2"):
        token_attention(build("ViT"), torch.randn(1, 3, 32, 32), 3)


def test_drawings() -> None:
    model = build("DINOv2")
    found = [token_attention(model, torch.randn(1, 3, *size)) for size in ((40, 24), (24, 40))]
    pixels = [torch.zeros(3, *size, dtype=torch.uint8) for size in ((40, 24), (24, 40))]
    one = draw_attention(found[:1], pixels[:1], ["a.png"])
    assert [axes.get_title() for axes in one.axes[:4]] == ["the picture", "all heads", "head 1", "head 2"]
    assert [axes.get_ylabel() for axes in one.axes[::4]] == ["class token", *(f"register {i}" for i in range(1, 5))]
    torch.testing.assert_close(torch.as_tensor(one.axes[3].images[0].get_array()), found[0].maps[0, 1])
    several = draw_attention(found, pixels, ["a.png", "b.png"])
    assert [axes.get_xlabel() for axes in several.axes[::6]] == ["a.png", "b.png"]
    torch.testing.assert_close(torch.as_tensor(several.axes[8].images[0].get_array()), found[1].mean(1))
    film = draw_film([found[0]] * 5, [pixels[0]] * 5)
    assert sum(len(axes.images) for axes in film.axes) == 10
