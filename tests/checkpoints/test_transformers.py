"""The same files in transformers and here: equal outputs both ways, on random weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sensorium.checkpoints.load import load_model, save_model
from sensorium.models.clip import CLIP
from sensorium.models.vit import ViT
from sensorium.nn.positions import TRANSFORMERS
from tests import tiny
from tests.checkpoints.peers import close, from_ours, randomise

transformers: Any = pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("quiet")
SIZES: dict[str, int] = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 32,
    "patch_size": 8,
}


@torch.no_grad()
@pytest.mark.parametrize("activation", ["gelu", "gelu_pytorch_tanh"])
def test_vit_model(activation: str, tmp_path: Path) -> None:
    config = transformers.ViTConfig(**SIZES, hidden_act=activation, layer_norm_eps=1e-6)
    theirs = randomise(transformers.ViTModel(config))
    theirs.save_pretrained(tmp_path)
    ours, image = load_model(tmp_path).model, torch.randn(2, 3, 32, 32)
    assert isinstance(ours, ViT)
    expected = theirs(image, output_hidden_states=True)
    close(ours.tokens(image), expected.last_hidden_state)
    close(ours(image), expected.pooler_output)
    for ours_state, state in zip(ours.states(image)[:-1], expected.hidden_states, strict=False):
        close(ours_state, state)
    wide = torch.randn(1, 3, 48, 24)
    close(ours.tokens(wide), theirs(wide, interpolate_pos_encoding=True).last_hidden_state)


@torch.no_grad()
def test_vit_for_classification(tmp_path: Path) -> None:
    theirs = randomise(transformers.ViTForImageClassification(transformers.ViTConfig(**SIZES, num_labels=7)))
    theirs.save_pretrained(tmp_path)
    ours, image = load_model(tmp_path).model, torch.randn(2, 3, 32, 32)
    close(ours(image), theirs(image).logits)  # type: ignore[call-arg]


def clip_config(end: int, activation: str = "quick_gelu") -> Any:
    text = {key: SIZES[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")}
    more = {"vocab_size": 60, "max_position_embeddings": 12, "bos_token_id": 1, "eos_token_id": end, "pad_token_id": 0}
    return transformers.CLIPConfig(
        text_config={**text, **more, "hidden_act": activation},
        vision_config={**SIZES, "hidden_act": activation},
        projection_dim=20,
    )


@torch.no_grad()
@pytest.mark.parametrize(("end", "activation"), [(2, "quick_gelu"), (59, "quick_gelu"), (30, "gelu")])
def test_clip_with_both_ways_to_find_the_end(end: int, activation: str, tmp_path: Path) -> None:
    """eos_token_id 2 takes the largest id of a row; any other takes the first place where it stands."""
    theirs = randomise(transformers.CLIPModel(clip_config(end, activation)))
    theirs.save_pretrained(tmp_path)
    ours, image = load_model(tmp_path).model, torch.randn(2, 3, 32, 32)
    assert isinstance(ours, CLIP)
    last = 59 if end == 2 else end
    ids = torch.tensor([[1, 5, 58, last, 0, 0], [1, 7, last, last, 40, 0], [1, 8, 9, 10, 11, last]])
    expected = theirs(input_ids=ids, pixel_values=image)
    images, texts = ours(image, ids)
    close(images, expected.image_embeds)
    close(texts, expected.text_embeds)
    close(ours.log_scale.exp() * images @ texts.T, expected.logits_per_image)


@torch.no_grad()
@pytest.mark.parametrize("end", [None, 30])
def test_clip_goes_back(end: int | None, tmp_path: Path) -> None:
    gelu = replace(tiny.CLIP_VIT, text=replace(tiny.TEXT, activation="gelu", heads=4, end=end))
    ours = tiny.build(gelu)
    assert isinstance(ours, CLIP)
    save_model(ours, tmp_path, naming="transformers")
    theirs = from_ours(transformers.CLIPModel, tmp_path)
    image, last = torch.randn(2, 3, 32, 32), end or 63
    ids = torch.tensor([[1, 5, last, 0], [1, 7, 8, last]])
    expected = theirs(input_ids=ids, pixel_values=image)
    images, texts = ours(image, ids)
    close(images, expected.image_embeds)
    close(texts, expected.text_embeds)


@torch.no_grad()
@pytest.mark.parametrize("head", ["classes", "pooler"])
def test_vit_goes_back(head: str, tmp_path: Path) -> None:
    line = replace(tiny.VIT, eps=1e-12, resampling=TRANSFORMERS, activation="gelu_tanh", heads=6)
    ours = tiny.build(line if head == "classes" else replace(line, classes=0, representation=192))
    save_model(ours, tmp_path, naming="transformers")
    kind = transformers.ViTForImageClassification if head == "classes" else transformers.ViTModel
    image = torch.randn(2, 3, 32, 32)
    expected = from_ours(kind, tmp_path)(image)
    close(ours(image), expected.logits if head == "classes" else expected.pooler_output)  # type: ignore[call-arg]
