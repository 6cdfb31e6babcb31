"""Patch features of pictures of any size: where patches lie in the picture, and what is kept of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sensorium.data.dense import Segmented, SegmentedPicture
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.preprocess import Preprocess
from sensorium.tasks import dense_linear
from sensorium.tasks.dense_features import Patches, View
from sensorium.tasks.dense_linear import Bank
from sensorium.tasks.features import Progress
from sensorium.tasks.loading import in_memory
from tests import tiny
from tests.tiny_dense import colours


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_sides_are_whole_patches_of_about_the_same_shape() -> None:
    davis = View(short=60)  # the example of DINOv3's footnote 2: 480 x 854 at 960, patches of 16
    assert davis.sides(480, 854, (16, 16)) == (960, 1712)
    assert View(short=69).sides(480, 854, (14, 14)) == (966, 1722)
    assert View(long=64).sides(300, 500, (16, 16)) == (608, 1024)
    assert View().sides(301, 499, (16, 16)) == (301, 499)
    assert View(short=2).sides(1, 1000, (4, 4)) == (8, 8000)


@given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 40))
def test_the_named_side_has_the_patches_named(height: int, width: int, patches: int) -> None:
    rows, columns = (side // 8 for side in View(short=patches).sides(height, width, (8, 8)))
    assert min(rows, columns) == patches
    rows, columns = (side // 8 for side in View(long=patches).sides(height, width, (8, 8)))
    assert max(rows, columns) == patches


def test_points_find_their_patch() -> None:
    """A patch's centre is where its feature is; between two of them it is between the two."""
    seen = Patches(colours(), View(short=6))(picture(30, 50))
    assert seen.grid == (6, 10)
    assert torch.allclose(seen.at(seen.centres()), seen.patches.flatten(1).mT, atol=1e-6)
    assert seen.centres()[0].tolist() == [2.5, 2.5]
    between = seen.at(torch.tensor([[5.0, 2.5]]))[0]
    assert torch.allclose(between, seen.patches[:, 0, :2].mean(1), atol=1e-6)
    outside = seen.at(torch.tensor([[0.0, 0.0]]))[0]
    assert torch.allclose(outside, seen.patches[:, 0, 0], atol=1e-6)


def test_a_picture_at_its_own_size_is_filled_up() -> None:
    seen = Patches(colours(), View())(picture(9, 18))
    assert (seen.grid, seen.size, seen.shown) == ((3, 5), (9, 18), (9, 18))
    assert seen.scale.tolist() == [1, 1]
    assert torch.allclose(seen.at(torch.tensor([[6.0, 2.0]]))[0], seen.patches[:, 0, 1], atol=1e-6)
    whole = Patches(colours(), View())(picture(9, 18)[:8, :16])
    assert torch.equal(seen.patches[:, :2, :4], whole.patches)


@pytest.mark.parametrize("build", ["vit", "clip"])
def test_blocks_side_by_side_and_batches_of_one(build: str) -> None:
    model = tiny.build(tiny.VIT if build == "vit" else tiny.CLIP_VIT)
    embedder = in_memory(model, Preprocess(32))
    seen = Patches(embedder, View(short=4, blocks=(0, 1)))(picture(32, 40))
    width = 192 if build == "vit" else 64
    assert seen.stored.shape == (2 * width, 4, 5)
    last = Patches(embedder, View(short=4))(picture(32, 40))
    assert torch.equal(seen.stored[width:], last.stored)
    with pytest.raises(SensoriumError, match=r"has blocks 0 to 1; asked for: 2"):
        Patches(embedder, View(blocks=(2,)))


def test_models_without_patches_are_told_so() -> None:
    with pytest.raises(SensoriumError, match="does not read pictures as patches"):
        Patches(in_memory(tiny.build(tiny.CLIP_RESNET), Preprocess(64)), View())


@pytest.fixture
def files(tmp_path: Path) -> Segmented:
    """Five pictures, the third of them damaged; their labels are 0."""
    for number in range(5):
        Image.fromarray(picture(20 + number, 30)).save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"\x89PNG nothing")

    def at(index: int) -> SegmentedPicture:
        file = tmp_path / f"{index}.png"
        return SegmentedPicture(image=file, key=file.name, read=lambda: torch.zeros(20, 30, dtype=torch.uint8))

    return Segmented(name="five", length=5, at=at, classes=("a",))


def test_what_is_kept_is_not_computed_again(files: Segmented, tmp_path: Path) -> None:
    told: list[Progress] = []
    keep = tmp_path / "kept"
    patches = Patches(colours(), View(short=4), keep=keep)
    first = Bank(patches, files, progress=told.append, stage="looking")
    assert (first.rows, patches.computed) == ([0, 1, 3, 4], 4)
    assert [each.path for each in first.unreadable] == ["2.png"]
    assert [(each.done, each.total, each.stage) for each in told] == [(n, 5, "looking") for n in range(1, 6)]
    again = Patches(colours(), View(short=4), keep=keep)
    second = Bank(again, files, stage="looking")
    assert again.computed == 0
    assert again.rate == 0
    plain = Bank(Patches(colours(), View(short=4)), files, stage="looking")
    for one, two, three in zip(first, second, plain, strict=True):
        assert torch.equal(one.stored, two.stored)
        assert torch.equal(one.stored, three.stored), "kept or not, the numbers are the same"
    damaged = next(keep.rglob("*.safetensors"))
    damaged.write_bytes(b"nothing")
    third = Patches(colours(), View(short=4), keep=keep)
    Bank(third, files, stage="looking")
    assert third.computed == 1
    other = Patches(replace(colours(), fingerprint="other"), View(short=4), keep=keep)
    Bank(other, files, stage="looking")
    assert other.computed == 4, "features of other weights are not these"
    wider = Patches(colours(), View(short=5), keep=keep)
    Bank(wider, files, stage="looking")
    assert wider.computed == 4
    next(keep.rglob("*.safetensors")).unlink()
    for file in keep.rglob("*.safetensors"):
        file.unlink()
    with pytest.raises(SensoriumError, match="gone or damaged"):
        second[0]


def test_more_than_memory_holds_wants_a_folder(
    files: Segmented, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense_linear, "MEMORY", 1000)
    with pytest.raises(SensoriumError, match="5 pictures take about 0 GB: name a folder for them with --keep"):
        Bank(Patches(colours(), View(short=4)), files, stage="looking")
    assert len(Bank(Patches(colours(), View(short=4), keep=tmp_path / "kept"), files, stage="looking")) == 4


def test_numbers_that_are_not_finite_are_named() -> None:
    embedder = colours()
    assert embedder.model is not None
    embedder.model.get_parameter("patches.project.bias").data[0] = torch.inf
    with pytest.raises(SensoriumError, match="not finite, first for a picture"):
        Patches(embedder, View(short=2))(picture(8, 8), "a picture")
    with pytest.raises(Unreadable, match="gone"):
        Patches(colours(), View())("nowhere.png", "gone")
