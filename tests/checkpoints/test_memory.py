"""What parts of a model take in memory: told before they are read, and what was not asked for is not read."""

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import sensorium
from sensorium.checkpoints.load import load_model, memory_of, save_model
from sensorium.checkpoints.memory import told
from sensorium.checkpoints.rename import CheckpointError
from sensorium.models.imagebind import ImageBind
from sensorium.nn.blank import blank
from tests import tiny


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imagebind")
    save_model(tiny.build(tiny.IMAGEBIND), folder, naming="imagebind")
    return folder


def size(model: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in model.state_dict().values())


def test_bytes_of_every_sense(saved: Path) -> None:
    model = load_model(saved).model
    assert isinstance(model, ImageBind)
    sizes = memory_of(saved)
    assert list(sizes) == ["image", "text", "audio", "depth", "thermal", "motion"]
    assert sum(sizes.values()) == size(model)
    assert sizes["image"] == size(model.towers["vision"])
    some = memory_of(saved, senses=("video", "motion"))
    assert some == {"image": sizes["image"], "motion": sizes["motion"]}, "one tower sees pictures and films"
    assert sum(some.values()) == size(load_model(saved, senses=("video", "motion")).model)
    assert told(some) == f"{sum(some.values()) / 1e6:.1f} MB of memory (image 0.1 MB, motion 0.1 MB)"
    with pytest.raises(CheckpointError, match="name one at least of image, text"):
        memory_of(saved, senses=())


def test_of_other_models(tmp_path: Path) -> None:
    model = tiny.build(tiny.CLIP_VIT)
    save_model(model, tmp_path / "clip", naming="transformers")
    sizes = memory_of(tmp_path / "clip")
    assert list(sizes) == ["image", "text"]
    assert sum(sizes.values()) == size(model)
    assert sum(memory_of(tmp_path / "clip", precision="bf16").values()) <= size(model)
    save_model(tiny.build(tiny.VIT), tmp_path / "vit", naming="timm")
    assert list(memory_of(tmp_path / "vit")) == ["image"]
    with pytest.raises(CheckpointError, match="is no ImageBind, and is loaded whole: leave senses out"):
        memory_of(tmp_path / "vit", senses=("image",))
    pocket = memory_of("pocket")
    whole = size(getattr(sensorium.load("pocket", device="cpu"), "model"))  # noqa: B009
    assert whole == pytest.approx(sum(pocket.values()), rel=0.01), "without the norms that loading folds away"


def test_it_is_said_before_loading(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="sensorium"):
        sensorium.load(saved, senses=("audio", "depth"))
    assert caplog.messages == [f"{saved}: {told(memory_of(saved, senses=('audio', 'depth')))}"]


MEMORY = """
import sys
from pathlib import Path
import torch
import sensorium
from sensorium.checkpoints.load import memory_of
def memory(what):
    status = Path("/proc/self/status").read_text()
    return int(status.split(what + ":")[1].split()[0]) << 10
small = sensorium.load(sys.argv[2], senses=("audio",), device="cpu")  # what is imported and allocated once
small.vectors("audio", [torch.zeros(1, 32, 44)])
before = memory("VmRSS")
sizes = memory_of(sys.argv[1])
told = memory("VmRSS") - before
model = sensorium.load(sys.argv[1], senses=("audio", "motion"), device="cpu")
model.vectors("audio", [torch.zeros(1, 32, 44)])
print(sum(sizes.values()), told, memory("VmRSS") - before, model.fingerprint)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell a process's memory")
@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_what_is_not_asked_for_takes_no_memory(form: str, saved: Path, tmp_path: Path) -> None:
    vision = replace(tiny.IMAGEBIND.vision, width=768, heads=12, mlp=3072, depth=8)
    config = replace(tiny.IMAGEBIND, vision=vision, text=replace(tiny.TEXT, width=256, heads=4, words=20000))
    with blank():
        model = ImageBind(config)
    model.to_empty(device="cpu")
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not name.startswith("scales."):
            tensor.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(0))
    weights = save_model(model, tmp_path, naming="imagebind")
    if form == "torch":
        torch.save(load_file(weights), tmp_path / "imagebind.pth")
        weights = tmp_path / "imagebind.pth"
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, str(weights), str(saved)], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    whole, told_for, taken, mark = run.stdout.split()
    assert int(whole) > 240 << 20
    assert int(told_for) < 8 << 20
    assert int(taken) < 8 << 20
    assert mark == load_model(weights).fingerprint
