"""Tracking: J and F by hand and against skimage's morphology, labels that travel, and painted squares on the move."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import skimage.morphology
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from PIL import Image

from sensorium.data.dense import Clip, Clips
from sensorium.data.errors import SensoriumError
from sensorium.tasks.dense_features import View
from sensorium.tasks.protocols import How
from sensorium.tasks.tracking import DINO, Propagation, boundary, boundary_f, jaccard, one_hot, propagate, sharp, track
from tests.tiny_dense import colours


def square(left: int, top: int, side: int, size: int = 100) -> torch.Tensor:
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_j_of_shifted_squares() -> None:
    """20 x 20, moved by 5: 300 pixels of 500."""
    one, other = square(10, 10, 20), square(15, 10, 20)
    assert jaccard(one, other) == 300 / 500
    assert jaccard(one, one) == 1
    assert jaccard(one, ~one) == 0
    nothing = torch.zeros_like(one)
    assert (jaccard(nothing, nothing), jaccard(one, nothing)) == (1, 0)


def test_boundaries_lie_half_a_pixel_up_and_left() -> None:
    """As in DAVIS' code: a pixel is one where its right, lower or lower right neighbour differs."""
    found = boundary(square(2, 2, 2, 6)).int().tolist()
    assert found == [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 1, 0, 1, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    assert not boundary(torch.ones(4, 4, dtype=torch.bool)).any(), "the edge of the picture is none"


def test_f_of_shifted_squares() -> None:
    """100 x 100 has a diagonal of 141.4: boundaries may be off by 2 pixels, rounded up from 1.13."""
    one = square(10, 10, 20)
    assert boundary_f(one, one) == 1
    assert boundary_f(square(12, 10, 20), one) == 1, "2 pixels aside are within"
    # 3 aside: an outline of 80 pixels, of which 21 on each upright side are off but for 2 pixels at each end
    wanted = 1 - (2 * 21 - 2 * 2 * 1) / 80
    found = boundary_f(square(13, 10, 20), one)
    assert 0.4 < found < 0.7
    assert found == pytest.approx(slow_f(square(13, 10, 20), one))
    assert found == pytest.approx(wanted, abs=0.06)
    nothing = torch.zeros_like(one)
    assert (boundary_f(nothing, nothing), boundary_f(one, nothing), boundary_f(nothing, one)) == (1, 0, 0)
    assert boundary_f(square(60, 60, 20), one) == 0


def slow_f(predicted: torch.Tensor, truth: torch.Tensor) -> float:
    radius = int(np.ceil(0.008 * np.hypot(*truth.shape)))
    own, right = boundary(predicted).numpy(), boundary(truth).numpy()
    disk = skimage.morphology.disk(radius)
    precision = (own & scipy.ndimage.binary_dilation(right, disk)).sum() / max(own.sum(), 1)
    recall = (right & scipy.ndimage.binary_dilation(own, disk)).sum() / max(right.sum(), 1)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@given(hnp.arrays(bool, (11, 170)), hnp.arrays(bool, (11, 170)))
@settings(max_examples=25, deadline=None)
def test_f_is_that_of_dilated_boundaries(one: np.ndarray, other: np.ndarray) -> None:
    first, second = torch.from_numpy(one), torch.from_numpy(other)
    if boundary(first).any() and boundary(second).any():
        assert boundary_f(first, second) == pytest.approx(slow_f(first, second))
    assert boundary_f(first, second) == boundary_f(second, first)


def test_labels_travel_to_what_is_alike() -> None:
    """Three patches in a row, one of each direction; the frame shows them in another order."""
    kinds = torch.eye(3)
    context, frame = kinds[:, [0, 1, 2]][:, None], kinds[:, [2, 0, 0]][:, None]
    labels = torch.eye(3)[:, None]
    how = Propagation(k=1, radius=5.0)
    assert propagate(frame, [context], [labels], how)[:, 0].argmax(0).tolist() == [2, 0, 0]
    near = propagate(frame, [context], [labels], replace(how, radius=1.0))[:, 0].argmax(0).tolist()
    assert near == [0, 0, 1], "the third is out of reach of the first two; of equals the first serves"
    soft = propagate(frame, [context], [labels], replace(how, k=3))[:, 0, 0]
    weights = np.exp(np.array([0, 0, 1]) / 0.2)
    assert soft.tolist() == pytest.approx((weights / weights.sum()).tolist())


def test_propagation_against_all_pairs_spelled_out() -> None:
    generator = torch.Generator().manual_seed(0)
    frames = [F.normalize(torch.randn(4, 5, 6, generator=generator), dim=0) for _ in range(3)]
    labels = [torch.rand(2, 5, 6, generator=generator) for _ in range(2)]
    for how in (Propagation(radius=2.3, k=4), replace(DINO, radius=2.0, k=4)):
        found = propagate(frames[2], frames[:2], labels, how)
        for y in range(5):
            for x in range(6):
                near: list[tuple[float, torch.Tensor]] = []
                for frame, label in zip(frames, labels, strict=False):
                    for v in range(5):
                        for u in range(6):
                            far = np.hypot(y - v, x - u) if how.circle else max(abs(y - v), abs(x - u))
                            if far <= how.radius:
                                near.append((float(frames[2][:, y, x] @ frame[:, v, u]), label[:, v, u]))
                best = sorted(near, key=lambda pair: -pair[0])[:4]
                weights = np.exp(np.array([cosine for cosine, _ in best]) / how.temperature)
                wanted = sum(w * label for w, (_, label) in zip(weights / weights.sum(), best, strict=True))
                assert torch.allclose(found[:, y, x], torch.as_tensor(wanted, dtype=torch.float32), atol=1e-5)


def test_masks_to_patches_and_back() -> None:
    mask = torch.zeros(8, 8, dtype=torch.uint8)
    mask[:4, 4:] = 7
    mask[4:, :4] = 255
    soft = one_hot(mask, [7], (2, 2))
    assert soft.tolist() == [[[1, 0], [1, 1]], [[0, 1], [0, 0]]]
    found = sharp(soft, (8, 8))
    assert found.shape == (8, 8)
    assert (int(found[0, 7]), int(found[7, 0])) == (1, 0)
    faint = sharp(torch.stack([torch.full((2, 2), 0.9), soft[1] * 0.1]), (8, 8))
    assert int(faint[0, 7]) == 1, "each object's share goes from 0 to 1: a faint one is not drowned by the ground"


def films(folder: Path, *, frames: int = 6) -> Clips:
    """Two squares, red and green, that drift over dark ground by whole patches, and a third that comes in later."""
    numbers: list[np.ndarray] = []
    for index in range(frames):
        labels = np.zeros((64, 96), dtype=np.uint8)
        labels[8 : 8 + 24, 4 * index : 4 * index + 24] = 1
        labels[36 : 36 + 20, 72 - 4 * index : 72 - 4 * index + 20] = 2
        if index > 2:
            labels[:8, 88:] = 3
        palette = np.array([(20, 20, 40), (230, 30, 30), (30, 220, 60), (20, 20, 40)], dtype=np.uint8)
        Image.fromarray(palette[labels]).save(folder / f"{index}.png")
        labels[:, 95] = 255
        numbers.append(labels)

    def read(index: int) -> torch.Tensor:
        return torch.from_numpy(numbers[index])

    def at(index: int) -> Clip:
        return Clip(key="drift", frames=[folder / f"{each}.png" for each in range(frames)], read=read)

    return Clips(name="films", length=1, at=at)


def test_squares_are_followed(tmp_path: Path) -> None:
    data = films(tmp_path)
    how = How(keep=tmp_path / "kept")
    result = track(colours(), data, view=View(short=16), how=how)
    assert result.metrics["J"] > 0.9
    assert result.metrics["F"] > 0.9
    assert result.metrics["J&F"] == pytest.approx((result.metrics["J"] + result.metrics["F"]) / 2)
    assert (result.own, result.pictures, result.settings["objects"]) == ("J&F", 6, 2), "what comes later is not asked"
    assert track(colours(), data, view=View(short=16), how=how).rate == 0
    assert track(colours(), data, view=View(short=16), propagation=DINO).settings["neighbourhood"] == "square"
    blind = colours()
    assert blind.model is not None
    blind.model.get_parameter("patches.project.weight").data.zero_()
    assert track(blind, data, view=View(short=16)).metrics["J"] < 0.7, "without colours labels stay where they are"
    coarse = track(colours(), data, view=View(short=4)).metrics["F"]
    assert coarse < result.metrics["F"]


def test_first_and_last_frames_are_not_measured(tmp_path: Path) -> None:
    data = films(tmp_path)
    clip = data[0]

    def without(*spoiled: int) -> Callable[[int], torch.Tensor]:
        return lambda index: torch.zeros(64, 96, dtype=torch.uint8) if index in spoiled else clip.masks(index)

    def spoiled(*which: int) -> float:
        film = replace(clip, read=without(*which))
        return track(colours(), replace(data, at=lambda index: film), view=View(short=16)).metrics["J"]

    assert spoiled(5) == spoiled()
    assert spoiled(4) == pytest.approx(spoiled() * 3 / 4, abs=0.02)


def test_pixels_that_count_for_nothing(tmp_path: Path) -> None:
    """The lower half of the picture is not judged after the first frame, whatever is said of it."""
    clip = films(tmp_path)[0]

    def half(index: int) -> torch.Tensor:
        mask = clip.masks(index).clone()
        mask[(20 if index else 64) :] = 255
        return mask

    film = replace(clip, read=half)
    result = track(colours(), Clips(name="half", length=1, at=lambda index: film), view=View(short=16))
    assert result.metrics["J"] > 0.9


def test_films_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    data = films(tmp_path)
    clip = data[0]
    (tmp_path / "bad.png").write_bytes(b"\x89PNG nothing")
    broken = replace(clip, key="broken", frames=[*clip.frames[:3], tmp_path / "bad.png"])
    result = track(colours(), replace(data, length=2, at=lambda index: (broken, clip)[index]), view=View(short=8))
    assert [each.path for each in result.unreadable] == ["broken, frame 3"]
    assert (result.settings["films"], result.settings["objects"]) == (1, 2)
    empty = replace(clip, read=lambda index: torch.zeros(64, 96, dtype=torch.uint8))
    with pytest.raises(SensoriumError, match="films: no film with an object in its first frame"):
        track(colours(), replace(data, at=lambda index: empty), view=View(short=8))
