"""Pictures with labels or captions: what is read, and what is said where nothing can be."""

import json
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.labelled import Entry, open_captioned, open_labelled, read_lines, read_names


def folder(root: Path, **classes: int) -> Path:
    for name, pictures in classes.items():
        (root / name).mkdir(parents=True)
        for number in range(pictures):
            (root / name / f"{number}.png").touch()
    return root


def table(root: Path, name: str, *lines: str) -> Path:
    root.mkdir(exist_ok=True)
    (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root / name


def test_class_folders(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", dog=2, cat=1)
    (root / "cat" / "notes.txt").touch()
    (root / "cat" / "lost.jpg").symlink_to("nowhere")
    (root / ".cache").mkdir()
    (root / "README.md").touch()
    data = open_labelled(root)
    assert data.classes == ("cat", "dog")
    assert [path.relative_to(root).as_posix() for path in data.pictures] == ["cat/0.png", "dog/0.png", "dog/1.png"]
    assert data.labels == [(0,), (1,), (1,)]
    assert [each.reason for each in data.unreadable] == ["a broken link"]
    assert data.single


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("t.csv", ["path,label", "a.jpg,cat", '"b, c.jpg", dog ']),
        ("t.csv", ["﻿label,more,path", "cat,x,a.jpg", 'dog,y,"b, c.jpg"']),
        ("t.tsv", ["path\tlabel", "a.jpg\tcat", "b, c.jpg\tdog"]),
        ("t.jsonl", ['{"path": "a.jpg", "label": "cat"}', "", '{"path": "b, c.jpg", "label": ["dog"]}']),
    ],
)
def test_tables(tmp_path: Path, name: str, lines: list[str]) -> None:
    data = open_labelled(table(tmp_path, name, *lines))
    assert data.classes == ("cat", "dog")
    assert data.pictures == [tmp_path / "a.jpg", tmp_path / "b, c.jpg"]
    assert data.labels == [(0,), (1,)]


def test_several_labels_and_numbers(tmp_path: Path) -> None:
    data = open_labelled(table(tmp_path, "a.csv", "path,label", "a.jpg,sofa|cat", "b.jpg,cat|cat"))
    assert (data.classes, data.labels, data.single) == (("cat", "sofa"), [(1, 0), (0,)], False)
    numbers = open_labelled(table(tmp_path, "b.jsonl", *(f'{{"path": "{i}.jpg", "label": {i}}}' for i in (10, 9))))
    assert (numbers.classes, numbers.labels) == (("9", "10"), [(1,), (0,)])


def test_captions_of_one_picture_come_together(tmp_path: Path) -> None:
    rows = [{"path": "b.jpg", "caption": "one"}, {"path": "a.jpg", "caption": ["x", "y"]}]
    rows += [{"path": "b.jpg", "caption": "two"}]
    data = open_captioned(table(tmp_path, "c.jsonl", *map(json.dumps, rows)))
    assert data.pictures == [tmp_path / "b.jpg", tmp_path / "a.jpg"]
    assert data.captions == [("one", "two"), ("x", "y")]


def test_the_same_numbers_for_the_same_names(tmp_path: Path) -> None:
    train, test = open_labelled(folder(tmp_path / "a", a=1, b=1, c=1)), open_labelled(folder(tmp_path / "b", c=1, a=1))
    assert test.labels == [(0,), (1,)]
    assert test.under(train.classes).labels == [(0,), (2,)]
    with pytest.raises(SensoriumError, match=r"a: b not among the 2 classes learned from \(a, c\)"):
        train.under(test.classes)
    with pytest.raises(SensoriumError, match="a, c not among the 2 classes"):
        test.under(("b", "d"))
    assert test.under(("c", "a")).labels == [(1,), (0,)]


