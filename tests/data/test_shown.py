"""A file of any kind as a picture: what people see is what the file says, at the moment that was asked for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data as photographs

from sensorium.data.errors import Unreadable
from sensorium.data.kinds import KINDS, kind_of
from sensorium.data.shown import AXES, INFERNO, TURBO, coloured, picture_of
from tests.data.test_motion import clock, signal, table
from tests.data.test_segments import film, tone

soundfile: Any = pytest.importorskip("soundfile")


def pixels(path: Path, **options: Any) -> np.ndarray:
    kind = kind_of(path)
    assert kind is not None
    picture = picture_of(path, kind, **options)
    assert picture.mode == "RGB"
    return np.asarray(picture).astype(int)


def near(colour: np.ndarray, wanted: tuple[int, int, int], off: int = 30) -> np.ndarray:
    return (abs(colour - np.array(wanted)) <= off).all(-1)


def test_colours_stand_at_even_steps() -> None:
    found = coloured(np.array([[-1.0, 0, 0.1, 0.05], [1, 2, 0.5, 0.5]]), TURBO)
    assert found.shape == (2, 4, 3)
    assert found[0].tolist() == [list(TURBO[0]), list(TURBO[0]), list(TURBO[1]), [58, 54, 131]]
    assert found[1, :2].tolist() == [list(TURBO[-1])] * 2


def test_a_photograph_is_no_larger_than_was_asked(tmp_path: Path) -> None:
    Image.fromarray(photographs.coffee()).save(tmp_path / "cup.jpg")
    assert pixels(tmp_path / "cup.jpg", size=120).shape == (80, 120, 3)
    assert pixels(tmp_path / "cup.jpg", size=5000).shape == (400, 600, 3)


def test_a_film_at_its_second(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [2 * i for i in range(90)])
    for at, gray in ((0.0, 0), (3.0, 60), (7.7, 154), (99.0, 178), (None, 60)):
        assert abs(pixels(path, at=at).mean() - gray) <= 4, at
    whole = film(tmp_path / "b.mp4", [2 * i for i in range(90)], options={"movflags": "faststart"}).read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) // 2])
    assert pixels(tmp_path / "b.mp4", at=8.0).mean() < 120, "cut off: what there is"
    (tmp_path / "c.mp4").write_bytes(b"no film")
    with pytest.raises(Unreadable, match=r"c\.mp4: no film"):
        picture_of(tmp_path / "c.mp4", "video")


def test_a_sound_around_its_second(tmp_path: Path) -> None:
    """A low tone for fifteen seconds, then a high one: its place, from the top, is where it is bright."""
    rate = 16000
    sound = 0.1 * np.concatenate([np.sin(2 * np.pi * f * np.arange(15 * rate) / rate) for f in (200, 5000)])
    soundfile.write(tmp_path / "a.wav", np.stack([sound, sound], 1), rate)

    def bright(columns: slice = slice(None), **options: Any) -> float:
        light = pixels(tmp_path / "a.wav", **options).sum(2)[:, columns].mean(1)
        return float(light.argmax() / len(light))

    assert bright() > 0.75, "the first ten seconds"
    assert bright(at=20.0) < 0.25
    assert bright(at=300.0) < 0.25, "where it ends before, its last seconds"
    assert bright(slice(0, 80), at=14.5) > 0.75, "two seconds of the low tone, then three of the high one"
    assert bright(slice(-160, None), at=14.5) < 0.25
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 4])
    assert pixels(tmp_path / "cut.wav").shape == (200, 320, 3)
    soundfile.write(tmp_path / "click.wav", tone(1 / rate, rate), rate)
    with pytest.raises(Unreadable, match=r"click\.wav: too short: 1 samples"):
        picture_of(tmp_path / "click.wav", "sound")


@pytest.mark.parametrize("unit", ["mm", "disparity"])
def test_near_is_warm(unit: str, tmp_path: Path) -> None:
    """The left half is near; nothing says how long the lens is, which colours do not need."""
    close, far = (800, 3000) if unit == "mm" else (60, 10)
    values = np.full((48, 64), far, np.uint16)
    values[:, :32] = close
    values[:, 60:] = 0  # not measured
    Image.fromarray(values).save(tmp_path / "room_depth.png")
    with pytest.raises(Unreadable, match="states no unit"):
        picture_of(tmp_path / "room_depth.png", "depth")
    (tmp_path / "depth.json").write_text(json.dumps({"unit": unit}))
    shown = pixels(tmp_path / "room_depth.png")
    assert near(shown[:, :30], TURBO[-1]).all()
    assert near(shown[:, 34:], TURBO[0]).all()


def test_warm_is_yellow(tmp_path: Path) -> None:
    values = np.full((48, 64), 28000, np.uint16)
    values[10:30, 10:30] = 31000
    (tmp_path / "thermal").mkdir()
    Image.fromarray(values).save(tmp_path / "thermal" / "a.tiff")
    shown = pixels(tmp_path / "thermal" / "a.tiff")
    assert near(shown[15, 15], INFERNO[-1])
    assert near(shown[40, 40], INFERNO[0])


@pytest.mark.parametrize("rate", [50, 2000])
def test_motion_is_six_curves_and_a_gap_is_none(rate: float, tmp_path: Path) -> None:
    times = clock(rate, 20)
    times = times[(times < 8) | (times > 12)]
    table(
        tmp_path / "imu.csv",
        times + 1000,
        signal(times),
        ("time_s", *(f"accel_{a} (m/s2)" for a in "xyz"), *(f"gyro_{a} (rad/s)" for a in "xyz")),
    )
    shown = pixels(tmp_path / "imu.csv")
    half = len(shown) // 2
    for i, colour in enumerate(AXES):
        seen = near(shown, colour)
        assert seen[:, :120].any(), i
        assert seen[:, 200:].any(), i
        assert not seen[half:].any() if i < 3 else not seen[:half].any(), "acceleration above, turning below"
    gap = shown[:, 132:188]
    assert (gap.max(2) - gap.min(2) < 20).all(), "no colours where nothing was read"
    assert (shown[:, 100:120].max(2) - shown[:, 100:120].min(2) > 60).any()
    assert near(pixels(tmp_path / "imu.csv", at=13.0)[:, 280:], AXES[0]).any(), "without a gap"
    assert not near(pixels(tmp_path / "imu.csv", at=5.0)[:, 220:], AXES[0]).any()
    with pytest.raises(Unreadable, match=r"no readings from 90\.0 s on"):
        picture_of(tmp_path / "imu.csv", "motion", at=90.0)


def test_a_page_of_a_document(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (300, 400), colour) for colour in ("white", "red")]
    pages[0].save(tmp_path / "a.pdf", save_all=True, append_images=pages[1:])
    assert pixels(tmp_path / "a.pdf", size=200).shape == (200, 150, 3)
    assert pixels(tmp_path / "a.pdf").mean() > 250
    assert near(pixels(tmp_path / "a.pdf", page=2), (255, 0, 0)).all()
    with pytest.raises(Unreadable, match="has no page 3: 2 in all"):
        picture_of(tmp_path / "a.pdf", "document", page=3)
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.7 and nothing")
    with pytest.raises(Unreadable, match="damaged, or cut off"):
        picture_of(tmp_path / "b.pdf", "document")


def test_what_is_gone_is_named(tmp_path: Path) -> None:
    for kind in KINDS:
        with pytest.raises(Unreadable, match="gone: no such file"):
            picture_of(tmp_path / "gone", kind)
