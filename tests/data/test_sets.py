"""With packages that the test writes; and scikit-learn's own digits."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium.app.cli import main
from sensorium.data import sets
from sensorium.data.errors import SensoriumError
from sensorium.data.sets import SETS, Digits, fetch
from sensorium.data.standins import STANDINS


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def picture(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(file)
    return file


def test_stamps_are_photographs_with_captions(tmp_path: Path) -> None:
    root = tmp_path / "usr/share/tuxpaint/stamps"
    for name, caption in (
        ("animals/cat.png", "A cat."),
        ("animals/cartoon/dog.png", "A dog."),
        ("plants/rose.png", "A flower."),
        ("plants/tulip.png", "A flower."),
        ("symbols/coin.png", "A coin."),
        ("space/moon.png", "The moon."),
    ):
        picture(root / name).with_suffix(".txt").write_text(f"{caption}\nfr.utf8=Un\n")
    picture(root / "animals/silent.png")
    found = sets.stamps(tmp_path)
    assert [(s["image"].name, s["text"], s["label"]) for s in map(found.__getitem__, range(len(found)))] == [
        ("cat.png", ("A cat.",), 0),
        ("rose.png", ("A flower.",), 1),
        ("tulip.png", ("A flower.",), 1),
    ]
    assert found.classes == ("A cat.", "A flower.")
    assert len(sets.stamps(tmp_path, everything=True)) == 4
    with pytest.raises(SensoriumError, match="holds no stamps/animals"):
        sets.stamps(root / "plants")


def test_clip_art_has_the_titles_of_its_drawings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "unpacked", lambda parcel: tmp_path / parcel.package)
    for name in ("animals/cat_01.png", "animals/birds/owl.png", "food/pie.png"):
        picture(tmp_path / "openclipart-png/usr/share/openclipart/png" / name)
    drawings = tmp_path / "openclipart-svg/usr/share/openclipart/svg"
    titles = {"animals/cat_01": "Cat &amp; mouse", "animals/birds/owl": " \t", "food/pie": "Ein K\u00e4sekuchen"}
    for name, title in titles.items():
        (drawings / name).parent.mkdir(parents=True, exist_ok=True)
        text = f"<svg><dc:title>{title}</dc:title><dc:title>Open Clip Art Library</dc:title></svg>"
        (drawings / name).with_suffix(".svg").write_text(text, encoding="utf-8")
    for _ in range(2):
        found = sets.openclipart()
        assert [(s["text"], s["label"]) for s in map(found.__getitem__, range(len(found)))] == [
            (("Cat & mouse",), 0),
            (("Ein K\u00e4sekuchen",), 1),
        ]
        monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("titles are read once"))


def test_mnist_is_read_from_the_wheels_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.zeros((3, 785), dtype=np.uint8)
    rows[1, 5 * 28 + 7], rows[:, -1] = 200, (4, 0, 9)
    np.savetxt(tmp_path / "mnist.csv.gz", rows, delimiter=",", fmt="%d")
    monkeypatch.setattr(sets, "locate", lambda *_: tmp_path / "mnist.csv.gz")
    found = sets.mnist()
    assert found[1]["image"].shape == (28, 28)
    assert found[1]["image"][5, 7] == 200
    assert [(s["text"], s["label"]) for s in map(found.__getitem__, range(3))] == [
        *(("the digit four", 4), ("the digit zero", 0), ("the digit nine", 9)),
    ]


def test_scikit_learns_digits() -> None:
    from sklearn.datasets import load_digits

    theirs, ours = load_digits(), fetch("digits")
    assert isinstance(ours, Digits)
    assert len(ours) == SETS["digits"].samples == len(theirs.target)
    assert list(ours.labels) == theirs.target.tolist()
    assert np.abs(ours.pixels / 255 * 16 - theirs.images).max() < 0.04


def test_an_unknown_set_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "fetch", "imagenet"]) == 1
    assert "no data set is called 'imagenet'; there are emoji, stamps" in capsys.readouterr().err


def test_sets_are_listed_with_licence_and_state(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*SETS, *STANDINS]
    assert all("licence" in line for line in lines)
    assert "161 MB" in lines[1]  # not fetched: the cache is empty
    assert " here " in next(line for line in lines if line.startswith("digits"))


def test_a_licence_is_shown_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> Path:
        raise SensoriumError(f"no network; shown before: {capsys.readouterr().err!r}")

    monkeypatch.setattr(sets, "unpacked", refuse)
    assert main(["data", "fetch", "stamps"]) == 1
    assert "stamps: 161 MB to fetch, licence GPL-2" in capsys.readouterr().err


def test_what_stands_at_a_path_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cat", "dog"):
        for i in range(3):
            picture(tmp_path / f"pictures/{name}/{i}.png")
    folder = str(tmp_path / "pictures")
    assert main(["data", "show", folder]) == 0
    shown = capsys.readouterr().out
    assert "a folder of 2 classes, 6 samples, 2 classes" in shown
    assert "size=4x4  text='cat'  label=0 (cat)" in shown
    assert "6 of 6 samples looked at can be read" in shown
    (tmp_path / "pictures/dog/1.png").write_bytes(b"")
    assert main(["data", "show", folder]) == 1
    shown = capsys.readouterr().out
    assert "5 of 6 samples looked at can be read" in shown
    assert "dog/1.png: empty file" in shown
    assert main(["data", "show", folder, "--json"]) == 1
    assert '"damaged": 1' in capsys.readouterr().out
    assert main(["data", "show", "digits"]) == 0
