"""The looks at every place of a picture, as people type them: photographs of any shape, films, checkpoints."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs
from torch import nn

from sensorium.app.cli import main
from sensorium.app.looking_dense import _within
from sensorium.checkpoints.load import load_model, save_model
from sensorium.training.run_folder import RunFolder
from sensorium.training.saving import Saver, found
from sensorium.training.world import World
from tests import tiny, tiny_dino
from tests.nn.test_register_neurons import planted


@pytest.fixture
def dino(tmp_path: Path) -> Path:
    save_model(tiny_dino.build(tiny_dino.V2), tmp_path / "dino", naming="transformers")
    return tmp_path / "dino"


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photographs of 451 x 300 and 600 x 400 pixels, a tall one, and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photographs.chelsea()).save(folder / "cat.png")
    Image.fromarray(photographs.coffee()).save(folder / "cup.png")
    Image.fromarray(photographs.astronaut()[:, 100:300]).save(folder / "tall.png")
    (folder / "gone.jpg").write_bytes(b"\xff\xd8\xff no picture")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def film(tmp_path: Path) -> Path:
    av: Any = pytest.importorskip("av")
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in np.linspace(0, 255, 30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return tmp_path / "film.mp4"


def words(text: str) -> str:
    return " ".join(text.split())


def numbers(path: str) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as read:
        return dict(read)


def test_attention_of_whole_pictures(dino: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["look", str(dino), str(photos), "--what", "attention", "--size", "32", "--data", "a.npz"]
    assert main([*command, "--out", "a.png", "--layer", "-2"]) == 0
    out, err = capsys.readouterr()
    assert "3 pictures, 2 heads of layer 2" in words(out)
    assert "gone.jpg" in err
    told = numbers("a.npz")
    assert told["files"].tolist() == ["cat.png", "cup.png", "tall.png"]
    assert told["asking"].tolist() == ["class token", *(f"register {i}" for i in range(1, 5))]
    assert [told[f"maps_{i}"].shape for i in (1, 2, 3)] == [(5, 2, 4, 6), (5, 2, 4, 6), (5, 2, 10, 4)]
    np.testing.assert_allclose(told["maps_3"].sum((2, 3)) + told["elsewhere_3"], 1, rtol=1e-5)


@pytest.mark.parametrize("what", ["attention", "pca", "cosine", "norms"])
def test_a_film_as_a_sheet_and_as_a_film(dino: Path, film: Path, photos: Path, what: str) -> None:
    more = ["--at", "0.5,0.5"] if what == "cosine" else []
    command = ["look", str(dino), str(film), "--what", what, "--size", "32", "--frames", "5", *more]
    assert main([*command, "--out", "f.png", "--data", "f.json"]) == 0
    assert json.loads(Path("f.json").read_text())["files"] == [f"film.mp4, {i} of 5" for i in range(1, 6)]
    assert main([*command, "--out", "f.gif"]) == 0
    with Image.open("f.gif") as drawn:
        assert (drawn.n_frames, drawn.size) == (5, (960, 384))  # type: ignore[attr-defined]
        first = np.asarray(drawn.convert("RGB"))[:, :480].mean()
        drawn.seek(4)
        assert np.asarray(drawn.convert("RGB"))[:, :480].mean() > first + 200, "from black to white"


def test_components_with_pocket(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["look", "pocket", str(photos / "cup.png"), str(photos / "cat.png"), "--what", "pca"]
    assert main([*command, "--data", "p.npz", "--out", "p.png"]) == 0
    assert "of the places are off the ground" in words(capsys.readouterr().out)
    told = numbers("p.npz")
    assert told["objects_1"].shape == (16, 24)
    assert told["objects_1"][6:10, 8:12].all()
    assert not told["objects_1"][-2:, -2:].any()
    assert told["parts_2"].shape == (16, 24, 3)


def test_a_place_in_pixels_and_in_fractions(dino: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["look", str(dino), str(photos / "cat.png"), str(photos / "tall.png"), "--what", "cosine"]
    assert main([*command, "--at", "440,10", "--size", "80", "--data", "c.npz"]) == 0
    assert "row 1, column 15 of 10 x 15 places in cat.png" in words(capsys.readouterr().out)
    first = numbers("c.npz")
    assert first["cosines_1"][0, 14] == pytest.approx(1)
    assert first["cosines_2"].shape == (26, 10)
    assert main([*command, "--at", "0.98,0.03", "--size", "80", "--data", "d.npz"]) == 0
    np.testing.assert_array_equal(numbers("d.npz")["cosines_1"], first["cosines_1"])


def test_planted_outliers(dino: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = load_model(dino).model
    model.positions.data[[3, 8]] = 30.0  # type: ignore[union-attr]
    save_model(model, "planted", naming="transformers")
    square = photos / "square.png"
    Image.fromarray(photographs.chelsea()[:300, :300]).save(square)
    command = ["look", "planted", str(square), "--what", "norms", "--size", "32"]
    assert main([*command, "--data", "n.npz"]) == 0
    assert "after layer 3, 2 of 16 tokens (12.50%) are outliers" in words(capsys.readouterr().out)
    told = numbers("n.npz")
    high = (told["norms_1"] > told["cutoffs"][:, None, None]).reshape(3, 16)
    assert [row.nonzero()[0].tolist() for row in high] == [[2, 7]] * 3
    assert main([*command, "--cutoff", "100000", "--out", "n.png"]) == 0
    assert "0 of 16 tokens" in words(capsys.readouterr().out)


def test_a_test_time_register(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One neuron of layer 2 makes patch 6 an outlier; after it has been moved, none is left."""
    save_model(planted(), "planted", naming="transformers")
    square = photos / "square.png"
    Image.fromarray(photographs.chelsea()[:300, :300]).save(square)
    command = ["look", "planted", str(square), "--size", "32"]
    assert main([*command, "--what", "norms"]) == 0
    assert "1 of 16 tokens" in words(capsys.readouterr().out)
    assert main([*command, "--what", "norms", "--register-neurons", "1", "--data", "n.npz", "--out", "n.png"]) == 0
    said = words(capsys.readouterr().out)
    assert "after layer 3, 0 of 16 tokens" in said
    assert "a test-time register took over 1 neuron of layer 2, found by 1 outlier" in said
    told = numbers("n.npz")
    assert (told["register_1"][1:] > told["norms_1"][1:].reshape(2, 16).max(1)).all()
    attention = [*command, "--what", "attention", "--data", "a.json"]
    assert main([*attention, "--register-neurons", "1", "--out", "a.png"]) == 0
    told = json.loads(Path("a.json").read_text())
    assert told["asking"] == ["class token", "register 1", "test-time register"]
    assert np.array(told["maps_1"]).shape == (3, 2, 4, 4)


