"""`sensorium embed` on real files."""

import json
import sys
from pathlib import Path

import pytest

from sensorium.app.cli import main
from sensorium.checkpoints.load import save_model
from sensorium.tasks.embedded import read_embedded
from tests import tiny
from tests.digits import write_digits


@pytest.fixture
def place(small_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with digits, one of them damaged, and a ViT; `small_clip` is elsewhere."""
    write_digits(tmp_path / "train", start=0, count=60)
    write_digits(tmp_path / "test", start=1000, count=30)
    (tmp_path / "train" / "3" / "broken.png").write_bytes(b"\x89PNG nothing")
    save_model(tiny.build(tiny.VIT), tmp_path / "vit", naming="timm")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def test_once_and_again(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    words = ("embed", "train", "--model", "./vit", "--what", "features", "--out", "vectors")
    code, out, err = run(capsys, *words)
    assert code == 0, err
    assert "vectors: 60 embedded" in out
    assert "pictures per second" in out
    assert "1 picture could not be read:\n  train/3/broken.png: not an image" in err
    code, out, err = run(capsys, *words, "--json")
    answer = json.loads(out)
    assert (code, answer["computed"], answer["known"], answer["what"]) == (0, 0, 60, "features")
    assert answer["unreadable"] == [{"path": f"{place}/train/3/broken.png", "reason": "not an image"}]
    assert read_embedded("vectors").vectors.shape[0] == 60


def test_evaluate_takes_its_vectors_from_there(capsys: pytest.CaptureFixture[str], place: Path) -> None:
    for part in ("train", "test"):
        assert run(capsys, "embed", part, "--model", "./vit", "--what", "features", "--out", "vectors")[0] == 0
    words = ("evaluate", "./vit", "knn", "--train", "train", "--data", "test", "--k", "5", "--json")
    plain = json.loads(run(capsys, *words)[1])
    quick = json.loads(run(capsys, *words, "--keep", "vectors")[1])
    assert quick["pictures_per_second"] == 0
    assert quick["value"] == plain["value"]


def test_what_is_refused(
    capsys: pytest.CaptureFixture[str], place: Path, small_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(capsys, "embed", "test", "--model", "./vit", "--out", "vectors")[0] == 0
    code, _, err = run(capsys, "embed", "test", "--model", str(small_clip), "--out", "vectors")
    assert code == 1
    assert "vectors holds embedding of" in err
    assert "choose another folder" in err
    code, _, err = run(capsys, "embed", "test", "--model", "./vit", "--out", "train")
    assert (code, "train holds other things (0): choose a folder of its own" in err) == (1, True)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    code, _, err = run(capsys, "embed", "test", "--model", "./vit", "--out", "vectors", "--ray", "auto")
    assert (code, "pip install 'sensorium[ray]'" in err) == (1, True)
