"""Real files of every kind, whole and damaged."""

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.image import read_image
from sensorium.data.sources import Opened, open_source
from sensorium.data.sources.coco import CocoCaptions
from sensorium.data.sources.folders import Folder
from sensorium.data.sources.shards import expand
from sensorium.data.stream import Sample, Stream


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SENSORIUM_CACHE", str(folder))
    return folder


def picture(shade: int, format: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (24, 16), (shade, shade, shade)).save(out, format)
    return out.getvalue()


def shade(sample: Sample) -> int:
    return read_image(sample["image"]).getpixel((3, 3))[0]  # pyright: ignore


def pictures(folder: Path, count: int = 4) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{i}.jpg" for i in range(count)]
    for i, name in enumerate(names):
        (folder / name).write_bytes(picture(10 * i))
    return names


def everything(source: Opened) -> Iterator[Sample | str]:
    for index in range(len(source)):
        try:
            yield source[index]
        except Unreadable as error:
            yield str(error)


def test_class_folders_have_labels_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("zebra", "african_lion"):
        pictures(tmp_path / name, 2)
    source = open_source(tmp_path)
    assert source.kind == "a folder of 2 classes"
    assert source.classes == ("african lion", "zebra")
    assert [(s["label"], s["text"], shade(s)) for s in map(source.__getitem__, range(4))] == [
        *((0, "african lion", 0), (0, "african lion", 10)),
        *((1, "zebra", 0), (1, "zebra", 10)),
    ]
    with pytest.raises(IndexError):
        source[4]


def test_synsets_are_named_by_the_file_that_imagenet_comes_with(tmp_path: Path) -> None:
    for name in ("n01440764", "n01443537"):
        pictures(tmp_path / "train" / name, 1)
    assert open_source(tmp_path / "train").classes == ("n01440764", "n01443537")
    mapping = tmp_path / "LOC_synset_mapping.txt"
    mapping.write_text("n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\n")
    assert open_source(tmp_path / "train").classes == ("tench", "goldfish")
    mapping.write_text("n01440764 tench, Tinca tinca\n")
    with pytest.raises(SensoriumError, match=r"LOC_synset_mapping.txt: no name for n01443537"):
        open_source(tmp_path / "train")


def test_a_folder_of_parts_asks_which(tmp_path: Path) -> None:
    for part in ("train", "val"):
        pictures(tmp_path / part / "cat", 1)
    with pytest.raises(SensoriumError, match=r"holds train, val: name one of them, such as .*train$"):
        open_source(tmp_path)


def test_pictures_with_a_text_beside_each(tmp_path: Path) -> None:
    pictures(tmp_path, 3)
    (tmp_path / "0.txt").write_text("nought\n")
    (tmp_path / "1.txt").write_bytes(b"\xff\xfe")
    os.symlink(tmp_path / "gone", tmp_path / "9.jpg")
    source = open_source(tmp_path)
    found = list(everything(source))
    assert source.kind == "a folder of pictures"
    assert (found[0]["text"], found[1], "text" in found[2]) == ("nought", f"{tmp_path}/1.txt: not UTF-8", False)  # pyright: ignore
    assert source.problems == (f"{tmp_path}/9.jpg: a broken link",)
    for name in ("cat", "dog"):
        pictures(tmp_path / "classes" / name, 1)
    (tmp_path / "classes/dog/0.txt").write_text("a dog that barks")
    assert [s["text"] for s in everything(Folder.open(tmp_path / "classes"))] == ["cat", "a dog that barks"]  # pyright: ignore


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_json_lines(tmp_path: Path, end: str) -> None:
    pictures(tmp_path)
    rows = [
        json.dumps({"image": "0.jpg", "caption": "nought", "label": 7}),
        '{"image": "1.jpg", "caption": "o',
        json.dumps({"caption": "no picture", "url": "x"}),
        "",
        json.dumps({"path": str(tmp_path / "2.jpg"), "text": ["two", "deux"]}),
        json.dumps({"image": "https://example.com/a.jpg", "text": "far"}),
        json.dumps({"image": "3.jpg", "label": "cat"}),
        json.dumps([1]),
        json.dumps({"image": None}),
    ]
    file = tmp_path / "rows.jsonl"
    file.write_bytes(((end or "\n").join(rows) + end).encode())
    source = open_source(file)
    found = list(everything(source))
    assert source.kind == "JSON lines"
    assert [s if isinstance(s, str) else (s["text"], shade(s), s.get("label")) for s in found] == [
        ("nought", 0, 7),
        f"{file}:2: not JSON (Unterminated string starting at: line 1 column 31 (char 30))",
        f"{file}:3: no column image, path, file, filepath, file_name or image_path; it has caption, url; URLs are not "
        "read: fetch the pictures first (img2dataset writes tars that can be read here) and give paths",
        f"{file}:4: an empty line",
        (("two", "deux"), 20, None),
        f"{file}:6: image is a URL, and URLs are not read: fetch the pictures first (img2dataset writes tars that can "
        "be read here) and give paths",
        f"{file}:7: label 'cat' is no whole number: number the classes from 0",
        f"{file}:8: not a JSON object",
        f"{file}:9: no image; it has image",
    ]


