"""`verify` finds what is wrong with a model, and nothing with a right one."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sensorium.checkpoints import verify as checking
from sensorium.checkpoints.load import Unsaid, check_written, save_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.checkpoints.verify import verify
from sensorium.nn.attention import Attention
from tests import tiny


@pytest.mark.parametrize(
    ("config", "naming"), [(tiny.VIT, "timm"), (tiny.CLIP_VIT, "transformers"), (tiny.CLIP_RESNET, "openai")]
)
def test_a_right_model_passes(config: object, naming: str, tmp_path: Path) -> None:
    save_model(tiny.build(config), tmp_path, naming=naming)  # type: ignore[arg-type]
    loaded, checks = verify(tmp_path)
    assert loaded.format.naming == naming
    assert [check for check in checks if not check.passed] == []
    assert {check.name.split(":")[0] for check in checks} >= {"image", "saved as it was loaded"}


def test_a_weight_that_is_not_finite_is_named(tmp_path: Path) -> None:
    model = tiny.build(tiny.VIT)
    model.head.bias.data[3] = torch.inf  # type: ignore[union-attr]
    save_model(model, tmp_path, naming="timm")
    _, checks = verify(tmp_path)
    (bad,) = [check for check in checks if check.name == "tensors that are not finite"]
    assert not bad.passed
    assert bad.note == "head.bias"


def test_a_kernel_that_computes_wrong_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        return v  # as a faulty fused kernel might

    save_model(tiny.build(tiny.VIT), tmp_path, naming="timm")
    load = checking.load_model

    def loaded_with_broken_kernels(source: str | Path) -> object:
        found = load(source)
        for layer in found.model.modules():
            if isinstance(layer, Attention):
                layer.kernel = broken
        return found

    monkeypatch.setattr(checking, "load_model", loaded_with_broken_kernels)
    _, checks = verify(tmp_path)
    assert [check.name for check in checks if not check.passed] == ["image: fused against plain attention"]


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    model = tiny.build(tiny.CLIP_VIT)
    file = save_model(model, tmp_path, naming="transformers")
    assert check_written(model, file) == Unsaid([], [])
    with pytest.raises(CheckpointError, match=r"reads back differently: .*positions"):
        check_written(tiny.build(tiny.CLIP_VIT, seed=1), file)


def test_what_a_naming_does_not_say_is_said(tmp_path: Path) -> None:
    model = tiny.build(tiny.VIT)
    file = save_model(model, tmp_path, naming="google")
    assert check_written(model, file).choices[0] == "activation is gelu, read as gelu_tanh"
