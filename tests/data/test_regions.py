"""Regions go to disk and come back; a file that is not what it should be is named, with the field."""

import base64
import pickle
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.data.errors import Unreadable
from sensorium.data.region_files import (
    BOTTOM_UP,
    LXMERT,
    RegionTable,
    open_regions,
    read_regions,
    write_regions,
)
from sensorium.data.region_pickles import convert, unpickle
from sensorium.data.regions import Regions, arrays_of, make


def some(k: int = 3, d: int = 8, seed: int = 0) -> Regions:
    draw = np.random.default_rng(seed)
    return Regions(
        features=draw.standard_normal((k, d), np.float32),
        boxes=draw.uniform(0, 100, (k, 4)).astype(np.float32),
        width=120,
        height=110,
    )


def full(k: int = 3) -> Regions:
    draw = np.random.default_rng(1)
    return replace(
        some(k),
        object_ids=draw.integers(0, 1600, k),
        object_confidences=draw.uniform(0, 1, k).astype(np.float32),
        attribute_ids=draw.integers(0, 400, k),
        attribute_confidences=draw.uniform(0, 1, k).astype(np.float32),
        class_probabilities=draw.uniform(0, 1, (k, 7)).astype(np.float32),
    )


def same(a: Regions, b: Regions) -> None:
    assert (a.width, a.height) == (b.width, b.height)
    for name, array in arrays_of(a).items():
        other = arrays_of(b)[name]
        assert (array is None) == (other is None), name
        if array is not None and other is not None:
            assert array.dtype == other.dtype
            np.testing.assert_array_equal(array, other)


def encoded(array: np.ndarray[Any, Any] | None) -> bytes:
    assert array is not None
    return base64.b64encode(array.tobytes())


def row(image: str, r: Regions, columns: tuple[str, ...] = BOTTOM_UP, **other: bytes) -> bytes:
    cells: dict[str, bytes] = {
        "image_id": image.encode(),
        "img_id": image.encode(),
        **dict.fromkeys(("image_w", "img_w"), b"%d" % r.width),
        **dict.fromkeys(("image_h", "img_h"), b"%d" % r.height),
        "num_boxes": b"%d" % len(r),
        "boxes": encoded(r.boxes),
        "features": encoded(r.features),
    }
    if r.object_ids is not None:
        cells |= {"objects_id": encoded(r.object_ids), "objects_conf": encoded(r.object_confidences)}
        cells |= {"attrs_id": encoded(r.attribute_ids), "attrs_conf": encoded(r.attribute_confidences)}
    return b"\t".join((cells | other)[name] for name in columns) + b"\n"


@given(k=st.integers(0, 4), d=st.integers(1, 5), seed=st.integers(0, 9))
def test_npz_gives_back_what_was_written(tmp_path_factory: pytest.TempPathFactory, k: int, d: int, seed: int) -> None:
    path = tmp_path_factory.mktemp("r") / "a.npz"
    regions = some(k, d, seed)
    write_regions(path, regions)
    same(read_regions(path), regions)


def test_npz_keeps_every_field_and_leaves_no_other_file(tmp_path: Path) -> None:
    write_regions(tmp_path / "a.npz", full())
    same(read_regions(tmp_path / "a.npz"), full())
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_layouts_of_others(tmp_path: Path) -> None:
    r = some(3, 8)
    sizes = {"image_h": r.height, "image_w": r.width}
    info = np.array({"objects": 1}, object)
    np.savez(tmp_path / "a.npz", x=r.features.T, bbox=r.boxes, num_bbox=3, info=info, **sizes)
    same(read_regions(tmp_path / "a.npz"), r)  # features lie (d, k); an object nobody asks for is not read
    padded = {"features": np.pad(r.features, ((0, 2), (0, 0))), "bbox": np.pad(r.boxes, ((0, 2), (0, 0)))}
    np.savez_compressed(tmp_path / "b.npz", **padded, num_boxes=3, image_height=r.height, image_width=r.width)
    same(read_regions(tmp_path / "b.npz"), r)
    np.savez(tmp_path / "c.npz", features=r.features.astype(np.float64), boxes=np.asfortranarray(r.boxes), **sizes)
    same(read_regions(tmp_path / "c.npz"), r)
    store = open_regions(tmp_path)
    assert list(store) == ["a", "b", "c"]
    same(store["b"], r)


