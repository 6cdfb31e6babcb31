"""LOST and TokenCut: exact boxes on planted features, against slow spelled-out versions, and on painted pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from sensorium.data.dense import Boxed, BoxedPicture
from sensorium.data.errors import SensoriumError
from sensorium.tasks.components import box_of, component
from sensorium.tasks.dense_features import Patches, View
from sensorium.tasks.discovery import SWEEP, discover, in_picture, located, lost, tokencut
from sensorium.tasks.protocols import How
from tests.tiny_dense import colours


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)), st.integers(0, 80))
def test_components_are_scipys(mask: np.ndarray, seed: int) -> None:
    seed %= mask.size
    if not mask.flat[seed]:
        with pytest.raises(SensoriumError, match="not in the mask"):
            component(torch.from_numpy(mask), seed)
        return
    labelled, _ = scipy.ndimage.label(mask)
    wanted = labelled == labelled.flat[seed]
    found = component(torch.from_numpy(mask), seed)
    assert found.tolist() == wanted.tolist()
    rows, columns = np.nonzero(wanted)
    assert box_of(found).tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def planted(rows: int, columns: int, box: tuple[int, int, int, int]) -> torch.Tensor:
    """Ground of one direction, and a block of the opposite one: (left, top, right, bottom) in patches."""
    features = torch.zeros(4, rows, columns)
    features[0] = 1
    left, top, right, bottom = box
    features[:, top:bottom, left:right] = torch.tensor([-1.0, 0.5, 0, 0])[:, None, None]
    return features + 0.05 * torch.randn(features.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", [lost, tokencut])
@pytest.mark.parametrize("box", [(2, 1, 6, 5), (0, 0, 3, 2), (7, 4, 10, 8)])
def test_a_block_is_found_exactly(method: object, box: tuple[int, int, int, int]) -> None:
    assert callable(method)
    found = method(planted(8, 10, box))
    assert box_of(found).tolist() == list(box)
    left, top, right, bottom = box
    assert int(found.sum()) == (right - left) * (bottom - top)


def test_lost_votes_with_the_lowest_alone() -> None:
    """Seed, expansion and box, step by step, on features of no plan; k matters."""
    features = torch.randn(6, 7, 9, generator=torch.Generator().manual_seed(3))
    for k in (1, 5, 100):
        x = features.flatten(1).T.numpy()
        alike = x @ x.T
        degree = [(alike[p] > 0).sum() - 1 for p in range(63)]
        order = sorted(range(63), key=lambda p: degree[p])
        voters = [p for p in order[:k] if alike[order[0], p] > 0]
        labelled, _ = scipy.ndimage.label((alike[voters].sum(0) > 0).reshape(7, 9))
        wanted = labelled == labelled.flat[order[0]]
        assert lost(features, k=k).tolist() == wanted.tolist()
    assert lost(features, k=1).sum() != lost(features, k=5).sum()


def test_bias_makes_features_that_are_not_centred_fit() -> None:
    shifted = planted(8, 10, (2, 1, 6, 5))
    shifted[3] += 3
    assert lost(shifted).all(), "everything is like everything"
    assert box_of(lost(shifted, bias=-9.0)).tolist() == [2, 1, 6, 5]
    assert lost(shifted, bias=-1e6).sum() == 1, "nothing is like anything"


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.2, 0.5]))
@settings(max_examples=30, deadline=None)
def test_tokencut_is_the_generalised_eigenvector(seed: int, tau: float) -> None:
    """Against scipy's solver of (D - W) y = λ D y, where the second value is apart from the third."""
    features = torch.randn(5, 5, 6, generator=torch.Generator().manual_seed(seed))
    x = F.normalize(features.flatten(1), dim=0).double().numpy()
    weights = np.where(x.T @ x > tau, 1.0, 1e-5)
    values, vectors = scipy.linalg.eigh(np.diag(weights.sum(1)) - weights, np.diag(weights.sum(1)))
    second = vectors[:, 1]
    at = np.sort(np.abs(second))
    if values[2] - values[1] < 1e-9 or at[-1] - at[-2] < 1e-9 or np.abs(second - second.mean()).min() < 1e-9:
        return
    side = second > second.mean()
    place = int(np.abs(second).argmax())
    labelled, _ = scipy.ndimage.label((side == side[place]).reshape(5, 6))
    assert tokencut(features, tau=tau).tolist() == (labelled == labelled.flat[place]).tolist()


