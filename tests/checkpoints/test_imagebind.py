"""ImageBind's files: parts of them are loaded without the rest, and what does not fit fails by name."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import sensorium
from sensorium.checkpoints.load import load_model, save_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.data.audio import AudioSteps
from sensorium.data.video import VideoSteps
from sensorium.models.imagebind import MODALITIES, ImageBind
from tests import tiny

MASK = "modality_preprocessors.text.mask"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imagebind")
    save_model(tiny.build(tiny.IMAGEBIND), folder, naming="imagebind")
    return folder


def changed(saved: Path, folder: Path, **changes: torch.Tensor | None) -> Path:
    """A copy without configuration in which some tensors are other ones or missing."""
    state = load_file(saved / "model.safetensors")
    state.update({name: tensor for name, tensor in changes.items() if tensor is not None})
    save_file(
        {name: tensor for name, tensor in state.items() if changes.get(name, tensor) is not None}, folder / "x.pt"
    )
    return folder / "x.pt"


def test_round_trip(saved: Path, tmp_path: Path) -> None:
    loaded = load_model(saved)
    assert isinstance(loaded.model, ImageBind)
    assert loaded.model.config == tiny.IMAGEBIND
    save_model(loaded.model, tmp_path, naming="imagebind")
    first, second = load_file(saved / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    assert first.keys() == second.keys()
    assert MASK in first
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("modality", MODALITIES)
def test_one_modality_of_a_full_file(modality: str, saved: Path, tmp_path: Path) -> None:
    whole = load_model(saved)
    part = load_model(saved, config=tiny.IMAGEBIND.only(modality))
    assert list(part.model.towers) == [modality]
    for name, tensor in part.model.state_dict().items():
        assert torch.equal(tensor, whole.model.state_dict()[name])
    assert (part.preprocess is None) == (modality != "vision")
    assert part.fingerprint == whole.fingerprint, "vectors of a part can be compared with those of the whole"
    save_model(part.model, tmp_path, naming="imagebind")
    again = load_model(tmp_path)
    assert again.model.config == part.model.config
    assert again.fingerprint != whole.fingerprint, "another file, of which nobody knows the rest"


@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_what_is_not_asked_for_is_not_read(form: str, tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("asks Linux which pages of the file are in memory")
    config = replace(tiny.IMAGEBIND, text=replace(tiny.TEXT, width=256, heads=4, mlp=512, words=20000))
    weights = save_model(tiny.build(config), tmp_path, naming="imagebind")
    if form == "torch":
        torch.save(load_file(weights), tmp_path / "imagebind.pth")
        weights = tmp_path / "imagebind.pth"
    loaded = load_model(weights, config=config.only("audio", "depth"))
    assert loaded.model.embed("depth", torch.zeros(1, 1, 32, 32)).shape == (1, 24)
    lines = Path("/proc/self/smaps").read_text().splitlines()
    starts = [i for i, line in enumerate(lines) if line.endswith(str(weights))]
    assert starts, "the file is mapped, not copied"
    resident = sum(int(next(line for line in lines[i:] if line.startswith("Rss:")).split()[1]) for i in starts)
    assert resident * 1024 < weights.stat().st_size / 4


def test_unknown_names_fail_also_beside_what_is_left_out(saved: Path, tmp_path: Path) -> None:
    name = "modality_trunks.smell.blocks.0.weight"
    path = changed(saved, tmp_path, **{name: torch.zeros(1), "decoder.audio.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"unknown names in the checkpoint: decoder\.audio\.weight, modality_tr"):
        load_model(path, config=tiny.IMAGEBIND.only("vision"))


def test_a_missing_tensor_is_never_taken_for_a_missing_modality(saved: Path, tmp_path: Path) -> None:
    path = changed(saved, tmp_path, **{"modality_preprocessors.vision.cls_token": None})
    config = {"config": tiny.IMAGEBIND.only("vision", "audio")}
    for options in ({}, config):
        with pytest.raises(CheckpointError, match=r"modality_preprocessors\.vision\.cls_token"):
            load_model(path, **options)


def test_a_modality_that_the_file_lacks(saved: Path, tmp_path: Path) -> None:
    save_model(load_model(saved, config=tiny.IMAGEBIND.only("audio")).model, tmp_path, naming="imagebind")
    with pytest.raises(CheckpointError, match=r"missing: modality_.*depth"):
        load_model(tmp_path, config=tiny.IMAGEBIND.only("audio", "depth"))


def test_another_mask_is_refused(saved: Path, tmp_path: Path) -> None:
    path = changed(saved, tmp_path, **{MASK: torch.zeros(16, 16)})
    with pytest.raises(CheckpointError, match=f"{MASK} is not what"):
        load_model(path, config=tiny.IMAGEBIND)


def test_from_files_to_one_space(saved: Path, tmp_path: Path) -> None:
    soundfile, av = pytest.importorskip("soundfile"), pytest.importorskip("av")
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(size=(30_000, 2)) / 9, 22050)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frames = (
            av.VideoFrame.from_ndarray(np.full((48, 64, 3), i, dtype=np.uint8), format="rgb24") for i in range(30)
        )
        for frame in (*frames, None):
            for packet in stream.encode(frame):
                container.mux(packet)
    model = load_model(saved, config=tiny.IMAGEBIND.only("vision", "audio")).model
    assert isinstance(model, ImageBind)
    sound = AudioSteps(bins=32, frames=44).read(tmp_path / "a.wav")
    film = VideoSteps(size=32).read(tmp_path / "a.mp4")
    assert model.embed("audio", sound[None]).shape == model.embed("vision", film[None]).shape == (1, 24)


def test_embedder(tmp_path: Path) -> None:
    config = replace(tiny.IMAGEBIND, text=replace(tiny.TEXT, words=49408, context=77))
    save_model(tiny.build(config), tmp_path, naming="imagebind")
    embedder = sensorium.load(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    vectors = embedder.embed(images=[picture], text=["a cat", "a dog " * 100])
    assert embedder.dim == 24
    assert embedder.logit_scale == pytest.approx(1 / 0.07)
    assert embedder.preprocess.rgb == "before"
    model = embedder.model
    assert isinstance(model, ImageBind)
    torch.testing.assert_close(model.embed("vision", embedder.preprocess(picture)[None]), vectors["images"])
    pictures_only = sensorium.load(tmp_path, config=config.only("vision"))
    assert pictures_only.text is None
    torch.testing.assert_close(pictures_only.embed(images=[picture])["images"], vectors["images"])
    sensorium.save(embedder, tmp_path / "again", naming="imagebind")
    assert sensorium.load(tmp_path / "again").fingerprint == embedder.fingerprint
    ears = sensorium.load(tmp_path, config=config.only("audio"))
    assert set(ears.model.towers) == {"audio"}
    assert not ears.has("image")
    with pytest.raises(sensorium.SensoriumError, match="was loaded without pictures"):
        ears.embed(images=[picture])