def test_names(tmp_path: Path) -> None:
    assert read_names(table(tmp_path, "n.txt", "house cat", "", " dog "), ("c", "d")) == ("house cat", "dog")
    assert read_names(table(tmp_path, "m.txt", "d\tdog", "x\tox", "c\tcat"), ("c", "d")) == ("cat", "dog")
    with pytest.raises(SensoriumError, match=r"3 names and the data 2 classes \(c, d\)"):
        read_names(table(tmp_path, "n.txt", "a", "b", "c"), ("c", "d"))
    with pytest.raises(SensoriumError, match="no name for c, e"):
        read_names(table(tmp_path, "n.txt", "d\tdog"), ("c", "d", "e"))
    with pytest.raises(SensoriumError, match="an empty file"):
        read_lines(table(tmp_path, "n.txt", "", " "))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["path,label"], "no rows"),
        (["path,label", "a.jpg,cat", "b.jpg,cat"], "one class; two"),
        (["file,label", "a.jpg,cat"], r"t\.csv:2: no path; there is file, label"),
        (["path,label", "a.jpg"], r"t\.csv:2: no label"),
        (["path,label", "a.jpg,"], r"t\.csv:2: label is ''"),
        (["path,label", "a.jpg,cat|"], r"t\.csv:2: label is ''"),
        (["path,label", '"a.jpg,cat'], "not CSV"),
    ],
)
def test_tables_that_cannot_be(tmp_path: Path, lines: list[str], words: str) -> None:
    with pytest.raises(SensoriumError, match=words):
        open_labelled(table(tmp_path, "t.csv", *lines))


def test_captions_that_cannot_be_are_listed(tmp_path: Path) -> None:
    lines = ["[1]", '{"path": "a.jpg", "caption": []}', '{"path": "b.jpg", "label": 3}']
    data = open_captioned(table(tmp_path, "t.jsonl", *lines, '{"path": "c.jpg", "caption": "a cat"}'))
    assert (data.pictures, data.captions) == ([tmp_path / "c.jpg"], [("a cat",)])
    assert [each.reason for each in data.unreadable] == ["not a JSON object", "no caption", "no caption"]
    with pytest.raises(SensoriumError, match=r"t\.jsonl: no captions; .*:1: not a JSON object"):
        open_captioned(table(tmp_path, "t.jsonl", *lines))


def test_other_sources_serve_as_well(tmp_path: Path) -> None:
    """A tar of two classes and texts: its pictures are read when their turn comes."""
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(3):
            for name, content in ((f"{number}.png", png(number)), (f"{number}.cls", b"%d" % (number % 2))):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, BytesIO(content))
    data = open_labelled(tmp_path / "a.tar")
    assert (data.labels, data.classes) == ([(0,), (1,), (0,)], ("0", "1"))
    assert all(isinstance(each, Entry) for each in data.pictures)
    opened = data.pictures[1]
    assert isinstance(opened, Entry)
    assert opened.open() == png(1)
    assert "1" in str(opened)
    assert open_labelled(tmp_path).labels == data.labels, "and a folder of tars"
    with pytest.raises(SensoriumError, match="no captions"):
        open_captioned(tmp_path / "a.tar")
    with pytest.raises(SensoriumError, match="COCO captions without labels"):
        open_labelled(coco(tmp_path / "coco"))
    several = open_captioned(tmp_path / "coco" / "captions.json")
    assert several.captions == [("one", "two"), ("three",)]
    assert several.pictures == [tmp_path / "coco" / "0.png", tmp_path / "coco" / "1.png"]


def png(number: int) -> bytes:
    out = BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 0)).save(out, "png")
    return out.getvalue()


def coco(root: Path) -> Path:
    root.mkdir()
    for number in range(2):
        (root / f"{number}.png").write_bytes(png(number))
    said = [(0, "one"), (1, "three"), (0, "two")]
    content = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in range(2)],
        "annotations": [{"image_id": number, "caption": caption} for number, caption in said],
    }
    (root / "captions.json").write_text(json.dumps(content))
    return root / "captions.json"


def test_places_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(SensoriumError, match="no class folders in it"):
        open_labelled(tmp_path)
    with pytest.raises(SensoriumError, match="one class folder in it; two at least"):
        open_labelled(folder(tmp_path / "b", cat=1))
    with pytest.raises(SensoriumError, match=r"d holds test, train: name one of them, .*d/test"):
        open_labelled(folder(tmp_path / "d", train=1, test=1))
    with pytest.raises(SensoriumError, match="dog: an empty class"):
        open_labelled(folder(tmp_path / "c", cat=1, dog=0))
    with pytest.raises(SensoriumError, match="no such file"):
        open_labelled(tmp_path / "none")
    with pytest.raises(Unreadable, match="no such file"):
        open_labelled(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"path,label\n\xe9.jpg,cat\n")
    with pytest.raises(Unreadable, match="not UTF-8"):
        open_labelled(tmp_path / "latin.csv")