def test_a_register_that_has_nothing_to_do(dino: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["look", str(dino), str(photos / "cat.png"), "--size", "32", "--register-neurons"]
    assert main([*command, "1", "--what", "attention"]) == 1
    assert "no outliers" in words(capsys.readouterr().err)
    assert main([*command, "9999", "--what", "attention"]) == 1
    assert "the blocks have 768" in words(capsys.readouterr().err)
    assert main([*command, "1", "--what", "pca"]) == 2
    assert main([*command, "0", "--what", "norms"]) == 2


def test_drift_over_checkpoints(dino: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    later = load_model(dino).model
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in later.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_model(later, "later", naming="transformers")
    command = ["look", str(dino), str(photos), "--what", "gram", "--size", "32", "--against", "later", str(dino)]
    assert main([*command, "--out", "g.png", "--data", "g.json"]) == 0
    assert "mean squared difference from dino: later" in words(capsys.readouterr().out)
    told = json.loads(Path("g.json").read_text())
    drift = np.array(told["drift"])
    assert drift.shape == (3, 3)
    assert (drift[[0, 2]] < 1e-9).all()
    assert (drift[1] > 1e-5).all()
    assert told["checkpoints"] == ["dino", "later", "dino"]
    assert np.array(told["maps_2_3"]).shape == (10, 4)


def test_drift_over_a_runs_checkpoints(dino: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a student and its teacher; a run of another model is refused."""
    teacher, student = load_model(dino).model, tiny_dino.build(tiny_dino.V2, seed=1)
    alone, run = World(), RunFolder(Path("run"))
    run.create({"recipe": "none", "settings": {}, "engine": {}})
    both = nn.ModuleDict({"student": student, "teacher": teacher})
    saver = Saver(run, both, torch.optim.SGD(both.parameters()), alone, keep=9, best=None, say=print)
    saver.save(0, {})
    with torch.no_grad():
        teacher.blocks[0].scale1.gain.mul_(2)  # type: ignore[union-attr, index, operator]
    saver.save(7, {})
    saver.close()
    command = ["look", str(dino), str(photos / "cat.png"), "--what", "gram", "--data", "g.json", "--against"]
    assert main([*command, *map(str, found(run))]) == 0
    told = json.loads(Path("g.json").read_text())
    assert told["checkpoints"] == ["dino", "step-00000000", "step-00000007"]
    assert told["drift"][1][0] < 1e-9
    assert told["drift"][2][0] > 1e-6
    save_model(tiny.build(tiny.VIT), "vit", naming="timm")
    assert main(["look", "vit", *command[2:], str(found(run)[0])]) == 1
    assert "step-00000000 holds other weights than vit" in words(capsys.readouterr().err)


def test_the_teachers_weights_are_taken() -> None:
    saved = {"student.a": torch.zeros(1), "teacher.a": torch.ones(1), "student.b": torch.zeros(1)}
    assert _within({**saved, "teacher.b": torch.ones(1)}, ["a", "b"]) == {"a": torch.ones(1), "b": torch.ones(1)}
    assert _within(saved, ["a", "b"]) == {"a": torch.zeros(1), "b": torch.zeros(1)}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--what", "pca"], 2, "which pictures?"),
        (["photos", "--what", "cosine"], 2, "which place?"),
        (["photos", "--what", "pca", "--at", "1,2"], 2, "--at goes with --what cosine, gram"),
        (["photos", "--what", "rollout", "--layer", "1"], 2, "--layer goes with --what attention, pca"),
        (["photos", "--what", "pca", "--cutoff", "1"], 2, "--cutoff goes with --what norms"),
        (["photos", "--what", "gram"], 2, "belong together"),
        (["photos", "--what", "pca", "--against", "dino"], 2, "belong together"),
        (["photos", "--what", "pca", "--frames", "0"], 2, "--frames must be at least 1"),
        (["photos", "--what", "pca", "--layer", "4"], 1, "layers 1 to 3"),
        (["photos", "--what", "norms", "--layer", "0"], 1, "layers 1 to 3"),
        (["photos", "--what", "pca", "--size", "3"], 1, "places of 8 pixels"),
        (["photos/cat.png", "--what", "cosine", "--at", "451,2"], 1, "lies outside of cat.png, which has 451 x 300"),
        (["photos/cat.png", "--what", "cosine", "--at", "middle"], 1, "x,y in pixels"),
        (["photos/gone.jpg", "--what", "pca"], 1, "no picture to look at"),
        (["photos", "--what", "gram", "--against", "dino", "--out", "a.gif"], 1, "gram makes no film"),
        (["photos", "--what", "gram", "--against", "nowhere"], 1, "nowhere"),
    ],
)
def test_refused_with_the_remedy(
    dino: Path, photos: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert main(["look", str(dino), *arguments]) == code
    assert message in words(capsys.readouterr().err)
    assert not list(dino.parent.glob("sensorium-*")), "nothing is written"


def test_pocket_has_no_tokens(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for what in ("attention", "norms"):
        assert main(["look", "pocket", str(photos), "--what", what]) == 1
        assert "does not read pictures as patches" in words(capsys.readouterr().err)


def test_numbers_alone_do_without_matplotlib(dino: Path, photos: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom sensorium.app.cli import main\n"
        f"for what in ('attention', 'pca', 'norms'): assert main(['look', {str(dino)!r}, 'photos', '--what', what, "
        "'--size', '32', '--data', 'd.json']) == 0\n"
        "assert 'matplotlib' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
