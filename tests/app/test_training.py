"""`sensorium train`, as people call it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sensorium.app.cli import main
from sensorium.training.run_folder import RunFolder, read_metrics

LINE = "tests.training.lines:line"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["train", *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_from_words_to_a_run_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "run"
    words = ("--data", "x", "--set", "rate=0.02", "save_every=4", "--set", "interrupt=5", "--run", str(folder))
    code, out, err = run(capsys, LINE, *words)
    assert (code, out) == (130, "")
    assert f"stopped after step 6; everything is saved. Go on with: sensorium train --resume {folder}" in err
    config = json.loads((folder / "config.json").read_text())
    assert config["recipe"] == LINE
    assert (config["settings"]["data"], config["settings"]["rate"]) == ("x", 0.02)
    assert config["engine"]["save_every"] == 4
    code, out, err = run(capsys, "--resume", str(folder), "--set", "log_every=1")
    assert code == 0
    assert out.startswith(f"{folder}: 12 steps  loss ")
    assert [record["step"] for record in read_metrics(RunFolder(folder))] == list(range(1, 13))
    assert "step 7/12" in err
    assert f"what could not be read, and why, is in {folder / 'damaged-0.json'}" in err
    code, out, _ = run(capsys, "--resume", str(folder), "--json")
    assert json.loads(out)["step"] == 12


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "which recipe?"),
        (("clipp",), 1, "there is no recipe 'clipp'"),
        (("nowhere:line",), 1, "nowhere:line: there is no module nowhere"),
        (("tests.training.lines:lime",), 1, "tests.training.lines has no lime"),
        (("tests.training.lines:Rows",), 1, "a recipe is function(settings: a dataclass, world: World) -> Recipe"),
        ((LINE, "--set", "stps=3"), 1, "there is no setting 'stps'; there are:"),
        ((LINE, "--set", "steps"), 1, "--set steps: key=value is expected"),
        ((LINE, "--set", "steps=many"), 1, "steps=many: wanted is int"),
        ((LINE, "--set", "device=cuda"), 1, "torch sees no GPU here"),
        ((LINE, "--data", "a", "--data", "b"), 1, "this recipe takes one --data"),
        (("dino-txt", "--run", "begun"), 1, "trunk: name what sees"),
        ((LINE, "--resume", "x"), 2, "--resume goes on with a run as it is"),
        (("--resume", "nothing-here"), 1, "nothing-here is no run's folder: config.json: no such file"),
    ],
)
def test_what_is_refused(
    words: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str], monkeypatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    if "device=cuda" in words:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found, _, err = run(capsys, *words)
    assert message in err
    assert found == code
    assert not list(tmp_path.iterdir())


def test_an_unknown_setting_lists_both_kinds(capsys: pytest.CaptureFixture[str]):
    _, _, err = run(capsys, LINE, "--set", "stps=3")
    assert "steps=12  (int)" in err
    assert "precision=fp32  (fp32 or bf16)" in err


def test_a_run_goes_on_with_its_own_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = str(tmp_path / "run")
    assert run(capsys, LINE, "--run", folder, "--set", "steps=2")[0] == 0
    code, _, err = run(capsys, "--resume", folder, "--set", "steps=3")
    assert (code, "begin another to change them" in err) == (1, True)
    code, _, err = run(capsys, LINE, "--run", folder)
    assert (code, "holds a run already" in err) == (1, True)
    (tmp_path / "run" / "config.json").write_text("{}")
    code, _, err = run(capsys, "--resume", folder)
    assert (code, "is damaged: recipe, settings and engine are expected" in err) == (1, True)


def test_show_says_what_can_be_set_and_runs_have_names(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    code, out, _ = run(capsys, LINE, "--show")
    assert code == 0
    assert out.startswith("Learn a fixed map")
    assert "rate=0.01  (float)" in out
    assert "keep=2  (int)" in out
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        run(capsys, LINE, "--set", "steps=2")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["line-1", "line-2"]


def test_sigterm_as_a_cluster_sends_it(tmp_path: Path):
    """In a process as people start it: saved, 143, nothing on standard output, no trace."""
    words = ["-m", "sensorium", "train", LINE, "--into", str(tmp_path / "run"), "--set", "steps=100000"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    with subprocess.Popen(
        [sys.executable, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as training:
        assert training.stderr is not None
        for line in training.stderr:
            if line.startswith("step "):
                break
        training.send_signal(signal.SIGTERM)
        out, err = training.communicate(timeout=60)
    assert training.returncode == 143
    assert out == ""
    assert "Go on with: sensorium train --resume" in err
    assert "Traceback" not in err
