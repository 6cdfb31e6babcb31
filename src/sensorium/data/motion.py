"""Motion in, ImageBind's 6 x 2000 out: five seconds of accelerometer and gyroscope at 400 Hz (Girdhar et al. 2023,
section 3.4 and appendix; Ego4D, https://ego4d-data.org/docs/data/imu, whose issues with time stamps are handled here).

Values are m/s² and rad/s, accelerometer first. The paper names no normalisation and none was released.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.media import clip_times, facts_beside, regular_file
from sensorium.data.motion_table import ACCELERATION, ROTATION, SECONDS, Layout, layout, read_columns, spelled

Array = np.ndarray[Any, Any]
GAP = 0.25  # seconds without a reading that are still bridged by a straight line
FACTS = ("acceleration", "rotation", "time", "rate", "columns")


@dataclass(frozen=True, eq=False)
class Motion:
    """A recording: (n,) seconds in rising order, (n, 6) readings in m/s² and rad/s, and in words what the file was.

    The clock is the file's own: it need not begin at 0.
    """

    name: str
    times: Array
    readings: Array
    got: str

    @property
    def begin(self) -> float:
        """The time of the first reading."""
        return float(self.times[0])

    @property
    def end(self) -> float:
        """When the last reading has lasted as long as the others."""
        return float(self.times[-1]) + self.step

    @cached_property
    def step(self) -> float:
        """The usual time from one reading to the next."""
        return float(np.median(np.diff(self.times)))

    @cached_property
    def gaps(self) -> list[tuple[float, float]]:
        """Begin and end of every stretch without a reading that is too long for a straight line."""
        at = np.flatnonzero(np.diff(self.times) > max(GAP, 2 * self.step))
        return [(float(self.times[i]), float(self.times[i + 1])) for i in at]

    def gap(self, begin: float, end: float) -> tuple[float, float] | None:
        """The first gap that reaches into [begin, end)."""
        return next(((out, back) for out, back in self.gaps if out < end and back > begin), None)

    def window(self, begin: float, end: float, steps: int) -> Float[Tensor, "6 steps"]:
        """`steps` readings spread evenly over [begin, end): interpolated, or averaged where the sensor was faster.

        Raises SensoriumError where a gap reaches into it, or where it lies outside of the recording.
        """
        if begin < self.begin - self.step or end > self.end + self.step:
            raise SensoriumError(
                f"{self.name}: no readings from {begin:.2f} to {end:.2f} s: "
                f"the recording goes from {self.begin:.2f} to {self.end:.2f} s"
            )
        if gap := self.gap(begin, end):
            raise SensoriumError(f"{self.name}: no readings from {gap[0]:.2f} to {gap[1]:.2f} s, a gap of the sensor")
        first, last = np.searchsorted(self.times, [begin, end])
        some = slice(max(0, int(first) - 2), int(last) + 2)
        times, readings = self.times[some], self.readings[some]
        width = (end - begin) / steps
        if self.step >= width * 0.999:
            rows = [np.interp(begin + width * np.arange(steps), times, axis) for axis in readings.T]
        else:  # the mean over each step of the line through the readings: what a slower sensor would have seen
            edges = begin + width * np.arange(steps + 1)
            rows = [np.diff(_integral(edges, times, axis)) / width for axis in readings.T]
        return torch.from_numpy(np.stack(rows)).float()


def _integral(at: Array, times: Array, values: Array) -> Array:
    """The integral from the first time to each of `at` of the line through the values, flat beyond its ends."""
    times = np.concatenate([[min(at[0], times[0]) - 1], times, [max(at[-1], times[-1]) + 1]])
    values = np.concatenate([values[:1], values, values[-1:]])
    areas = np.concatenate([[0], np.cumsum(np.diff(times) * (values[1:] + values[:-1]) / 2)])
    i = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
    t = at - times[i]
    slope = (values[i + 1] - values[i]) / (times[i + 1] - times[i])
    return areas[i] + values[i] * t + slope * t * t / 2


@dataclass(frozen=True)
class MotionSegment:
    """A window of a recording: begin and end on its clock, and what the model reads of it."""

    begin: float
    end: float
    motion: Float[Tensor, "6 steps"]


@dataclass(frozen=True)
class MotionSteps:
    """How a recording becomes the clips that ImageBind reads: `clips` windows of `seconds`, `steps` readings each."""

    seconds: float = 5.0
    steps: int = 2000
    clips: int = 1

    def __call__(self, recording: Motion) -> Float[Tensor, "clips 6 steps"]:
        """Windows spread evenly over a recording; one window is its middle.

        Raises SensoriumError where it is shorter than a window, or where a gap lies in one.
        """
        self._check_length(recording)
        length = recording.end - recording.begin
        times = [(float(begin), float(end)) for begin, end in clip_times(length, self.seconds, self.clips)]
        if self.clips == 1:
            times = [((length - self.seconds) / 2, (length + self.seconds) / 2)]
        cuts = [recording.window(recording.begin + b, recording.begin + e, self.steps) for b, e in times]
        return torch.stack(cuts)

    def read(
        self, path: str | os.PathLike[str], *, begin: float | None = None, end: float | None = None, **options: Any
    ) -> Float[Tensor, "clips 6 steps"]:
        """The clips of a file, as `read_motion` reads it; raises Unreadable and SensoriumError.

        With `begin`, in seconds on the recording's clock, the one window from there to `end` or of the usual length.
        """
        recording = read_motion(path, **options)
        if begin is None:
            return self(recording)
        return recording.window(begin, begin + self.seconds if end is None else end, self.steps)[None]

    def segments(self, recording: Motion) -> Iterator[MotionSegment]:
        """Windows one after the other; those that a gap reaches into are left out.

        A rest that fills no window is seen by one that begins earlier. Raises SensoriumError where the recording is
        shorter than a window, or where gaps leave not one.
        """
        self._check_length(recording)
        last = max(recording.begin, recording.end - self.seconds)
        starts = list(np.arange(recording.begin, last + recording.step, self.seconds))
        if last > starts[-1] + recording.step:
            starts.append(last)
        whole = [float(begin) for begin in starts if not recording.gap(begin, begin + self.seconds)]
        if not whole:
            raise SensoriumError(f"{recording.name}: gaps leave no {self.seconds:g} s in a row ({recording.got})")
        for begin in whole:
            end = begin + self.seconds
            yield MotionSegment(begin, end, recording.window(begin, end, self.steps))

    def _check_length(self, recording: Motion) -> None:
        length = recording.end - recording.begin
        if length < self.seconds - recording.step:
            raise SensoriumError(f"{recording.name}: {length:.2f} s of motion, and {self.seconds:g} s are read at once")


def read_motion(
    path: str | os.PathLike[str],
    *,
    acceleration: str | None = None,
    rotation: str | None = None,
    time: str | None = None,
    rate: float | None = None,
    columns: Sequence[str] | None = None,
) -> Motion:
    """A recording of accelerometer and gyroscope: CSV, TSV, Parquet, NPY or NPZ with named axes, at any rate.

    acceleration  m/s2, g or mg; rotation: rad/s, deg/s or mdeg/s; time: s, ms, us or ns. Needed where the names of the
                  columns do not state them, as in "accel_x (g)", "gyro_z_dps", "timestamp_ms"; Ego4D's are known
    rate          readings a second, where there is no column of time
    columns       the names of the columns of a table that has none, such as ("t_s", "accl_x", ...)

    What is not passed is taken from motion.json in the same folder. Rows are sorted by time; rows without a time, and
    all but the first of one time, are left out; a missing reading is taken from the line between its neighbours, or
    makes a gap where it has none within a quarter of a second.

    Raises SensoriumError where axes, units or time are not known, Unreadable where the file is damaged or a sensor
    was off (zeros throughout).
    """
    name = regular_file(path)
    facts = facts_beside(path, "motion.json", FACTS)
    given = {"acceleration": acceleration, "rotation": rotation, "time": time, "rate": rate, "columns": columns}
    facts |= {key: value for key, value in given.items() if value is not None}
    table = read_columns(Path(name), facts.get("columns"))
    found = layout(list(table), name)
    readings = np.stack([table[axis] for axis in found.axes], axis=1)
    lengths, turns = _units(name, facts, found, readings)
    readings = readings * np.array([lengths] * 3 + [turns] * 3)
    times = _times(name, facts, found, table, len(readings))
    kept = np.isfinite(times) & np.isfinite(readings).all(1)
    order = np.argsort(times[kept], kind="stable")
    times, readings = times[kept][order], readings[kept][order]
    first = np.concatenate([[True], np.diff(times) > 0]) if len(times) else np.zeros(0, bool)
    times, readings = times[first], readings[first]
    if len(times) < 2:
        raise Unreadable(name, f"{len(times)} whole readings of {len(kept)}: two at least")
    for sensor, axes in (("accelerometer", readings[:, :3]), ("gyroscope", readings[:, 3:])):
        if not axes.any():
            raise Unreadable(name, f"the {sensor} reads zero throughout: it was off, or is none")
    recording = Motion(name, times, readings, "")
    gaps = recording.gaps
    lost = f", rows left out: {len(kept) - len(times):,}" if len(kept) > len(times) else ""
    holes = f", gaps: {len(gaps)}, {sum(b - a for a, b in gaps):.1f} s" if gaps else ""
    length = recording.end - recording.begin
    got = f"{len(times):,} readings, {length:.1f} s at {1 / recording.step:.4g} Hz{lost}{holes}"
    return Motion(name, times, readings, got)


def _units(name: str, facts: dict[str, Any], found: Layout, readings: Array) -> tuple[float, float]:
    lengths = spelled(facts.get("acceleration") or found.acceleration, ACCELERATION, name, "acceleration")
    turns = spelled(facts.get("rotation") or found.rotation, ROTATION, name, "rotation")
    if lengths is None:
        usual = float(np.nanmedian(np.linalg.norm(readings[:, :3], axis=1))) if len(readings) else 0.0
        raise SensoriumError(
            f"{name}: {found.axes[0]} states no unit: pass acceleration= ({', '.join(ACCELERATION)}), name the column "
            f"'{found.axes[0]} (g)', or put motion.json beside it. Its median length is {usual:.3g}: at rest it is 1 "
            "in g, 9.8 in m/s2"
        )
    if turns is None:
        raise SensoriumError(
            f"{name}: {found.axes[3]} states no unit: pass rotation= ({', '.join(ROTATION)}), name the column "
            f"'{found.axes[3]} (deg/s)', or put motion.json beside it"
        )
    return lengths, turns


def _times(name: str, facts: dict[str, Any], found: Layout, table: dict[str, Array], count: int) -> Array:
    if found.time is None:
        rate = facts.get("rate")
        if not isinstance(rate, int | float) or not rate > 0:
            raise SensoriumError(f"{name}: no column of time: pass rate=, the readings a second")
        return np.arange(count) / rate
    times = table[found.time]
    scale = spelled(facts.get("time") or found.clock, SECONDS, name, "time")
    if scale is None:
        step = float(np.nanmedian(np.diff(times))) if count > 1 else 0.0
        if count and step < 0.5 and 3.2e8 < float(np.nanmedian(times)) < 4.1e9:
            return times  # dates, which were read as seconds since 1970: 1980 to 2100
        raise SensoriumError(
            f"{name}: {found.time} states no unit: pass time= ({', '.join(SECONDS)}), or name it {found.time}_ms. "
            f"From row to row it counts {step:.4g}"
        )
    return times * scale
