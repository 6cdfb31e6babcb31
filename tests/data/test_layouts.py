"""Published layouts, each written small as it is published, with real files, and read back."""

import json
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sensorium.data.dense import Boxed, Clips, Depths, Instances, Matched, Segmented
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.image import read_image
from sensorium.data.layouts import layouts_at, open_dense
from sensorium.data.layouts.names import ADE20K, CITYSCAPES, VOC
from sensorium.data.truth import read_depth, read_numbers


def photo(file: Path, size: tuple[int, int] = (6, 4), colour: tuple[int, int, int] = (10, 200, 30)) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(file)
    return file


def numbers(file: Path, values: Any, *, palette: bool = False) -> Path:
    """A PNG of these numbers: gray of 8 or 16 bits, or of a palette whose colours say nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values))
    if palette:
        image.putpalette([(i * 37) % 256 for i in range(768)])
    image.save(file)
    return file


def u8(*rows: list[int]) -> NDArray[np.uint8]:
    return np.array(rows, np.uint8)


def lines(file: Path, *text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(text) + "\n", encoding="utf-8")
    return file


# -- classes ----------------------------------------------------------------------------------------------------------


def test_ade20k_counts_classes_from_nought_and_ignores_the_rest(tmp_path: Path) -> None:
    root = tmp_path / "ADEChallengeData2016"
    for split in ("training", "validation"):
        photo(root / "images" / split / f"ADE_{split}.jpg")
        numbers(root / "annotations" / split / f"ADE_{split}.png", u8([0, 1, 150], [2, 13, 0]))
    found = open_dense(tmp_path, Segmented)
    assert (found.name, len(found), len(found.classes)) == ("ADE20K validation", 1, 150)
    assert found[0].labels().tolist() == [[255, 0, 149], [1, 12, 255]]
    assert (ADE20K[0], ADE20K[12], ADE20K[149]) == ("wall", "person", "flag")
    assert read_image(found[0].image).size == (6, 4)
    assert open_dense(root, Segmented, "training")[0].key.endswith("ADE_training.jpg")
    numbers(root / "annotations/validation/ADE_validation.png", u8([151]))
    with pytest.raises(Unreadable, match=r"ADE_validation\.png: class 151, which the set does not have"):
        found[0].labels()
    (root / "annotations/validation/ADE_validation.png").unlink()
    with pytest.raises(SensoriumError, match=r"ADE_validation\.jpg: no annotation of the same name"):
        open_dense(tmp_path, Segmented)


def voc(root: Path) -> Path:
    lines(root / "ImageSets/Segmentation/val.txt", "2007_000033")
    lines(root / "ImageSets/Main/trainval.txt", "2007_000033")
    photo(root / "JPEGImages/2007_000033.jpg")
    numbers(root / "SegmentationClass/2007_000033.png", u8([0, 20, 255]), palette=True)
    xml = """<annotation><filename>2007_000033.jpg</filename>
      <object><name>person</name><difficult>1</difficult>
        <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>6</xmax><ymax>4</ymax></bndbox>
        <part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part></object>
      <object><name>dog</name><truncated>1</truncated>
        <bndbox><ymax>4</ymax><xmax>5.5</xmax><ymin>3</ymin><xmin>2</xmin></bndbox></object></annotation>"""
    lines(root / "Annotations/2007_000033.xml", xml)
    return root


def test_voc_reads_numbers_of_the_palette(tmp_path: Path) -> None:
    voc(tmp_path / "VOCdevkit/VOC2012")
    found = open_dense(tmp_path, Segmented)
    assert (found.name, found.classes, found.ignore) == ("Pascal VOC val", VOC, 255)
    assert found[0].labels().tolist() == [[0, 20, 255]]
    voc(tmp_path / "VOCdevkit/VOC2007")
    with pytest.raises(SensoriumError, match="holds VOC2012 and VOC2007: name one of them"):
        open_dense(tmp_path, Segmented)


def test_voc_boxes_count_pixels_from_nought_and_keep_hard_objects(tmp_path: Path) -> None:
    found = open_dense(voc(tmp_path / "VOC2007"), Boxed)
    assert (found.name, len(found)) == ("VOC2007 trainval", 1)
    assert found[0].boxes.tolist() == [[0, 0, 6, 4], [1, 2, 5.5, 4]]
    assert found[0].names == ("person", "dog")
    for text in ("<annotation>", "<annotation><object><name>a</name></object></annotation>"):
        lines(tmp_path / "VOC2007/Annotations/2007_000033.xml", text)
        with pytest.raises(Unreadable, match=r"2007_000033\.xml: not VOC's annotation"):
            found[0]


def test_cityscapes_has_the_19_classes_of_training(tmp_path: Path) -> None:
    photo(tmp_path / "leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png")
    truth = tmp_path / "gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png"
    numbers(truth, u8([0, 7, 8, 9], [26, 33, 30, 24]))
    found = open_dense(tmp_path, Segmented)
    assert (found.name, found.classes) == ("Cityscapes val", CITYSCAPES)
    assert found[0].labels().tolist() == [[255, 0, 1, 255], [13, 18, 255, 11]]
    assert [CITYSCAPES[i] for i in (0, 13, 18, 11)] == ["road", "car", "bicycle", "person"]
    truth.unlink()
    with pytest.raises(SensoriumError, match=r"no .*gtFine_labelIds\.png beside it"):
        open_dense(tmp_path, Segmented)


def test_a_folder_of_ones_own_has_names_or_numbers(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.jpg")
    photo(tmp_path / "images/b.png")
    numbers(tmp_path / "labels/a.png", u8([0, 1], [2, 255]))
    numbers(tmp_path / "labels/b.png", np.array([[1, 1]], np.uint16))
    found = open_dense(tmp_path, Segmented)
    assert (found.classes, [len(found[i].labels()) for i in (0, 1)]) == (("0", "1", "2"), [2, 1])
    lines(tmp_path / "classes.txt", "ground", "tree")
    found = open_dense(tmp_path, Segmented)
    assert found.classes == ("ground", "tree")
    assert found[1].labels().tolist() == [[1, 1]]
    with pytest.raises(Unreadable, match=r"a\.png: class 2, which the set does not have"):
        found[0].labels()


def test_maps_that_hold_no_numbers_are_refused_by_name(tmp_path: Path) -> None:
    whole = numbers(
        tmp_path / "a.png", np.random.default_rng(0).integers(0, 9999, (64, 64)).astype(np.uint16)
    ).read_bytes()
    for content, reason in (
        (b"", "empty file"),
        (b"GIF89a" + bytes(40), "not a PNG"),
        (whole[:200], "truncated"),
        (whole[:16] + b"\xff\xff\xff\x7f" + whole[20:], "too many pixels"),
        (photo(tmp_path / "c.png").read_bytes(), "holds colours .RGB., not a number at each pixel"),
    ):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(Unreadable, match=rf"b\.png: {reason}"):
            read_numbers(tmp_path / "b.png")
    with pytest.raises(Unreadable, match=r"no\.png: no such file"):
        read_numbers(tmp_path / "no.png")


@given(data=st.data())
def test_maps_come_back_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    deep = data.draw(st.booleans())
    width, height = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    cells = st.lists(st.integers(0, 65535 if deep else 255), min_size=width * height, max_size=width * height)
    values = np.array(data.draw(cells), np.uint16 if deep else np.uint8).reshape(height, width)
    file = numbers(tmp_path_factory.mktemp("maps") / "m.png", values, palette=not deep and data.draw(st.booleans()))
    np.testing.assert_array_equal(read_numbers(file), values)


# -- depth ------------------------------------------------------------------------------------------------------------


def nyu_map(value: int = 2500) -> NDArray[np.uint16]:
    return np.full((480, 640), value, np.uint16)


def test_nyu_lists_name_pairs_and_the_test_counts_within_the_crop(tmp_path: Path) -> None:
    for scene in ("kitchen_0028b", "bathroom"):
        photo(tmp_path / scene / "rgb_00045.jpg", (640, 480))
        numbers(tmp_path / scene / "sync_depth_00045.png", nyu_map())
    lines(tmp_path / "nyu_train.txt", "/kitchen_0028b/rgb_00045.jpg /kitchen_0028b/sync_depth_00045.png 518.8579")
    lines(
        tmp_path / "nyu_test.txt", "bathroom/rgb_00045.jpg bathroom/sync_depth_00045.png 518.8579", "a.jpg None 518.8"
    )
    found = open_dense(tmp_path, Depths)
    assert (found.name, len(found), found.near, found.far) == ("NYUv2 test", 1, 0.001, 10.0)
    depth = found[0].depth()
    assert depth.dtype == torch.float32
    assert depth.unique().tolist() == [0, 2.5]
    inside = depth > 0
    assert inside[45:471, 41:601].all()
    assert int(inside.sum()) == (471 - 45) * (601 - 41)
    assert (open_dense(tmp_path, Depths, "train")[0].depth() == 2.5).all()
    lines(tmp_path / "nyu_test.txt", "one.jpg")
    with pytest.raises(SensoriumError, match=r"nyu_test\.txt: 'one\.jpg' names no picture and depth"):
        open_dense(tmp_path, Depths)


def test_nyu_scenes_without_lists_are_taken_whole(tmp_path: Path) -> None:
    photo(tmp_path / "test/bathroom/rgb_00045.jpg", (640, 480))
    numbers(tmp_path / "test/bathroom/sync_depth_00045.png", nyu_map())
    found = open_dense(tmp_path / "test", Depths)
    assert int((found[0].depth() > 0).sum()) == 426 * 560
    numbers(tmp_path / "test/bathroom/sync_depth_00046.png", nyu_map())
    with pytest.raises(SensoriumError, match=r"rgb_00046\.jpg: no such picture"):
        open_dense(tmp_path / "test", Depths)


def labelled(root: Path, *, raw: bool) -> NDArray[np.float32]:
    """Matlab's order is columns first: pictures are stored number x channel x column x row."""
    values = np.random.default_rng(0).uniform(0.5, 9, (3, 640, 480)).astype(np.float32)
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w") as file:
        images = np.zeros((3, 3, 640, 480), np.uint8)
        images[1, 0, 600, 10] = 77
        file["images"], file["depths"] = images, np.ones_like(values)
        file["rawDepths" if raw else "other"] = values
    return values


