"""Weight files of every kind, whole, wrapped, damaged and hostile."""

import json
import os
import pickle
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sensorium.checkpoints.files import read_checkpoint
from sensorium.checkpoints.formats import export, format_named
from sensorium.checkpoints.load import load_model, save_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.checkpoints.torchscript import read_torchscript
from sensorium.models.clip import CLIP
from tests import tiny


@pytest.fixture(scope="module")
def openai() -> dict[str, Tensor]:
    return export(tiny.build(tiny.CLIP_VIT), format_named("clip", "openai"))


@pytest.fixture(scope="module")
def timm() -> dict[str, Tensor]:
    return export(tiny.build(tiny.VIT), format_named("vit", "timm"))


class Node(nn.Module):
    """A module that holds what it is told to."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def tree(state: dict[str, Tensor]) -> Node:
    """Modules whose state_dict is `state`: floats as parameters, integers as buffers, as in OpenAI's archives."""
    root = Node()
    for name, tensor in state.items():
        node: nn.Module = root
        *path, last = name.split(".")
        for part in path:
            if not hasattr(node, part):
                node.add_module(part, Node())
            node = getattr(node, part)
        if tensor.is_floating_point() and "running" not in last:
            node.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
        else:
            node.register_buffer(last, tensor)
    return root


def save_script(module: nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch retires TorchScript; OpenAI's files stay what they are
        torch.jit.save(torch.jit.script(module), str(path))


def archive(state: dict[str, Tensor], path: Path) -> None:
    root = tree(state)
    for block in root.visual.transformer.resblocks.children():  # type: ignore[union-attr, operator]
        block.attn_mask = torch.zeros(3, 3)  # a plain attribute: it is in the archive and in no state_dict
    save_script(root, path)


def test_openai_archive(openai: dict[str, Tensor], tmp_path: Path) -> None:
    scalars = {
        name: torch.tensor(n) for name, n in (("input_resolution", 32), ("context_length", 16), ("vocab_size", 64))
    }
    half = {name: tensor.half() for name, tensor in openai.items()}
    archive({**half, **scalars}, tmp_path / "tiny.pt")
    loaded = load_model(tmp_path / "tiny.pt")
    assert isinstance(loaded.model, CLIP)
    assert loaded.model.config == tiny.CLIP_VIT
    assert loaded.found == "clip under the names of openai"
    assert {tensor.dtype for tensor in loaded.model.state_dict().values()} == {torch.float32}
    for name, tensor in export(loaded.model, format_named("clip", "openai")).items():
        assert torch.equal(tensor, half[name].float()), name


def test_archives_read_as_torch_reads_them(tmp_path: Path) -> None:
    state = {
        "a.w": torch.randn(4, 6).t(),
        "a.n": torch.tensor(3),
        "b.c.w": torch.randn(2, 3).bfloat16(),
        "e": torch.ones(0),
    }
    save_script(tree(state), tmp_path / "x.pt")
    read = read_torchscript(tmp_path / "x.pt")
    assert read.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(read[name], tensor), name
        assert read[name].dtype == tensor.dtype


class Setting(nn.Module):
    """Runs its own code when torch.jit.load reads it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.training = False
        self.kept = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        self.kept = torch.from_file(self.path, shared=True, size=8)  # makes the file


def test_the_code_of_an_archive_does_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    save_script(Setting(str(trace)), tmp_path / "x.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(str(tmp_path / "x.pt"))
    assert trace.exists()  # so torch's own reader would have run it
    trace.unlink()
    with pytest.raises(CheckpointError, match=r"x\.pt.*refused \(Setting packs its state in its own way"):
        read_checkpoint(tmp_path / "x.pt")
    assert not trace.exists()


def test_an_archive_cannot_name_other_code(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as bad:
        bad.writestr("x/constants.pkl", b"")
        bad.writestr("x/data.pkl", pickle.dumps(Evil(tmp_path / "ran"), protocol=2))
    with pytest.raises(CheckpointError, match=r"x\.pt.*refused \(it asks for (posix|nt)\.mkdir\)"):
        read_checkpoint(tmp_path / "x.pt")
    assert not (tmp_path / "ran").exists()


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", ["torch", "legacy", "protocol 2", "protocol 5"])
def test_a_pickle_with_code_is_refused_and_does_not_run(write: str, tmp_path: Path) -> None:
    value = {"weight": torch.zeros(2) if write in ("torch", "legacy") else 0, "more": Evil(tmp_path / "ran")}
    path = tmp_path / "x.bin"
    if write in ("torch", "legacy"):
        torch.save(value, path, _use_new_zipfile_serialization=write == "torch")
    else:
        path.write_bytes(pickle.dumps(value, protocol=int(write[-1])))
    with pytest.raises(CheckpointError, match=r"x\.bin .*refused"):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".pth", ".weights"])
@pytest.mark.parametrize("legacy", [False, True])
def test_pickles_and_their_wrappers(timm: dict[str, Tensor], suffix: str, legacy: bool, tmp_path: Path) -> None:
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in timm.items()}}
    torch.save(
        wrapped if suffix == ".pt" else {"model": timm} if suffix == ".bin" else timm,
        tmp_path / f"x{suffix}",
        _use_new_zipfile_serialization=not legacy,
    )
    tensors = read_checkpoint(tmp_path / f"x{suffix}").tensors
    assert tensors.keys() == timm.keys()
    assert all(torch.equal(tensors[name], timm[name]) for name in timm)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([torch.zeros(1)], "holds one list, not tensors by name"),
        (torch.zeros(1), "holds one Tensor, not tensors by name"),
        ({"epoch": 1, "lr": 0.1}, "entries that are no tensors: epoch, lr"),
        ({1: torch.zeros(1)}, "of no family"),
        ({}, "begins with nothing"),
    ],
)
def test_pickles_of_other_things(value: object, words: str, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=rf"x\.pt.*{words}"):
        load_model(tmp_path / "x.pt")


def test_half_precision_files_load_as_fp32(timm: dict[str, Tensor], tmp_path: Path) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        save_file({name: tensor.to(dtype) for name, tensor in timm.items()}, tmp_path / "x.safetensors")
        model = load_model(tmp_path / "x.safetensors").model
        assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
        assert torch.equal(model.state_dict()["norm.weight"], timm["norm.weight"].to(dtype).float())


def sharded(state: dict[str, Tensor], folder: Path) -> dict[str, str]:
    names = sorted(state)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for part, own in parts.items():
        save_file({name: state[name] for name in own}, folder / part)
    places = {name: part for part, own in parts.items() for name in own}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return places


def test_sharded(openai: dict[str, Tensor], tmp_path: Path) -> None:
    sharded(openai, tmp_path)
    tensors = read_checkpoint(tmp_path).tensors
    assert tensors.keys() == openai.keys()
    assert all(torch.equal(tensors[name], openai[name]) for name in openai)


def test_sharded_and_incomplete(openai: dict[str, Tensor], tmp_path: Path) -> None:
    places = sharded(openai, tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {**places, "logit_bias": "model-00001-of-00002.safetensors"}}))
    with pytest.raises(CheckpointError, match="promises tensors that its parts do not hold: logit_bias"):
        read_checkpoint(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": "../outside.safetensors"}}))
    with pytest.raises(CheckpointError, match="which is not beside it"):
        read_checkpoint(tmp_path)
    index.write_text(json.dumps({"weight_map": ["a"]}))
    with pytest.raises(CheckpointError, match="no weight_map"):
        read_checkpoint(tmp_path)
    index.write_text(json.dumps({"weight_map": places}))
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"names the part model-00002-of-00002\.safetensors"):
        read_checkpoint(tmp_path)


def test_npz_with_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros(2), b=np.array([Evil(tmp_path / "ran")], dtype=object))
    with pytest.raises(CheckpointError, match=r"x\.npz holds Python objects.*refused"):
        read_checkpoint(tmp_path / "x.npz")
    assert not (tmp_path / "ran").exists()


def written(kind: str, folder: Path) -> Path:
    state = {"encoder.weight": torch.randn(40, 30), "encoder.bias": torch.randn(40), "n": torch.tensor(3)}
    path = folder / f"x{kind}"
    if kind == ".safetensors":
        save_file(state, path)
    elif kind == ".npz":
        np.savez_compressed(path, **{name: tensor.numpy() for name, tensor in state.items()})
    elif kind == ".jit":
        save_script(tree(state), path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == ".pt")
    return path


def outcome(path: Path) -> str:
    try:
        tensors = read_checkpoint(path).tensors
    except CheckpointError as error:
        return "an error that names the file" if str(path) in str(error) else str(error)
    return "tensors" if all(isinstance(tensor, Tensor) for tensor in tensors.values()) else "rubbish"


@pytest.mark.parametrize("kind", [".safetensors", ".npz", ".pt", ".bin", ".jit"])
def test_damage_is_named_and_never_worse(kind: str, tmp_path: Path) -> None:
    """Cut anywhere, or with some bytes changed: an error that names the file, or (where no sum guards it) tensors."""
    whole = written(kind, tmp_path).read_bytes()
    path, rng = tmp_path / "damaged", random.Random(kind)
    for length in [1, 5, 9, 11, *(rng.randrange(len(whole)) for _ in range(30)), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=str(path)):
            read_checkpoint(path)
    for _ in range(60):
        hurt = bytearray(whole)
        for _ in range(3):
            hurt[rng.randrange(min(len(hurt), 400))] = rng.randrange(256)
            hurt[rng.randrange(len(hurt))] = rng.randrange(256)
        path.write_bytes(hurt)
        assert outcome(path) in ("tensors", "an error that names the file")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty: fetch it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is only a pointer.* run `git lfs pull`"),
        (b"<!DOCTYPE html><html>", "is no weight file"),
        (b"\x89PNG\r\n\x1a\n0000", "is no weight file"),
    ],
)
def test_files_that_are_no_weights(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"model.safetensors {words}"):
        load_model(tmp_path)


def test_folders(timm: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no weight file in .*name the file to load"):
        load_model(tmp_path)
    save_file(timm, tmp_path / "epoch-1.safetensors")
    assert load_model(tmp_path).found == "vit under the names of timm"  # one file of any name is no riddle
    save_file(timm, tmp_path / "epoch-2.safetensors")
    with pytest.raises(CheckpointError, match=r"several weight files \(epoch-1\.safetensors, epoch-2\.safetensors\)"):
        load_model(tmp_path)
    torch.save({"other": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="of no family"):
        load_model(tmp_path)
    save_file(timm, tmp_path / "model.safetensors")  # preferred to the pickle beside it
    assert load_model(tmp_path).found == "vit under the names of timm"
    assert load_model(tmp_path / "epoch-2.safetensors").found == "vit under the names of timm"


def test_broken_configuration_is_named(tmp_path: Path) -> None:
    save_model(tiny.build(tiny.CLIP_VIT), tmp_path, naming="transformers")
    for content, words in (("{", "is not JSON"), ("[1]", "holds list, not an object"), ("\xff", "is not JSON")):
        (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
        with pytest.raises(CheckpointError, match=rf"config\.json {words}"):
            load_model(tmp_path)
