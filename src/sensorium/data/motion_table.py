"""Tables of motion sensors: which column is which axis, in which unit, as their names say it.

Names are read without regard to capitals and punctuation: accl_x, Acceleration X (g), acc[m/s^2].y, gyroZ_dps,
linear_acceleration.x, timestamp_ns. The first three axes are the accelerometer's, the last three the gyroscope's.
"""

import csv
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.data.errors import SensoriumError, Unreadable, printable, system_reason
from sensorium.data.rasters import NO_ARRAY
from sensorium.data.sources.kept import kept_array

Column = np.ndarray[Any, Any]
LARGE = 4 << 20  # bytes of a CSV that takes longer to parse than to look up
AXES = ("acceleration x", "acceleration y", "acceleration z", "rotation x", "rotation y", "rotation z")
G = 9.80665
ACCELERATION = {"m/s2": 1.0, "g": G, "mg": G / 1000}
ROTATION = {"rad/s": 1.0, "deg/s": np.pi / 180, "mdeg/s": np.pi / 180_000}
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
SPELLINGS = {
    "m/s2": ("m/s2", "m/s^2", "m/s²", "ms2", "ms-2", "mps2", "m_s2"),
    "g": ("g", "gs", "gravity"),
    "mg": ("mg",),
    "rad/s": ("rad/s", "rads", "rad_s", "rps", "radps"),
    "deg/s": ("deg/s", "degs", "deg_s", "dps", "°/s", "degrees/s", "degps"),
    "mdeg/s": ("mdps", "mdeg/s"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "millis", "milliseconds"),
    "us": ("us", "µs", "usec", "micros", "microseconds"),
    "ns": ("ns", "nsec", "nanos", "nanoseconds"),
}
SPELLED = {name: unit for unit, names in SPELLINGS.items() for name in names}
ACCELEROMETER = r"(?:user|linear|raw|body)?[^a-z]*(?:accelerations?|accelerometers?|accel|accl|acc|a)"
GYROSCOPE = (
    r"(?:raw|body)?[^a-z]*(?:gyroscopes?|gyros?|gyr|angularvelocity|angular.velocity|rotationrate|rotation|omega|g)"
)
# the canonical clock of Ego4D first: it counts from the start of the video that is published
TIMES = r"canonical.timestamp|timestamp|time.stamp|time|elapsed.?time|elapsed|seconds|millis|t|datetime"
EGO4D = {"accl_x", "gyro_x", "canonical_timestamp_ms"}  # m/s² and rad/s, as the telemetry of its cameras has them


@dataclass(frozen=True)
class Layout:
    """The names of the six axes and of the time, and the units that the names state."""

    axes: tuple[str, ...]
    time: str | None
    acceleration: str | None
    rotation: str | None
    clock: str | None


def layout(names: Sequence[str], where: str) -> Layout:
    """Find six axes and the time among the names of columns. Raises SensoriumError naming the axes that are missing."""
    found: dict[str, str] = {}
    stated: dict[str, str] = {}
    for name in names:
        plain, unit = _split(name)
        for kind, sensor in (("acceleration", ACCELEROMETER), ("rotation", GYROSCOPE)):
            match = re.fullmatch(rf"{sensor}[^a-z]*([xyz])(?:.?axis)?", plain)
            if match and (axis := f"{kind} {match[1]}") not in found:
                found[axis] = name
                if unit is not None:
                    stated[kind] = unit
    if missing := [axis for axis in AXES if axis not in found]:
        there = ", ".join(printable(name) for name in names[:12]) or "nothing"
        raise SensoriumError(
            f"{where}: no {', '.join(missing)}; it has {there}. Expected are columns such as accl_x, accl_y, accl_z, "
            "gyro_x, gyro_y, gyro_z, or their names in this order: columns="
        )
    time, clock = _time(names)
    if set(names) >= EGO4D:
        stated = {"acceleration": "m/s2", "rotation": "rad/s"}
    return Layout(tuple(found[axis] for axis in AXES), time, stated.get("acceleration"), stated.get("rotation"), clock)


def _time(names: Sequence[str]) -> tuple[str | None, str | None]:
    for wanted in TIMES.split("|"):
        for name in names:
            plain, unit = _split(name)
            if re.fullmatch(wanted, plain):
                return name, unit or (SPELLED.get(wanted) if wanted in ("seconds", "millis") else None)
    return None, None


def _split(name: str) -> tuple[str, str | None]:
    """A column's name in plain letters, and the unit that it ends with or has in brackets."""
    text = name.strip().lower()
    if bracket := re.search(r"[\[(]([^\])]+)[\])]", text):
        unit = SPELLED.get(bracket[1].strip().replace(" ", ""))
        text = f"{text[: bracket.start()]} {text[bracket.end() :]}"
        return " ".join(text.replace("_", " ").split()), unit
    for ending in sorted(SPELLED, key=len, reverse=True):
        if len(ending) > 1 and text.endswith(f"_{ending}"):
            return " ".join(text.removesuffix(f"_{ending}").replace("_", " ").split()), SPELLED[ending]
    for short in ("s", "g"):  # a single letter is a unit only behind an axis or a time
        if re.search(rf"(?:[xyz]|time|timestamp|t)_{short}$", text):
            return " ".join(text[:-2].replace("_", " ").split()), short
    return " ".join(text.replace("_", " ").split()), None