@pytest.mark.parametrize("raw", [True, False])
def test_nyu_labelled_is_read_from_hdf5_by_its_own_split(tmp_path: Path, raw: bool) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    values = labelled(tmp_path, raw=raw)
    assert open_dense(tmp_path, Depths).name == "NYUv2 all", "without splits.mat there are no parts"
    savemat(tmp_path / "splits.mat", {"testNdxs": np.array([[2]]), "trainNdxs": np.array([[1], [3]])})
    test, train = open_dense(tmp_path, Depths), open_dense(tmp_path, Depths, "train")
    assert [len(test), len(train)] == [1, 2]
    assert np.asarray(test[0].image).shape == (480, 640, 3)
    assert np.asarray(test[0].image)[10, 600, 0] == 77
    expected = values[2].T if raw else np.ones((480, 640), np.float32)
    np.testing.assert_array_equal(train[1].depth().numpy(), expected)
    assert (test[0].depth()[:45] == 0).all()
    savemat(tmp_path / "splits.mat", {"testNdxs": np.array([[4]])})
    with pytest.raises(Unreadable, match=r"splits\.mat: picture 4 of 3"):
        open_dense(tmp_path, Depths)
    (tmp_path / "splits.mat").write_bytes(b"nothing")
    with pytest.raises(Unreadable, match=r"splits\.mat: no list testNdxs"):
        open_dense(tmp_path, Depths)


