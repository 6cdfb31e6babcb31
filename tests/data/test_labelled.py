"""Pictures with labels or captions: what is read, and what is said where nothing can be."""

import json
from pathlib import Path

import pytest

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.labelled import open_captioned, open_labelled, read_lines, read_names


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
    assert [path.relative_to(root).as_posix() for path in data.paths] == ["cat/0.png", "dog/0.png", "dog/1.png"]
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
    assert data.paths == [tmp_path / "a.jpg", tmp_path / "b, c.jpg"]
    assert data.labels == [(0,), (1,)]


def test_several_labels_and_numbers(tmp_path: Path) -> None:
    data = open_labelled(table(tmp_path, "a.csv", "path,label", "a.jpg,sofa|cat", "b.jpg,cat|cat"))
    assert (data.classes, data.labels, data.single) == (("cat", "sofa"), [(1, 0), (0,)], False)
    numbers = open_labelled(table(tmp_path, "b.jsonl", *(f'{{"path": "{i}.jpg", "label": {i}}}' for i in (10, 9))))
    assert (numbers.classes, numbers.labels) == (("9", "10"), [(1,), (0,)])


def test_captions_of_one_picture_come_together(tmp_path: Path) -> None:
    rows = [{"path": "b.jpg", "caption": "one"}, {"path": "a.jpg", "caption": ["x", "y"]}]
    rows += [{"path": "b.jpg", "caption": " two "}]
    data = open_captioned(table(tmp_path, "c.jsonl", *map(json.dumps, rows)))
    assert data.paths == [tmp_path / "b.jpg", tmp_path / "a.jpg"]
    assert data.captions == [("one", "two"), ("x", "y")]


def test_the_same_numbers_for_the_same_names(tmp_path: Path) -> None:
    train, test = open_labelled(folder(tmp_path / "a", a=1, b=1, c=1)), open_labelled(folder(tmp_path / "b", c=1, a=1))
    assert test.labels == [(0,), (1,)]
    assert test.under(train.classes).labels == [(0,), (2,)]
    with pytest.raises(SensoriumError, match=r"a: b not among the 2 classes learned from \(a, c\)"):
        train.under(test.classes)


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


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", r"t\.jsonl:1: not JSON"),
        ("[1]", r"t\.jsonl:1: every line is an object"),
        ('{"path": 3, "caption": "a"}', "path is 3: it must be words"),
        ('{"path": "a.jpg", "caption": []}', "an empty list of captions"),
        ('{"path": "a.jpg", "label": "cat"}', "no caption; there is path, label"),
    ],
)
def test_captions_that_cannot_be(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(SensoriumError, match=words):
        open_captioned(table(tmp_path, "t.jsonl", line))


def test_places_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(SensoriumError, match="no class folders in it"):
        open_labelled(tmp_path)
    with pytest.raises(SensoriumError, match="one class folder in it; two at least"):
        open_labelled(folder(tmp_path / "b", cat=1))
    with pytest.raises(SensoriumError, match="dog: an empty class"):
        open_labelled(folder(tmp_path / "c", cat=1, dog=0))
    with pytest.raises(Unreadable, match="no such file"):
        open_labelled(tmp_path / "none")
    with pytest.raises(Unreadable, match="no such file"):
        open_labelled(tmp_path / "none.csv")
    with pytest.raises(SensoriumError, match=r"captions come as a table of path,caption: \.csv"):
        open_captioned(tmp_path)
    (tmp_path / "latin.csv").write_bytes(b"path,label\n\xe9.jpg,cat\n")
    with pytest.raises(Unreadable, match="not UTF-8"):
        open_labelled(tmp_path / "latin.csv")
