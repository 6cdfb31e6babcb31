"""timm's DINOs: names, shapes and numbers as timm has them, read and written back; see README.md."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sensorium.checkpoints.files import Checkpoint, read_checkpoint
from sensorium.checkpoints.formats import (
    FAMILIES,
    PRESETS,
    configure,
    export,
    format_named,
    like_preset,
    recognise,
)
from sensorium.checkpoints.load import check_written, load_model, save_model
from sensorium.checkpoints.rename import CheckpointError
from sensorium.models.convnext import ConvNeXt
from sensorium.models.dinov2 import DINOv2
from sensorium.models.dinov3 import DINOv3
from sensorium.nn.blank import blank
from tests import tiny, tiny_dino
from tests.conformance.steps import visible
from tests.conformance.weights import Case, digest, load_case

HERE = Path(__file__).parent
CASES = sorted(path.name for path in (HERE / "cases").iterdir())
PLAIN, BIASED = {"bias": False, "key_bias": "none"}, {"key_bias": "none"}  # without _qkvb in the name, and with it
MANIFESTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        f"vit_{theirs}_patch16_dinov3{suffix}": (f"dinov3-vit-{ours}-16", change)
        for theirs, ours in {
            "small": "s",
            "small_plus": "s-plus",
            "base": "b",
            "large": "l",
            "huge_plus": "h-plus",
        }.items()
        for suffix, change in {"": PLAIN, "_qkvb": BIASED}.items()
    },
    "vit_7b_patch16_dinov3": ("dinov3-vit-7b-16", {"local_norm": False}),
    **{
        f"convnext_{size}.dinov3_lvd1689m": (f"dinov3-convnext-{size}", {})
        for size in ("tiny", "small", "base", "large")
    },
    **{
        f"vit_{size}_patch14{theirs}_dinov2": (f"dinov2-vit-{size[0]}-14{ours}", {})
        for size in ("small", "base", "large", "giant")
        for theirs, ours in {"": "", "_reg4": "-reg"}.items()
    },
}


def manifest(name: str) -> dict[str, Any]:
    with gzip.open(HERE / "manifests" / f"{name}.json.gz") as stream:
        return json.load(stream)


def as_files(case: Case, folder: Path) -> Path:
    """A case as timm's push_to_hub would have left it."""
    save_file(case.state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(case.config))
    return folder


def features(model: Any, picture: Tensor) -> Tensor:
    """All that timm's forward_features gives."""
    return model.maps(picture)[-1] if isinstance(model, ConvNeXt) else model.tokens(picture)


@torch.no_grad()
@pytest.mark.parametrize("name", CASES)
def test_timms_numbers(name: str, tmp_path: Path) -> None:
    case = load_case(name, str(HERE / "cases"))
    as_numpy = {key: tensor.numpy() for key, tensor in case.state.items()}
    assert digest(as_numpy) == case.meta["weights_sha256"]
    loaded = load_model(as_files(case, tmp_path))
    model: Any = loaded.model
    assert loaded.format.naming == "timm"
    assert loaded.preprocess is not None
    assert loaded.preprocess.size == case.config["pretrained_cfg"]["input_size"][-1]
    for picture, pixels in case.inputs.items():
        torch.testing.assert_close(features(model, pixels), case.outputs[f"{picture}.features"], **case.tolerance)
        pooled = model.represent(pixels)  # the class token; timm's DINOv3 averages the patches unless told otherwise
        if isinstance(model, DINOv3):
            pooled = model(pixels).patches.mean(1)
        torch.testing.assert_close(pooled, case.outputs[f"{picture}.pooled"], **case.tolerance)
    weights = save_model(model, tmp_path / "back", naming="timm", steps=loaded.preprocess)
    assert not check_written(model, weights).tensors
    back = read_checkpoint(tmp_path / "back")
    assert back.tensors.keys() == case.state.keys()
    for key, tensor in case.state.items():
        assert torch.equal(back.tensors[key], tensor), key
    again = load_model(tmp_path / "back")
    assert (again.preprocess, again.model.config) == (loaded.preprocess, model.config)


def test_every_manifest_is_listed() -> None:
    assert {path.name.removesuffix(".json.gz") for path in (HERE / "manifests").iterdir()} == set(MANIFESTS)