def test_another_hdf5_file_is_not_nyu(tmp_path: Path) -> None:
    (tmp_path / "nyu_depth_v2_labeled.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(Unreadable, match="not HDF5"):
        open_dense(tmp_path, Depths)
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        file["depths"] = np.ones((1, 4, 4))
    with pytest.raises(Unreadable, match="has no images"):
        open_dense(tmp_path, Depths)


def test_kitti_has_256_steps_a_metre_and_reaches_80(tmp_path: Path) -> None:
    stem = "2011_09_26_drive_0002_sync_{}_0000000005_image_02.png"
    root = tmp_path / "depth_selection/val_selection_cropped"
    photo(root / "image" / stem.format("image"), (3, 1))
    numbers(root / "groundtruth_depth" / stem.format("groundtruth_depth"), np.array([[0, 256, 640]], np.uint16))
    found = open_dense(tmp_path, Depths)
    assert found.far == 80
    assert found[0].depth().tolist() == [[0, 1, 2.5]]


def test_own_depth_is_millimetres_or_metres_and_nonsense_is_unknown(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.jpg", (3, 1))
    photo(tmp_path / "images/b.jpg", (3, 1))
    numbers(tmp_path / "depth/a.png", np.array([[0, 1500, 65535]], np.uint16))
    np.save(tmp_path / "depth/b.npy", np.array([[np.nan, np.inf, 1.25]]))
    found = open_dense(tmp_path, Depths)
    assert found[0].depth().tolist() == [[0, 1.5, pytest.approx(65.535)]]
    assert found[1].depth().tolist() == [[0, 0, 1.25]]
    np.save(tmp_path / "depth/b.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(Unreadable, match=r"b\.npy: no \.npy file of numbers"):
        read_depth(tmp_path / "depth/b.npy")
    np.save(tmp_path / "depth/b.npy", np.zeros(3))
    with pytest.raises(Unreadable, match=r"float64 \(3,\), and metres"):
        found[1].depth()


# -- boxes, films, points, instances ----------------------------------------------------------------------------------


def test_coco20k_keeps_the_lists_order_and_leaves_crowds_out(tmp_path: Path) -> None:
    content = {
        "images": [{"id": i, "file_name": f"COCO_train2014_{i:012}.jpg"} for i in (9, 25, 30)],
        "annotations": [
            {"image_id": 9, "category_id": 18, "bbox": [1.4, 2.6, 3.2, 1.0], "iscrowd": 0},
            {"image_id": 9, "category_id": 18, "bbox": [0, 0, 1, 1], "iscrowd": 1},
        ],
        "categories": [{"id": 18, "name": "dog"}],
    }
    file = tmp_path / "annotations/instances_train2014.json"
    lines(file, json.dumps(content))
    (tmp_path / "images/train2014").mkdir(parents=True)
    assert [len(open_dense(tmp_path, Boxed)), open_dense(tmp_path, Boxed).name] == [3, "COCO train2014"]
    chosen = [f"train2014/COCO_train2014_{i:012}.jpg" for i in (25, 9)]
    lines(tmp_path / "coco_20k_filenames.txt", *chosen)
    found = open_dense(tmp_path, Boxed)
    assert [len(found), found.name] == [2, "COCO 20k"]
    assert [found[0].boxes.shape, found[1].boxes.tolist(), found[1].names] == [(0, 4), [[1, 3, 5, 4]], ("dog",)]
    assert found[1].image == tmp_path / "images/train2014/COCO_train2014_000000000009.jpg"
    lines(tmp_path / "coco_20k_filenames.txt", "train2014/COCO_train2014_000000000077.jpg")
    with pytest.raises(Unreadable, match=r"000000000077\.jpg' is no picture"):
        open_dense(tmp_path, Boxed)
    lines(file, json.dumps({**content, "annotations": [{"image_id": 9}]}))
    with pytest.raises(Unreadable, match=r"instances_train2014\.json: an entry lacks or misnames 'category_id'"):
        open_dense(tmp_path, Boxed, "train2014")
    lines(file, json.dumps([]))
    with pytest.raises(Unreadable, match="not COCO's instances"):
        open_dense(tmp_path, Boxed, "train2014")


def test_davis_gives_frames_in_order_with_objects_by_number(tmp_path: Path) -> None:
    lines(tmp_path / "DAVIS/ImageSets/2017/val.txt", "bike-packing")
    for frame in range(3):
        photo(tmp_path / f"DAVIS/JPEGImages/480p/bike-packing/{frame:05}.jpg")
        mask = u8([0, 1, 2, frame])
        numbers(tmp_path / f"DAVIS/Annotations/480p/bike-packing/{frame:05}.png", mask, palette=True)
    clip = open_dense(tmp_path, Clips)[0]
    assert [clip.key, len(clip.frames)] == ["bike-packing", 3]
    assert [clip.masks(i).tolist() for i in range(3)] == [[[0, 1, 2, i]] for i in range(3)]
    (tmp_path / "DAVIS/Annotations/480p/bike-packing/00001.png").write_bytes(b"")
    with pytest.raises(Unreadable, match=r"00001\.png: empty file"):
        clip.masks(1)


def test_spair_pairs_have_points_and_the_targets_box(tmp_path: Path) -> None:
    name = "000001-2008_006481-2008_007698:cat"
    lines(tmp_path / "Layout/large/test.txt", name)
    pair = {
        "category": "cat",
        "src_imname": "2008_006481.jpg",
        "trg_imname": "2008_007698.jpg",
        "src_kps": [[1, 2], [3, 4]],
        "trg_kps": [[5, 6], [7, 8]],
        "src_bndbox": [0, 0, 9, 9],
        "trg_bndbox": [1, 1, 5, 3],
    }
    file = lines(tmp_path / f"PairAnnotation/test/{name}.json", json.dumps(pair))
    photo(tmp_path / "JPEGImages/cat/2008_006481.jpg")
    match = open_dense(tmp_path, Matched)[0]
    assert [match.category, match.source] == ["cat", tmp_path / "JPEGImages/cat/2008_006481.jpg"]
    assert match.source_points.tolist() == [[1, 2], [3, 4]]
    assert match.target_points.tolist() == [[5, 6], [7, 8]]
    assert match.target_box.tolist() == [1, 1, 5, 3]
    lines(file, json.dumps({**pair, "trg_kps": [[5, 6]]}))
    with pytest.raises(Unreadable, match="2 points in one picture and 1 in the other"):
        open_dense(tmp_path, Matched)[0]
    lines(file, json.dumps({**pair, "trg_kps": None}))
    with pytest.raises(Unreadable, match="not SPair's annotation"):
        open_dense(tmp_path, Matched)[0]


@pytest.mark.parametrize("form", ["lists.pkl", "arrays.pkl", "lists.json"])
def test_revisited_oxford_is_read_without_running_its_pickle(tmp_path: Path, form: str) -> None:
    entry: dict[str, Any] = {"bbx": [1.5, 2, 30, 40], "easy": [0], "hard": [2, 1], "junk": []}
    if form.startswith("arrays"):
        entry = {name: np.array(value, float if name == "bbx" else np.int64) for name, value in entry.items()}
    content = {"imlist": ["a", "b", "c"], "qimlist": ["all_souls_000013"], "gnd": [entry]}
    data = json.dumps(content).encode() if form.endswith("json") else pickle.dumps(content)
    (tmp_path / f"gnd_roxford5k.{form[-4:].lstrip('.')}").write_bytes(data)
    photo(tmp_path / "jpg/a.jpg")
    found = open_dense(tmp_path, Instances)
    query = found[0]
    assert [found.name, list(found.gallery)[2]] == ["roxford5k", tmp_path / "jpg/c.jpg"]
    assert (query.easy, query.hard, query.junk, query.box) == ((0,), (2, 1), (), (1.5, 2, 30, 40))
    assert query.image == tmp_path / "jpg/all_souls_000013.jpg"


def test_revisited_ground_truth_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jpg").mkdir()
    file = tmp_path / "gnd_rparis6k.pkl"
    entry = {"bbx": [0, 0, 1, 1], "easy": [3], "hard": [], "junk": []}
    for content, reason in (
        (pickle.dumps(Path("/")), "not a pickle of arrays alone"),
        (pickle.dumps({"imlist": []}), "not the revisited ground truth"),
        (pickle.dumps({"imlist": ["a"], "qimlist": ["q"], "gnd": [entry]}), "picture 3, and there are 1"),
        (pickle.dumps({"imlist": ["a"], "qimlist": [], "gnd": [entry]}), "not the revisited ground truth"),
    ):
        file.write_bytes(content)
        with pytest.raises(Unreadable, match=reason):
            open_dense(tmp_path, Instances)


# -- recognising ------------------------------------------------------------------------------------------------------


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SensoriumError, match=r"no films with a mask.*Known are DAVIS 2017: JPEGImages/480p"):
        open_dense(tmp_path, Clips)
    (tmp_path / "JPEGImages/480p").mkdir(parents=True)
    (tmp_path / "Annotations/480p").mkdir(parents=True)
    with pytest.raises(SensoriumError, match="looks like DAVIS 2017, but lacks ImageSets/2017"):
        open_dense(tmp_path, Clips)
    lines(tmp_path / "ImageSets/2017/val.txt", "bike")
    with pytest.raises(SensoriumError, match="DAVIS 2017 here has no part 'test-dev': val"):
        open_dense(tmp_path, Clips, "test-dev")
    with pytest.raises(Unreadable, match=r"bike: no such file"):
        open_dense(tmp_path, Clips)[0]
    with pytest.raises(Unreadable, match=r"no such folder\. By name there are composed"):
        open_dense(tmp_path / "none", Clips)
    with pytest.raises(Unreadable, match="a file: name its folder"):
        open_dense(lines(tmp_path / "a.txt", "x"), Clips)


def test_a_folder_may_hold_several_kinds(tmp_path: Path) -> None:
    voc(tmp_path)
    assert [(layout.name, layout.kind) for layout, _ in layouts_at(tmp_path)] == [
        ("Pascal VOC", Segmented),
        ("Pascal VOC", Boxed),
    ]
    assert layouts_at(tmp_path / "JPEGImages") == []


def test_folders_that_are_only_called_alike_are_no_layout(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.jpg")
    lines(tmp_path / "labels/a.txt", "0 0.5 0.5 1 1")
    lines(tmp_path / "annotations/a.xml", "<annotation/>")
    assert layouts_at(tmp_path) == []
    with pytest.raises(SensoriumError, match="ADE20K without any of its parts"):
        open_dense(tmp_path, Segmented)


def test_sets_pickle_and_slice(tmp_path: Path) -> None:
    found = pickle.loads(pickle.dumps(open_dense(voc(tmp_path), Segmented)))
    assert found[0:5][0].labels().tolist() == found[-1].labels().tolist() == [[0, 20, 255]]
    with pytest.raises(IndexError):
        found[1]
