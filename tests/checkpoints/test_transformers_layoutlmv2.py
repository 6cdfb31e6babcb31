"""The same files in transformers and here: equal outputs both ways, on random weights.

transformers' LayoutLMv2 takes its page encoder from detectron2, which no registry has: here a plain one with the same
names stands in for it. Its batch norms count batches, as those of the published files do.
"""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.checkpoints.load import load_model, save_model
from sensorium.models.layoutlmv2 import Head, LayoutLMv2
from tests import tiny_layoutlmv2 as tiny
from tests.checkpoints.peers import close

transformers: Any = pytest.importorskip("transformers")
module: Any = pytest.importorskip("transformers.models.layoutlmv2.modeling_layoutlmv2")
SIZES: dict[str, Any] = {
    "vocab_size": 43,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 32,
    "max_position_embeddings": 60,
    "coordinate_size": 4,
    "shape_size": 4,
    "max_rel_pos": 20,
    "max_rel_2d_pos": 100,
    "num_labels": 5,
}


class Convolution(nn.Conv2d):
    def __init__(self, *sizes: int, **more: Any) -> None:
        super().__init__(*sizes, bias=False, **more)
        self.norm = nn.BatchNorm2d(sizes[1])

    def forward(self, input: Tensor) -> Tensor:
        return self.norm(super().forward(input))