def test_csv_with_quotes_line_breaks_and_a_mark_at_the_beginning(tmp_path: Path) -> None:
    pictures(tmp_path)
    file = tmp_path / "rows.csv"
    text = 'Path,Caption,label\r\n0.jpg,"a, ""quoted""\r\ncaption",3\r\n1.jpg,only two\r\n'
    text += "2.jpg,plain,1.5\r\n3.jpg,last,4\r\n\r\n"
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = list(everything(open_source(file)))
    assert found[0]["text"] == 'a, "quoted"\r\ncaption'  # pyright: ignore
    assert found[1:3] == [
        f"{file}:3: 2 cells where 3 are expected",
        f"{file}:4: label '1.5' is no whole number: number the classes from 0",
    ]
    assert (found[3]["label"], shade(found[3])) == (4, 30)  # pyright: ignore
    assert len(found) == 4


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_csv_comes_out_as_python_wrote_it(tmp_path_factory: pytest.TempPathFactory, captions: list[str]) -> None:
    import csv

    file = tmp_path_factory.mktemp("csv") / "rows.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([("image", "text"), *((f"{i}.jpg", text) for i, text in enumerate(captions))])
    source = open_source(file)
    assert [source[i].get("text", "") for i in range(len(source))] == captions


def test_a_quote_that_is_never_closed_is_not_taken_for_a_long_caption(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text('image,text\na.jpg,"half\nb.jpg,whole\n')
    with pytest.raises(Unreadable, match=r'rows.csv: a " is opened and never closed'):
        open_source(file)


def test_a_missing_column_says_which_are_there(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("picture,words\na.jpg,b\n")
    with pytest.raises(SensoriumError, match=r"rows.csv:1: no column image, path, .*; it has picture, words$"):
        open_source(file)


def test_conceptual_captions(tmp_path: Path) -> None:
    pictures(tmp_path)
    file = tmp_path / "train.tsv"
    file.write_text('a "big" dog\t0.jpg\na cat\thttp://example.com/b.jpg\n')
    first, second = everything(open_source(file))
    assert (first["text"], shade(first)) == ('a "big" dog', 0)  # pyright: ignore
    assert "train.tsv:2: path is a URL, and URLs are not read: fetch the pictures first" in str(second)
    (tmp_path / "clip.tsv").write_text("filepath\ttitle\n1.jpg\tone\n")
    (only,) = everything(open_source(tmp_path / "clip.tsv"))
    assert (only["text"], shade(only)) == ("one", 10)  # pyright: ignore
    (tmp_path / "urls.tsv").write_text("caption\turl\nx\thttp://a\n")
    with pytest.raises(SensoriumError, match="it has caption, url; URLs are not read"):
        open_source(tmp_path / "urls.tsv")


def test_an_index_is_built_once_and_again_when_the_file_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"image": "a.jpg"}\n' * 3)
    assert len(open_source(file)) == 3
    (index,) = (cache / "indexes").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr("sensorium.data.sources.manifest.Manifest._scan", lambda _: pytest.fail("built again"))
        assert len(open_source(file)) == 3
    with file.open("a") as out:
        out.write('{"image": "a.jpg"}\n')
    assert len(open_source(file)) == 4
    (newer,) = (cache / "indexes").iterdir()  # the old one is gone
    assert newer != index
    newer.write_bytes(b"cut")
    assert len(open_source(file)) == 4


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").write_text("")
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "full"))
    (tmp_path / "rows.jsonl").write_text('{"image": "a.jpg"}\n')
    assert len(open_source(tmp_path / "rows.jsonl")) == 1


