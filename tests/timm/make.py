"""Run timm for the files beside this one, and let it read what Sensorium writes; see README.md."""

import gzip
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.numpy import save_file
from timm.models import save_for_hf
from torch import Tensor

from sensorium.checkpoints.files import read_checkpoint
from sensorium.checkpoints.load import check_written, load_model, save_model
from sensorium.models.vit import ViT
from sensorium.nn.positions import TIMM
from tests import tiny, tiny_dino
from tests.conformance.weights import digest, load_case, synthesize

HERE = Path(__file__).parent
TINY: dict[str, Any] = {"embed_dim": 32, "depth": 2, "num_heads": 2, "patch_size": 8}
LEARNED: dict[str, Any] = {**TINY, "img_size": 32, "dynamic_img_size": True}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "dinov3": ("vit_small_patch16_dinov3", TINY),
    "dinov3_qkvb": ("vit_base_patch16_dinov3_qkvb", {**TINY, "rope_temperature": 50.0}),
    "dinov3_plus": ("vit_huge_plus_patch16_dinov3", {**TINY, "mlp_ratio": 2.6}),
    "dinov3_7b": ("vit_7b_patch16_dinov3", TINY),
    "convnext": ("convnext_tiny.dinov3_lvd1689m", {"depths": (1, 2, 1, 1), "dims": (8, 12, 16, 24)}),
    "dinov2": ("vit_small_patch14_dinov2", LEARNED),
    "dinov2_reg4": ("vit_small_patch14_reg4_dinov2", LEARNED),
    "dinov2_giant": ("vit_giant_patch14_dinov2", LEARNED),
    "dinov2_giant_reg4": ("vit_giant_patch14_reg4_dinov2", LEARNED),
}
# the size of the learned positions, a wide picture, and a larger one
SHAPES = {"image": (2, 3, 32, 32), "wide": (1, 3, 24, 56), "large": (1, 3, 48, 48)}
KINDS = {"gamma_1": "scale", "gamma_2": "scale", "reg_token": "embed", "q_bias": "bias", "v_bias": "bias"}


def outputs(model: torch.nn.Module, pictures: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every token of every picture, or the map, and the vector that timm's own pooling makes."""
    with torch.no_grad():
        return {
            f"{name}.{kind}": call(picture)
            for name, picture in pictures.items()
            for kind, call in (("features", model.forward_features), ("pooled", model))
        }


def make_case(name: str, architecture: str, arguments: dict[str, Any]) -> None:
    """Random weights into one tiny model, and what it computes."""
    model = timm.create_model(architecture, **arguments).eval()
    manifest = {
        key: {"shape": list(tensor.shape), "kind": KINDS[last]}
        if (last := key.rsplit(".", 1)[-1]) in KINDS
        else list(tensor.shape)
        for key, tensor in model.state_dict().items()
    }
    state = synthesize(manifest, 0)
    model.load_state_dict({key: torch.from_numpy(array) for key, array in state.items()}, strict=True)
    larger = 2 if name == "convnext" else 1
    inputs = {
        key: {"synth": {"shape": [batch, channels, larger * rows, larger * columns], "kind": "normal"}}
        for key, (batch, channels, rows, columns) in SHAPES.items()
    }
    folder = HERE / "cases" / name
    save_for_hf(model, folder, safe_serialization=True)
    config = json.loads((folder / "config.json").read_text())
    shutil.rmtree(folder)
    folder.mkdir()
    case = {
        "source": f"timm {timm.__version__}, torch {torch.__version__}",
        "config": config,
        "seed": 0,
        "tolerance": {"atol": 1e-5, "rtol": 1e-5},
        "weights_sha256": digest(state),
        "inputs": inputs,
        "manifest": manifest,
    }
    (folder / "case.json").write_text(json.dumps(case, separators=(",", ":")) + "\n")
    pictures = load_case(name, str(HERE / "cases")).inputs
    found = {f"out.{key}": np.ascontiguousarray(tensor) for key, tensor in outputs(model, pictures).items()}
    save_file(found, folder / "tensors.safetensors")


def make_manifest(architecture: str) -> None:
    """Names and shapes of one full-size model."""
    with torch.device("meta"):
        model = timm.create_model(architecture)
    published = {
        "source": f"timm {timm.__version__}",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "shapes": {key: list(tensor.shape) for key, tensor in sorted(model.state_dict().items())},
    }
    plain = json.dumps(published, separators=(",", ":")).encode()
    (HERE / "manifests" / f"{architecture}.json.gz").write_bytes(gzip.compress(plain, mtime=0))


def let_timm_read(ours: Any, folder: Path) -> None:
    """timm builds the model from the config.json that was written, finds every tensor, and computes the same."""
    unsaid = check_written(ours, save_model(ours, folder, naming="timm"))
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()  # strict, as timm loads its own
    names = read_checkpoint(folder).tensors
    for key, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, names[key]), key
    side = 64 if "convnext" in folder.name.lower() else 32
    shapes = ((2, 3, side, side), (1, 3, side + 32, side * 2))
    for shape in shapes[:1] if isinstance(ours, ViT) else shapes:  # timm's plain ViTs read one size
        picture = torch.randn(shape)
        with torch.no_grad():
            expected = ours(picture) if isinstance(ours, ViT) else ours.represent(picture)
            torch.testing.assert_close(theirs(picture), expected, atol=1e-5, rtol=1e-5)
    print(f"timm reads {folder.name}; it is not told {unsaid.choices}, and has no place for {unsaid.tensors}")


def main() -> None:
    """Make everything, then look at the way back."""
    torch.manual_seed(0)
    for folder in ("cases", "manifests"):
        shutil.rmtree(HERE / folder, ignore_errors=True)
        (HERE / folder).mkdir()
    for name, (architecture, arguments) in CASES.items():
        make_case(name, architecture, arguments)
    published = [*timm.list_models("vit_*_dinov3*"), *timm.list_models("vit_*14*_dinov2")]
    for architecture in published:
        if "tiny" not in architecture:  # a size that DINOv3's authors did not publish
            make_manifest(architecture)
    for size in ("tiny", "small", "base", "large"):
        make_manifest(f"convnext_{size}.dinov3_lvd1689m")
    with tempfile.TemporaryDirectory() as scratch:
        for name, (architecture, arguments) in CASES.items():
            model = timm.create_model(architecture, **arguments)
            save_for_hf(tiny_dino.randomise(model), Path(scratch) / name, safe_serialization=True)
            loaded = load_model(Path(scratch) / name)
            assert loaded.format.naming == "timm", loaded.found
            let_timm_read(loaded.model, Path(scratch) / f"{name} read and written")
        mean = replace(tiny.VIT, pool="mean", registers=2, layer_scale=0.1)
        trunks = {"ViT": tiny.VIT, "ViT, mean of the patches": mean, **tiny_dino.TRUNKS}
        del trunks["DINOv3, untied"]  # of which timm has none
        for name, config in trunks.items():
            same = replace(config, resampling=TIMM) if hasattr(config, "resampling") else config
            let_timm_read(tiny_dino.build(same), Path(scratch) / name)


if __name__ == "__main__":
    main()
