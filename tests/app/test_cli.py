"""The command line on real files: in this process with the model of colours, and as started by people."""

import json
import os
import signal
import subprocess
import sys
import time
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from PIL import Image

import sensorium
from sensorium.app.cli import main
from sensorium.data.errors import SensoriumError
from sensorium.search.index import Index
from tests.app.colours import Colours
from tests.search.fake import paint


def start(*words: str, home: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "SENSORIUM_HOME": str(home), "PYTHONWARNINGS": "error", **environment}
    return subprocess.run([sys.executable, "-m", "sensorium", *words], capture_output=True, env=env, timeout=120)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def test_help_and_version_do_not_wait_for_torch(tmp_path: Path):
    probe = """
import sys
from sensorium.app.cli import main
for words in (["--help"], ["search", "--help"], ["--version"]):
    main(words)
slow = {"torch", "numpy", "PIL", "fastapi", "matplotlib"} & set(sys.modules)
sys.exit(f"imported {slow}" if slow else 0)
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "sensorium index ~/Pictures" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        *("index", "search", "classify", "models", "serve", "demo", "convert", "verify", "export", "look", "train"),
        *("evaluate", "claim", "data list", "data fetch", "data show"),
    ],
)
def test_every_command_teaches_by_example(capsys: pytest.CaptureFixture[str], command: str):
    code, out, _ = run(capsys, *command.split(), "--help")
    assert code == 0
    assert f"\nsensorium {command}" in out


def test_index_search_and_json_as_people_start_them(tmp_path: Path, small_clip: Path, pictures: Path):
    home = tmp_path / "home"
    done = start("index", str(pictures), "--model", str(small_clip), "--json", home=home)
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert (report["added"], report["items"], len(report["unreadable"])) == (12, 12, 1)

    asked = start("search", "red", "+", str(pictures / "red 0.png"), "-", "blue", "--json", "--k", "3", home=home)
    answer = json.loads(asked.stdout)
    assert asked.returncode == (0 if answer["good"] else 3)
    assert len(answer["hits"]) == 3
    assert [each["weight"] for each in answer["query"]] == [1, 1, -1]

    named = start("classify", str(pictures), "--labels", "red,green", "--model", str(small_clip), "--json", home=home)
    shares = json.loads(named.stdout)["pictures"][0]["probabilities"]
    assert named.returncode == 0
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares) == ["red", "green"]


def test_index_tells_what_changed_and_lists_what_it_cannot_read(
    home: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
):
    code, out, _ = run(capsys, "index", str(pictures))
    assert code == 0
    assert "12 added" in out
    assert "files per second" in out
    assert "broken.jpg" in out

    paint(pictures / "new.png", "red", noise=99)
    (pictures / "red 0.png").unlink()
    (pictures / "blue 0.png").rename(pictures / "azure.png")
    _, out, _ = run(capsys, "index", str(pictures))
    assert "1 added, 1 renamed, 1 removed, 10 unchanged" in out

    code, out, _ = run(capsys, "index", "--unreadable")
    assert code == 0
    assert "broken.jpg: " in out
    code, out, _ = run(capsys, "index", "--unreadable", "--json")
    assert json.loads(out)["unreadable"][0]["path"] == str(pictures / "broken.jpg")


@pytest.mark.usefixtures("index")
def test_search_finds_by_words_by_picture_and_by_both(pictures: Path, capsys: pytest.CaptureFixture[str]):
    code, out, _ = run(capsys, "search", "red", "--k", "2", "--json")
    answer = json.loads(out)
    assert code == 0
    assert {Path(hit["path"]).name for hit in answer["hits"]} == {"red 0.png", "red 1.png"}

    _, out, _ = run(capsys, "search", str(pictures / "cyan 0.png"), "--json")
    assert Path(json.loads(out)["hits"][0]["path"]).name == "cyan 1.png"

    _, out, _ = run(capsys, "search", "--image", str(pictures / "red 0.png"), "--plus", "blue", "--k", "2", "--json")
    assert "magenta" in Path(json.loads(out)["hits"][0]["path"]).name

    _, out, _ = run(capsys, "search", "magenta", "-", "blue", "--k", "2", "--json")
    assert "red" in Path(json.loads(out)["hits"][0]["path"]).name


@pytest.mark.usefixtures("index")
def test_no_good_match_is_an_answer_with_a_code_of_its_own(capsys: pytest.CaptureFixture[str]):
    code, out, err = run(capsys, "search", "a word this model does not know")
    assert code == 3
    assert "No good match for “a word this model does not know”" in out
    assert err == ""


@pytest.mark.usefixtures("index")
def test_filters_and_dates(pictures: Path, capsys: pytest.CaptureFixture[str]):
    old = pictures / "red 0.png"
    os.utime(old, (1_500_000_000, 1_500_000_000))  # July 2017
    run(capsys, "index", str(pictures))
    _, out, _ = run(capsys, "search", "red", "--until", "2017", "--json")
    assert [hit["path"] for hit in json.loads(out)["hits"]] == [str(old)]
    _, out, _ = run(capsys, "search", "red", "--since", "2018-01", "--json")
    assert str(old) not in [hit["path"] for hit in json.loads(out)["hits"]]
    _, out, _ = run(capsys, "search", "red", "--path", str(pictures / "none"), "--json")
    assert json.loads(out)["hits"] == []
    code, _, err = run(capsys, "search", "red", "--since", "yesterday")
    assert code == 1
    assert "'yesterday' is no date: write 2024" in err


@pytest.mark.usefixtures("index")
def test_a_contact_sheet_is_a_picture_of_the_answer(tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]):
    (pictures / "red 1.png").unlink()  # gone since it was indexed: it gets an empty frame
    code, _, err = run(capsys, "search", "red", "--k", "7", "--sheet", "out/red.png")
    assert code == 0
    assert "red.png" in err
    with Image.open(tmp_path / "out/red.png") as sheet:
        assert sheet.width > 1000
        shown = [colour for _, colour in sheet.convert("RGB").getcolors(1 << 20) or []]
    assert any(r > 180 and g < 60 and b < 60 for r, g, b in shown), "the red picture is on it"
    code, _, err = run(capsys, "search", "red", "--sheet", "red.docx")
    assert code == 1
    assert "Name a .png or .jpg file" in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["index"], 2, "which folder?"),
        (["search"], 2, "what should it find?"),
        (["search", "cat", "--k", "0"], 2, "--k must be at least 1"),
        (["serach"], 2, 'Did you mean "search"'),
        (["search", "--bogus"], 2, "Unknown option"),
        (["search", "a cat"], 1, "sensorium index"),
        (["serve", "--port", "0"], 1, "sensorium index"),
        (["serve", "--port", "99999"], 1, "cannot listen"),
        (["index", "nowhere"], 1, "nowhere"),
        (["search", "beach +"], 1, "the question ends with"),
        (["search", "--image", "none.jpg"], 1, "there is no file none.jpg"),
        (["classify", "--labels", "a,b"], 2, "which pictures?"),
        (["classify", "nowhere.jpg", "--labels", "a,b"], 1, "nowhere.jpg"),
    ],
)
@pytest.mark.usefixtures("home")
def test_errors_are_sentences_with_a_remedy(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
):
    got, out, err = run(capsys, *words)
    assert (got, out) == (code, "")
    assert message in " ".join(err.split())
    assert err.startswith("sensorium: ")
    assert "Traceback" not in err


def test_a_model_that_fails_is_told_without_a_trace(
    home: Path, pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def fail(name: str, **_: object) -> None:
        raise SensoriumError(f"no model called {name}; `sensorium models` lists them")

    monkeypatch.setitem(vars(sensorium), "load", fail)
    code, out, err = run(capsys, "index", str(pictures), "--model", "nothing")
    assert (code, out) == (1, "")
    assert "sensorium models" in err


def test_an_index_keeps_its_model(
    index: Index, pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []
    monkeypatch.setitem(vars(sensorium), "load", lambda name, **_: (asked.append(name), Colours())[1])
    assert run(capsys, "index", str(pictures))[0] == 0
    assert asked == ["colours"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.usefixtures("home")
def test_names_that_are_no_text_and_terminals_that_know_little(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
):
    def printed(*words: str) -> bytes:
        buffer = BytesIO()
        monkeypatch.setattr(sys, "stdout", TextIOWrapper(buffer, encoding=encoding))
        assert main(words) == 0
        return buffer.getvalue()

    strange = os.fsencode(pictures) + b"/caf\xe9 \xf0\x9f\x98\x80.png"
    Path(os.fsdecode(strange)).write_bytes((pictures / "red 0.png").read_bytes())
    (pictures / os.fsdecode(b"bad \xff.jpg")).write_bytes(b"nothing")
    assert rb"bad \xff.jpg" in printed("index", str(pictures))
    assert rb"caf\xe9" in printed("search", "red", "--sheet", "red.png")
    found = json.loads(printed("search", "red", "--json"))
    assert strange in [os.fsencode(hit["path"]) for hit in found["hits"]]


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_ctrl_c_keeps_what_is_done_and_says_so(tmp_path: Path, small_clip: Path):
    for number in range(800):
        paint(tmp_path / "many" / f"{number:04}.png", "red", noise=number, size=(8, 8))
    env = {**os.environ, "SENSORIUM_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "sensorium", "index", "many", "--model", str(small_clip)]
    running = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    waited = time.monotonic()
    while not (tmp_path / "home/index/index.sqlite").exists() and time.monotonic() - waited < 60:
        time.sleep(0.02)
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode in (130, 0)  # a fast machine may be done already
    assert "Traceback" not in err
    if running.returncode == 130:
        assert "Stopped" in out
        assert "run the same command again" in err
    again = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0
    assert "800 pictures" in again.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="uses a POSIX pipe")
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path):
    env = {**os.environ, "SENSORIUM_HOME": str(tmp_path)}
    shown = subprocess.Popen(
        [sys.executable, "-m", "sensorium", "search", "--help"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert shown.stdout is not None
    shown.stdout.close()
    _, err = shown.communicate(timeout=60)
    assert shown.returncode == 141
    assert err == b""
