"""Sets that are made here: of stamps that the test draws; rooms where Bullet is installed; the real motorcycle."""

import json
import pickle
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from sensorium.app.cli import main
from sensorium.data.dense import Boxed, Clips, Depths, Instances, Matched, Segmented
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.image import read_pixels
from sensorium.data.layouts import open_dense
from sensorium.data.sets import stamps
from sensorium.data.standins import composed, cutouts, rendered, rooms
from sensorium.data.standins.cutouts import CLASSES, moved, on_canvas, placed


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module", autouse=True)
def things(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[cutouts.Cutout]]]:
    """Four stamps a class, of colours and shapes of their own, with room around; and one that is too small."""
    root = tmp_path_factory.mktemp("stamps") / "stamps"
    random = np.random.default_rng(0)
    for folder in (*CLASSES[1:], "medical"):
        for number in range(5):
            image = Image.new("RGBA", (150, 130))
            size = random.integers(70, 110, 2) if number < 4 else (20, 20)
            box = (20, 10, 20 + int(size[0]), 10 + int(size[1]))
            draw = ImageDraw.Draw(image)
            (draw.ellipse, draw.rectangle)[number % 2](box, fill=(*random.integers(0, 256, 3).tolist(), 255))
            draw.line((box[0] + 15, box[1] + 15, box[2] - 15, box[3] - 15), fill=(255, 255, 255, 255), width=5)
            (root / folder).mkdir(parents=True, exist_ok=True)
            image.save(root / folder / f"{number}.png")
            (root / folder / f"{number}.txt").write_text(f"{folder} {number}\n", encoding="utf-8")
    made = cutouts.cutouts(stamps(root.parent))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composed, "_cutouts", lambda: made)
        yield made


def test_parts_share_no_caption_and_every_class_is_in_both(things: dict[str, list[cutouts.Cutout]]) -> None:
    train, validation = ({thing.caption for thing in things[part]} for part in ("train", "validation"))
    assert not train & validation
    assert len(train | validation) == 4 * 8, "neither the small ones nor those of medical"
    for part in things.values():
        assert {thing.label for thing in part} == set(range(1, len(CLASSES)))


@given(
    centre=st.tuples(st.floats(30, 98), st.floats(30, 98)),
    scale=st.floats(0.3, 2.0),
    turn=st.floats(-3, 3),
    shear=st.floats(-0.3, 0.3),
    spot=st.tuples(st.integers(30, 69), st.integers(20, 59)),
)
@settings(max_examples=40, deadline=None)
def test_pixels_go_where_the_map_sends_points(
    centre: tuple[float, float], scale: float, turn: float, shear: float, spot: tuple[int, int]
) -> None:
    """The middle of a bright spot, measured on the canvas, is the mapped middle of the spot."""
    pixels = np.full((80, 100, 4), (0, 0, 0, 255), np.uint8)
    rows, columns = np.mgrid[:80, :100]
    bell = np.exp(-((columns - spot[0]) ** 2 + (rows - spot[1]) ** 2) / (2 * 4.0**2))
    pixels[..., 0] = (255 * bell).astype(np.uint8)
    by = placed(pixels.shape, (64, 64), scale, turn, shear)
    by[:, 2] += np.array([64, 64]) - moved(np.array([spot]) + 0.5, by)[0]  # so that all of it is on the canvas
    by[:, 2] += np.array(centre) - 64
    colours, alpha = on_canvas(pixels, by, 128)
    expected = moved(np.array([spot]) + 0.5, by)[0]
    red = colours[..., 0] * (alpha > 0.99)
    y, x = np.mgrid[:128, :128] + 0.5
    found = np.array([(red * x).sum(), (red * y).sum()]) / red.sum()
    if red.sum() > 0.8 * 2 * np.pi * 16 * 255 * abs(np.linalg.det(by[:, :2])):  # whole within canvas and cut-out
        np.testing.assert_allclose(found, expected, atol=0.25)


@pytest.mark.parametrize("kind", [Segmented, Boxed, Matched, Clips, Instances])
def test_items_are_the_same_every_time(kind: type, things: dict[str, list[cutouts.Cutout]]) -> None:
    made = open_dense("composed", kind)
    again = pickle.loads(pickle.dumps(open_dense("composed", kind)))

    def pixels(item: object) -> np.ndarray:
        for name in ("image", "source", "frames"):
            if hasattr(item, name):
                return np.asarray(getattr(item, name))
        raise AssertionError(item)

    assert made.about == composed.ABOUT
    np.testing.assert_array_equal(pixels(made[1]), pixels(again[1]))
    assert (pixels(made[0]) != pixels(made[1])).any()
    assert (pixels(open_dense("composed", kind, "train")[1]) != pixels(made[1])).any()


