"""A model whose ear becomes another one: what was heard is heard anew, and nothing else."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sensorium.search.index import Index
from tests.search.fake import Colours, film, paint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    paint(tmp_path / "files" / "red.png", "red")
    film(tmp_path / "files" / "walk.mp4", "video green", "audio blue")
    film(tmp_path / "files" / "waves.wav", "audio blue")
    film(tmp_path / "files" / "book.pdf", "text red")
    return tmp_path / "files"


def update(folder: Path, model: Colours, below: str = "") -> tuple[list[str], int]:
    """The names of what went through the model, and how many pieces the index holds after it."""
    log = folder.parent / "log"
    log.write_bytes(b"")
    with Index.open(folder.parent / "index", replace(model, log=log)) as index:
        index.update(folder / below)
        paths = {Path(name).name for name in os.fsdecode(log.read_bytes()).split("\0")[:-1]}
        return sorted(paths), index.stats().moments


def test_another_ear_hears_all_again_and_sees_nothing_twice(folder: Path) -> None:
    assert update(folder, Colours(ear="ear-1")) == (["book.pdf", "red.png", "walk.mp4", "waves.wav"], 5)
    assert update(folder, Colours(ear="ear-1")) == ([], 5)
    assert update(folder, Colours(ear="ear-2")) == (["walk.mp4", "waves.wav"], 5)
    assert update(folder, Colours(ear="ear-2")) == ([], 5)


def test_an_index_that_was_made_before_there_was_an_ear_keeps_its_pictures(folder: Path) -> None:
    assert update(folder, Colours(senses=("image", "text"))) == (["book.pdf", "red.png"], 2)
    assert update(folder, Colours(ear="ear-1")) == (["walk.mp4", "waves.wav"], 5)


def test_a_folder_inside_one_that_is_indexed_is_not_heard_twice(folder: Path) -> None:
    update(folder, Colours(ear="ear-1"))
    film(folder / "inside" / "rain.wav", "audio cyan")
    assert update(folder, Colours(ear="ear-1"))[0] == ["rain.wav"]
    assert update(folder, Colours(ear="ear-1"), "inside")[0] == []