def spelled(unit: str | None, known: Mapping[str, float], where: str, what: str) -> float | None:
    """What a unit is multiplied by; None where there is none. Raises SensoriumError for an unknown one."""
    if unit is None:
        return None
    plain = SPELLED.get(unit.strip().lower(), unit)
    if plain not in known:
        raise SensoriumError(f"{where}: unit {unit!r} of {what} is unknown; known are {', '.join(known)}")
    return known[plain]


# -- files ------------------------------------------------------------------------------------------------------------


def read_columns(path: Path, columns: Sequence[str] | None = None) -> dict[str, Column]:
    """The columns of a CSV, TSV, Parquet, NPY or NPZ file as floats, empty fields as NaN; dates become seconds.

    `columns` names those of an array without names. A long CSV is parsed once and kept in the cache. Raises Unreadable.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in (".csv", ".tsv", ".txt"):
            if path.stat().st_size < LARGE:
                return _csv(path, columns)
            # named anew, since a cache knows the numbers alone
            names = list(dict.fromkeys(columns or header(path)))
            table = kept_array(path, f"{len(names)}columns", lambda: np.stack(list(_csv(path, columns).values())))
            return dict(zip(names, table, strict=True))
        if suffix == ".parquet":
            return _parquet(path)
        if suffix in (".npy", ".npz"):
            return _arrays(path, columns)
    except OSError as error:
        raise Unreadable(path, system_reason(error)) from error
    raise Unreadable(path, "no table of a motion sensor: CSV, TSV, Parquet, NPY and NPZ are read")


def header(path: Path) -> list[str]:
    """The first line of a CSV or TSV file, in fields. Raises OSError, UnicodeDecodeError."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        line = file.readline(1 << 16)
    return next(csv.reader([line], delimiter=_comma(line)), [])


def _comma(line: str) -> str:
    return max(",;\t", key=line.count)


def _csv(path: Path, columns: Sequence[str] | None) -> dict[str, Column]:
    try:
        names = header(path)
        if not names:
            raise Unreadable(path, "empty file")
        headless = all(_number(each) is not None for each in names)
        if headless and not columns:
            raise SensoriumError(f"{path}: no line of column names: put one first, or pass columns=")
        names = list(columns or names)
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            if headless:
                file.seek(0)
            rows = csv.reader(file, delimiter=_comma(first))
            kept: list[list[float]] = [[] for _ in names]
            for row in rows:
                if not row:
                    continue
                if len(row) != len(names):
                    raise Unreadable(
                        path, f"line {rows.line_num + (not headless)}: {len(row)} fields, not {len(names)}"
                    )
                for values, field in zip(kept, row, strict=True):
                    value = _number(field)
                    values.append(float("nan") if value is None else value)
    except UnicodeDecodeError as error:
        raise Unreadable(path, "not UTF-8 text") from error
    except csv.Error as error:
        raise Unreadable(path, f"not CSV ({error})") from error
    return {name: np.array(values) for name, values in zip(names, kept, strict=True)}


def _number(field: str) -> float | None:
    """A number, or a date as seconds since 1970; None for an empty field or a word."""
    try:
        return float(field)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(field.strip()).timestamp() if len(field) >= 10 else None
    except ValueError:
        return None


def _parquet(path: Path) -> dict[str, Column]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise SensoriumError("Parquet needs one more package: pip install 'sensorium[train]'") from None
    try:
        table: Any = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise Unreadable(path, f"not a whole Parquet file ({' '.join(str(error).split())[:80]})") from error
    found: dict[str, Column] = {}
    for name in table.column_names:
        values = _plain(table.column(name), pa)
        if values is not None:
            found[name] = values
    return found


def _plain(column: Any, pa: Any) -> Column | None:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns")).cast(pa.int64())
        return column.to_numpy(zero_copy_only=False).astype(np.float64) * 1e-9
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return None
    return column.to_numpy(zero_copy_only=False).astype(np.float64)


def _arrays(path: Path, columns: Sequence[str] | None) -> dict[str, Column]:
    try:
        loaded: Any = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            arrays: dict[str, Any] = {name: loaded[name] for name in loaded.dtype.names or ()} or {"": loaded}
        else:
            arrays = {name: loaded[name] for name in loaded.files}
    except (*NO_ARRAY, zipfile.BadZipFile) as error:
        raise Unreadable(path, f"no array that can be read ({str(error)[:60]})") from error
    found: dict[str, Column] = {}
    for name, values in arrays.items():
        if values.ndim == 1 and values.dtype.kind in "iuf":
            found[name] = values.astype(np.float64)
        elif values.ndim == 2 and values.shape[1] == 3 and name:  # "accelerometer" and "gyroscope" of an NPZ
            found |= {f"{name} {axis}": values[:, i].astype(np.float64) for i, axis in enumerate("xyz")}
        elif values.ndim == 2 and columns and len(columns) in values.shape:
            rows = values if values.shape[1] == len(columns) else values.T
            found |= {each: rows[:, i].astype(np.float64) for i, each in enumerate(columns)}
    if not found:
        shapes = ", ".join(f"{name or 'array'} {values.shape}" for name, values in arrays.items())
        raise SensoriumError(f"{os.fspath(path)}: {shapes}: nothing says which column is which axis: pass columns=")
    return found