@given(index=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_boxes_bound_what_is_seen_and_labels_are_the_things_classes(index: int) -> None:
    scene = composed.scene("validation", index)
    boxed, segmented = composed.boxed(count=10_001)[index], composed.segmented(count=10_001)[index]
    np.testing.assert_array_equal(boxed.image, segmented.image)
    labels = segmented.labels()
    assert labels.shape == boxed.image.shape[:2]
    assert len(boxed.boxes) == len(scene.things) == len({thing.path for thing in scene.things})
    for number, (thing, box, name) in enumerate(zip(scene.things, boxed.boxes, boxed.names, strict=True), 1):
        mask = torch.from_numpy(scene.numbers == number)
        left, top, right, bottom = (int(side) for side in box)
        assert mask[top:bottom, left:right].sum() == mask.sum()
        sides = mask[top, :], mask[bottom - 1, :], mask[:, left], mask[:, right - 1]
        assert all(side.any() for side in sides), "no tighter box"
        assert CLASSES[thing.label] == name
        assert (labels[mask] == thing.label).all()
    assert (labels[torch.from_numpy(scene.numbers == 0)] == 0).all()


def test_points_of_a_pair_lie_on_the_thing_and_one_affine_map_joins_them() -> None:
    for index in range(6):
        match = composed.matched()[index]
        points = [each.double().numpy() for each in (match.source_points, match.target_points)]
        assert points[0].shape == (composed.POINTS, 2)
        ones = np.column_stack([points[0], np.ones(len(points[0]))])
        affine, *_ = np.linalg.lstsq(ones, points[1], rcond=None)
        np.testing.assert_allclose(ones @ affine, points[1], atol=1e-3)
        for image, place, box in zip(
            (match.source, match.target), points, (match.source_box, match.target_box), strict=True
        ):
            left, top, right, bottom = box.tolist()
            assert (place > [left, top]).all()
            assert (place < [right, bottom]).all()
            shape = np.asarray(image).shape
            assert 0 <= left < right <= shape[1]
            assert 0 <= top < bottom <= shape[0]


def test_things_of_a_film_begin_whole_and_move() -> None:
    for index in range(4):
        clip = composed.clips()[index]
        first, last = clip.masks(0), clip.masks(len(clip.frames) - 1)
        objects = set(first.unique().tolist()) - {0}
        assert objects in ({1, 2}, {1, 2, 3})
        for number in objects & set(last.unique().tolist()):
            begin, end = ((mask == number).nonzero().float().mean(0) for mask in (first, last))
            assert (begin - end).abs().max() > 30
        with pytest.raises(IndexError):
            clip.masks(len(clip.frames))


def test_every_picture_of_the_gallery_belongs_to_one_query_or_to_none() -> None:
    found = composed.instances()
    numbers = [number for query in found for number in (*query.easy, *query.hard, *query.junk)]
    assert sorted(numbers) == list(range(len(found) * composed.VIEWS))
    assert len(found.gallery) > len(numbers), "and pictures that show none"
    wanted, company = composed.halves("validation")
    assert not {thing.caption for thing in wanted} & {thing.caption for thing in company}
    assert all(np.asarray(found.gallery[number]).shape == (256, 256, 3) for number in (0, 3, 4, -1))
    assert found.gallery[0:2][1].tolist() == found.gallery[1].tolist()


def test_what_a_standin_lacks_is_said() -> None:
    with pytest.raises(SensoriumError, match="composed has no pictures with depth; it has pictures with a class"):
        open_dense("composed", Depths)
    with pytest.raises(SensoriumError, match="composed has no part 'test': validation, train"):
        open_dense("composed", Boxed, "test")
    with pytest.raises(SensoriumError, match="composed has no part 'test'"):
        _ = composed.segmented("test", 1)[0]


# -- rooms ------------------------------------------------------------------------------------------------------------


def test_rooms_that_are_drawn_need_no_renderer(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = rendered.place() / "validation"
    for kind in ("images", "depth", "labels"):
        (part / kind).mkdir(parents=True)
    Image.new("RGB", (2, 1)).save(part / "images/00000.png")
    Image.fromarray(np.array([[2500, 0]], np.uint16)).save(part / "depth/00000.png")
    Image.fromarray(np.array([[1, 255]], np.uint8)).save(part / "labels/00000.png")
    (part / "classes.txt").write_text("\n".join(rooms.CLASSES), encoding="utf-8")
    depths, segmented = open_dense("rendered", Depths), open_dense("rendered", Segmented)
    assert [depths.name, depths[0].depth().tolist()] == ["rendered validation", [[2.5, 0]]]
    assert [segmented.classes[:2], segmented[0].labels().tolist()] == [("floor", "wall"), [[1, 255]]]
    with pytest.raises(Unreadable, match="no such file"):
        open_dense("rendered", Depths, "train")


def test_without_the_renderer_rooms_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SensoriumError, match=r"pip install 'sensorium\[scenes\]'"):
        open_dense("rendered", Depths)


def test_a_renderer_that_stops_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered.importlib.util, "find_spec", lambda _: object())
    with pytest.raises(SensoriumError, match=r"the renderer stopped \(\w+Error: "):
        rendered.drawn(goal=tmp_path / "goal/rooms", counts={"nonsense": 1})
    assert list((tmp_path / "goal").iterdir()) == []


