"""Thermal pictures: as cameras show them and as they measure."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.thermal import ThermalSteps, read_thermal


def celsius() -> np.ndarray:
    """A room at 20 degrees with a person of 35."""
    picture = np.full((40, 60), 20.0, np.float32)
    picture[10:30, 20:40] = 35.0
    return picture


def test_one_scene_measured_in_every_unit(tmp_path: Path) -> None:
    kelvin = celsius() + 273.15
    Image.fromarray((kelvin * 100).round().astype(np.uint16)).save(tmp_path / "centi.tiff")
    Image.fromarray((kelvin * 100).round().astype(np.uint16)).save(tmp_path / "centi.png")
    Image.fromarray((kelvin * 10).round().astype(np.uint16)).save(tmp_path / "deci.tiff")
    Image.fromarray(celsius()).save(tmp_path / "float.tiff")
    np.save(tmp_path / "kelvin.npy", kelvin)
    for name, unit, exact in (
        ("centi.tiff", "centikelvin", 0.01),
        ("centi.png", "centikelvin", 0.01),
        ("deci.tiff", "decikelvin", 0.1),
        ("float.tiff", "celsius", 1e-4),
        ("kelvin.npy", "kelvin", 1e-3),
    ):
        heat = read_thermal(tmp_path / name, unit=unit, celsius=(10, 40))
        assert heat.celsius is not None
        torch.testing.assert_close(heat.celsius, torch.from_numpy(celsius()), atol=exact, rtol=0)
        torch.testing.assert_close(heat.warmth, torch.from_numpy((celsius() - 10) / 30), atol=exact / 20, rtol=0)
        own = read_thermal(tmp_path / name)
        assert own.celsius is None
        assert (float(own.warmth.min()), float(own.warmth.max())) == (0, 1)
    assert read_thermal(tmp_path / "centi.tiff", unit="centikelvin").got == (
        "16-bit TIFF, 60 x 40, centikelvin, 20.0 to 35.0 °C, shown from its coldest to its warmest"
    )


def test_a_camera_s_own_picture_stays_as_it_is(tmp_path: Path) -> None:
    gray = (celsius() * 5).astype(np.uint8)
    Image.fromarray(gray).save(tmp_path / "a.png")
    Image.fromarray(np.repeat(gray[..., None], 3, 2)).save(tmp_path / "a.jpg", quality=95)  # as LLVIP has it
    expected = torch.from_numpy(gray / np.float32(255))
    torch.testing.assert_close(read_thermal(tmp_path / "a.png").warmth, expected)
    torch.testing.assert_close(read_thermal(tmp_path / "a.jpg").warmth, expected, atol=0.03, rtol=0)
    with pytest.raises(SensoriumError, match="8 bits hold a camera's picture, no temperatures"):
        read_thermal(tmp_path / "a.png", celsius=(10, 40))
    x = ThermalSteps(size=32).read(tmp_path / "a.jpg")
    assert x.shape == (1, 32, 32)
    assert 0.3 < float(x.min()) < float(x.max()) < 0.75


def test_false_colours_are_no_measurement(tmp_path: Path) -> None:
    gray = (celsius() * 7).astype(np.uint8)
    Image.fromarray(np.stack([gray, 255 - gray, gray // 2], 2)).save(tmp_path / "iron.png")
    with pytest.raises(Unreadable, match="false colours, not measurements: export it gray, or radiometric"):
        read_thermal(tmp_path / "iron.png")


def test_nothing_is_guessed(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    Image.fromarray(((celsius() + 273.15) * 100).astype(np.uint16)).save(path)
    with pytest.raises(SensoriumError, match=r"states no unit, which a range in °C needs: pass unit="):
        read_thermal(path, celsius=(10, 40))
    with pytest.raises(Unreadable, match=r"°C if the unit is kelvin: is it another one\?"):
        read_thermal(path, unit="kelvin")
    with pytest.raises(SensoriumError, match="the colder first"):
        read_thermal(path, unit="centikelvin", celsius=(40, 10))
    (tmp_path / "thermal.json").write_text(json.dumps({"unit": "centikelvin", "celsius": [10, 40]}))
    assert abs(float(read_thermal(path).warmth.max()) - 25 / 30) < 1e-3
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(Unreadable, match="truncated or damaged"):
        read_thermal(path)


def test_dead_and_hot_pixels(tmp_path: Path) -> None:
    picture = celsius()
    picture[0, 0], picture[3, 3] = np.nan, 900.0
    np.save(tmp_path / "a.npy", picture)
    heat = read_thermal(tmp_path / "a.npy", unit="celsius")
    assert bool(heat.warmth.isfinite().all())
    assert float(heat.warmth[0, 0]) == 0
    assert float(heat.warmth[20, 30]) > 0.9, "one hot pixel does not take the whole window"
    np.save(tmp_path / "b.npy", np.full((9, 9), np.nan, np.float32))
    with pytest.raises(Unreadable, match="hardly any pixel was measured"):
        read_thermal(tmp_path / "b.npy")
