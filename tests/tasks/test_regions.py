"""Pictures through the detector into files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.detector_picture import MEANS, detector_picture, detector_size
from sensorium.data.errors import Unreadable
from sensorium.data.region_files import open_regions
from sensorium.data.regions import arrays_of
from sensorium.models.detector import Selection
from sensorium.tasks.regions import extract_regions, regions_of
from tests import tiny_detector


def test_the_picture_is_blue_first_and_less_its_means() -> None:
    picture = detector_picture(Image.new("RGB", (40, 20), (10, 20, 30)), 40, 60)
    assert picture.pixels.shape == (3, 30, 60)  # the long side may not pass 60
    assert picture.scale == (40 / 60, 20 / 30)
    wanted = torch.tensor([30.0, 20, 10]) - torch.tensor(MEANS)
    torch.testing.assert_close(picture.pixels.mean((1, 2)), wanted, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("size", "seen"),
    [((640, 480), (1067, 800)), ((480, 640), (800, 1067)), ((3000, 300), (1333, 133)), ((9, 9), (800, 800))],
)
def test_sizes(size: tuple[int, int], seen: tuple[int, int]) -> None:
    assert detector_size(*size) == seen


def test_pictures_become_files_that_read_back(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for name, size in (("a.png", (48, 64, 3)), ("b.jpg", (80, 50, 3))):
        Image.fromarray(draw.integers(0, 255, size).astype(np.uint8)).save(tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"no picture")
    (tmp_path / "other").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "other" / "a.png")
    paths = [tmp_path / name for name in ("a.png", "b.jpg", "c.png", "other/a.png")]
    model, few = tiny_detector.build(), Selection(least=5, most=5)
    out = tmp_path / "out"
    done = list(extract_regions(model, paths, out, few, shortest=96, longest=160))
    assert done[:2] == [out / "a.npz", out / "b.npz"]
    assert [str(error) for error in done[2:] if isinstance(error, Unreadable)] == [
        f"{tmp_path / 'c.png'}: not an image",
        f"{tmp_path / 'other/a.png'}: a.npz is already of {tmp_path / 'a.png'}",
    ]
    read = open_regions(out)
    fresh = regions_of(model, tmp_path / "b.jpg", few, shortest=96, longest=160)
    for name, array in arrays_of(fresh).items():
        np.testing.assert_array_equal(array, arrays_of(read["b"])[name])
    assert (read["b"].width, read["b"].height, len(read["b"])) == (50, 80, 5)
    assert (fresh.unit_boxes() <= 1 + 1e-6).all()
    before = (out / "a.npz").stat().st_mtime_ns
    list(extract_regions(model, paths[:1], out, few))
    assert (out / "a.npz").stat().st_mtime_ns == before
