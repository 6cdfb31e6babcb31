"""Stand-ins for pictures with depth: rooms rendered by Bullet, drawn once into the cache, and one real stereo scene."""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from sensorium.data.dense import DepthPicture, Depths, Segmented
from sensorium.data.emoji import Progress
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.packages import cache_folder
from sensorium.data.standins import rooms
from sensorium.data.truth import metres

COUNTS = {"validation": 60, "train": 240}
VERSION = 1  # of what is drawn; another one is drawn anew
ABOUT = "rendered rooms with toys and robots: exact depth and classes, but no photographs"
STEREO = "one photograph of a motorcycle (Middlebury 2014) with depth from structured light"
FOCAL, BASELINE, OFFSET = 994.978, 0.193001, 31.086
"""Pixels, metres, pixels: the calibration of the motorcycle at scikit-image's quarter size (its documentation)."""


def depths(split: str = "validation") -> Depths:
    """Rooms with depth, drawn where that has not been done."""
    from sensorium.data.layouts.depth import own_folder

    found = own_folder(drawn() / _known(split), split)
    return Depths(name=f"rendered {split}", length=len(found), at=found.at, about=ABOUT)


def segmented(split: str = "validation") -> Segmented:
    """The same rooms with the class of every pixel."""
    from sensorium.data.layouts.segmentation import own_folder

    found = own_folder(drawn() / _known(split), split)
    return Segmented(name=f"rendered {split}", length=len(found), at=found.at, classes=found.classes, about=ABOUT)


def place() -> Path:
    """Where the rooms lie, or will."""
    return cache_folder() / "sets" / f"rendered-{rooms.SIZE}-{VERSION}"


def drawn(progress: Progress | None = None, goal: Path | None = None, counts: dict[str, int] | None = None) -> Path:
    """The folder with a folder a part, each laid out as one's own: images, depth, labels, classes.txt."""
    goal, counts = goal or place(), counts or COUNTS
    if goal.is_dir():
        return goal
    if importlib.util.find_spec("pybullet") is None:
        raise SensoriumError("rooms are rendered by Bullet: pip install 'sensorium[scenes]'")
    goal.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=goal.parent, prefix=".draw-") as scratch:
        inside = Path(scratch) / "inside"
        for part, count in counts.items():
            for kind in ("images", "depth", "labels"):
                (inside / part / kind).mkdir(parents=True)
            (inside / part / "classes.txt").write_text("\n".join(rooms.CLASSES) + "\n", encoding="utf-8")
            _draw(inside / part, part, count, progress)
        if not goal.is_dir():  # another process may have been first
            inside.replace(goal)
    return goal


def _draw(folder: Path, part: str, count: int, progress: Progress | None) -> None:
    """In as many processes as there are cores, whole rooms each; what the renderer says goes into a file."""
    workers = max(1, min(os.cpu_count() or 1, count // rooms.VIEWS, 8))
    command = [sys.executable, "-m", rooms.__name__, str(folder), part]
    with tempfile.TemporaryFile() as said:
        running = [
            subprocess.Popen([*command, str(each), str(workers), str(count)], stdout=said, stderr=said)
            for each in range(workers)
        ]
        try:
            while any(each.poll() is None for each in running) and not any(each.poll() for each in running):
                time.sleep(0.2)
                if progress:
                    progress(part, sum(1 for _ in (folder / "images").iterdir()), count)
        finally:
            for each in running:
                each.kill()
                each.wait()
        if any(each.returncode for each in running):
            said.seek(0)
            last = said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise SensoriumError(f"the renderer stopped ({last[:200] or 'without a word'})")


def ready() -> bool:
    """Whether the rooms are drawn."""
    return place().is_dir()


def stereo() -> Depths:
    """The motorcycle that scikit-image carries: distance is focal length x baseline / (disparity + offset)."""
    if (folder := _skimage()) is None:
        raise SensoriumError("the motorcycle stands in scikit-image: pip install scikit-image")
    return Depths(name="stereo", length=1, at=partial(_motorcycle, folder), about=STEREO)


def has_stereo() -> bool:
    """Whether scikit-image, with the motorcycle, is installed."""
    return _skimage() is not None


def _skimage() -> Path | None:
    spec = importlib.util.find_spec("skimage")  # finds a package without running it
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / "data/motorcycle_disp.npz").is_file():
            return Path(folder) / "data"
    return None


def _motorcycle(folder: Path, index: int) -> DepthPicture:
    assert index == 0
    picture = folder / "motorcycle_left.png"
    return DepthPicture(image=picture, key=str(picture), read=partial(_distance, folder / "motorcycle_disp.npz"))


def _distance(file: Path) -> Float[Tensor, "h w"]:
    try:
        with np.load(file, allow_pickle=False) as content:
            disparity = content["arr_0"].astype(np.float32)
    except (OSError, ValueError, KeyError) as error:
        raise Unreadable(file, f"not scikit-image's disparities ({error})") from error
    return metres(np.where(np.isfinite(disparity), FOCAL * BASELINE / (disparity + OFFSET), 0))


def _known(split: str) -> str:
    if split not in COUNTS:
        raise SensoriumError(f"rendered has no part {split!r}: {', '.join(COUNTS)}")
    return split
