"""A folder with a file of every kind, indexed and searched by every kind of question: the command as people start it,
with an ImageBind of random weights."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import sensorium
from sensorium.app.cli import main
from sensorium.checkpoints.load import save_model
from tests import tiny
from tests.app.everything import KINDS, write_everything

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def bound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bound") / "imagebind-tiny"
    config = replace(tiny.IMAGEBIND, text=replace(tiny.TEXT, words=49408, context=77))
    save_model(tiny.build(config), folder, naming="imagebind")
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_everything(tmp_path_factory.mktemp("everything") / "media")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, bound: Path, files: dict[str, Path]) -> Path:
    """Where the index of all of it lies, made by the command as a process of its own."""
    home = tmp_path_factory.mktemp("home")
    env = {**os.environ, "SENSORIUM_HOME": str(home), "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", "sensorium", "index", str(files["walk.mp4"].parent), "--model", str(bound)]
    done = subprocess.run(command, capture_output=True, env=env, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "7 added" in done.stdout
    assert (
        "1 picture, 1 film, 1 sound, 1 depth map, 1 thermal picture, 1 motion recording, 1 document (28 moments)"
        in (" ".join(done.stdout.split()))
    )
    return home


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("SENSORIUM_HOME", str(home))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        out, err = capsys.readouterr()
        return code, out, " ".join(err.split())

    return run


def hits(run: Run, *words: str) -> dict[str, Any]:
    code, out, err = run("search", *words, "--json")
    assert (code in (0, 3), err) == (True, "")
    return {Path(hit["path"]).name: hit for hit in json.loads(out)["hits"]}


def test_every_kind_of_file_is_a_question_and_an_answer(run: Run, files: dict[str, Path]):
    for name, path in files.items():
        found = hits(run, str(path))
        assert found.keys() == KINDS.keys() - {name}, "all others answer"
        assert {other: hit["kind"] for other, hit in found.items()} == {n: k for n, k in KINDS.items() if n != name}
    assert hits(run, "a bicycle").keys() == KINDS.keys()
    _, out, _ = run("search", f"{files['red.png']} + {files['tones.wav']} - people", "--json")
    assert [(Path(each.get("file", "")).name, each["weight"]) for each in json.loads(out)["query"]] == [
        ("red.png", 1),
        ("tones.wav", 1),
        ("", -1),
    ]


def test_answers_tell_moments(run: Run):
    found = hits(run, "a bicycle")
    film = found["walk.mp4"]
    assert film["seconds"] == pytest.approx(10, abs=0.2)
    assert {each["sense"] for each in film["moments"]} == {"video", "audio"}
    for sense in ("video", "audio"):
        some = [each for each in film["moments"] if each["sense"] == sense]
        assert sum(each["end"] - each["begin"] for each in some) == pytest.approx(10, abs=0.2), "what touches is one"
        assert all(-1 <= each["score"] <= 1 for each in some)
        begins = {each["begin"] for each in some if each["confidence"] >= 0.5}
        assert not begins & {each["end"] for each in some if each["confidence"] >= 0.5}
    assert film["score"] == film["moments"][0]["score"]
    assert (found["manual.pdf"]["pages"], {each["page"] for each in found["manual.pdf"]["moments"]}) == (3, {1, 2, 3})
    assert found["imu.csv"]["moments"][0]["end"] - found["imu.csv"]["moments"][0]["begin"] >= 5
    _, out, _ = run("search", "a bicycle")
    lines = {name: next(line for line in out.splitlines() if name in line) for name in ("walk.mp4", "manual.pdf")}
    begin, end = (int(film["moments"][0][name]) for name in ("begin", "end"))
    sensed = {"video": "seen", "audio": "heard"}[film["moments"][0]["sense"]]
    assert f"0:{begin:02}-0:{end:02} {sensed}" in lines["walk.mp4"]
    assert f"page {found['manual.pdf']['moments'][0]['page']}" in lines["manual.pdf"]


def test_kinds_are_chosen_and_moments_asked_with(run: Run, files: dict[str, Path]):
    assert hits(run, "a bicycle", "--kind", "films,sound").keys() == {"walk.mp4", "tones.wav"}
    other = hits(run, f"{files['walk.mp4']}@3", "--kind", "sound")
    assert other.keys() == {"tones.wav"}
    moment = hits(run, "a bicycle")["tones.wav"]["moments"][0]["number"]
    found = hits(run, f"{files['tones.wav']}@{moment}")
    assert "tones.wav" not in found
    code, _, err = run("search", f"{files['walk.mp4']}@99")
    assert (code, "walk.mp4" in err) == (1, True)
    code, _, err = run("search", "a bicycle", "--kind", "smells")
    assert (code, err) == (
        1,
        "sensorium: 'smells' is no kind of file: choose among picture, video, sound, depth, thermal, motion, document",
    )


def test_a_contact_sheet_draws_every_kind(run: Run, tmp_path: Path):
    run("search", "a bicycle", "--sheet", "all.png")
    with Image.open(tmp_path / "all.png") as sheet:
        colours = {colour for _, colour in sheet.convert("RGB").getcolors(1 << 22) or []}
    assert len(colours) > 500


def test_a_part_of_the_model_says_what_it_takes_and_what_it_leaves_out(
    run: Run, bound: Path, files: dict[str, Path], tmp_path: Path
):
    folder = files["walk.mp4"].parent
    code, out, err = run(
        "index", str(folder), "--model", str(bound), "--senses", "text,audio", "--index", str(tmp_path / "part")
    )
    said = " ".join(out.split())
    assert code == 0
    assert "imagebind-tiny takes" in err
    assert "of memory (text" in err
    assert "audio" in err
    assert "1 depth map left out: imagebind-tiny does not see depth. It does with all its senses" in said
    assert "1 picture left out" in said
    code, _, err = run("index", str(folder), "--model", str(bound), "--senses", "smell")
    assert (code, err) == (
        1,
        "sensorium: 'smell' is no sense: choose among image, text, video, audio, depth, thermal, motion",
    )


def test_a_model_that_lacks_a_kind_says_so_by_name(
    run: Run, small_clip: Path, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    index = str(tmp_path / "clip")
    code, out, _ = run("index", str(files["walk.mp4"].parent), "--model", str(small_clip), "--index", index)
    said = " ".join(out.split())
    assert code == 0
    assert "1 sound left out: " in said
    assert "does not hear. ImageBind does: --model imagebind-huge --index imagebind-index" in said
    assert "1 motion recording left out: " in said
    for name, lacks in (("room_depth.png", "a depth map, and"), ("tones.wav", "a sound, and")):
        code, _, err = run("search", str(files[name]), "--index", index)
        assert code == 1
        assert f"{name} is {lacks}" in err
        assert "ImageBind does" in err
    assert sensorium.load(str(small_clip)).kinds == ("picture", "video", "document")


def test_what_is_read_in_part_is_told(run: Run, bound: Path, files: dict[str, Path], tmp_path: Path):
    folder = tmp_path / "cut"
    folder.mkdir()
    data = files["tones.wav"].read_bytes()
    (folder / "cut.mp3").write_bytes(b"ID3 nothing")
    write_cut_film(files["walk.mp4"], folder / "cut.mp4")
    (folder / "tones.wav").write_bytes(data)
    _, out, _ = run("index", str(folder), "--model", str(bound), "--index", str(tmp_path / "parts"))
    said = " ".join(out.split())
    assert "1 file read only in part:" in said
    assert "cut off?" in said
    assert "1 file could not be read:" in said
    _, out, _ = run("index", "--unreadable", "--index", str(tmp_path / "parts"))
    assert "cut.mp4: read only in part: " in out
    _, out, _ = run("index", "--unreadable", "--json", "--index", str(tmp_path / "parts"))
    told = json.loads(out)
    assert [Path(each["path"]).name for each in (*told["unreadable"], *told["partly"])] == ["cut.mp3", "cut.mp4"]


def write_cut_film(whole: Path, path: Path) -> None:
    """The film with its table of contents in front, and its last part missing."""
    import av

    with av.open(str(whole)) as source, av.open(str(path), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])


def test_a_question_loads_only_the_senses_that_it_takes(
    run: Run, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    loaded: list[list[str]] = []
    whole = sensorium.load
    monkeypatch.setitem(vars(sensorium), "load", lambda *a, **o: (loaded.append(o["senses"]), whole(*a, **o))[1])
    before = hits(run, str(files["tones.wav"]))
    hits(run, "a bicycle")
    hits(run, f"{files['walk.mp4']} + {files['room_depth.png']}")
    assert loaded == [["text", "audio"], ["text"], ["image", "text", "audio", "depth"]]
    monkeypatch.setattr("sensorium.app.collection.IN_PARTS", "no model begins so")
    assert hits(run, str(files["tones.wav"])) == before
    assert loaded[-1] is None
