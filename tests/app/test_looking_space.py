"""`look` into a space of many senses, over a folder with a file of every kind."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs

import sensorium
from sensorium.app.cli import main
from sensorium.app.parts import Part, wholes
from sensorium.checkpoints.load import save_model
from sensorium.tasks.embedding import Embedder
from tests import tiny
from tests.app.test_looking import size, words
from tests.data.test_motion import NAMES, clock, signal, table
from tests.data.test_segments import film, tone

soundfile: Any = pytest.importorskip("soundfile")
ROWS = [
    "pictures",
    "films",
    "films, by their sound",
    "sounds",
    "depth",
    "heat",
    "motion",
    "pages",
    "pages, by their words",
    "words",
]


@pytest.fixture(scope="session")
def bound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ImageBind with all its senses, small and random."""
    folder = tmp_path_factory.mktemp("models") / "my-imagebind"
    config = replace(tiny.IMAGEBIND, text=replace(tiny.TEXT, words=49408, context=77))
    save_model(tiny.build(config), folder, naming="imagebind")
    return folder


@pytest.fixture
def everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of every kind and one that is damaged, in folders; the working directory is beside them."""
    from matplotlib.figure import Figure

    folder = tmp_path / "everything"
    for name in ("sounds", "depth", "thermal"):
        (folder / name).mkdir(parents=True)
    Image.fromarray(photographs.chelsea()).save(folder / "cat.jpg")
    Image.fromarray(photographs.coffee()).save(folder / "cup.png")
    film(folder / "cat.mp4", [4 * i for i in range(50)], sound=tone(5.0, 16000)[None])
    for name, hertz in (("cat", 300), ("cup", 3000)):
        soundfile.write(folder / "sounds" / f"{name}.wav", 0.3 * np.sin(np.arange(5 * 16000) * hertz / 2000), 16000)
    y, x = np.mgrid[:48, :64]
    Image.fromarray((1000 + 20 * x + y).astype(np.uint16)).save(folder / "depth" / "cup.png")
    (folder / "depth" / "depth.json").write_text('{"unit": "mm", "focal": 60}')
    Image.fromarray((29000 + 10 * x).astype(np.uint16)).save(folder / "thermal" / "hand.tiff")
    times = clock(200, 12)
    axes = (*(f"{name} (m/s2)" for name in NAMES[:3]), *(f"{name} (rad/s)" for name in NAMES[3:]))
    table(folder / "walk.csv", times, signal(times), ("time_s", *axes))
    page = Figure((4, 5))
    page.text(0.1, 0.8, "A report on cats")
    page.savefig(folder / "report.pdf")
    (folder / "gone.wav").write_bytes(b"RIFF\0\0\0\0WAVE no sound")
    (folder / "notes.txt").write_text("of no kind")
    monkeypatch.chdir(tmp_path)
    return folder


def test_the_nearest_of_every_sense(bound: Path, everything: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["look", str(bound), str(everything), "--what", "panel", "--query", "everything/sounds/cat.wav"]
    command += ["--text", "a cat", "--text", "a cup", "--out", "p.png", "--data", "p.json"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "nearest to cat.wav: pictures" in words(out)
    assert "gone.wav" in err
    assert "notes.txt" not in err
    numbers = json.loads(Path("p.json").read_text())
    assert numbers["rows"] == ROWS
    for i, row in enumerate(ROWS, 1):
        assert numbers[f"cosines_{i}"] == sorted(numbers[f"cosines_{i}"], reverse=True), row
        names = [Path(name).name for name in numbers[f"files_{i}"]]
        if row == "sounds":
            assert names == ["cup.wav"], "the question is not among the answers"
        if row.startswith("films"):
            assert names == ["cat.mp4"]
            assert numbers[f"files_seconds_{i}"][0] in (0, 2, 3, 4)
    assert size("p.png")[1] > 1500


def test_it_agrees_with_the_model(bound: Path, everything: Path) -> None:
    """Of a file with one part, the cosine of the panel is that of what `embed` gives."""
    model = sensorium.load(bound)
    assert isinstance(model, Embedder)
    assert main(["look", str(bound), str(everything), "--what", "panel", "--query", "a cat", "--data", "p.json"]) == 0
    numbers = json.loads(Path("p.json").read_text())
    heat, depth = (1 + ROWS[:-1].index(row) for row in ("heat", "depth"))
    asked = model.embed(
        text=["a cat"], thermal=[everything / "thermal/hand.tiff"], depth=[everything / "depth/cup.png"]
    )
    assert numbers[f"cosines_{heat}"] == pytest.approx([float((asked["text"] @ asked["thermal"].T)[0, 0])], abs=1e-4)
    assert numbers[f"cosines_{depth}"] == pytest.approx([float((asked["text"] @ asked["depth"].T)[0, 0])], abs=1e-4)


@pytest.mark.parametrize("query", ["walk.csv", "report.pdf", "depth/cup.png", "cat.mp4"])
def test_a_file_of_any_kind_asks(bound: Path, everything: Path, query: str) -> None:
    command = ["look", str(bound), str(everything / "cat.jpg"), "--what", "panel", "--query", f"everything/{query}"]
    assert main([*command, "--data", "p.json"]) == 0
    assert json.loads(Path("p.json").read_text())["rows"] == ["pictures"]


def test_a_sum_asks(bound: Path, everything: Path) -> None:
    """The cosine of a sum of a picture and words, against the sum by hand."""
    command = ["look", str(bound), "everything/depth", "--what", "panel", "--data", "p.json", "--query"]
    assert main([*command, "everything/cat.jpg + 0.5*people - sea"]) == 0
    model = sensorium.load(bound)
    assert isinstance(model, Embedder)
    found = model.embed(images=["everything/cat.jpg"], text=["people", "sea"], depth=["everything/depth/cup.png"])
    whole = found["images"][0] + 0.5 * found["text"][0] - found["text"][1]
    wanted = float(found["depth"][0] @ whole / whole.norm())
    assert json.loads(Path("p.json").read_text())["cosines_1"] == pytest.approx([wanted], abs=1e-4)
    assert main([*command, "everything/cat.mp4@2"]) == 1, "its moments have numbers in an index alone"


def test_over_an_index(bound: Path, everything: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sensorium.search.index import Index

    model = sensorium.load(bound)
    assert isinstance(model, Embedder)
    with Index.open("kept", model) as index:
        index.update(everything)
    command = ["look", str(bound), "--what", "panel", "--query", "everything/sounds/cat.wav", "--data", "p.json"]
    assert main([*command, "--index", "kept", "--out", "p.png"]) == 0
    numbers = json.loads(Path("p.json").read_text())
    assert [row for row in numbers["rows"] if not row.startswith(("films", "pages"))] == [
        "pictures", "sounds", "depth", "heat", "motion",
    ]  # fmt: skip
    sounds = 1 + numbers["rows"].index("sounds")
    assert [Path(name).name for name in numbers[f"files_{sounds}"]] == ["cup.wav"]
    indexed = {row: numbers[f"cosines_{i}"] for i, row in enumerate(numbers["rows"], 1)}
    assert main([*command, str(everything)]) == 0
    numbers = json.loads(Path("p.json").read_text())
    for i, row in enumerate(numbers["rows"], 1):
        if row in ("pictures", "sounds", "depth", "heat", "motion"):
            assert indexed[row] == pytest.approx(numbers[f"cosines_{i}"], abs=2e-3), row
    capsys.readouterr()
    assert main([*command, str(everything), "--index", "kept"]) == 2
    assert main(["look", "pocket", "--what", "panel", "--query", "cat", "--index", "kept"]) == 1
    assert "this index was made by" in words(capsys.readouterr().err)


def test_map_and_gap(bound: Path, everything: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["look", str(bound), str(everything), "--what", "map", "--text", "cup", "--text", "Hand"]
    assert main([*command, "--out", "m.svg", "--data", "m.json"]) == 0
    out = words(capsys.readouterr().out)
    assert "3 pictures, 1 film, 3 sounds, 1 depth map, 1 thermal picture, 1 motion recording, 3 texts, 10 pairs" in out
    numbers = json.loads(Path("m.json").read_text())
    assert len(numbers["files"]) == len(numbers["senses"]) == len(numbers["components"][0]) == 13
    joined = {frozenset((numbers["files"][i], numbers["senses"][i]) for i in pair) for pair in numbers["pairs"]}
    film, picture = str(everything / "cat.mp4"), str(everything / "cat.jpg")
    assert frozenset({(film, "video"), (picture, "image")}) in joined
    assert frozenset({(film, "video"), (film, "audio")}) in joined
    assert not [pair for pair in joined if (str(everything / "sounds/cat.wav"), "audio") in pair], (
        "or the film's sound?"
    )
    assert frozenset({(str(everything / "thermal/hand.tiff"), "thermal"), ("Hand", "text")}) in joined
    apart = np.array(numbers["gap_apart"])
    assert apart.shape == (7, 7)
    assert (apart[~np.eye(7, dtype=bool)] > 0).all()
    first = json.loads(Path("m.json").read_text())["neighbours"]
    assert main([*command, "--data", "again.json"]) == 0
    assert json.loads(Path("again.json").read_text())["neighbours"] == first, "the same in every run"
    assert Path("m.svg").read_text().count("<use ") > 4 * 13, "every thing on four maps"


def test_a_file_stands_in_the_mean_direction_of_its_parts() -> None:
    film: Any = {"name": "a.mp4", "path": Path("a.mp4"), "kind": "video", "alone": False}
    parts = [
        Part(**film, sense="video", begin=0.0),
        Part(**film, sense="audio"),
        Part(**film, sense="video", begin=2.0),
    ]
    vectors = torch.tensor([[4.0, 0, 0], [0, 0, 5], [0, 1, 0], [1, 1, 1], [1, 1, 0]])
    found, means = wholes([*parts, Part(name="sea", sense="text"), Part(name="sea", sense="text")], vectors)
    assert [(part.name, part.sense, part.begin) for part in found] == [
        ("a.mp4", "video", None),
        ("a.mp4", "audio", None),
        ("sea", "text", None),
        ("sea", "text", None),
    ]
    torch.testing.assert_close(means[0], torch.tensor([0.5**0.5, 0.5**0.5, 0]))
    torch.testing.assert_close(means[1], torch.tensor([0.0, 0, 1]))
    torch.testing.assert_close(means[3], torch.tensor([0.5**0.5, 0.5**0.5, 0]))


def test_similarity_of_two_sets(bound: Path, everything: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["look", str(bound), "everything/cat.jpg", "everything/cup.png", "--what", "similarity"]
    command += ["--against", "everything/sounds", "everything/depth", "--text", "cat"]
    assert main([*command, "--out", "s.png", "--data", "s.npz"]) == 0
    out = words(capsys.readouterr().out)
    assert "2 pictures against 2 sounds, 1 depth map, 1 text" in out
    assert "of 4 pairs" in out
    with np.load("s.npz", allow_pickle=False) as read:
        assert read["cosines"].shape == (2, 4)
        assert {tuple(pair) for pair in read["pairs"].tolist()} == {(0, 0), (1, 1), (1, 2), (0, 3)}
        model = sensorium.load(bound)
        assert isinstance(model, Embedder)
        wanted = model.embed(images=["everything/cat.jpg"], depth=["everything/depth/cup.png"])
        assert read["cosines"][0, 2] == pytest.approx(float((wanted["images"] @ wanted["depth"].T)[0, 0]), abs=1e-3)


def test_what_the_model_lacks_is_said(everything: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["look", "pocket", str(everything), "--what", "map", "--data", "m.json"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "pocket does not see heat: thermal pictures are left out" in words(err)
    assert "thermal picture" not in out
    assert main(["look", "pocket", str(everything), "--what", "panel", "--query", "everything/walk.csv"]) == 1
    assert "--query everything/walk.csv: pocket does not feel motion" in words(capsys.readouterr().err)
    assert main(["look", "pocket", "everything/thermal", "--what", "map"]) == 1
    assert "nothing to look at in the files: pocket does not see heat" in words(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("query", "message"),
    [("barks.wav", "there is no file barks.wav"), ("everything/notes.txt", "it is of no kind that is known")],
)
def test_questions_that_cannot_be(
    bound: Path, everything: Path, query: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["look", str(bound), str(everything), "--what", "panel", "--query", query]) == 1
    assert message in words(capsys.readouterr().err)


def test_a_large_map_is_of_some(bound: Path, everything: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.insight.space.MOST", 6)
    assert main(["look", str(bound), str(everything), "--what", "map", "--out", "m.png", "--data", "m.json"]) == 0
    assert len(json.loads(Path("m.json").read_text())["files"]) == 6