@pytest.mark.parametrize("name", MANIFESTS)
def test_full_sizes(name: str) -> None:
    """Names and shapes lead to the preset, and the preset to every name and shape."""
    published, (preset, changes) = manifest(name), MANIFESTS[name]
    config = replace(cast(Any, PRESETS[preset]), **changes)
    tensors = {key: torch.empty(shape, device="meta") for key, shape in published["shapes"].items()}
    checkpoint = Checkpoint(path=Path(name), tensors=tensors, beside={})
    known = recognise(checkpoint)
    assert known is format_named(next(f.name for f in FAMILIES.values() if preset in f.presets), "timm")
    read = configure(checkpoint, known)
    assert visible(read) == visible(config)
    with blank():
        model = FAMILIES[known.family].model(config)
        assert like_preset(FAMILIES[known.family].model(read)) == preset
    written = export(model, known)
    assert {key: list(tensor.shape) for key, tensor in written.items()} == published["shapes"]
    assert sum(tensor.numel() for tensor in written.values()) == published["parameters"]
    assert known.describe is not None
    assert known.describe(config)["architecture"] == name.removesuffix(".dinov3_lvd1689m")


@torch.no_grad()
@pytest.mark.parametrize("choice", [name for name in tiny_dino.TRUNKS if name != "DINOv3, untied"])
def test_official_files_go_to_timm(choice: str, tmp_path: Path) -> None:
    """What timm leaves out does nothing: the same features come back, the sum of two tensors included."""
    ours = tiny_dino.build(tiny_dino.TRUNKS[choice])
    unsaid = check_written(ours, save_model(ours, tmp_path, naming="timm"))
    trained_only = {"mask", "local_norm.weight", "local_norm.bias"}
    assert {n for n in unsaid.tensors if not n.startswith("unused.")} == trained_only & ours.state_dict().keys()
    theirs, side = load_model(tmp_path).model, 64 if isinstance(ours, ConvNeXt) else 32
    picture = torch.randn(2, 3, side, side)
    assert torch.equal(features(ours, picture), features(theirs, picture))
    if isinstance(ours, DINOv2):
        assert isinstance(theirs, DINOv2)
        assert theirs.positions[0].any() == (not ours.config.registers)


def test_what_timm_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="timm has no DINOv3 with RMSNorm"):
        save_model(tiny_dino.build(tiny_dino.TRUNKS["DINOv3, untied"]), tmp_path, naming="timm")
    assert not list(tmp_path.iterdir())


def test_another_rotation_is_refused(tmp_path: Path) -> None:
    """timm's Eva is many models under one set of names."""
    case = load_case("dinov3", str(HERE / "cases"))
    case.config["model_args"]["rope_rotate_half"] = False
    with pytest.raises(CheckpointError, match="rope_rotate_half=False is no DINOv3, which has True"):
        load_model(as_files(case, tmp_path))


def test_a_vit_with_the_names_of_dinov2_is_told_by_its_file_or_its_head(tmp_path: Path) -> None:
    scaled = replace(tiny.VIT, layer_scale=0.1)
    for name, config in {"head": scaled, "file": replace(scaled, classes=0)}.items():
        save_model(tiny.build(config), tmp_path / name, naming="timm")
        assert load_model(tmp_path / name).format.family == "vit"
    (tmp_path / "head" / "config.json").unlink()
    assert load_model(tmp_path / "head").format.family == "vit"
    (tmp_path / "file" / "config.json").unlink()
    assert load_model(tmp_path / "file").format.family == "dinov2"


def test_misfits_are_named_as_timm_names_them(tmp_path: Path) -> None:
    case = load_case("dinov3_plus", str(HERE / "cases"))
    state = dict(case.state)
    for name, change, words in (
        ("blocks.1.mlp.fc1_g.weight", None, r"missing: blocks\.1\.mlp\.fc1_g\.weight"),
        ("head.weight", torch.zeros(3, 32), r"unknown names in the checkpoint: head\.weight"),
        ("blocks.1.gamma_2", torch.zeros(3), r"blocks\.1\.gamma_2 is \[3\], should be \[32\]"),
    ):
        case.state = {key: tensor for key, tensor in state.items() if key != name}
        if change is not None:
            case.state[name] = change
        with pytest.raises(CheckpointError, match=words):
            load_model(as_files(case, tmp_path))
