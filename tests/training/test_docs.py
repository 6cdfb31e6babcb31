"""The recipe in docs/training.md, saved as its first line says and run by its command."""

import re
import shlex
from pathlib import Path

import pytest

from sensorium.app.cli import main
from sensorium.training.run_folder import RunFolder, read_metrics

GUIDE = Path(__file__).parents[2] / "docs" / "training.md"


def test_the_guide_s_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    name, command = re.fullmatch(r"# (\S+): sensorium (.*)", code.splitlines()[0]).groups()  # pyright: ignore
    (tmp_path / name).write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(shlex.split(command)) == 0, capsys.readouterr().err
    assert read_metrics(RunFolder(Path("runs/sine-1")))[-1]["loss"] < 0.01
