import copy
import weakref

import pytest
import torch
from torch import nn

from sensorium.nn import packed
from sensorium.nn.packed import PackedLinear, PackedPatches, pack
from sensorium.nn.transformer import MLP, QuickGELU, TanhGELU


@pytest.fixture
def model() -> nn.Module:
    try:
        PackedLinear(nn.Linear(300, 16))
    except (AttributeError, NotImplementedError, RuntimeError):
        pytest.skip("this torch has no packed linear layers")
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(300, 400), nn.GELU(), nn.Sequential(nn.Linear(400, 300, bias=False)), nn.Linear(20, 9)
    )


@torch.inference_mode()
def test_equal_to_plain_for_any_shape(model: nn.Module) -> None:
    front = model[:3]  # type: ignore[index]
    inputs = [torch.randn(*shape, 300) for shape in ((1,), (7,), (2, 5), (1, 3, 2), (0,))]
    inputs.append(torch.randn(300, 4).T)
    plain = [front(x) for x in inputs]
    pack(model, anyway=True)
    for x, expected in zip(inputs, plain, strict=True):
        torch.testing.assert_close(front(x), expected, atol=1e-5, rtol=1e-5)


def test_small_layers_and_other_precisions_stay(model: nn.Module) -> None:
    assert pack(model, anyway=True) is model
    assert isinstance(model[0], PackedLinear)  # type: ignore[index]
    assert type(model[3]) is nn.Linear  # type: ignore[index]
    half = nn.Sequential(nn.Linear(300, 300)).half()
    assert type(pack(half, anyway=True)[0]) is nn.Linear  # type: ignore[index]


def test_packs_only_where_it_pays(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "pays", lambda dtype: False)
    assert type(pack(model)[0]) is nn.Linear  # type: ignore[index]
    monkeypatch.setattr(packed, "pays", lambda dtype: True)
    assert isinstance(pack(model)[0], PackedLinear)  # type: ignore[index]


def test_without_the_operators_nothing_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(weight: torch.Tensor) -> torch.Tensor:
        raise AttributeError("no such operator")

    monkeypatch.setattr(packed, "_pack", missing)
    packed.pays.cache_clear()
    try:
        assert packed.pays() is False
    finally:
        packed.pays.cache_clear()


def test_a_layer_is_freed_before_the_next_is_packed(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or every weight would be in memory twice at the end."""
    stack = nn.Sequential(*(MLP(300, 400) for _ in range(3)))
    layers = [weakref.ref(layer) for layer in stack.modules() if type(layer) is nn.Linear]
    alive: list[int] = []
    real = packed._pack
    monkeypatch.setattr(
        packed, "_pack", lambda weight: (alive.append(sum(ref() is not None for ref in layers)), real(weight))[1]
    )
    pack(stack, anyway=True)
    assert alive == [6, 5, 4, 3, 2, 1]


def test_saving_gives_the_layers_own_tensors(model: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    after = pack(model, anyway=True).state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


@torch.inference_mode()
def test_the_gelu_of_an_mlp_goes_into_the_product(model: nn.Module) -> None:
    mlp, x = MLP(300, 400), torch.randn(2, 5, 300)
    plain = mlp(x)
    names = mlp.state_dict().keys()
    pack(mlp, anyway=True)
    assert type(mlp.activation) is nn.Identity
    torch.testing.assert_close(mlp(x), plain, atol=1e-5, rtol=1e-5)
    assert mlp.state_dict().keys() == names
    tanh = pack(MLP(300, 400, TanhGELU), anyway=True)
    assert type(tanh.activation) is TanhGELU, "another function than the one that is fused"


@torch.inference_mode()
def test_bf16_takes_what_autocast_gives_it_and_refuses_to_be_saved(model: nn.Module) -> None:
    front, x = model[:3], torch.randn(4, 300)  # type: ignore[index]
    plain = front(x)
    pack(model, dtype=torch.bfloat16, anyway=True)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = front(x)
    assert rounded.dtype == torch.bfloat16
    assert (rounded - plain).abs().max() < 0.02 * plain.abs().max()
    with pytest.raises(RuntimeError, match=r"0\.weight was rounded to torch.bfloat16: load the model in fp32"):
        model.state_dict()


@torch.inference_mode()
def test_patches_are_one_product_and_saved_as_the_convolution(model: nn.Module) -> None:
    patches = nn.Sequential(nn.Conv2d(3, 20, 10, 10), nn.Conv2d(20, 30, 4, 2, bias=False))
    before = {name: tensor.clone() for name, tensor in patches.state_dict().items()}
    pictures = [torch.randn(2, 3, *size) for size in ((100, 60), (109, 63))]
    plain = [patches(x) for x in pictures]
    pack(patches, anyway=True)
    assert isinstance(patches[0], PackedPatches)
    assert type(patches[1]) is nn.Conv2d, "its windows overlap"
    for x, expected in zip(pictures, plain, strict=True):
        torch.testing.assert_close(patches(x), expected, atol=1e-5, rtol=1e-5)
    after = patches.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


@torch.inference_mode()
@pytest.mark.parametrize("bias", [True, False])
def test_quick_gelu_goes_into_the_product_and_the_weights_stay(model: nn.Module, bias: bool) -> None:
    mlp, x = MLP(300, 400, QuickGELU, bias=bias), torch.randn(2, 5, 300)
    plain, before = mlp(x), {name: tensor.clone() for name, tensor in mlp.state_dict().items()}
    rounded = pack(copy.deepcopy(mlp), dtype=torch.bfloat16, anyway=True)
    assert (rounded(x) - plain).abs().max() < 0.02 * plain.abs().max()
    pack(mlp, anyway=True)
    assert type(mlp.activation) is nn.Identity
    torch.testing.assert_close(mlp(x), plain, atol=1e-5, rtol=1e-5)
    assert mlp.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in mlp.state_dict().items())
