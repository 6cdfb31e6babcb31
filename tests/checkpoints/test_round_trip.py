"""A model written under another library's names comes back as it was, and is written again byte for byte."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sensorium.checkpoints.load import load_model, save_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.data import preprocess
from sensorium.data.errors import SensoriumError
from sensorium.models.clip import CLIP, CLIPConfig
from sensorium.models.vit import ViT, ViTConfig
from sensorium.nn.packed import pack
from sensorium.nn.positions import GOOGLE, TRANSFORMERS
from tests import tiny

GELU = replace(
    tiny.CLIP_VIT,
    vision=replace(tiny.CLIP_VIT.vision, activation="gelu"),
    text=replace(tiny.TEXT, activation="gelu"),
)
LINE = replace(tiny.VIT, eps=1e-12, resampling=TRANSFORMERS)
WAYS: dict[str, tuple[CLIPConfig | ViTConfig, str]] = {
    "clip openai": (tiny.CLIP_VIT, "openai"),
    "clip openai resnet": (tiny.CLIP_RESNET, "openai"),
    "clip open_clip": (GELU, "open_clip"),
    "clip open_clip quick_gelu": (tiny.CLIP_VIT, "open_clip"),
    "clip open_clip resnet": (tiny.CLIP_RESNET, "open_clip"),
    "clip open_clip custom text": (GELU, "open_clip_custom_text"),
    "clip open_clip two heads": (replace(GELU, text=replace(GELU.text, heads=2)), "open_clip"),
    "clip transformers": (tiny.CLIP_VIT, "transformers"),
    "clip transformers gelu, end": (replace(GELU, text=replace(GELU.text, end=7, heads=4)), "transformers"),
    "vit google": (replace(tiny.VIT, activation="gelu_tanh", resampling=GOOGLE), "google"),
    "vit google pre-logits": (
        replace(tiny.VIT, activation="gelu_tanh", resampling=GOOGLE, representation=48),
        "google",
    ),
    "vit timm": (tiny.VIT, "timm"),
    "vit timm no head": (replace(tiny.VIT, classes=0), "timm"),
    "vit timm mean": (replace(tiny.VIT, pool="mean"), "timm"),
    "vit timm registers": (
        replace(tiny.VIT, registers=3, class_position=False, layer_scale=1e-5, heads=4),
        "timm",
    ),
    "vit transformers": (LINE, "transformers"),
    "vit transformers pooler": (replace(LINE, classes=0, representation=192), "transformers"),
    "vit transformers tanh": (replace(LINE, activation="gelu_tanh", heads=6), "transformers"),
}


def steps_of(naming: str) -> preprocess.Preprocess | None:
    if naming in ("google", "timm", "openai"):
        return None
    if naming == "transformers":
        return preprocess.Preprocess(32, "squash", interpolation="bilinear", rgb="before", centre="floor")
    return preprocess.Preprocess(32, mean=(0.1, 0.2, 0.3))


@pytest.mark.parametrize("way", WAYS)
def test_save_load_save(way: str, tmp_path: Path) -> None:
    config, naming = WAYS[way]
    model, steps = tiny.build(config), steps_of(naming)
    save_model(model, tmp_path / "a", naming=naming, steps=steps)
    loaded = load_model(tmp_path / "a")
    assert loaded.model.config == config
    assert loaded.model.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name
    if steps:
        assert loaded.preprocess == steps
    save_model(loaded.model, tmp_path / "b", naming=naming, steps=steps)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.parametrize("way", ["clip openai", "clip transformers", "vit timm mean", "vit google pre-logits"])
def test_loaded_model_computes_the_same(way: str, tmp_path: Path) -> None:
    config, naming = WAYS[way]
    model = tiny.build(config)
    save_model(model, tmp_path, naming=naming)
    again = load_model(tmp_path).model
    assert not again.training
    image = torch.randn(2, 3, 32, 32)
    if isinstance(model, CLIP) and isinstance(again, CLIP):
        ids = torch.tensor([[1, 5, 63, 0], [1, 63, 0, 0]])
        assert torch.equal(model.text(ids), again.text(ids))
        assert torch.equal(model.vision(image), again.vision(image))
    else:
        assert isinstance(model, ViT)
        assert torch.equal(model(image), again(image))


def test_any_naming_of_a_family_leads_to_any_other(tmp_path: Path) -> None:
    model = tiny.build(tiny.CLIP_VIT)
    for naming in ("openai", "open_clip", "open_clip_custom_text", "transformers"):
        save_model(model, tmp_path / naming, naming=naming)
        model = load_model(tmp_path / naming).model
    for name, tensor in tiny.build(tiny.CLIP_VIT).state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_a_packed_model_can_be_saved(tmp_path: Path) -> None:
    plain = tiny.build(replace(tiny.VIT, width=256, heads=4))
    save_model(plain, tmp_path / "plain", naming="timm")
    try:
        packed = pack(plain, anyway=True)
    except (AttributeError, NotImplementedError, RuntimeError):
        pytest.skip("this torch has no packed linear layers")
    save_model(packed, tmp_path / "packed", naming="timm")  # type: ignore[arg-type]
    assert (tmp_path / "plain/model.safetensors").read_bytes() == (tmp_path / "packed/model.safetensors").read_bytes()


def test_the_file_loaded_from_can_be_overwritten(tmp_path: Path) -> None:
    save_model(tiny.build(tiny.VIT), tmp_path, naming="timm")
    loaded = load_model(tmp_path)
    save_model(loaded.model, tmp_path, naming="timm")
    assert load_model(tmp_path).fingerprint == loaded.fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_fingerprint_is_of_the_weights_and_the_preprocessing(tmp_path: Path) -> None:
    steps = preprocess.clip(32)
    prints = []
    for name, seed, how in (
        ("a", 0, steps),
        ("b", 0, steps),
        ("c", 1, steps),
        ("d", 0, replace(steps, resize="squash")),
    ):
        save_model(tiny.build(tiny.CLIP_VIT, seed), tmp_path / name, naming="open_clip", steps=how)
        prints.append(load_model(tmp_path / name).fingerprint)
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_what_a_naming_cannot_say_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match="no naming 'caffe'; it has transformers, open_clip_custom_text, open_clip, openai"
    ):
        save_model(tiny.build(tiny.CLIP_VIT), tmp_path, naming="caffe")
    with pytest.raises(CheckpointError, match=r"no CLIP with a ResNet; save this model as openai or open_clip"):
        save_model(tiny.build(tiny.CLIP_RESNET), tmp_path, naming="transformers")
    with pytest.raises(CheckpointError, match=r"no place for: registers"):
        save_model(tiny.build(replace(tiny.VIT, registers=2)), tmp_path, naming="google")
    with pytest.raises(SensoriumError, match="open_clip cannot resize to 40 and crop to 32"):
        save_model(tiny.build(GELU), tmp_path, naming="open_clip", steps=preprocess.Preprocess(32, resize_to=40))
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is a file: name a folder"):
        save_model(tiny.build(GELU), tmp_path / "file", naming="openai")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]  # a refusal leaves nothing behind