GOOD: dict[str, Any] = {"features": np.ones((2, 3)), "bbox": np.ones((2, 4)), "image_width": 5, "image_height": 5}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": None}, "has no features"),
        ({"bbox": None}, "has no boxes"),
        ({"image_width": None}, "has no image_width"),
        ({"image_height": 0}, "image_height is 0"),
        ({"image_height": 2.5}, "image_height is '2.5'"),
        ({"image_height": float("nan")}, "image_height is 'nan'"),
        ({"num_boxes": 3}, "bbox is of 2 regions|features is of 2 regions, should be of 3"),
        ({"num_boxes": -1}, "num_boxes is -1"),
        ({"bbox": np.ones((2, 5))}, r"bbox is \[2, 5\]"),
        ({"bbox": np.ones((3, 4)), "features": np.ones((2, 5))}, "features is of 2 regions, should be of 3"),
        ({"features": np.full((2, 3), np.nan)}, "features holds numbers that are not finite"),
        ({"features": np.ones(3)}, r"features is \[3\], should have 2 axes"),
        ({"features": np.full((2, 3), "a")}, "features is of type <U1"),
        ({"features": np.full((2, 3), None)}, "features holds pickled objects.*region_pickles.convert"),
        ({"objects_id": np.ones(2)}, "objects_id is of type float64"),
        ({"objects_id": np.ones(3, int)}, "objects_id is of 3 regions"),
    ],
)
def test_npz_that_is_wrong_is_named_with_its_field(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, allow_pickle=True, **{key: value for key, value in (GOOD | change).items() if value is not None})
    with pytest.raises(Unreadable, match=words) as caught:
        read_regions(path)
    assert caught.value.path == str(path)


def test_damaged_npz(tmp_path: Path) -> None:
    write_regions(tmp_path / "a.npz", some())
    data = (tmp_path / "a.npz").read_bytes()
    for cut in range(0, len(data), 40):
        (tmp_path / "b.npz").write_bytes(data[:cut])
        with pytest.raises(Unreadable, match=r"b\.npz"):
            read_regions(tmp_path / "b.npz")
    for place in range(0, len(data), 7):
        (tmp_path / "b.npz").write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        with suppress(Unreadable):
            read_regions(tmp_path / "b.npz")
    with pytest.raises(Unreadable, match="no such file"):
        read_regions(tmp_path / "none.npz")
    with pytest.raises(Unreadable, match="region_pickles"):
        read_regions(tmp_path / "none.npy")


@pytest.mark.parametrize(("columns", "make_regions"), [(BOTTOM_UP, some), (LXMERT, full)])
@pytest.mark.parametrize("headed", [False, True])
def test_tables(tmp_path: Path, columns: tuple[str, ...], make_regions: Any, headed: bool) -> None:
    rows = {"12": make_regions(3), "a b": make_regions(1), "é": make_regions(4)}
    rows = {key: replace(value, class_probabilities=None) for key, value in rows.items()}
    path = tmp_path / "t.tsv"
    head = "\t".join(columns).encode() + b"\n" if headed else b""
    path.write_bytes(head + b"".join(row(key, value, columns) for key, value in rows.items()))
    table = open_regions(path)
    assert isinstance(table, RegionTable)
    streamed = list(table.stream())
    assert [key for key, _ in streamed] == list(rows)
    assert not (tmp_path / "t.tsv.index").exists()
    for (_, value), wanted in zip(streamed, rows.values(), strict=True):
        same(value, wanted)
    same(table["é"], rows["é"])
    assert list(table) == list(rows)
    again = RegionTable(path)
    again._scan = lambda: pytest.fail("read twice")  # type: ignore[method-assign]
    same(again["12"], rows["12"])
    with pytest.raises(KeyError):
        again["none"]


