"""Pictures with motion: what a watch felt of exercises and activities, and drawn figures that do them.

The recordings are real: seven shoulder exercises of ten people (seglearn) and four activities of students (sktime).
No package holds films of them, so the pictures are GENERATED: figures in the pose of the exercise, of any build,
colour, side and phase.
"""

import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.data.emoji import Progress
from sensorium.data.errors import Unreadable
from sensorium.data.packages import Wheel, cache_folder, locate
from sensorium.data.region_pickles import array_of, unpickle
from sensorium.data.sources.clips import Clips, Sense
from sensorium.data.standins.figures import POSES, figure

SEGLEARN = Wheel(
    package="seglearn",
    version="1.2.5",
    sha256="ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd",
    licence="BSD-3-Clause",
    megabytes=11,
    files={
        (WATCH := "seglearn/data/watch_dataset.npy"): "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
    },
)
SKTIME = Wheel(
    package="sktime",
    version="1.2.0",
    sha256="dbffc6731d2d683b668dceb5e2bbc5804bebc8446b4c580803a281684d90e4ae",
    licence="BSD-3-Clause",
    megabytes=8,
    files={
        (
            BASIC_TRAIN := "sktime/datasets/data/BasicMotions/BasicMotions_TRAIN.ts"
        ): "8dc43cc6306cb679c888c01e26f91772ac4441a916da43bac8b79734a538b9d6",
        (
            BASIC_TEST := "sktime/datasets/data/BasicMotions/BasicMotions_TEST.ts"
        ): "79213102bc6fca1a398ad98ce1185dff0208fa3d1465e687f48288946b0ff8dc",
    },
)
VERSION = 2  # of what is drawn; another one is drawn anew
SECONDS, STEP = 5.0, 2.5
HELD_OUT = (8, 9, 10)  # of seglearn's people, who are numbered from 1
EXERCISES = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")  # as seglearn calls them
ACTIVITIES = ("Standing", "Running", "Walking", "Badminton")  # as sktime does
AXES = ("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z")
ABOUT = "real recordings of a watch, 11 exercises and activities; the pictures are generated figures"


@dataclass(frozen=True, eq=False)
class Recording:
    """(n, 6) readings, accelerometer first, in g and rad/s, at a rate; whose they are, and what was done."""

    name: str
    kind: str
    split: str
    left: bool
    rate: float
    readings: NDArray[np.float64]


def exercises(progress: Progress | None = None) -> Clips:
    """Five seconds of motion with a figure each; test is of people (sktime: recordings) that train has nothing of."""
    return opened(drawn(progress))


def opened(folder: Path) -> Clips:
    """What `drawn` wrote."""
    said = json.loads((folder / "exercises.json").read_text(encoding="utf-8"))
    rows: list[Sense] = []
    for row in said["rows"]:
        made = Sense(key=row["key"], split=row["split"], label=row["label"], begin=row["begin"], end=row["end"])
        made |= Sense(image=folder / row["image"], motion=folder / row["motion"])
        made["text"] = POSES[row["label"]].captions
        rows.append(made)
    return Clips("exercises", ABOUT, tuple(rows), tuple(pose.captions[0] for pose in POSES))


def place() -> Path:
    """Where figures and recordings lie, or will."""
    return cache_folder() / "sets" / f"exercises-{VERSION}"


