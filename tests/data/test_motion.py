"""Recordings of motion: files of every kind, rate and unit, with gaps, and sensors that were off."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sensorium.data import motion_table
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.motion import MotionSteps, read_motion
from sensorium.data.motion_table import layout

NAMES = ("accl_x", "accl_y", "accl_z", "gyro_x", "gyro_y", "gyro_z")


def signal(times: np.ndarray) -> np.ndarray:
    """(n, 6): gravity and slow swings in m/s² and rad/s."""
    swings = [np.sin(2 * np.pi * (0.3 + 0.2 * i) * times + i) for i in range(6)]
    return np.stack(swings, axis=1) + np.array([0, 0, 9.81, 0, 0, 0])


def table(path: Path, times: np.ndarray, values: np.ndarray, names: tuple[str, ...] = ("time_s", *NAMES)) -> Path:
    rows = [",".join(names), *(",".join(f"{x:.9g}" for x in row) for row in np.column_stack([times, values]))]
    path.write_text("\n".join(rows) + "\n")
    return path


def clock(rate: float, seconds: float) -> np.ndarray:
    return np.arange(int(rate * seconds)) / rate


def test_the_same_motion_in_every_file(tmp_path: Path) -> None:
    times = clock(200, 6)
    values = signal(times)
    g, degrees = np.array([9.80665] * 3 + [1] * 3), np.array([1] * 3 + [np.pi / 180] * 3)
    units = ("t (ms)", *(f"acc_{a} (g)" for a in "xyz"), *(f"gyr_{a}_dps" for a in "xyz"))
    table(tmp_path / "plain.csv", times, values)
    table(tmp_path / "units.csv", times * 1000, values / g / degrees, units)
    columns = {"timestamp": pa.array((times * 1e9 + 1.7e18).astype(np.int64), pa.timestamp("ns"))}
    columns |= {f"linear_acceleration.{a}": values[:, i] for i, a in enumerate("xyz")}
    columns |= {f"angular_velocity.{a}": values[:, 3 + i] for i, a in enumerate("xyz")}
    pq.write_table(pa.table(columns), tmp_path / "ros.parquet")
    np.savez(tmp_path / "two.npz", accelerometer=values[:, :3], gyroscope=values[:, 3:])
    np.save(tmp_path / "bare.npy", values.T)
    np.save(tmp_path / "named.npy", np.array([tuple(r) for r in values], dtype=[(n, "f8") for n in NAMES]))
    si = {"acceleration": "m/s2", "rotation": "rad/s"}
    expected = MotionSteps()(read_motion(tmp_path / "plain.csv", **si))
    assert expected.shape == (1, 6, 2000)
    for name, options in (
        ("units.csv", {}),
        ("ros.parquet", si),
        ("two.npz", {"rate": 200, **si}),
        ("bare.npy", {"rate": 200, "columns": NAMES, **si}),
        ("named.npy", {"rate": 200, **si}),
    ):
        x = MotionSteps().read(tmp_path / name, **options)
        torch.testing.assert_close(x, expected, atol=1e-3, rtol=0, msg=name)
    middle = 0.5 + torch.arange(2000) / 400
    torch.testing.assert_close(expected[0], torch.from_numpy(signal(middle.numpy()).T).float(), atol=2e-3, rtol=0)
    assert read_motion(tmp_path / "units.csv").got == "1,200 readings, 6.0 s at 200 Hz"


@pytest.mark.parametrize("rate", [13.3, 50, 399, 400, 1000, 6664])
def test_any_rate_becomes_400_hertz(rate: float, tmp_path: Path) -> None:
    times = clock(rate, 5.2)
    np.savez(tmp_path / "a.npz", accelerometer=signal(times)[:, :3], gyroscope=signal(times)[:, 3:])
    recording = read_motion(tmp_path / "a.npz", rate=rate, acceleration="m/s2", rotation="rad/s")
    x = recording.window(0, 5, 2000)
    late = 0.00125 if rate > 400 else 0  # a mean over a step is the value at its middle
    expected = signal(np.arange(2000) / 400 + late)
    torch.testing.assert_close(x, torch.from_numpy(expected.T).float(), atol=0.02 if rate > 40 else 0.2, rtol=0)


def test_what_is_faster_than_400_hertz_does_not_come_back_as_something_slower(tmp_path: Path) -> None:
    times = clock(4000, 6)
    values = signal(times) * 0 + np.sin(2 * np.pi * 780 * times)[:, None]  # 20 Hz, if picked at 400
    np.savez(tmp_path / "a.npz", accelerometer=values[:, :3], gyroscope=values[:, 3:])
    x = MotionSteps().read(tmp_path / "a.npz", rate=4000, acceleration="m/s2", rotation="rad/s")
    assert x.abs().max() < 0.05


def test_ego4d_s_table_is_known(tmp_path: Path) -> None:
    times = clock(200, 6)
    names = ("component_idx", "component_timestamp_ms", "canonical_timestamp_ms", *NAMES[3:], *NAMES[:3])
    values = signal(times)
    rows = np.column_stack([0 * times, times * 1000 + 5000, times * 1000, values[:, 3:], values[:, :3]])
    lines = [",".join(f"{x:.9g}" for x in row) for row in rows]
    lines[3] = ",".join(["0", "5015", "", *lines[3].split(",")[3:]])
    lines[100], lines[700] = lines[700], lines[100]  # its time stamps are not always in order
    (tmp_path / "a.csv").write_text("\n".join([",".join(names), *lines]))
    recording = read_motion(tmp_path / "a.csv")
    assert recording.got == "1,199 readings, 6.0 s at 200 Hz, rows left out: 1"
    torch.testing.assert_close(
        MotionSteps()(recording)[0], torch.from_numpy(signal(0.5 + np.arange(2000) / 400).T).float(), atol=3e-3, rtol=0
    )


def test_a_long_table_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    times = clock(100, 8)
    path = table(tmp_path / "a.csv", times, signal(times))
    si = {"acceleration": "m/s2", "rotation": "rad/s"}
    whole = read_motion(path, **si)
    monkeypatch.setattr(motion_table, "LARGE", 1000)
    first = read_motion(path, **si)
    monkeypatch.setattr(motion_table, "_csv", None)  # cannot be parsed again
    again = read_motion(path, **si)
    for other in (first, again):
        assert np.array_equal(other.times, whole.times)
        assert np.array_equal(other.readings, whole.readings)
    monkeypatch.undo()
    table(path, times, 2 * signal(times))
    assert read_motion(path, **si).readings[0, 2] == pytest.approx(2 * whole.readings[0, 2], rel=1e-6)


def test_gaps_are_bridged_left_out_or_named(tmp_path: Path) -> None:
    times = clock(100, 30)
    kept = ~((times > 3.0) & (times < 3.2)) & ~((times > 12) & (times < 13.5))
    path = table(tmp_path / "a.csv", times[kept], signal(times[kept]))
    recording = read_motion(path, acceleration="m/s2", rotation="rad/s")
    assert recording.got.endswith("gaps: 1, 1.5 s")
    assert recording.window(2, 7, 2000).isfinite().all()
    with pytest.raises(SensoriumError, match=r"no readings from 12\.00 to 13\.50 s, a gap of the sensor"):
        recording.window(8, 13, 2000)
    with pytest.raises(SensoriumError, match="a gap of the sensor"):
        recording.window(12.5, 13, 200)
    steps = MotionSteps()
    starts = [segment.begin for segment in steps.segments(recording)]
    assert starts == [0, 5, 15, 20, 25]
    with pytest.raises(SensoriumError, match=r"gaps leave no 20 s in a row"):
        list(MotionSteps(seconds=20).segments(recording))


def test_a_rest_is_seen_too(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", clock(100, 12), signal(clock(100, 12)))
    recording = read_motion(path, acceleration="m/s2", rotation="rad/s")
    segments = list(MotionSteps().segments(recording))
    assert [round(s.begin, 6) for s in segments] == [0, 5, 7]
    assert [round(s.end, 6) for s in segments] == [5, 10, 12]
    with pytest.raises(SensoriumError, match=r"12\.00 s of motion, and 30 s are read at once"):
        MotionSteps(seconds=30)(recording)


def test_sensors_that_were_off(tmp_path: Path) -> None:
    times = clock(100, 6)
    for sensor, columns in (("accelerometer", slice(0, 3)), ("gyroscope", slice(3, 6)), ("accelerometer", slice(6))):
        values = signal(times)
        values[:, columns] = 0
        with pytest.raises(Unreadable, match=f"the {sensor} reads zero throughout: it was off, or is none"):
            read_motion(table(tmp_path / "a.csv", times, values), acceleration="m/s2", rotation="rad/s")


def test_nothing_is_guessed(tmp_path: Path) -> None:
    times = clock(100, 6)
    path = table(tmp_path / "a.csv", times, signal(times) / 9.80665, ("time", *NAMES))
    with pytest.raises(SensoriumError, match=r"accl_x states no unit: pass acceleration= \(m/s2, g, mg\).*length is 1"):
        read_motion(path)
    with pytest.raises(SensoriumError, match=r"gyro_x states no unit: pass rotation= \(rad/s, deg/s"):
        read_motion(path, acceleration="g")
    with pytest.raises(SensoriumError, match=r"time states no unit: pass time= .*counts 0.01"):
        read_motion(path, acceleration="g", rotation="rad/s")
    with pytest.raises(SensoriumError, match="unit 'furlong' of acceleration is unknown; known are m/s2, g, mg"):
        read_motion(path, acceleration="furlong")
    (tmp_path / "motion.json").write_text(json.dumps({"acceleration": "g", "rotation": "rad/s", "time": "s"}))
    assert read_motion(path).begin == 0
    with pytest.raises(SensoriumError, match="no rotation x, rotation y, rotation z; it has time, accl_x"):
        read_motion(table(tmp_path / "b.csv", times, signal(times)[:, :3], ("time", *NAMES[:3])))
    np.save(tmp_path / "bare.npy", signal(times))
    with pytest.raises(
        SensoriumError, match=r"array \(600, 6\): nothing says which column is which axis: pass columns="
    ):
        read_motion(tmp_path / "bare.npy")
    with pytest.raises(SensoriumError, match="no column of time: pass rate="):
        read_motion(tmp_path / "bare.npy", columns=NAMES)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    times = clock(100, 6)
    whole = table(tmp_path / "a.csv", times, signal(times)).read_text()
    pq.write_table(pa.table({name: [1.0] for name in NAMES}), tmp_path / "cut.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "cut.parquet").read_bytes()[:-9])
    (tmp_path / "cut.csv").write_text(whole[: len(whole) // 2].rsplit(",", 2)[0])
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "numbers.csv").write_text("1,2,3,4,5,6\n" * 9)
    (tmp_path / "binary.csv").write_bytes(b"accl_x,\xff\xfe\n")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY nothing")
    (tmp_path / "few.csv").write_text("t_s,ax_g,ay_g,az_g,gx_dps,gy_dps,gz_dps\n0,0,0,1,0,0,1\n1,,,,,,\n")
    for name, reason in (
        ("cut.parquet", "not a whole Parquet file"),
        ("cut.csv", r"line \d+: \d fields, not 7"),
        ("empty.csv", "empty file"),
        ("numbers.csv", "no line of column names"),
        ("binary.csv", "not UTF-8 text"),
        ("a.npy", "no array that can be read"),
        ("few.csv", "1 whole readings of 2: two at least"),
        ("gone.csv", "no such file"),
    ):
        with pytest.raises(SensoriumError, match=reason):
            read_motion(tmp_path / name)


@pytest.mark.parametrize(
    ("names", "stated"),
    [
        ("t ax ay az gx gy gz", (None, None, None)),
        ("gyroX_dps gyroY_dps gyroZ_dps acc[m/s^2].x acc[m/s^2].y acc[m/s^2].z seconds", ("m/s2", "deg/s", "s")),
        ("Timestamp_ns accelerometer_x_mg accel_y_mg ACC_Z_mg gyro.x gyro.y gyro.z", ("mg", None, "ns")),
        (
            "elapsed(s) userAcceleration.x(G) userAcceleration.y(G) userAcceleration.z(G) "
            "rotationRate.x(rad/s) rotationRate.y(rad/s) rotationRate.z(rad/s)",
            ("g", "rad/s", "s"),
        ),
        ("Accel-X-Axis Accel-Y-Axis Accel-Z-Axis Gyroscope-X Gyroscope-Y Gyroscope-Z mag_x", (None, None, None)),
    ],
)
def test_names_of_columns(names: str, stated: tuple[str | None, ...]) -> None:
    found = layout(names.split(), "a.csv")
    assert (found.acceleration, found.rotation, found.clock) == stated
    assert all("a" in name.lower() for name in found.axes[:3])
    assert all("g" in name.lower() or "rotation" in name.lower() for name in found.axes[3:])
    # the letter of the axis is the last x, y or z outside of the unit and the word axis
    plain = [re.sub(r"(?i)\(.*?\)|\[.*?\]|_dps|axis", "", name).lower() for name in found.axes]
    assert [re.findall("[xyz]", name)[-1] for name in plain] == [*"xyzxyz"]
