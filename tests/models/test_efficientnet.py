import pytest
import torch

from sensorium.models.efficientnet import PRESETS, EfficientNetLite, fold_norms, scaled_channels
from sensorium.nn.blank import blank
from sensorium.nn.same_conv import SameConv


@pytest.mark.parametrize(("name", "count"), [("efficientnet-lite0", 4_652_008), ("efficientnet-lite2", 6_092_072)])
def test_presets_have_the_published_size(name, count):
    with blank():
        model = EfficientNetLite(PRESETS[name])
    assert sum(p.numel() for p in model.parameters()) == count


def test_channels_are_rounded_as_published():
    assert [scaled_channels(c, 1.1) for c in (16, 24, 40, 80, 112, 192, 320)] == [16, 24, 48, 88, 120, 208, 352]


@pytest.mark.parametrize("side", [9, 10])
@pytest.mark.parametrize("kernel", [3, 5])
def test_padding_puts_the_odd_pixel_right_and_below(side, kernel):
    conv = SameConv(1, 1, kernel, 2, bias=False)
    x = torch.randn(1, 1, side, side)
    y = conv(x)
    assert y.shape[-1] == (side + 1) // 2
    over = (y.shape[-1] - 1) * 2 + kernel - side
    before, after = over // 2, over - over // 2
    window = torch.nn.functional.pad(x, (before, after, before, after))[0, 0, :kernel, :kernel]
    torch.testing.assert_close(y[0, 0, 0, 0], (window * conv.weight[0, 0]).sum())


def test_folding_the_norms_changes_no_number():
    torch.manual_seed(0)
    model = EfficientNetLite(PRESETS["efficientnet-lite0"])
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    model.eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = model(x)
        after = fold_norms(model)(x)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    assert not [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