def test_an_index_of_another_table_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_bytes(row("1", some(2)) + row("2", some(3)))
    assert len(RegionTable(path)["2"]) == 3
    path.write_bytes(row("7", some(1)) + row("2", some(2)))
    assert len(RegionTable(path)["2"]) == 2
    index = tmp_path / "t.tsv.index"
    index.write_text(index.read_text().replace("\t2", "\t9"))
    with pytest.raises(Unreadable, match="its index names image 9 where 2 is: remove"):
        RegionTable(path)["9"]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"features": encoded(some().features)[:-3]}, "image 7: features is no base64"),
        ({"features": encoded(some().features)[:-4]}, "image 7: features has 9"),
        ({"features": b"!!!!"}, "image 7: features is no base64"),
        ({"boxes": encoded(some(2).boxes)}, "image 7: boxes has 32 bytes, should have 48 for 3 regions"),
        ({"num_boxes": b"4"}, "image 7: boxes has 48 bytes, should have 64 for 4 regions|image 7: features"),
        ({"num_boxes": b"-1"}, "image 7: num_boxes is '-1'"),
        ({"num_boxes": b"9" * 50}, "image 7: num_boxes is"),
        ({"image_w": b"0"}, "image 7: image_w is 0"),
        ({"image_h": b"x"}, "image 7: image_h is 'x'"),
        ({"image_h": b"5\t5"}, "image 7: its row has 7 columns, should have 6"),
        ({"boxes": encoded(np.full((3, 4), np.inf, np.float32))}, "image 7: boxes holds numbers that are not finite"),
    ],
)
def test_damaged_rows_are_named_with_image_and_field(tmp_path: Path, other: dict[str, bytes], words: str) -> None:
    path = tmp_path / "t.tsv"
    path.write_bytes(row("1", some()) + row("7", some(), **other))
    same(RegionTable(path)["1"], some())
    with pytest.raises(Unreadable, match=words):
        RegionTable(path)["7"]
    with pytest.raises(Unreadable, match=r"t\.tsv: image 7"):
        list(RegionTable(path).stream())


def test_a_table_of_twenty_gigabytes_opens_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_bytes(row("1", some()))
    with open(path, "r+b") as file:
        file.truncate(20 << 30)  # a hole: takes no space, and would take minutes to read
    image, regions = next(RegionTable(path).stream())
    assert image == "1"
    same(regions, some())