class Block(nn.Module):
    def __init__(self, inputs: int, width: int, outputs: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv1, self.conv3 = Convolution(inputs, width, 1), Convolution(width, outputs, 1)
        self.conv2 = Convolution(width, width, 3, stride=stride, padding=1, groups=groups)
        self.shortcut = Convolution(inputs, outputs, 1, stride=stride) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv3(self.conv2(self.conv1(x).relu()).relu())
        return (y + (x if self.shortcut is None else self.shortcut(x))).relu()


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        c, inputs = tiny.PAGE, tiny.PAGE.stem
        self.bottom_up = nn.Module()
        self.bottom_up.stem = nn.Module()
        self.bottom_up.stem.conv1 = Convolution(3, c.stem, 7, stride=2, padding=3)
        for level, depth in enumerate(c.depths):
            blocks: list[nn.Module] = []
            for index in range(depth):
                stride, outputs = 2 if level and not index else 1, c.stage << level
                blocks.append(Block(inputs, c.width << level, outputs, stride, c.groups))
                inputs = outputs
            self.bottom_up.add_module(f"res{level + 2}", nn.Sequential(*blocks))
            self.add_module(f"fpn_lateral{level + 2}", nn.Conv2d(inputs, c.pyramid, 1))
            self.add_module(f"fpn_output{level + 2}", nn.Conv2d(c.pyramid, c.pyramid, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        x = F.max_pool2d(self.bottom_up.get_submodule("stem.conv1")(image).relu(), 3, 2, 1)
        laterals: list[Tensor] = []
        for level in range(2, 6):
            x = self.bottom_up.get_submodule(f"res{level}")(x)
            laterals.append(self.get_submodule(f"fpn_lateral{level}")(x))
        top = laterals.pop()
        while laterals:
            top = laterals.pop() + F.interpolate(top, scale_factor=2.0)
        return self.get_submodule("fpn_output2")(top)


class Visual(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        mean, deviation = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]
        self.cfg = SimpleNamespace(MODEL=SimpleNamespace(PIXEL_MEAN=mean, PIXEL_STD=deviation))
        self.backbone = Backbone()
        self.pixel_mean = nn.Buffer(torch.tensor(mean)[:, None, None], persistent=False)
        self.pixel_std = nn.Buffer(torch.tensor(deviation)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        features = self.backbone((image - self.pixel_mean) / self.pixel_std)
        return F.adaptive_avg_pool2d(features, 7).flatten(2).mT


@pytest.fixture(autouse=True)
def without_detectron2(quiet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "requires_backends", lambda *_: None)
    monkeypatch.setattr(module, "LayoutLMv2VisualBackbone", Visual)
    names = SimpleNamespace(layers=SimpleNamespace(FrozenBatchNorm2d=type("Unused", (), {})))
    monkeypatch.setattr(module, "detectron2", names, raising=False)


def config(**changes: Any) -> Any:
    return transformers.LayoutLMv2Config(**SIZES | changes, image_feature_pool_shape=[7, 7, 10])


def randomise(model: Any) -> Any:
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point():
                tensor.add_(0.1 * torch.randn(tensor.shape))
    return model.eval()


def theirs_sees(page: tiny.Page) -> dict[str, Tensor]:
    return {"input_ids": page.ids, "bbox": page.boxes, "image": page.image, "attention_mask": page.mask.long()}


XLM = {
    "fast_qkv": False,
    "has_relative_attention_bias": False,
    "has_spatial_attention_bias": False,
    "has_visual_segment_embedding": True,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
}


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"fast_qkv": False}, XLM], ids=["base", "large", "xlm"])
def test_trunk(changes: dict[str, Any], tmp_path: Path) -> None:
    theirs = randomise(transformers.LayoutLMv2Model(config(**changes)))
    theirs.save_pretrained(tmp_path)
    ours, page = load_model(tmp_path).model, tiny.pages()
    assert isinstance(ours, LayoutLMv2)
    expected = theirs(**theirs_sees(page), output_hidden_states=True)
    close(ours(*page), expected.pooler_output)
    states = ours.states(*page)
    for state, hidden in zip(states, expected.hidden_states, strict=True):
        close(state, hidden)
    close(states[-1], expected.last_hidden_state)


@torch.no_grad()
@pytest.mark.parametrize("head", ["TokenClassification", "SequenceClassification", "QuestionAnswering"])
def test_heads(head: str, tmp_path: Path) -> None:
    changes = {"num_labels": 2} if head == "QuestionAnswering" else {}
    theirs = randomise(getattr(transformers, f"LayoutLMv2For{head}")(config(**changes)))
    theirs.save_pretrained(tmp_path)
    ours, page = load_model(tmp_path).model, tiny.pages()
    expected = theirs(**theirs_sees(page))
    if head == "QuestionAnswering":
        close(ours(*page), torch.stack([expected.start_logits, expected.end_logits], dim=-1))
    else:
        close(ours(*page), expected.logits)


@torch.no_grad()
@pytest.mark.parametrize("head", ["none", "tokens", "page", "answer"])
@pytest.mark.parametrize("line", tiny.CONFIGS)
def test_goes_back(line: str, head: Head, tmp_path: Path) -> None:
    # transformers' question answering always has the segment of the picture, whatever its config says
    segment = {"visual_segment": True} if head == "answer" else {}
    labels = 2 if head == "answer" else 5
    # the constants of the pixels are not in transformers' files any more
    page_config = replace(tiny.PAGE, statistics=False)
    ours = tiny.build(replace(tiny.CONFIGS[line], head=head, labels=labels, page=page_config, **segment))
    save_model(ours, tmp_path, naming="transformers")
    classes: dict[str, Any] = {
        "none": module.LayoutLMv2Model,
        "tokens": module.LayoutLMv2ForTokenClassification,
        "page": module.LayoutLMv2ForSequenceClassification,
        "answer": module.LayoutLMv2ForQuestionAnswering,
    }
    theirs, info = classes[head].from_pretrained(tmp_path, output_loading_info=True)
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    assert all(key.endswith("num_batches_tracked") for key in info["missing_keys"])
    page = tiny.pages()
    expected = theirs.eval()(**theirs_sees(page))
    if head == "none":
        close(ours(*page), expected.pooler_output)
    elif head == "answer":
        close(ours(*page), torch.stack([expected.start_logits, expected.end_logits], dim=-1))
    else:
        close(ours(*page), expected.logits)