def test_many_captions_a_picture_in_cocos_format(tmp_path: Path) -> None:
    pictures(tmp_path / "train2017", 3)
    (tmp_path / "annotations").mkdir()
    file = tmp_path / "annotations/captions_train2017.json"
    content = {
        "images": [
            {"id": 9, "file_name": "0.jpg"},
            {"id": 4, "file_name": "1.jpg"},
            {"id": 5, "file_name": "2.jpg"},
            {},
        ],
        "annotations": [
            {"image_id": 4, "caption": "one"},
            {"image_id": 9, "caption": "nought "},
            {"image_id": 4, "caption": "un"},
            {"image_id": 77, "caption": "nobody's"},
            {"image_id": 4, "caption": None},
        ],
    }
    file.write_text(json.dumps(content))
    source = open_source(file)
    assert [(s["text"], s["id"], shade(s)) for s in everything(source)] == [  # pyright: ignore
        (("nought",), 9, 0),
        (("one", "un"), 4, 10),
    ]
    assert source.problems == (
        "captions_train2017.json: entries without id, file_name, image_id or caption: 2",
        "captions_train2017.json: captions of pictures that are not listed: 1",
        "captions_train2017.json: pictures without captions: 1",
    )
    os.rename(tmp_path / "train2017", tmp_path / "elsewhere")
    with pytest.raises(SensoriumError, match=r"0.jpg is in none of .*; name the folder"):
        open_source(file)
    assert len(CocoCaptions.open(file, tmp_path / "elsewhere")) == 2
    file.write_text(file.read_text()[:-9])
    with pytest.raises(Unreadable, match=r"captions_train2017.json: not JSON"):
        open_source(file)
    file.write_text('{"images": []}')
    with pytest.raises(Unreadable, match="not COCO's captions"):
        open_source(file)


