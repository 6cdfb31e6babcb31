"""Regions: where they are, which overlap, which are covered."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sensorium.data.regions_masking import WHOLE_PICTURE, box_overlap, location, mask_regions, picture_feature


@st.composite
def boxes(draw: st.DrawFn) -> Tensor:
    rows: list[list[int]] = []
    for _ in range(draw(st.integers(1, 6))):
        x, y = draw(st.integers(0, 90)), draw(st.integers(0, 90))
        rows.append([x, y, draw(st.integers(x, 99)), draw(st.integers(y, 99))])
    return torch.tensor(rows, dtype=torch.float32)


def test_the_whole_picture_and_padding() -> None:
    places = location(torch.tensor([[0.0, 0, 640, 480], [0, 0, 0, 0], [320, 0, 640, 240]]), 640, 480)
    assert tuple(places[0].tolist()) == WHOLE_PICTURE
    assert places[1].tolist() == [0, 0, 0, 0, 0]
    assert places[2].tolist() == [0.5, 0, 1, 0.5, 0.25]


@given(boxes())
def test_overlap_is_symmetric_and_whole_with_oneself(b: Tensor) -> None:
    overlap = box_overlap(b, b)
    torch.testing.assert_close(overlap.diagonal(), torch.ones(len(b)))
    torch.testing.assert_close(overlap, overlap.mT)
    assert ((overlap >= 0) & (overlap <= 1 + 1e-6)).all()


def test_a_box_holds_its_last_pixel() -> None:
    a, b = torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([[9.0, 0, 18, 9], [10, 0, 19, 9]])
    torch.testing.assert_close(box_overlap(a, b), torch.tensor([[10 / 190, 0.0]]))


@given(boxes(), st.integers(0, 2**32))
def test_masking(b: Tensor, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features, draws = torch.rand(len(b), 4, generator=generator) + 1, torch.rand(len(b), generator=generator) / 2
    masked = mask_regions(features, box_overlap(b, b), draws)
    assert (masked.flagged | ~masked.drawn).all()
    zeroed = ~masked.features.any(1)
    assert (masked.drawn | ~zeroed).all()
    assert torch.equal(masked.features[~zeroed], features[~zeroed])
    assert torch.equal(zeroed, draws < 0.15 * 0.9)


def test_the_feature_of_the_picture() -> None:
    features = torch.tensor([[2.0, 4], [0, 0], [6, 2]])
    assert picture_feature(features, torch.tensor([True, False, True])).tolist() == [4, 3]
    assert picture_feature(features, torch.zeros(3, dtype=torch.bool)).tolist() == [8, 6]  # never divides by zero
