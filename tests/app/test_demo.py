"""The demo without a network and with the model of colours: it must show the whole job all the same."""

from pathlib import Path

import pytest
from PIL import Image

from sensorium.app import photographs
from sensorium.app.cli import main
from sensorium.data.packages import PackageError


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def locate(wheel: photographs.Wheel, member: str) -> Path:
        raise PackageError(f"cannot fetch {wheel.requirement}")

    monkeypatch.setattr(photographs, "locate", locate)


@pytest.mark.usefixtures("offline")
def test_installed_packages_give_photographs_and_the_rest_is_named(tmp_path: Path):
    found, missing = photographs.collect(tmp_path, ("picture",))
    assert {"chelsea.png", "coffee.png", "china.jpg"} <= {path.name for path in found}
    for path in found:
        with Image.open(path) as photograph:
            assert min(photograph.size) >= 100
    assert "cannot fetch imgaug==0.4.0" in missing
    assert photographs.collect(tmp_path, ("picture",))[0] == found


@pytest.mark.usefixtures("home", "offline")
def test_it_indexes_asks_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["demo", "--no-serve"]) == 0
    out, _ = capsys.readouterr()
    assert "“a cat”  words" in out
    assert "cat” − chelsea.png" in out
    assert "added" in out
    with Image.open(tmp_path / "demo/contact-sheet.png") as sheet:
        assert sheet.width > 1000


@pytest.mark.usefixtures("home")
def test_it_takes_the_users_own_pictures_and_leaves_the_users_index_alone(
    home: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["demo", str(pictures), "--no-serve", "--into", "shown"]) == 0
    assert "12 added" in capsys.readouterr().out
    assert (tmp_path / "shown/contact-sheet.png").exists()
    assert not home.exists()
    (tmp_path / "empty").mkdir()
    assert main(["demo", str(tmp_path / "empty"), "--no-serve", "--into", "other"]) == 1
    assert "name another folder" in capsys.readouterr().err
