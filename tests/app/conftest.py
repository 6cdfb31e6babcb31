"""A small CLIP on disk, a folder of painted pictures, and an index of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import sensorium
from sensorium.search.index import Index
from tests.app.colours import Colours
from tests.search.fake import COLOURS, paint


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as transformers writes it, with random weights: for commands that run as separate processes."""
    from sensorium.checkpoints.load import save_model
    from sensorium.data import preprocess
    from sensorium.models.clip import CLIP, CLIPConfig, TextTower, ViTTower

    torch.manual_seed(0)
    vision = ViTTower(image=32, patch=16, width=32, depth=1, heads=2, mlp=64)
    model = CLIP(CLIPConfig(vision=vision, text=TextTower(width=16, depth=1, heads=2, mlp=32), embed=16))
    folder = tmp_path_factory.mktemp("clip")
    save_model(model.eval(), folder, naming="transformers", steps=preprocess.clip(32))
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty SENSORIUM_HOME, the working directory beside it, and the model of colours for every name."""
    monkeypatch.setenv("SENSORIUM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(vars(sensorium), "load", lambda name, **_: Colours())
    return tmp_path / "home"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two pictures of each colour, one file that is none, in a folder with a space in its name."""
    folder = tmp_path / "my pictures"
    for number, colour in enumerate(COLOURS):
        for copy in range(2):
            paint(folder / f"{colour} {copy}.png", colour, noise=2 * number + copy, size=(96, 64))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return folder


@pytest.fixture
def index(home: Path, pictures: Path) -> Iterator[Index]:
    """The pictures, indexed in the default place."""
    with Index.open(None, Colours()) as opened:
        opened.update(pictures)
        yield opened
