"""Drawings as files, and what is said where there can be none."""

from pathlib import Path

import pytest
from PIL import Image

from sensorium.data.errors import SensoriumError
from sensorium.insight.drawing import FORMATS, Figure, check_drawable, drawing, fitted, heading, page, save


@drawing
def plain() -> Figure:
    figure = page(3.0, 2.0)
    figure.subplots()
    heading(figure, "a title that is much longer than the drawing is wide, so that it must be cut", "a remark " * 9)
    return figure


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format(tmp_path: Path, ending: str) -> None:
    save(plain(), tmp_path / "new" / f"a{ending}")
    assert [file.name for file in (tmp_path / "new").iterdir()] == [f"a{ending}"]
    if ending in (".png", ".jpg", ".webp"):
        with Image.open(tmp_path / "new" / f"a{ending}") as picture:
            assert picture.size == (330, 220)


def test_the_title_stays_on_the_page() -> None:
    figure = plain()
    figure.draw_without_rendering()
    assert all(text.get_window_extent().x1 < figure.bbox.x1 for text in figure.texts)


def test_the_users_style_is_left_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    plain()
    assert dict(matplotlib.rcParams) == before


def test_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SensoriumError, match=r"cannot draw into .*a\.doc: name a \.png"):
        save(plain(), tmp_path / "a.doc")
    (tmp_path / "file").touch()
    with pytest.raises(SensoriumError, match=r"cannot write .*a\.png"):
        save(plain(), tmp_path / "file" / "a.png")
    monkeypatch.setattr("sensorium.insight.drawing.find_spec", lambda name: None)
    with pytest.raises(SensoriumError, match=r"pip install 'sensorium\[insight\]'"):
        check_drawable(tmp_path / "a.png")


def test_text_that_the_font_lacks() -> None:
    assert fitted("a  cat\n猫", 20) == "a cat □"
    assert fitted("abcdefgh", 5) == "abcd…"