needs_bullet = pytest.mark.skipif(find_spec("pybullet") is None, reason="rooms are rendered by pybullet")


@needs_bullet
def test_depth_is_that_of_the_floor_and_the_walls(tmp_path: Path) -> None:
    """Where a pixel's ray meets the planes is known without a renderer."""
    made = rooms.Rooms(tmp_path)
    classes, taken = made.build(np.random.default_rng(5))
    eye, at, light = rooms.camera(np.random.default_rng(6), taken)
    _, metres, bodies = made.look(eye, at, light)
    made.close()
    ahead = (at - eye) / np.linalg.norm(at - eye)
    right = np.cross(ahead, [0, 0, 1])
    right /= np.linalg.norm(right)
    up = np.cross(right, ahead)
    side = np.tan(np.radians(rooms.VIEW / 2)) * ((np.arange(rooms.SIZE) + 0.5) / rooms.SIZE * 2 - 1)
    rays = ahead + side[None, :, None] * right - side[:, None, None] * up
    with np.errstate(divide="ignore"):
        floor = -eye[2] / rays[..., 2]
        walls = [(sign * (rooms.ROOM - 0.05) - eye[axis]) / rays[..., axis] for axis in (0, 1) for sign in (-1, 1)]
    wall = np.min([np.where(each > 0, each, np.inf) for each in walls], axis=0)
    shown = np.vectorize(lambda body: classes.get(body, -1))(bodies)
    for label, expected in ((0, floor), (1, wall)):
        there = shown == label
        assert there.sum() > 500
        np.testing.assert_allclose(metres[there], expected[there], rtol=0.012)
        assert np.median(np.abs(metres[there] / expected[there] - 1)) < 0.004
    assert set(shown.ravel()) - {0, 1, -1}, "something stands there"


@needs_bullet
def test_rooms_are_the_same_every_time(tmp_path: Path) -> None:
    said: list[tuple[str, int, int]] = []
    first = rendered.drawn(lambda *each: said.append(each), tmp_path / "a", {"train": 2})
    again = rendered.drawn(None, tmp_path / "b", {"train": 2})
    for file in ("images/00001.png", "depth/00001.png", "labels/00001.png"):
        np.testing.assert_array_equal(Image.open(first / "train" / file), Image.open(again / "train" / file))
    assert (read_pixels(first / "train/images/00000.png") != read_pixels(first / "train/images/00001.png")).any()
    assert said
    assert said[-1][::2] == ("train", 2)
    assert rendered.drawn(None, tmp_path / "a", {"train": 9}) == first, "what is there is kept"


def test_the_motorcycle_is_between_two_and_five_metres_away() -> None:
    found = open_dense("stereo", Depths)
    depth = found[0].depth()
    assert depth.shape == read_pixels(found[0].image).shape[:2]
    known = depth[depth > 0]
    assert 0.9 < len(known) / depth.numel() < 0.95
    assert 2 < known.min() < known.max() < 5.1
    disparity = np.load(Path(found[0].image).with_name("motorcycle_disp.npz"))["arr_0"]
    assert float(depth[250, 370]) == pytest.approx(994.978 * 0.193001 / (float(disparity[250, 370]) + 31.086))


# -- the command ------------------------------------------------------------------------------------------------------


def test_show_tells_kinds_parts_and_what_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("images", "labels", "depth"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
    for name in ("a", "b"):
        Image.new("RGB", (4, 3)).save(tmp_path / f"mine/images/{name}.jpg")
        Image.fromarray(np.ones((3, 4), np.uint8)).save(tmp_path / f"mine/labels/{name}.png")
        Image.fromarray(np.full((3, 4), 1500, np.uint16)).save(tmp_path / f"mine/depth/{name}.png")
    (tmp_path / "mine/classes.txt").write_text("ground\ntree\n", encoding="utf-8")
    assert main(["data", "show", str(tmp_path / "mine")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "pictures with a class at every pixel, 2 items, 2 classes" in out
    assert "pictures with depth, 2 items" in out
    assert "shows=tree" in out
    assert "metres=1.50-1.50 known=100%" in out
    Image.fromarray(np.ones((3, 5), np.uint8)).save(tmp_path / "mine/labels/b.png")
    assert main(["data", "show", str(tmp_path / "mine"), "--json"]) == 1
    labels, depth = json.loads(capsys.readouterr().out)
    assert labels["problems"] == [f"{tmp_path}/mine/images/b.jpg: 4 x 3 pixels, and its truth has 5 x 3"]
    assert [depth["problems"], depth["metres"], depth["parts"]] == [[], [0.001, 10.0], ["all"]]


def test_list_and_show_know_the_standins(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list", "--json"]) == 0
    listed = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert listed["composed"]["licence"] == "GPL-2"
    assert "no photographs" in listed["rendered"]["about"]
    assert main(["data", "show", "stereo", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert [shown["items"], shown["first"]["size"], shown["problems"]] == [1, "741x500", []]