def drawn(
    progress: Progress | None = None, goal: Path | None = None, recordings: list[Recording] | None = None
) -> Path:
    """The folder with motion (an NPY a recording), image (a PNG a window) and exercises.json."""
    goal = goal or place()
    if goal.is_dir():
        return goal
    found = recordings or [*watch(), *basic_motions()]
    names = [pose.name for pose in POSES]
    goal.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=goal.parent, prefix=".draw-") as scratch:
        inside = Path(scratch) / "inside"
        for kind in ("motion", "image"):
            (inside / kind).mkdir(parents=True)
        for done, each in enumerate(found):
            label = names.index(each.kind)
            np.save(inside / "motion" / f"{each.name}.npy", _table(each))
            length = len(each.readings) / each.rate
            for begin in np.arange(0, length - SECONDS + 1e-6, STEP if each.split == "train" else SECONDS):
                random = np.random.default_rng([VERSION, done, int(begin * 1000)])
                picture, motion = f"image/{each.name}-{begin:g}.png", f"motion/{each.name}.npy"
                figure(random, POSES[label], left=each.left).save(inside / picture, compress_level=1)
                row = {"key": f"{each.name}@{begin:g}", "split": each.split, "label": label, "image": picture}
                rows.append(row | {"motion": motion, "begin": float(begin), "end": float(begin + SECONDS)})
            if progress:
                progress("exercises", done + 1, len(found))
        (inside / "exercises.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
        if not goal.is_dir():  # another process may have been first
            inside.replace(goal)
    return goal


def _table(each: Recording) -> NDArray[Any]:
    """A structured array whose names state the units, as `read_motion` wants them."""
    names = ["time_s", *(f"{axis} (g)" for axis in AXES[:3]), *(f"{axis} (rad/s)" for axis in AXES[3:])]
    table = np.empty(len(each.readings), [(name, np.float32) for name in names])
    for name, values in zip(names, (np.arange(len(table)) / each.rate, *each.readings.T), strict=True):
        table[name] = values
    return table


def watch(file: Path | None = None) -> Iterator[Recording]:
    """seglearn's 140 recordings (Burns et al. 2018, arXiv:1802.01489), 50 a second. Their pickle is read as plain
    arrays, never run. Raises Unreadable where it is not as published."""
    file = file or locate(SEGLEARN, WATCH)
    content = file.read_bytes()
    data: Any = unpickle(content[_npy_header(content, file) :], str(file))
    try:
        for i, readings in enumerate(data["X"]):
            kind = EXERCISES.index(data["y_labels"][int(data["y"][i])])
            person = int(data["subject"][i])
            yield Recording(
                name=f"watch-{i:03d}",
                kind=EXERCISES[kind],
                split="test" if person in HELD_OUT else "train",
                left=not data["side"][i],
                rate=50.0,
                readings=np.asarray(array_of(readings), np.float64).reshape(-1, 6),
            )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Unreadable(file, f"not seglearn's recordings ({error})") from error


def _npy_header(content: bytes, file: Path) -> int:
    """Where the pickle begins in an .npy file of objects."""
    opened = io.BytesIO(content)
    try:
        np.lib.format.read_magic(opened)
        np.lib.format.read_array_header_1_0(opened)
    except ValueError as error:
        raise Unreadable(file, f"no .npy file ({error})") from error
    return opened.tell()


def basic_motions(files: dict[str, Path] | None = None) -> Iterator[Recording]:
    """sktime's 80 recordings (BasicMotions of the UEA archive), 10 a second for ten seconds. Who was recorded is not
    told; the published halves are kept. The accelerometer is without gravity, in m/s²."""
    files = files or {"train": locate(SKTIME, BASIC_TRAIN), "test": locate(SKTIME, BASIC_TEST)}
    for split, file in files.items():
        lines = file.read_text(encoding="utf-8").splitlines()
        for i, line in enumerate(line for line in lines if line and line[0] not in "#@"):
            *axes, kind = line.split(":")
            try:
                readings = np.array([[float(value) for value in axis.split(",")] for axis in axes]).T
            except ValueError as error:
                raise Unreadable(file, f"recording {i + 1} is not as published ({error})") from error
            if kind not in ACTIVITIES or readings.ndim != 2 or readings.shape[1] != 6:
                raise Unreadable(file, f"recording {i + 1} is not as published ({kind[:20]!r}, {readings.shape})")
            readings = readings * ([1 / 9.80665] * 3 + [1.0] * 3)
            yield Recording(f"{split}-{i:02d}-{kind.lower()}", kind, split, left=False, rate=10.0, readings=readings)