def test_what_counts_as_located() -> None:
    truth = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    assert located(torch.tensor([0.0, 0, 10, 5]), truth), "half of the union is enough"
    assert not located(torch.tensor([0.0, 0, 10, 4.9]), truth)
    assert located(torch.tensor([50.0, 51, 60, 61]), truth), "any object will do"


def test_boxes_are_in_pixels_of_the_picture() -> None:
    seen = Patches(colours(), View())(np.zeros((9, 18, 3), dtype=np.uint8))
    mask = torch.zeros(3, 5, dtype=torch.bool)
    mask[1:, 2:] = True
    assert in_picture(mask, seen).tolist() == [8, 4, 18, 9], "what was filled up is no part of it"
    seen = Patches(colours(), View(short=3))(np.zeros((24, 48, 3), dtype=np.uint8))
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[1, 2:4] = True
    assert in_picture(mask, seen).tolist() == [16, 8, 32, 16]


@pytest.fixture
def things(tmp_path: Path) -> Boxed:
    """A bright rectangle on dark blue ground, at whole patches; one picture without an object, one damaged."""
    boxes = [(8, 4, 24, 20), (0, 8, 16, 24), (12, 12, 32, 28), (4, 4, 8, 8)]
    for number, (left, top, right, bottom) in enumerate(boxes):
        pixels = np.full((35, 42, 3), (10, 10, 120), dtype=np.uint8)
        pixels[top:bottom, left:right] = (250, 240, 60)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"\x89PNG nothing")

    def at(index: int) -> BoxedPicture:
        rows = torch.tensor([boxes[index]]).float()
        return BoxedPicture(image=tmp_path / f"{index}.png", key=f"{index}.png", boxes=rows if index < 3 else rows[:0])

    return Boxed(name="things", length=4, at=at)


@pytest.mark.parametrize("method", ["lost", "tokencut"])
@pytest.mark.parametrize("what", ["keys", "tokens"])
def test_painted_things_are_discovered(things: Boxed, method: str, what: str, tmp_path: Path) -> None:
    how = How(keep=tmp_path / "kept")
    result = discover(colours(), things, method=method, view=View(what=what), how=how)  # pyright: ignore
    assert result.metrics == {"CorLoc": 1.0}
    assert (result.pictures, [each.path for each in result.unreadable]) == (2, ["2.png"])
    assert (result.settings["method"], result.settings["reads"]) == (method, what)
    assert discover(colours(), things, method=method, view=View(what=what), how=how).rate == 0  # pyright: ignore

    def moved(index: int) -> BoxedPicture:
        return replace(things[index], boxes=things[index].boxes + 11)

    assert discover(colours(), replace(things, at=moved), method=method, view=View(what=what)).metrics["CorLoc"] == 0  # pyright: ignore


def test_of_several_thresholds_the_best_counts(things: Boxed) -> None:
    """At -1 every pair is alike, and there is nothing to cut."""
    result = discover(colours(), things, method="tokencut", taus=(-1.1, 0.2))
    assert result.metrics["CorLoc"] == 1
    assert (result.settings["tau"], result.settings["thresholds tried"]) == (0.2, 2)
    assert discover(colours(), things, method="tokencut", taus=(-1.1,)).metrics["CorLoc"] < 1
    assert pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4]) == SWEEP
    with pytest.raises(SensoriumError, match="no picture with objects that can be read"):
        discover(colours(), replace(things, at=lambda index: things[3]))
