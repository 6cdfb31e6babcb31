"""Sounds that ask for boxes: painted scenes, in which a model that knows four words sees what is where."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.dense import Boxed, BoxedPicture
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.region_files import open_regions, write_regions
from sensorium.data.regions import Regions
from sensorium.data.sensed import open_samples
from sensorium.tasks.features import Progress
from sensorium.tasks.prompted_detection import (
    Detected,
    Proposals,
    detect,
    detection,
    grid,
    matched,
    of_detector,
    of_regions,
    prompted_detection,
    scored,
)
from sensorium.tasks.protocols import How
from tests import tiny_detector
from tests.planted_senses import Planted, gray, sound

PLACES = {"dog": (4, 8, 36, 40), "cat": (50, 4, 74, 36), "rain": (56, 44, 88, 60)}


def scene(path: Path, *words: str) -> BoxedPicture:
    pixels = np.full((64, 96, 3), 255, np.uint8)
    for word in words:
        left, top, right, low = PLACES[word]
        pixels[top:low, left:right] = gray(word)
    Image.fromarray(pixels).save(path)
    boxes = torch.tensor([PLACES[word] for word in words], dtype=torch.float32).reshape(-1, 4)
    return BoxedPicture(image=path, key=str(path), boxes=boxes, names=words)


def read(pictures: list[BoxedPicture], index: int) -> BoxedPicture:
    return pictures[index]


def painted(tmp_path: Path) -> Boxed:
    pictures = [
        scene(tmp_path / "a.png", "dog", "cat"),
        scene(tmp_path / "b.png", "rain"),
        scene(tmp_path / "c.png", "cat"),
    ]
    (tmp_path / "d.png").write_bytes(b"no picture")
    pictures.append(BoxedPicture(image=tmp_path / "d.png", key="d.png", boxes=torch.zeros(0, 4)))
    return Boxed(name="painted", length=4, at=partial(read, pictures))


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for word in ("dog", "cat", "beach"):
        for number in range(2):
            sound(tmp_path / f"sounds/{word}/{number}.wav", word, phase=number)
    (tmp_path / "sounds/cat/bad.wav").write_bytes(b"RIFF nothing")
    return tmp_path / "sounds"


EVERYWHERE = Proposals(
    name="all places, and others",
    boxes=lambda key, picture: torch.tensor([*PLACES.values(), (0, 0, 96, 64), (5, 9, 36, 40)], dtype=torch.float32),
)


def test_a_sound_finds_what_it_belongs_to(tmp_path: Path, sounds: Path) -> None:
    planted = Planted()
    result = detection(planted.embedder(), painted(tmp_path), examples=open_samples(sounds), proposals=EVERYWHERE)
    assert result.metrics["AP50"] == 1
    assert (result.metrics["recall"], result.metrics["bound"]) == (1, 1)
    assert result.metrics["AP50 by names"] == 1
    assert result.metrics["AP50 by chance"] < 0.6
    assert result.settings["classes"] == 2, "of rain there is no sound, of the beach no box"
    assert (result.settings["boxes"], result.pictures, result.unit) == (3, 3, "picture")
    assert [Path(str(each).split(": ")[-2]).name for each in result.unreadable] == ["bad.wav", "d.png"]
    names = detection(planted.embedder(), painted(tmp_path), proposals=EVERYWHERE)
    assert (names.metrics["AP50"], names.settings["classes"]) == (1, 3)
    assert "AP50 by names" not in names.metrics
    sound(tmp_path / "other/beach/1.wav", "beach")
    sound(tmp_path / "other/frog/1.wav", "rain")
    with pytest.raises(SensoriumError, match="examples of beach, frog, painted boxes of cat, dog, rain: none of both"):
        detection(planted.embedder(), painted(tmp_path), examples=open_samples(tmp_path / "other"))


def test_regions_are_kept(tmp_path: Path, sounds: Path) -> None:
    told: list[Progress] = []
    how = How(keep=tmp_path / "kept", progress=told.append)
    test = painted(tmp_path)
    first = detection(Planted().embedder(), test, examples=open_samples(sounds), proposals=EVERYWHERE, how=how)
    assert (told[-1].done, told[-1].total, told[-1].stage) == (4, 4, "understanding regions")
    count = len(told)
    again = detection(Planted().embedder(), test, examples=open_samples(sounds), proposals=EVERYWHERE, how=how)
    assert again.metrics == first.metrics
    assert again.rate == 0
    assert [each.path for each in again.unreadable] == [each.path for each in first.unreadable]
    assert all(each.stage != "understanding regions" for each in told[count:])


def test_one_picture(tmp_path: Path) -> None:
    dog = torch.tensor([[1.0, 0, 0, 0, 0]])
    found = prompted_detection(
        Planted().embedder(), scene(tmp_path / "a.png", "dog", "cat").image, dog, proposals=EVERYWHERE
    )  # pyright: ignore[reportArgumentType]
    assert found.boxes[0].tolist() == list(PLACES["dog"])
    assert found.scores[0] == 1
    assert (5, 9, 36, 40) not in [tuple(box) for box in found.boxes.tolist()], "suppressed by the better one"
    with pytest.raises(Unreadable, match="no proposal of at least 4 pixels"):
        prompted_detection(
            Planted().embedder(),
            tmp_path / "a.png",
            dog,
            proposals=Proposals(name="none", boxes=lambda key, picture: torch.tensor([[0.0, 0, 2, 9]])),
        )


def test_prompt_by_prompt_the_best_stays() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]])
    vectors = torch.tensor([[2.0, 0], [1, 1], [0, 3]])
    found = detect(vectors, boxes, torch.eye(2))
    assert list(zip(found.prompts.tolist(), [box[0] for box in found.boxes.tolist()], strict=True)) == [
        (0, 0.0),
        (1, 20.0),
        (1, 0.0),
        (0, 20.0),
    ]
    assert found.boxes[2].tolist() == [0, 0, 10, 9], "for the second prompt the second box is the better one"
    assert len(detect(vectors, boxes, torch.eye(2), most=1).boxes) == 1


def test_a_box_is_found_once() -> None:
    truth = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    boxes = torch.tensor([[0.0, 0, 10, 8], [0, 0, 10, 10], [20, 0, 30, 4], [21, 0, 30, 10]])
    assert matched(boxes, truth).tolist() == [True, False, False, True]
    assert matched(boxes, truth[:0]).tolist() == [False] * 4


def test_precision_over_pictures_by_hand() -> None:
    box = torch.tensor([[0.0, 0, 10, 10]])
    here = BoxedPicture(image=b"", key="a", boxes=box, names=("dog",))
    there = BoxedPicture(image=b"", key="b", boxes=box + 50, names=("dog",))
    nothing = BoxedPicture(image=b"", key="c", boxes=box, names=("cat",))
    found = [
        (Detected(boxes=box, scores=torch.tensor([0.8]), prompts=torch.tensor([0])), here),
        (Detected(boxes=box, scores=torch.tensor([0.9]), prompts=torch.tensor([0])), nothing),
        (Detected(boxes=box, scores=torch.tensor([0.7]), prompts=torch.tensor([0])), there),
    ]
    # one of two dogs is found, second of three: a precision of 1/2 at a recall of 1/2
    assert scored(found, ["dog"]) == (pytest.approx(0.25), pytest.approx(0.5))
    assert scored(found, ["dog", "cat"])[1] == pytest.approx(0.25)
    assert scored(found, ["dog", "horse"])[1] == pytest.approx(0.5), "what has no boxes does not count"


def test_where_proposals_come_from(tmp_path: Path) -> None:
    boxes = grid(96, 64)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= torch.tensor([96.0, 64.0]) + 1e-3).all()
    assert [0, 0, 96, 64] in boxes.tolist()
    assert 40 < len(boxes) < 400
    picture = Image.new("RGB", (96, 64))
    kept = Regions(
        features=np.zeros((1, 2), np.float32), boxes=np.array([[0, 0, 24, 16]], np.float32), width=48, height=32
    )
    write_regions(tmp_path / "a.npz", kept)
    regions = of_regions("kept", open_regions(tmp_path))
    assert regions.boxes("folder/a.jpg", picture).tolist() == [[0, 0, 48, 32]]
    with pytest.raises(Unreadable, match="kept has no regions of b"):
        regions.boxes("b.jpg", picture)
    proposed = of_detector("tiny", tiny_detector.build(), most=7)
    found = proposed.boxes("a", picture)
    assert found.shape[1] == 4
    assert 0 < len(found) <= 7
    assert (found[:, 2:] <= torch.tensor([96.0, 64.0]) + 1e-3).all()