def tar(file: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(file, "w") as out:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return file


def shard(file: Path, count: int, first: int = 0) -> Path:
    members: list[tuple[str, bytes]] = []
    for i in range(first, first + count):
        members += [
            (f"set/{i:05}.jpg", picture(i)),
            (f"set/{i:05}.txt", f"number {i}\n".encode()),
            (f"set/{i:05}.cls", str(i % 3).encode()),
        ]
    return tar(file, members)


def test_tars_by_pattern_and_by_folder(tmp_path: Path) -> None:
    for part in range(3):
        shard(tmp_path / f"part-{part:03}.tar", 4, 4 * part)
    for place in (
        tmp_path / "part-{000..002}.tar",
        tmp_path,
        tmp_path / "part-*.tar",
        tmp_path / "part-{000,001,002}.tar",
    ):
        source = open_source(place)
        assert source.kind == "WebDataset in 3 tars"
        found = [(s["text"], s["label"], shade(s)) for s in map(source.__getitem__, range(len(source)))]
        assert found == [(f"number {i}", i % 3, i) for i in range(12)]
    assert source[5]["key"] == f"{tmp_path}/part-001.tar:set/00005"
    with pytest.raises(SensoriumError, match=r"7 of 10 files are missing, the first is .*part-003.tar"):
        open_source(tmp_path / "part-{000..009}.tar")
    with pytest.raises(SensoriumError, match="no file is called so"):
        open_source(tmp_path / "other-*.tar")
    assert [str(p) for p in expand(str(tmp_path / "part-{0..2}.tar").replace("{", "00{"))] == [
        str(tmp_path / f"part-{i:03}.tar") for i in range(3)
    ]


def test_members_of_a_sample(tmp_path: Path) -> None:
    members = [
        ("a.png", picture(1, "PNG")),
        ("a.json", b'{"caption": "from json", "label": 5}'),
        ("b.txt", b"no picture"),
        ("c.webp", picture(3, "WEBP")),
        ("c.json", b'{"caption":'),
        ("d.jpg", picture(4)),
        ("d.cls", b"seven"),
        ("e.seg.png", picture(0)),
        ("f.JPG", picture(6)),
    ]
    file = tar(tmp_path / "one.tar", members)
    found = list(everything(open_source(file)))
    assert (found[0]["text"], found[0]["label"], shade(found[0])) == ("from json", 5, 1)  # pyright: ignore
    assert found[1:4] == [
        f"{file}:b: no picture (jpg, jpeg, png, webp) in this sample",
        f"{file}:c: its .json is not JSON (Expecting value: line 1 column 12 (char 11))",
        f"{file}:d: .cls 'seven' is no whole number: number the classes from 0",
    ]
    assert shade(found[4]) == 6  # pyright: ignore
    assert len(found) == 5


def test_a_tar_that_was_cut_is_read_up_to_there(tmp_path: Path) -> None:
    whole = shard(tmp_path / "whole.tar", 3).read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as opened:
        third = opened.getmember("set/00002.jpg")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[: third.offset_data + 100])
    found = list(everything(open_source(cut)))
    assert [s["text"] for s in found[:2]] == ["number 0", "number 1"]  # pyright: ignore
    assert found[2:] == [f"{cut}:set/00002: the tar ends before its member does: 100 of {third.size:,} bytes"]
    broken = bytearray(whole)
    broken[third.offset : third.offset + 512] = os.urandom(512)
    (tmp_path / "broken.tar").write_bytes(broken)
    found = list(everything(open_source(tmp_path / "broken.tar")))
    assert len(found) == 3
    assert f"broken.tar:after byte {third.offset}: the tar ends before" in str(found[2])


def test_what_is_no_tar(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(Unreadable, match=r"a.tar: not a tar"):
        open_source(tmp_path / "a.tar")
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz"):
        pass
    with pytest.raises(Unreadable, match=r"b.tar.gz: not a tar \(it is compressed: decompress it"):
        open_source(tmp_path / "b.tar.gz")


def test_a_parquet_manifest_and_the_hubs_layout(tmp_path: Path, cache: Path) -> None:
    names = pictures(tmp_path / "manifest")
    file = tmp_path / "manifest/rows.parquet"
    pq.write_table(pa.table({"path": names, "caption": ["a", "b", None, "d"], "extra": [0] * 4}), file)
    source = open_source(file)
    assert source.kind == "Parquet"
    assert [(s.get("text"), shade(s)) for s in everything(source)] == [("a", 0), ("b", 10), (None, 20), ("d", 30)]  # pyright: ignore
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    meta = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    (tmp_path / "hub/data").mkdir(parents=True)
    for part in range(2):
        rows = [{"bytes": picture(100 + 10 * part + i), "path": None} for i in range(3)]
        table = pa.table({"image": rows, "label": [0, 1, part]}).replace_schema_metadata(meta)
        pq.write_table(table, tmp_path / f"hub/data/train-0000{part}-of-00002.parquet", row_group_size=2)
    source = open_source(tmp_path / "hub")
    assert source.classes == ("cat", "dog")
    found = [(s["label"], shade(s)) for s in map(source.__getitem__, range(6))]
    assert found == [(0, 100), (1, 101), (0, 102), (0, 110), (1, 111), (1, 112)]
    assert source[4]["key"].endswith("train-00001-of-00002.parquet:2")
    pq.write_table(table, tmp_path / "hub/data/test-00000-of-00001.parquet")
    with pytest.raises(SensoriumError, match="holds test, train: name one of them"):
        open_source(tmp_path / "hub")
    assert len(open_source(tmp_path / "hub/data/train-*.parquet")) == 6


def test_a_parquet_file_that_was_not_finished(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"image": ["a.jpg"] * 5000}), file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Unreadable, match=r"rows.parquet: not a whole Arrow or Parquet file"):
        open_source(file)
    assert not list((cache / "indexes").glob("*"))
    pq.write_table(pa.table({"picture": ["a.jpg"]}), file)
    with pytest.raises(SensoriumError, match=r"rows.parquet: no column image, .*; it has picture"):
        open_source(file)