def test_a_row_without_its_id(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    columns = ("features", "image_id", "boxes", "num_boxes", "image_h", "image_w", "more")
    path.write_bytes(row("1", some(), columns, more=b"?") + b"\n")
    with pytest.raises(Unreadable, match="has 1 columns"):
        RegionTable(path, columns)["1"]


def test_a_table_of_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_bytes(b"1\t2\t3\n")
    with pytest.raises(Unreadable, match="has 3 columns"):
        RegionTable(path)
    columns = ("features", "image_id", "boxes", "num_boxes", "image_h", "image_w", "more")
    path.write_bytes(row("1", some(), columns, more=b"?"))
    same(RegionTable(path, columns)["1"], some())


def test_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    r, s = full(3), some(3, seed=4)
    with h5py.File(tmp_path / "groups.h5", "w") as file:
        for name, value in (("1", r), ("2", s)):
            for field, array in arrays_of(value).items():
                if array is not None:
                    file[f"{name}/{field}"] = array
            file[f"{name}/image_w"], file[f"{name}/image_h"] = value.width, value.height
        file["bad/features"] = h5py.ExternalLink("groups.h5", "1/features")
        file["empty/boxes"] = s.boxes
        layout = h5py.VirtualLayout(shape=(3, 8), dtype="f4")
        layout[:] = h5py.VirtualSource("elsewhere.h5", "features", shape=(3, 8))
        file.create_virtual_dataset("virtual/features", layout)
        file["virtual/boxes"], file["virtual/image_w"], file["virtual/image_h"] = s.boxes, 9, 9
    store = open_regions(tmp_path / "groups.h5")
    assert set(store) == {"1", "2", "bad", "empty", "virtual"}
    same(store["1"], r)
    same(store["2"], s)
    with pytest.raises(Unreadable, match="image bad: features is a link to another file"):
        store["bad"]
    with pytest.raises(Unreadable, match="image virtual: features keeps its numbers in another file"):
        store["virtual"]
    with pytest.raises(Unreadable, match="image empty: has no features"):
        store["empty"]
    with pytest.raises(KeyError):
        store["none"]
    with h5py.File(tmp_path / "rows.hdf5", "w") as file:
        file["image_id"] = [10, 20]
        file["features"] = np.stack([s.features, some(3).features])
        file["boxes"] = np.stack([s.boxes, some(3).boxes])
        file["num_boxes"] = [3, 2]
        file["image_w"], file["image_h"] = [120, 120], [110, 110]
    rows = open_regions(tmp_path / "rows.hdf5")
    assert list(rows) == ["10", "20"]
    same(rows["10"], s)
    same(rows["20"], some(3).take(slice(2)))
    (tmp_path / "no.h5").write_bytes(b"no")
    with pytest.raises(Unreadable, match="not an HDF5 file"):
        open_regions(tmp_path / "no.h5")


class Runs:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('it ran')",))


def record(r: Regions) -> dict[str, Any]:
    return {
        "image_id": "7",
        "image_width": np.int64(r.width),
        "image_height": r.height,
        "num_boxes": len(r),
        "bbox": r.boxes,
        "features": np.asfortranarray(r.features),
        "objects": r.object_ids,
        "cls_prob": r.class_probabilities,
    }


@pytest.mark.parametrize("protocol", range(6))
def test_records_of_arrays_are_read_in_the_sandbox(protocol: int) -> None:
    r = full()
    read = unpickle(pickle.dumps(record(r), protocol))
    names = {"boxes": "bbox", "width": "image_width", "height": "image_height", "object_ids": "objects"}
    values = {name: read[names.get(name, name)] for name in ("features", "boxes", "width", "height", "object_ids")}
    same(make("r", values), replace(some(), object_ids=r.object_ids))
    np.testing.assert_array_equal(read["cls_prob"], r.class_probabilities)


HOSTILE: Mapping[str, bytes] = {
    "code": pickle.dumps({"features": Runs()}),
    "code at protocol 0": pickle.dumps(Runs(), 0),
    "a class": pickle.dumps({"features": Path("/")}),
    "getattr": b"cbuiltins\ngetattr\n.",
    "an attribute of what is admitted": b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.tofile\x93.",
    "objects in an array": pickle.dumps({"features": np.array([1, "a"], object)}),
    "more places than bytes": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "a codec that unpacks": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.",
    "bytes that are not of the shape": pickle.dumps(np.ones((3, 4)), 4).replace(b"K\x03K\x04", b"K\x7fK\x7f"),
    "cut short": pickle.dumps(record(some()))[:-20],
    "nothing": b"",
    "a persistent id": b"Pfile\n.",
    "an extension": b"\x82\x01.",
    "a large frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 50) + b"N.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_pickles_with_anything_else_are_refused(name: str) -> None:
    with pytest.raises(Unreadable, match="not a pickle of arrays alone"):
        unpickle(HOSTILE[name])


def test_npy_records_are_refused_and_converted(tmp_path: Path) -> None:
    source, r = tmp_path / "in", some()
    source.mkdir()
    np.save(source / "one.npy", np.array(record(full()), object), allow_pickle=True)
    np.save(source / "two.npy", r.features)
    info = {"bbox": r.boxes, "num_boxes": 3, "image_width": r.width, "image_height": r.height}
    np.save(source / "two_info.npy", np.array(info, object), allow_pickle=True)
    np.save(source / "three.npy", r.features)
    np.save(source / "four.npy", np.array({"features": Runs()}, object), allow_pickle=True)
    left = convert(source, tmp_path / "out")
    assert [error.path.rsplit("/")[-1] for error in left] == ["four.npy", "three.npy"]
    assert "builtins.exec" in str(left[0])
    assert "three_info.npy" in str(left[1])
    out = open_regions(tmp_path / "out")
    assert set(out) == {"one", "two"}
    same(out["two"], r)
    assert out["one"].class_probabilities is not None


def test_lmdb_is_refused_with_the_remedy_and_converted(tmp_path: Path) -> None:
    source = tmp_path / "in.lmdb"
    source.mkdir()
    (source / "data.mdb").touch()
    with pytest.raises(Unreadable, match=r"region_pickles\.convert"):
        open_regions(source)
    lmdb = pytest.importorskip("lmdb")
    (source / "data.mdb").unlink()
    r = some()
    vilbert = {
        "image_id": b"8",
        "image_h": r.height,
        "image_w": r.width,
        "num_boxes": 3,
        "boxes": encoded(r.boxes),
        "features": encoded(r.features).decode(),
    }
    with lmdb.open(str(source), map_size=1 << 20) as store, store.begin(write=True) as writing:
        writing.put(b"keys", pickle.dumps([b"7", b"8"]))
        writing.put(b"7", pickle.dumps(record(full())))
        writing.put(b"8", pickle.dumps(vilbert))
        writing.put(b"9", pickle.dumps(Runs()))
        writing.put(b"x/../../y", pickle.dumps(record(r)))
    left = convert(source, tmp_path / "out")
    assert len(left) == 1
    assert "it asks for" in str(left[0])
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["7.npz", "8.npz", "y.npz"]
    same(open_regions(tmp_path / "out")["8"], r)


def test_parts_of_regions() -> None:
    r = full()
    np.testing.assert_allclose(r.unit_boxes() * [120, 110, 120, 110], r.boxes, rtol=1e-6)
    chosen = r.take(np.array([2, 0]))
    assert len(chosen) == 2
    np.testing.assert_array_equal(chosen.features, r.features[[2, 0]])
