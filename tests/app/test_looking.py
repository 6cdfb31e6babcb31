"""`look` as people type it, on real photographs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs

from sensorium.app.cli import main
from sensorium.checkpoints.load import load_model, save_model
from sensorium.data.image import read_image
from sensorium.insight.distance import attention_distance
from tests import tiny, tiny_dino


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    save_model(tiny.build(tiny.VIT), tmp_path / "my-vit", naming="timm")
    return tmp_path / "my-vit"


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photographs and a file that is none; the working directory is beside them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photographs.chelsea()).save(folder / "cat.jpg")
    Image.fromarray(photographs.coffee()).save(folder / "cup.png")
    (folder / "gone.jpg").write_bytes(b"\xff\xd8\xff no picture")
    monkeypatch.chdir(tmp_path)
    return folder


def size(picture: str) -> tuple[int, int]:
    with Image.open(picture) as opened:
        return opened.size


def words(text: str) -> str:
    return " ".join(text.split())


def test_distance_draws_and_tells(vit: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["look", str(vit), str(photos), "--what", "distance", "--out", "d.png", "--data", "d.json"]) == 0
    out, err = capsys.readouterr()
    assert "over 2 pictures of 32 pixels" in words(out)
    assert "gone.jpg" in err
    numbers = json.loads(Path("d.json").read_text())
    loaded = load_model(vit)
    assert loaded.preprocess is not None
    pixels = torch.stack([loaded.preprocess.pixels(read_image(photos / name)) for name in ("cat.jpg", "cup.png")])
    wanted = attention_distance(loaded.model, [loaded.preprocess.normalise(pixels)])
    np.testing.assert_allclose(numbers["pixels"], wanted.pixels, rtol=1e-3)
    assert numbers["pictures"] == 2
    assert min(size("d.png")) > 300
    with Image.open("d.png") as drawing:
        picture = np.asarray(drawing.convert("RGB"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20, "something is drawn"


@pytest.mark.parametrize("what", ["filters", "positions"])
def test_the_model_alone(vit: Path, photos: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    assert main(["look", str(vit), "--what", what]) == 0
    assert f"sensorium-{what}.png: " in capsys.readouterr().out
    assert size(f"sensorium-{what}.png")[0] > 400


def test_rollout_of_another_size(vit: Path, photos: Path) -> None:
    assert main(["look", str(vit), str(photos), "--what", "rollout", "--size", "64", "--data", "r.npz"]) == 0
    with np.load("r.npz", allow_pickle=False) as read:
        assert read["maps"].shape == (2, 8, 8)
        np.testing.assert_allclose(read["maps"].sum((1, 2)) + read["prefix"].sum(1), 1, rtol=1e-5)
        assert [Path(name).name for name in read["files"]] == ["cat.jpg", "cup.png"]
    assert not Path("sensorium-rollout.png").exists(), "numbers alone were asked for"
    assert main(["look", str(vit), str(photos), "--what", "rollout", "--out", "r.png"]) == 0
    assert size("r.png")[1] > 500


def test_similarity(small_clip: Path, photos: Path) -> None:
    texts = ["--text", "a cat", "--text", "a cup of coffee for $3"]
    command = [
        "look",
        str(small_clip),
        str(photos),
        "--what",
        "similarity",
        *texts,
        "--out",
        "s.png",
        "--data",
        "s.json",
    ]
    assert main(command) == 0
    numbers = json.loads(Path("s.json").read_text())
    assert np.array(numbers["cosines"]).shape == (2, 2)
    np.testing.assert_allclose(np.array(numbers["of_second"]).sum(1), 1, rtol=1e-4)
    assert numbers["against"] == ["a cat", "a cup of coffee for $3"]
    assert [Path(name).name for name in numbers["files"]] == ["cat.jpg", "cup.png"]
    assert size("s.png")[0] > 300


@pytest.mark.parametrize("config", [tiny_dino.V2, tiny_dino.V3], ids=["DINOv2", "DINOv3"])
@pytest.mark.parametrize("what", ["distance", "rollout"])
def test_registers(tmp_path: Path, photos: Path, config: object, what: str) -> None:
    save_model(tiny_dino.build(config), tmp_path / "dino", naming="transformers")
    command = [
        "look",
        str(tmp_path / "dino"),
        str(photos / "cat.jpg"),
        "--what",
        what,
        "--size",
        "48",
        "--data",
        "n.json",
    ]
    assert main(command) == 0


def test_pocket_compares_and_has_no_patches(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["--text", "a cat", "--text", "a cup of coffee"]
    assert main(["look", "pocket", str(photos), "--what", "similarity", *texts, "--data", "s.json"]) == 0
    cosines = np.array(json.loads(Path("s.json").read_text())["cosines"])
    assert cosines.argmax(1).tolist() == [0, 1]
    capsys.readouterr()
    assert main(["look", "pocket", "--what", "filters"]) == 1
    assert "does not read pictures as patches" in words(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--what", "rollout"], 2, "which pictures?"),
        (["photos", "--what", "filters"], 2, "leave the pictures out"),
        (["photos", "--what", "rollout", "--text", "a cat"], 2, "goes with --what similarity, panel, map"),
        (["photos", "--what", "rollout", "--against", "photos"], 2, "belong together"),
        (["photos", "--what", "similarity"], 2, "similar to what?"),
        (["photos", "--what", "panel"], 2, "belong together"),
        (["photos", "--what", "map", "--query", "photos/cat.jpg"], 2, "belong together"),
        (["photos", "--what", "map", "--size", "64"], 2, "leave --size out"),
        (["--what", "map"], 2, "which files?"),
        (["photos", "--what", "everything"], 2, "Choose from"),
        (["photos", "--what", "similarity", "--text", "a cat"], 1, "no text tower"),
        (["photos/gone.jpg", "--what", "distance"], 1, "no picture to look at"),
        (["nowhere", "--what", "distance"], 1, "no such file"),
        (["photos", "--what", "rollout", "--size", "30"], 1, "patches of 8 pixels; name a multiple, such as 32"),
        (["photos", "--what", "rollout", "--size", "0"], 1, "such as 8"),
        (["--what", "filters", "--out", "a.doc"], 1, "name a .png"),
        (["--what", "filters", "--data", "a.csv"], 1, "name a .json or .npz file"),
    ],
)
def test_refused_with_the_remedy(
    vit: Path, photos: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert main(["look", str(vit), *arguments]) == code
    assert message in words(capsys.readouterr().err)
    assert not list(vit.parent.glob("sensorium-*")), "nothing is written"


def test_no_positions_in_dinov3(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(tiny_dino.build(tiny_dino.V3), tmp_path / "dino", naming="transformers")
    assert main(["look", str(tmp_path / "dino"), "--what", "positions"]) == 1
    assert "What can be looked at: filters, distance, rollout" in words(capsys.readouterr().err)


def test_a_model_that_reads_more_than_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.families import CONFIGS, build

    save_model(build(CONFIGS["visualbert"]), tmp_path / "vb", naming="transformers")
    assert main(["look", str(tmp_path / "vb"), "--what", "filters"]) == 1
    assert "does not read pictures alone" in words(capsys.readouterr().err)


def test_numbers_alone_do_without_matplotlib(vit: Path, photos: Path) -> None:
    code = (
        "import sys\nfrom sensorium.app.cli import main\n"
        f"assert main(['look', {str(vit)!r}, 'photos', '--what', 'distance', '--data', 'd.json']) == 0\n"
        "assert 'matplotlib' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
