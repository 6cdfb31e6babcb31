"""Exported files run in another runtime, at sizes they were not made with, and compute the same."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sensorium.checkpoints.format import Axis, Trunk
from sensorium.checkpoints.load import save_model
from sensorium.checkpoints.onnx import export_onnx, export_trunk
from sensorium.checkpoints.rename import CheckpointError
from tests import tiny

onnxruntime: Any = pytest.importorskip("onnxruntime")


def exported(config: Any, folder: Path) -> tuple[Any, list[Path]]:
    """A tiny model and its files, written by the command: the checks of shapes in this process cannot be traced."""
    model = tiny.build(config)
    save_model(model, folder / "model", naming="timm" if config is tiny.VIT else "openai")
    program = "import sys; from sensorium.app.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "export", str(folder / "model"), str(folder / "onnx")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    files = sorted((folder / "onnx").iterdir())
    assert [line.split(":")[0].split("/")[-1] for line in done.stdout.splitlines()] == [file.name for file in files]
    return model, files


def run(file: Path, name: str, inputs: torch.Tensor) -> Any:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {name: inputs.numpy()})[0]


def test_vit_takes_any_batch_and_any_size(tmp_path: Path) -> None:
    model, (file,) = exported(tiny.VIT, tmp_path)
    assert file.name == "image.onnx"
    for shape in ((1, 3, 32, 32), (5, 3, 64, 24)):  # the size it was trained at, and another
        image = torch.randn(shape)
        np.testing.assert_allclose(run(file, "image", image), model(image).numpy(), atol=1e-4)


def test_clip_gives_both_towers(tmp_path: Path) -> None:
    model, (image_file, text_file) = exported(tiny.CLIP_VIT, tmp_path)
    assert (image_file.name, text_file.name) == ("image.onnx", "text.onnx")
    ids = torch.tensor([[62, 5, 63, 0], [62, 7, 9, 63], [62, 63, 0, 0]])
    np.testing.assert_allclose(run(text_file, "ids", ids), model.text(ids).numpy(), atol=1e-4)
    image = torch.randn(3, 3, 32, 48)
    np.testing.assert_allclose(run(image_file, "image", image), model.vision(image).numpy(), atol=1e-4)


def test_a_file_that_computes_something_else_is_not_kept(tmp_path: Path) -> None:
    class Line(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    class Forgetful(Line):
        """Computes something else once it has been traced."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + (1 if torch.compiler.is_compiling() else 2)

    def trunk(module: torch.nn.Module) -> Trunk:
        varies = {"x": {0: Axis("batch")}}
        return Trunk(name="x", module=module, inputs={"x": torch.ones(2, 3)}, varies=varies)

    export_trunk(trunk(Line()), tmp_path / "line.onnx")
    with pytest.raises(CheckpointError, match=r"line\.onnx differs from torch by"):
        export_trunk(trunk(Forgetful()), tmp_path / "line.onnx")
    assert run(tmp_path / "line.onnx", "x", torch.ones(1, 3)).tolist() == [[2, 2, 2]], "the one before is still there"
    assert [file.name for file in tmp_path.iterdir()] == ["line.onnx"]


def test_what_cannot_be_traced_is_an_error_in_words(tmp_path: Path) -> None:
    class Undecided(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    undecided = Trunk(name="x", module=Undecided(), inputs={"x": torch.ones(2)}, varies={})
    with pytest.raises(CheckpointError, match=r"y\.onnx: torch cannot trace this part"):
        export_trunk(undecided, tmp_path / "y.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(CheckpointError, match="is a file: name a folder"):
        export_onnx(tiny.build(tiny.VIT), tmp_path / "x")
