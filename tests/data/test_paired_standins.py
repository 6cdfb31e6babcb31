"""Pictures paired with sounds, depth, heat and motion: what is read, what is drawn, and that no split leaks."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium.data.depth import read_depth
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.motion import MotionSteps, read_motion
from sensorium.data.sets import Pictures
from sensorium.data.sources.clips import Clips
from sensorium.data.standins import exercises, layers
from sensorium.data.standins.figures import POSES, figure
from sensorium.data.standins.stamp_sounds import OWN, stamp_sounds, voice
from sensorium.data.thermal import read_thermal
from tests import tiny_paired


@pytest.fixture(scope="module")
def stamps(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    folder = tmp_path_factory.mktemp("stamps")
    found = tiny_paired.stamps(folder, 24)
    first = found.rows[0][0]
    twin = first.with_name("thing0b.png")
    shutil.copy(first, twin)
    shutil.copy(first.with_name("thing0_desc_es.wav"), first.with_name("thing0b_desc_es.wav"))
    return replace(found, rows=(*found.rows, (twin, *found.rows[0][1:])))


def test_sounds_of_the_test_are_other_recordings_or_other_things(stamps: Pictures) -> None:
    found = stamp_sounds(stamps)
    parts = {split: found.only(split=split).rows for split in ("train", "test", "unseen")}
    things = {split: {row["text"] for row in rows} for split, rows in parts.items()}
    assert not things["unseen"] & (things["train"] | things["test"])
    assert things["test"] <= things["train"], "a thing that is asked for has been heard otherwise"
    heard = {split: {(row["audio"], row["begin"]) for row in rows} for split, rows in parts.items()}
    assert not heard["train"] & heard["test"]
    assert sum(map(len, parts.values())) == 24 * (len(tiny_paired.VOICES) + 2), (
        "twins once, own sounds two seconds at a time"
    )
    for text in things["train"]:
        voices = [voice(row["audio"]) for row in parts["train"] if row["text"] == text]
        assert len(set(voices) - {OWN}) >= 3
        assert OWN in voices
    assert {(row["begin"], row["end"]) for row in parts["test"] if voice(row["audio"]) == OWN} == {(3.0, 5.0)}
    first = next(row for row in parts["train"] if voice(row["audio"]) == OWN)
    assert (first["begin"], first["end"]) == (0.0, 2.0), "of the first three seconds, as many twos as there are whole"


def test_pictures_without_sounds(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(SensoriumError, match="no picture has a sound"):
        stamp_sounds(Pictures("mine", ((tmp_path / "a.png", ("A.",), 0),), ("A.",)))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    made = [tiny_paired.scenes(tmp_path_factory.mktemp(name)) for name in ("first", "second")]
    for row, other in zip(*(each.rows for each in made), strict=True):
        for sense in ("image", "depth", "thermal"):
            assert row[sense].read_bytes() == other[sense].read_bytes(), "the same on every machine"
    return made[0]


def test_a_thing_stands_before_its_ground_and_has_its_warmth(scenes: Clips) -> None:
    for row in scenes.only(split="test").rows:
        metres = np.asarray(Image.open(row["depth"])) / 1000
        heat = read_thermal(row["thermal"])
        assert heat.celsius is not None
        kind, celsius = scenes.classes[row["label"]], heat.celsius.numpy()
        warm = "warm" in kind
        middle = (celsius.min() + celsius.max()) / 2
        where = celsius > middle if warm else celsius < middle
        assert 0.05 < where.mean() < 0.95, kind
        rows, columns = (int(np.median(each)) for each in np.nonzero(where))
        assert metres[rows, columns] < metres[0, columns] * 0.95
        assert abs(float(celsius[rows, columns]) - (30 if warm else 6)) < 6
        assert "focal length 110 px" in read_depth(row["depth"]).got, "depth.json says it"


def test_pairs_of_things_that_training_never_saw_together(scenes: Clips) -> None:
    train, asked = scenes.only(split="train"), scenes.only(split="pairs")
    seen = {frozenset(row["labels"]) for row in train.rows}
    assert all(len(row["labels"]) == 2 for row in asked.rows)
    assert not seen & {frozenset(row["labels"]) for row in asked.rows}
    met = {label for row in train.rows for label in row["labels"]}
    assert not met & {row["label"] for row in scenes.only(split="unseen").rows}
    assert layers.caption(["A dog.", "A violin."]) == "A dog and a violin."
    assert train[0]["text"] == scenes.classes[train[0]["label"]]


def test_motion_is_kept_whole_and_people_apart(tmp_path: Path) -> None:
    made = tiny_paired.recordings(22)
    found = exercises.opened(exercises.drawn(goal=tmp_path / "made", recordings=made))
    assert len(found.only(split="train")) == 3 * sum(each.split == "train" for each in made), "windows overlap"
    assert len(found.only(split="test")) == 2 * sum(each.split == "test" for each in made), "and do not where asked"
    row = found.only(split="train")[1]
    assert (row["begin"], row["end"], row["text"]) == (2.5, 7.5, POSES[row["label"]].captions)
    recording = read_motion(row["motion"])
    wanted = made[int(row["motion"].stem[1:])]
    np.testing.assert_allclose(recording.readings, wanted.readings * ([9.80665] * 3 + [1] * 3), rtol=1e-5)
    assert MotionSteps(steps=50)(recording).shape == (1, 6, 50)


def test_no_two_poses_look_alike() -> None:
    assert len({pose.name for pose in POSES}) == len(POSES) == len(exercises.EXERCISES) + len(exercises.ACTIVITIES)
    looks = [[np.asarray(figure(np.random.default_rng(i), pose), float) for i in range(4)] for pose in POSES]
    for same in range(4):  # the same dice: the same build and colours
        apart = [np.abs(looks[a][same] - looks[b][same]).mean() for a in range(11) for b in range(a)]
        assert min(apart) > 0.5
    mirrored = figure(np.random.default_rng(0), POSES[1], left=True)
    assert np.abs(np.asarray(mirrored, float) - looks[1][0]).mean() > 3


def test_recordings_as_the_packages_have_them(tmp_path: Path) -> None:
    data = {
        "X": [np.ones((300, 6)), np.full((260, 6), 2.0)],
        "y": np.array([1, 0]),
        "y_labels": ["PEN", "ABD"],
        "subject": np.array([1, 9]),
        "side": np.array([1.0, 0.0]),
    }
    np.save(tmp_path / "watch.npy", np.array(data, dtype=object), allow_pickle=True)
    first, second = exercises.watch(tmp_path / "watch.npy")
    assert (first.kind, first.split, first.left, first.readings.shape) == ("ABD", "train", False, (300, 6))
    assert (second.kind, second.split, second.left, float(second.readings[0, 0])) == ("PEN", "test", True, 2.0)
    (tmp_path / "a.ts").write_text("#told\n@data\n" + ":".join(["1,2,3"] * 6) + ":Walking\n")
    (walk,) = exercises.basic_motions({"test": tmp_path / "a.ts"})
    assert (walk.kind, walk.split, walk.readings.shape) == ("Walking", "test", (3, 6))
    (tmp_path / "a.ts").write_text("1,2,3:1,2,3:Walking\n")
    with pytest.raises(Unreadable, match="recording 1 is not as published"):
        list(exercises.basic_motions({"test": tmp_path / "a.ts"}))
    (tmp_path / "watch.npy").write_bytes(b"no array")
    with pytest.raises(Unreadable, match=r"no \.npy file"):
        list(exercises.watch(tmp_path / "watch.npy"))
