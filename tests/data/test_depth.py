"""Depth maps of every kind of file, in every unit, whole and damaged."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.depth import DepthSteps, fill, read_depth
from sensorium.data.errors import SensoriumError, Unreadable

FOCAL = 520.0


def ramp(low: float = 1.0, high: float = 4.0) -> np.ndarray:
    """Metres: a floor that comes nearer towards the bottom."""
    return np.broadcast_to(np.linspace(high, low, 48)[:, None], (48, 64)).astype(np.float32)


def png(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values.astype(np.uint16)).save(path)
    return path


def turned(millimetres: np.ndarray) -> np.ndarray:
    """As SUN RGB-D stores them: sixteen bits rotated left by three."""
    values = millimetres.astype(np.uint16)
    return (values << 3) | (values >> 13)


def test_the_same_scene_in_every_unit_is_the_same_disparity(tmp_path: Path) -> None:
    metres = ramp()
    expected = torch.from_numpy(0.075 * FOCAL / metres)
    np.save(tmp_path / "m.npy", metres)
    np.savez(tmp_path / "m.npz", depth=metres, pose=np.eye(4))
    Image.fromarray(metres).save(tmp_path / "m.tiff")
    np.save(tmp_path / "d.npy", expected.numpy())
    for path, options in (
        (png(tmp_path / "mm.png", metres * 1000), {"unit": "mm", "focal": FOCAL}),
        (png(tmp_path / "sun.png", turned(metres * 1000)), {"unit": "sun", "focal": FOCAL}),
        (png(tmp_path / "tum.png", metres * 5000), {"unit": "m", "scale": 1 / 5000, "focal": FOCAL}),
        (png(tmp_path / "kitti.png", expected.numpy() * 256), {"unit": "disparity", "scale": 1 / 256}),
        (tmp_path / "m.npy", {"unit": "m", "focal": FOCAL}),
        (tmp_path / "m.npz", {"unit": "m", "focal": FOCAL, "array": "depth"}),
        (tmp_path / "m.tiff", {"unit": "m", "focal": FOCAL}),
        (tmp_path / "d.npy", {"unit": "disparity"}),
    ):
        depth = read_depth(path, **options)
        torch.testing.assert_close(depth.disparity, expected, rtol=2e-3, atol=0.01, msg=str(path))
        assert depth.missing == 0
    assert read_depth(tmp_path / "mm.png", unit="mm", focal=FOCAL).got == (
        "16-bit PNG, 64 x 48, mm, 1.00 to 4.00 m, focal length 520 px, baseline 0.075 m, 0% missing"
    )


def test_exr(tmp_path: Path) -> None:
    exr = pytest.importorskip("OpenEXR")
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    exr.File(header, {"Z": ramp(), "A": np.ones_like(ramp())}).write(str(tmp_path / "z.exr"))
    exr.File(header, {"RGB": np.repeat(ramp()[..., None], 3, 2)}).write(str(tmp_path / "gray.exr"))
    for name in ("z", "gray"):
        disparity = read_depth(tmp_path / f"{name}.exr", unit="m", focal=FOCAL).disparity
        torch.testing.assert_close(disparity, torch.from_numpy(0.075 * FOCAL / ramp()), rtol=1e-3, atol=0)
    exr.File(header, {"left": ramp(), "right": ramp()}).write(str(tmp_path / "two.exr"))
    with pytest.raises(Unreadable, match=r"has channels left, right: name the one that measures"):
        read_depth(tmp_path / "two.exr", unit="m", focal=FOCAL)
    assert read_depth(tmp_path / "two.exr", unit="m", focal=FOCAL, array="left").missing == 0
    (tmp_path / "cut.exr").write_bytes((tmp_path / "z.exr").read_bytes()[:300])
    with pytest.raises(Unreadable, match="no EXR that can be decoded"):
        read_depth(tmp_path / "cut.exr", unit="m", focal=FOCAL)


def test_what_is_far_in_sun_rgb_d_does_not_come_near(tmp_path: Path) -> None:
    far = np.full((48, 64), 9000, np.uint16)  # millimetres: more than thirteen bits
    far[:, :40] = 2000
    disparity = read_depth(png(tmp_path / "a.png", turned(far)), unit="sun", focal=FOCAL).disparity
    assert (disparity[:, 40:] < disparity[:, :40].min() / 3).all()


def test_a_longer_lens_sees_more_disparity(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ramp())
    near, far = (read_depth(tmp_path / "a.npy", unit="m", focal=focal).disparity for focal in (400.0, 800.0))
    torch.testing.assert_close(far, 2 * near)


def test_nothing_is_guessed(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", ramp() * 1000)
    with pytest.raises(SensoriumError, match=r"states no unit: pass unit= \(mm, cm, m.*depth.json"):
        read_depth(path)
    with pytest.raises(SensoriumError, match=r"depends on the lens: pass focal="):
        read_depth(path, unit="mm")
    with pytest.raises(Unreadable, match=r"median depth is 2\.47e\+03 m if the unit is m; in mm it would be 2\.5 m"):
        read_depth(path, unit="m", focal=FOCAL)
    with pytest.raises(SensoriumError, match="focal is -1: it must be a number above 0"):
        read_depth(path, unit="mm", focal=-1)
    np.save(tmp_path / "flat.npy", np.zeros((3, 4, 5), np.float32))
    np.save(tmp_path / "words.npy", np.array([["a"]]))
    np.savez(tmp_path / "two.npz", depth=ramp(), pose=np.eye(4))
    Image.fromarray((ramp() * 60).astype(np.uint8)).save(tmp_path / "eight.png")
    (tmp_path / "cut.png").write_bytes(path.read_bytes()[:90])
    (tmp_path / "none.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("depth")
    for name, reason in (
        ("flat.npy", r"shape \(3, 4, 5\), not \(height, width\)"),
        ("words.npy", "numbers of shape"),
        ("two.npz", "has arrays depth, pose: name the one"),
        ("eight.png", "eight bits hold no depth in mm"),
        ("cut.png", "truncated or damaged"),
        ("none.png", "empty file"),
        ("text.png", "no measured picture"),
        ("gone.png", "no such file"),
    ):
        with pytest.raises(Unreadable, match=reason):
            read_depth(tmp_path / name, unit="mm", focal=FOCAL)


def test_a_folder_says_what_its_files_hold(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", ramp() * 1000)
    facts = tmp_path / "depth.json"
    facts.write_text(json.dumps({"unit": "mm", "focal": FOCAL}))
    assert torch.equal(read_depth(path).disparity, read_depth(path, unit="mm", focal=FOCAL).disparity)
    assert torch.equal(
        read_depth(path, focal=2 * FOCAL).disparity, read_depth(path, unit="mm", focal=2 * FOCAL).disparity
    )
    facts.write_text('{"units": "mm"}')
    with pytest.raises(SensoriumError, match=r"depth.json: units is unknown; known are array, baseline"):
        read_depth(path)


def test_holes_are_filled_from_around_them(tmp_path: Path) -> None:
    metres = ramp().copy()
    metres[10:20, 10:30], metres[40, :5], metres[0, 0] = np.nan, 0, np.inf
    np.save(tmp_path / "a.npy", metres)
    depth = read_depth(tmp_path / "a.npy", unit="m", focal=FOCAL)
    assert abs(depth.missing - 206 / metres.size) < 1e-6
    assert "7% missing" in depth.got
    whole = torch.from_numpy(0.075 * FOCAL / ramp())
    known = torch.from_numpy(np.isfinite(metres) & (metres > 0))
    torch.testing.assert_close(depth.disparity[known], whole[known])
    assert ((depth.disparity - whole)[~known].abs() / whole[~known]).max() < 0.35
    np.save(tmp_path / "b.npy", np.full_like(metres, np.nan))
    with pytest.raises(Unreadable, match="100% of the pixels were not measured"):
        read_depth(tmp_path / "b.npy", unit="m", focal=FOCAL)
    one = torch.zeros(7, 5)
    one[3, 2] = 4.0
    assert (fill(one, one > 0) == 4.0).all()


def test_a_network_s_guess_has_the_statistics_of_sun_rgb_d(tmp_path: Path) -> None:
    guess = 17.0 + 900 / ramp()  # of unknown scale and shift
    np.save(tmp_path / "a.npy", guess)
    x = DepthSteps(size=48).read(tmp_path / "a.npy", unit="relative")
    assert x.shape == (1, 48, 48)
    assert abs(float(x.mean())) < 0.1
    assert abs(float(x.std()) - 1) < 0.2
    assert x[0, -1].mean() > x[0, 0].mean(), "near is large"


@pytest.mark.parametrize("sides", [(30, 50), (50, 30), (7, 900), (16, 16)])
def test_the_input_of_the_model(sides: tuple[int, int]) -> None:
    x = DepthSteps(size=16)(torch.full(sides, 25.08))
    assert x.shape == (1, 16, 16)
    torch.testing.assert_close(x, torch.zeros_like(x), atol=1e-4, rtol=0)  # the mean of SUN RGB-D becomes 0
    assert DepthSteps()(torch.full((20, 20), 1e6)).max() < (1 - 0.0418) / 0.0295 + 1e-3
