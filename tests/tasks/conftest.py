from pathlib import Path

import pytest
import skimage.data

from sensorium.checkpoints.load import save_model
from sensorium.data import preprocess
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.loading import load
from tests import tiny


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of random weights with CLIP's own words, as transformers writes it."""
    folder = tmp_path_factory.mktemp("clip")
    save_model(tiny.with_vocabulary(), folder, naming="transformers", steps=preprocess.Preprocess(32, rgb="before"))
    return folder


@pytest.fixture(scope="session")
def embedder(folder: Path) -> Embedder:
    return load(folder, device="cpu")


@pytest.fixture(scope="session")
def photographs() -> list[Path]:
    """Real photographs of many kinds: colour and gray, PNG and JPEG."""
    names = ["astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "rocket.jpg", "retina.jpg"]
    names += ["hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "moon.png", "brick.png", "grass.png"]
    return [Path(skimage.data.__file__).parent / name for name in names]
