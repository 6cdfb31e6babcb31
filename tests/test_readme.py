"""What the README says, run as it stands there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from skimage import data as photographs

from sensorium.checkpoints.load import save_model
from tests import tiny

README = Path(__file__).parent.parent / "README.md"
# Servers, and what fetches or trains for minutes: each has tests of its own.
ELSEWHERE = {"serve", "fetch", "train", "evaluate", "claim"}


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"```(\w*)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return [block for name, block in fenced if name == language]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: ~/Pictures with photographs, ~/Media with a sound, and some of these and a model where commands
    are typed."""
    home = tmp_path_factory.mktemp("home")
    pictures = home / "Pictures"
    pictures.mkdir()
    for name, pixels in (("cat", photographs.cat()), ("dog", photographs.astronaut()), ("cup", photographs.coffee())):
        Image.fromarray(pixels).save(pictures / f"{name}.jpg")
        Image.fromarray(pixels).save(home / f"{name}.jpg")
    (home / "Media").mkdir()
    time = np.arange(32000) / 16000
    for name in ("bark.wav", "waves.wav", "Media/bark.wav"):
        soundfile.write(home / name, 0.3 * np.sin(2000 * time * (1 + np.sin(9 * time))), 16000)
    save_model(tiny.build(tiny.VIT), home / "my-model", naming="timm")
    return home


def test_python(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(compile(code, str(README), "exec"), names)
    scores, heard = (eval(line.split("#")[0], names) for line in code.strip().splitlines()[-2:])
    assert scores.shape == (2, 1)
    assert scores[0, 0] > scores[1, 0], "the cat is the one that looks like a photo of a cat"
    assert heard.shape == (1, 2)


def test_commands(home: Path) -> None:
    commands = [line[2:].split("#")[0].strip() for line in "\n".join(blocks("console")).splitlines()]
    wanted = [command for command in commands if command.startswith("sensorium") and not ELSEWHERE & {*command.split()}]
    assert len(wanted) >= 6
    environment = {**os.environ, "SENSORIUM_HOME": str(home / "data")}
    for command in wanted:
        words = [
            str(file)
            for word in shlex.split(command)[1:]
            for file in (sorted(home.glob(word)) if "*" in word else [word.replace("~", str(home))])
        ]
        run = subprocess.run(
            [sys.executable, "-m", "sensorium", *words],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode in (0, 3), f"{command}: {run.stderr}"  # 3: no good match is an answer
        assert run.stdout.strip(), command


def test_links_lead_somewhere() -> None:
    for page in (README, *(README.parent / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_room_is_in_the_tree() -> None:
    (tree,) = [block for block in blocks("") if "src/sensorium/" in block]
    rooms = {path.name for path in (README.parent / "src" / "sensorium").iterdir() if (path / "__init__.py").exists()}
    assert rooms == set(re.findall(r"^  (\w+)/", tree, re.MULTILINE))
