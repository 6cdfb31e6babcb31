"""Colours of numbers, and animations as files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.errors import SensoriumError
from sensorium.insight.film import beside, check_film, ramp, save_film


def test_ramp() -> None:
    values = torch.tensor([[0.0, 0.25, 1.0, 2.0]])
    assert ramp(values, 0.0, 1.0)[:, 0].T.tolist() == [[68, 1, 84], [59, 82, 139], [253, 231, 37], [253, 231, 37]]
    assert ramp(values)[:, 0, -1].tolist() == [253, 231, 37]
    assert ramp(torch.ones(1, 1))[:, 0, 0].tolist() == [68, 1, 84], "nothing to tell apart"


@pytest.mark.parametrize("ending", [".gif", ".mp4"])
def test_every_frame_is_in_the_film(tmp_path: Path, ending: str) -> None:
    picture = torch.full((3, 30, 50), 200, dtype=torch.uint8)
    frames = [beside(picture, ramp(torch.full((3, 5), float(i)), 0.0, 4.0)) for i in range(5)]
    assert frames[0].shape == (3, 288, 960)
    save_film(frames, tmp_path / "new" / f"a{ending}")
    assert [file.name for file in (tmp_path / "new").iterdir()] == [f"a{ending}"]
    if ending == ".gif":
        with Image.open(tmp_path / "new" / "a.gif") as film:
            shown = []
            for i in range(film.n_frames):  # type: ignore[attr-defined]
                film.seek(i)
                shown.append(np.asarray(film.convert("RGB")))
    else:
        av = pytest.importorskip("av")
        with av.open(str(tmp_path / "new" / "a.mp4")) as container:
            shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == 5
    for frame, wanted in zip(shown, frames, strict=True):
        for x in (100, 800):
            np.testing.assert_allclose(frame[150, x].astype(int), wanted[:, 150, x], atol=12)


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(SensoriumError, match="gram makes no film"):
        check_film(tmp_path / "a.gif", "gram", ["gram", "pca"])
    with pytest.raises(SensoriumError, match="filters makes no film"):
        check_film(tmp_path / "a.gif", "filters", ["pca"])
    (tmp_path / "file").touch()
    with pytest.raises(SensoriumError, match=r"cannot write .*a\.gif"):
        save_film([torch.zeros(3, 4, 4, dtype=torch.uint8)] * 2, tmp_path / "file" / "a.gif")