def save_to_disk(folder: Path, table: Any, features: dict[str, Any], **state: Any) -> None:
    """As the datasets library does it."""
    folder.mkdir(parents=True)
    with pa.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), table.schema) as out:
        out.write_table(table, max_chunksize=2)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}], **state})
    )
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))


def test_a_saved_hugging_face_dataset(tmp_path: Path) -> None:
    table = pa.table({"image": [{"bytes": picture(i), "path": "x"} for i in range(5)], "label": [0, 1, 2, 1, 0]})
    save_to_disk(tmp_path / "all/train", table, {"label": {"names": ["a", "b", "c"], "_type": "ClassLabel"}})
    (tmp_path / "all/dataset_dict.json").write_text('{"splits": ["train"]}')
    source = open_source(tmp_path / "all")
    assert source.kind == "a Hugging Face dataset"
    assert [(s["label"], shade(s)) for s in map(source.__getitem__, range(5))] == [
        (0, 0),
        (1, 1),
        (2, 2),
        (1, 3),
        (0, 4),
    ]
    assert source.classes == ("a", "b", "c")
    (tmp_path / "all/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(SensoriumError, match="holds train, test: name one of them"):
        open_source(tmp_path / "all")
    save_to_disk(tmp_path / "chosen", table, {}, _indices_files=[{"filename": "indices.arrow"}])
    with pytest.raises(SensoriumError, match="flatten_indices"):
        open_source(tmp_path / "chosen")
    file = tmp_path / "all/train/data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[:700])
    with pytest.raises(Unreadable, match="not a whole Arrow"):
        open_source(tmp_path / "all/train")


def test_what_is_unknown_says_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.jsonl").write_text("\n\n")
    for place, message in (
        (tmp_path / "notes.txt", "nothing that is known. Known are a folder of pictures"),
        (tmp_path / "gone", "no such file or folder. .* and emoji, stamps"),
        (tmp_path / "empty", "no pictures below this folder"),
        (tmp_path / "none.jsonl", "no rows"),
        ("https://example.com/x.tar", "only files on this machine are read"),
    ):
        with pytest.raises(SensoriumError, match=message):
            open_source(place)


def prepare(sample: Sample, _: torch.Generator) -> dict[str, torch.Tensor]:
    return {"shade": torch.from_numpy(np.array(read_image(sample["image"]))).float().mean()}


def test_every_kind_streams_the_same_with_workers_and_steps_over_damage(tmp_path: Path) -> None:
    names = pictures(tmp_path / "a")
    (tmp_path / "a/2.jpg").write_bytes(picture(20)[:300])
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"image": f"a/{name}"}) + "\n" for name in names) + "{\n")
    members = [("set/00000.jpg", picture(0)), ("set/00005.jpg", picture(5)[:300]), ("set/00001.jpg", picture(1))]
    tar(tmp_path / "s.tar", members)
    pq.write_table(pa.table({"image": [{"bytes": picture(i), "path": ""} for i in range(5)]}), tmp_path / "p.parquet")
    sources = [open_source(tmp_path / name) for name in ("a", "rows.jsonl", "s.tar", "p.parquet")]
    stream = Stream(sources=sources, prepare=prepare, seed=2)
    alone, helped = (stream.batches(6, start=0, steps=8, workers=workers) for workers in (0, 2))
    for one, other in zip(alone, helped, strict=True):
        assert torch.equal(one["shade"], other["shade"])
    assert alone.damaged == helped.damaged
    cut = f"{tmp_path}/a/2.jpg"
    assert alone.damaged == {
        cut: "truncated",
        f"{tmp_path}/rows.jsonl:3": f"{cut}: truncated",
        f"{tmp_path}/rows.jsonl:5": "not JSON (Expecting property name enclosed in double quotes: line 1 co)",
        f"{tmp_path}/s.tar:set/00005": "truncated",
    }
