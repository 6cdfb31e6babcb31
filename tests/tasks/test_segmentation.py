"""Linear segmentation: the measures by hand, and coloured squares, which a model of colours learns to the edge."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sensorium.data.dense import Segmented, SegmentedPicture
from sensorium.data.errors import SensoriumError
from sensorium.tasks.dense_features import View
from sensorium.tasks.dense_linear import DenseLinear, Training, upsampled
from sensorium.tasks.protocols import How
from sensorium.tasks.segmentation import confusion, linear_segmentation, overlap
from tests.tiny_dense import colours

PALETTE = np.array([[30, 30, 30], [220, 40, 40], [40, 200, 60]], dtype=np.uint8)


def test_measures_by_hand() -> None:
    """Two rows of truth 0, one of 1 and one ignored; class 2 is predicted once and never there; 3 is nowhere."""
    truth = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [255, 255, 255, 255]], dtype=torch.uint8)
    said = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 2], [1, 1, 0, 1], [1, 0, 2, 0]])
    table = confusion(said, truth, 4)
    assert table.tolist() == [[6, 1, 1, 0], [1, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    found = overlap(table)
    assert found.classes[:3].tolist() == pytest.approx([6 / 9, 3 / 5, 0])
    assert found.classes[3].isnan()
    assert found.miou == pytest.approx((6 / 9 + 3 / 5 + 0) / 3)
    assert found.macc == pytest.approx((6 / 8 + 3 / 4) / 2)
    assert found.aacc == pytest.approx(9 / 12)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60), st.integers(1, 59))
def test_pictures_add_up_to_one_table(pairs: list[tuple[int, int]], cut: int) -> None:
    """One matrix over all pictures: cutting the pixels into pictures otherwise changes nothing; perfect is 1."""
    said, truth = torch.tensor(pairs).T
    whole = confusion(said, truth, 3)
    assert torch.equal(whole, confusion(said[:cut], truth[:cut], 3) + confusion(said[cut:], truth[cut:], 3))
    assert 0 <= overlap(whole).miou <= 1
    assert overlap(confusion(truth, truth, 3)).miou == 1


def test_a_linear_layer_and_a_stretch_change_places() -> None:
    """Outputs of pictures of several sizes, stretched, are those of the stretched features."""
    torch.manual_seed(0)
    head = DenseLinear(5, 3).eval()
    maps = [torch.randn(5, 2, 3), torch.randn(5, 4, 2)]
    for found, each in zip(head(maps), maps, strict=True):
        large = upsampled(each, (each.shape[1] * 3, each.shape[2] * 3))
        assert torch.allclose(upsampled(found, large.shape[1:]), head([large])[0], atol=1e-6)


def squares(folder: Path, count: int, seed: int, *, noise: int = 10) -> Segmented:
    """Pictures of 48 x 64 with squares of two colours on dark ground, at whole patches; a border is not counted."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    truths: list[torch.Tensor] = []
    for number in range(count):
        labels = np.zeros((48, 64), dtype=np.uint8)
        for kind in (1, 2):
            y, x = 4 * random.integers(0, 8), 4 * random.integers(0, 12)
            labels[y : y + 16, x : x + 16] = kind
        pixels = PALETTE[labels].astype(int) + random.integers(-noise, noise + 1, (48, 64, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
        labels[:1] = 255
        truths.append(torch.from_numpy(labels))

    def read(index: int) -> Callable[[], torch.Tensor]:
        return lambda: truths[index]

    def at(index: int) -> SegmentedPicture:
        return SegmentedPicture(image=folder / f"{index}.png", key=f"{index}.png", read=read(index))

    return Segmented(name=folder.name, length=count, at=at, classes=("ground", "red", "green"))


QUICK = Training(steps=60, batch=4, rate=0.03, pixels=500)


def test_coloured_squares_are_learned(tmp_path: Path) -> None:
    train, test = squares(tmp_path / "train", 8, 0), squares(tmp_path / "test", 6, 1)
    (tmp_path / "test" / "3.png").write_bytes(b"\x89PNG nothing")
    how = How(keep=tmp_path / "kept")
    result = linear_segmentation(colours(), train, test, view=View(short=12), training=QUICK, how=how)
    assert result.metrics["mIoU"] > 0.9, "all but the stretched edges"
    assert (result.protocol, result.own, result.pictures) == ("segmentation", "mIoU", 5)
    assert [each.path for each in result.unreadable] == ["3.png"]
    assert result.settings["training pictures"] == 8
    again = linear_segmentation(colours(), train, test, view=View(short=12), training=QUICK, how=how)
    assert again.rate == 0
    assert again.metrics == result.metrics, "kept features and the seed give the same head"
    coarse = linear_segmentation(colours(), train, test, view=View(short=3), training=QUICK)
    assert coarse.metrics["mIoU"] < result.metrics["mIoU"] - 0.1, "patches of 16 pixels see less"
    untrained = linear_segmentation(colours(), train, test, view=View(short=12), training=replace(QUICK, steps=1))
    assert untrained.metrics["mIoU"] < result.metrics["mIoU"] - 0.2


def test_what_cannot_be_learned_is_said(tmp_path: Path) -> None:
    train, test = squares(tmp_path / "train", 2, 0), squares(tmp_path / "test", 2, 1)
    with pytest.raises(SensoriumError, match=r"train have other classes: 1 \(a\), 3 \(ground, red, green\)"):
        linear_segmentation(colours(), train, replace(test, classes=("a",)))

    def nothing(index: int) -> SegmentedPicture:
        return replace(train[index], read=lambda: torch.full((48, 64), 255, dtype=torch.uint8))

    with pytest.raises(SensoriumError, match="no training picture has a pixel that counts"):
        linear_segmentation(colours(), replace(train, at=nothing), test, training=replace(QUICK, steps=2))

    def strange(index: int) -> SegmentedPicture:
        return replace(train[index], read=lambda: torch.full((48, 64), 7, dtype=torch.uint8))

    with pytest.raises(SensoriumError, match="test: no pixel that counts"):
        linear_segmentation(colours(), train, replace(test, at=strange), training=replace(QUICK, steps=2))

    def broken(index: int) -> SegmentedPicture:
        return replace(train[index], image=tmp_path / "gone.png", key="gone")

    with pytest.raises(SensoriumError, match="train: none of the 2 pictures could be read: gone: no such file"):
        linear_segmentation(colours(), replace(train, at=broken), test, training=QUICK)
