import os
from pathlib import Path

import pytest

from sensorium.data.errors import Unreadable
from sensorium.data.folder import find_files, find_images


def names(root):
    return [
        os.path.relpath(found.path if isinstance(found, Unreadable) else found, root) for found in find_images(root)
    ]


def test_images_come_sorted_and_hidden_ones_not_at_all(tmp_path):
    for name in (
        "b.PNG",
        "a.jpg",
        "notes.txt",
        ".hidden.jpg",
        "sub/z.webp",
        "sub/.x/y.jpg",
        ".cache/q.jpg",
        "c/d.tiff",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names(tmp_path) == ["a.jpg", "b.PNG", "c/d.tiff", "sub/z.webp"]
    assert names(tmp_path) == names(tmp_path)
    assert list(find_images(tmp_path / "notes.txt")) == [tmp_path / "notes.txt"], "what the user names is taken"


def test_links_to_folders_are_followed_once_and_never_in_circles(tmp_path):
    album, away = tmp_path / "album", tmp_path / "away"
    (album / "real").mkdir(parents=True)
    away.mkdir()
    (album / "real" / "a.jpg").touch()
    (away / "b.jpg").touch()
    (album / "0-inner").symlink_to(album / "real")
    (album / "1-outer").symlink_to(away)
    (album / "2-outer-again").symlink_to(away)
    (album / "3-top").symlink_to(album)
    (album / "4-parent").symlink_to(tmp_path)
    (away / "back").symlink_to(album)
    (album / "linked.jpg").symlink_to(away / "b.jpg")
    found = names(album)
    assert found[:2] == ["1-outer/b.jpg", "linked.jpg"] or found == sorted(found)
    assert found.count("real/a.jpg") == 1
    assert sum(name.endswith("b.jpg") for name in found) == 1
    (tmp_path / "door").symlink_to(album)
    assert [name.split("/")[-1] for name in names(tmp_path / "door")].count("a.jpg") == 1


def test_what_cannot_be_an_image_is_named_in_its_place(tmp_path):
    (tmp_path / "a.jpg").symlink_to("gone.jpg")
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.jpg").touch()
    (tmp_path / "gone").symlink_to("nowhere")
    found = list(find_images(tmp_path))
    assert [f.reason for f in found[:2]] == ["a broken link", "not a regular file"]
    assert found[2:] == [tmp_path / "c.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="no folder is locked for root")
def test_a_locked_folder_is_named(tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    assert [f.reason for f in find_images(tmp_path)] == ["permission denied"]


def test_a_root_that_is_not_there_raises_at_once(tmp_path):
    with pytest.raises(Unreadable, match="no such file"):
        find_images(tmp_path / "gone")
    with pytest.raises(Unreadable, match="not a possible"):
        find_images("a\0b")


def test_files_of_every_kind_are_found_and_what_is_only_perhaps_of_one(tmp_path: Path) -> None:
    for name in (
        "a.PNG",
        "b.mp4",
        "c.flac",
        "d.pdf",
        "e.exr",
        "f.csv",
        "g.npy",
        "h.parquet",
        "i.txt",
        "j.py",
        ".k.mp4",
    ):
        (tmp_path / name).touch()
    (tmp_path / "l.mp4").symlink_to(tmp_path / "nowhere")
    (tmp_path / "m.csv").symlink_to(tmp_path / "nowhere")
    found = [(type(each).__name__, Path(getattr(each, "path", each)).name) for each in find_files(tmp_path)]
    assert [name for kind, name in found if kind != "Unreadable"] == [
        "a.PNG",
        "b.mp4",
        "c.flac",
        "d.pdf",
        "e.exr",
        "f.csv",
        "g.npy",
        "h.parquet",
    ]
    assert [name for kind, name in found if kind == "Unreadable"] == ["l.mp4"], "a table is told of only as a motion"
    assert [path.name for path in find_images(tmp_path)] == ["a.PNG"]
