"""`convert` and `verify` as people type them."""

import json
from pathlib import Path

import pytest

from sensorium.app.cli import main
from sensorium.checkpoints import verify
from sensorium.checkpoints.load import load_model, save_model
from sensorium.models.clip import PRESETS
from sensorium.nn.blank import blank
from tests import tiny, tiny_dino


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    save_model(tiny.build(tiny.VIT), tmp_path / "vit", naming="timm")
    return tmp_path / "vit"


def test_convert_there_and_back(vit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(vit), str(tmp_path / "t"), "--to", "transformers"]) == 0
    out, err = capsys.readouterr()
    assert "transformers names, read again and equal bit by bit" in out
    assert "is vit under the names of timm" in err
    assert main(["convert", str(tmp_path / "t"), str(tmp_path / "back"), "--to", "timm"]) == 0
    there, back = load_model(vit).model.state_dict(), load_model(tmp_path / "back").model.state_dict()
    assert all(tensor.equal(back[name]) for name, tensor in there.items())


def test_convert_says_what_the_authors_files_do_not(
    vit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(vit), str(tmp_path / "g"), "--to", "official"]) == 0
    out, err = capsys.readouterr()
    assert "model.npz: google names" in out
    assert "google files do not say activation is gelu, read as gelu_tanh" in " ".join(err.split())


def test_convert_says_what_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The masked biases of keys, of which DINOv3's own files are full, no longer stop the conversion."""
    save_model(tiny_dino.build(tiny_dino.V3), tmp_path / "o", naming="official")
    for naming in ("transformers", "timm"):
        assert main(["convert", str(tmp_path / "o"), str(tmp_path / naming), "--to", naming]) == 0
        out, err = (" ".join(text.split()) for text in capsys.readouterr())
        assert f"{naming} names, read again and equal bit by bit" in out
        assert f"{naming} files have no place for unused.0.bias, unused.1.bias, unused.2.bias" in err
        assert ("mask: left out" in err) == (naming == "timm")
        assert main(["verify", str(tmp_path / naming)]) == 0
        assert f"dinov3 under the names of {naming}" in capsys.readouterr().out


def test_convert_to_a_naming_that_the_family_lacks(
    vit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(vit), str(tmp_path / "x"), "--to", "open_clip"]) == 1
    err = capsys.readouterr().err
    assert "vit has no naming 'open_clip'; it has google, timm, transformers" in " ".join(err.split())
    assert not (tmp_path / "x").exists()


def test_verify_in_words_and_in_json(vit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(vit)]) == 0
    assert "vit under the names of timm" in capsys.readouterr().out
    assert main(["verify", str(vit), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] is True
    assert report["parameters"] == sum(p.numel() for p in tiny.build(tiny.VIT).parameters())
    assert {check["name"] for check in report["checks"]} >= {"image: single against double precision"}


def test_verify_fails_with_a_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny.build(tiny.VIT)
    model.norm.weight.data[0] = float("nan")  # type: ignore[union-attr]
    save_model(model, tmp_path, naming="timm")
    assert main(["verify", str(tmp_path)]) == 1
    assert "WRONG" in capsys.readouterr().out


def test_the_checks_stand_in_one_column(
    vit: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "LARGEST", 0)
    assert main(["verify", str(vit)]) == 0
    out = capsys.readouterr().out
    checks = [line for line in out.splitlines() if line.startswith(("  ok ", "  left out "))]
    assert any(line.startswith("  left out image: single") for line in checks)
    assert all(line[:11].strip() in ("ok", "left out") and line[11] != " " for line in checks)


def test_published_sizes_are_recognised() -> None:
    from sensorium.checkpoints.formats import like_preset
    from sensorium.models.clip import CLIP

    with blank():
        assert like_preset(CLIP(PRESETS["clip-vit-b-32"])) == "clip-vit-b-32"
    assert like_preset(tiny.build(tiny.CLIP_VIT)) is None
