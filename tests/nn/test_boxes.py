"""Boxes and the pooling of regions against slow, straightforward versions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sensorium.nn.boxes import anchors, clip, decode, encode, overlap, suppress, suppress_by_class, tile
from sensorium.nn.roi import RegionMaxima


def random_boxes(count: int, seed: int, side: float = 60.0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    corner, sides = torch.rand(count, 2, generator=draw) * side, torch.rand(count, 2, generator=draw) * side / 2 + 0.5
    return torch.cat([corner, corner + sides], 1)


def slow_overlap(a: list[float], b: list[float]) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (area - width * height)


def slow_suppress(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    order = sorted(range(len(boxes)), key=lambda i: (-scores[i].item(), i))
    close = overlap(boxes, boxes) > threshold
    kept: list[int] = []
    for i in order:
        if not any(close[i, j] for j in kept):
            kept.append(i)
    return kept


def test_overlap_is_what_it_says() -> None:
    a, b = random_boxes(7, 0), random_boxes(5, 1)
    slow = torch.tensor([[slow_overlap(x, y) for y in b.tolist()] for x in a.tolist()])
    torch.testing.assert_close(overlap(a, b), slow)


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(0, 40),
    seed=st.integers(0, 1000),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]),
    most=st.one_of(st.none(), st.integers(0, 20)),
    block=st.sampled_from([1, 3, 16, 256]),
    ties=st.booleans(),
)
def test_suppression_equals_the_slow_one(
    count: int, seed: int, threshold: float, most: int | None, block: int, ties: bool
) -> None:
    boxes = random_boxes(count, seed, 30.0)
    scores = torch.rand(count, generator=torch.Generator().manual_seed(seed))
    scores = (scores * 4).round() if ties else scores
    slow = slow_suppress(boxes, scores, threshold)
    assert suppress(boxes, scores, threshold, most, block).tolist() == slow[:most]


@settings(deadline=None, max_examples=30)
@given(count=st.integers(0, 25), seed=st.integers(0, 1000), threshold=st.sampled_from([0.0, 0.3, 0.7]))
def test_suppression_by_class_is_suppression_in_each(count: int, seed: int, threshold: float) -> None:
    boxes = random_boxes(count, seed, 30.0)
    scores = torch.rand(count, 4, generator=torch.Generator().manual_seed(seed))
    kept = suppress_by_class(boxes, scores, threshold)
    for index in range(4):
        assert set(kept[:, index].nonzero().flatten().tolist()) == set(
            slow_suppress(boxes, scores[:, index], threshold)
        )


@settings(deadline=None)
@given(seed=st.integers(0, 1000), weights=st.sampled_from([(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)]))
def test_decode_is_the_inverse_of_encode(seed: int, weights: tuple[float, ...]) -> None:
    boxes, targets = random_boxes(6, seed), random_boxes(6, seed + 1)
    back = decode(boxes, encode(boxes, targets, weights), weights)
    # Growth is capped, so a target over 62 times as large does not come back; these are not.
    torch.testing.assert_close(back, targets, atol=1e-3, rtol=1e-4)


def test_growth_is_capped() -> None:
    box, change = torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([[0.0, 0, 99, -99]])
    torch.testing.assert_close(decode(box, change), torch.tensor([[8 - 500.0, 8, 8 + 500, 8]]))


def test_anchors_have_their_areas_and_ratios_and_stand_on_every_place() -> None:
    made = anchors((32.0, 64.0), (0.5, 1.0, 2.0))
    sides = made[:, 2:] - made[:, :2]
    torch.testing.assert_close(sides.prod(1).sqrt(), torch.tensor([32.0] * 3 + [64.0] * 3))
    torch.testing.assert_close(sides[:, 1] / sides[:, 0], torch.tensor([0.5, 1, 2] * 2))
    placed = tile(made, 2, 3, 16).view(2, 3, 6, 4)
    torch.testing.assert_close(placed[1, 2], made + torch.tensor([32.0, 16, 32, 16]))
    torch.testing.assert_close(placed[0, 0], made)


def test_clip() -> None:
    boxes = torch.tensor([[-5.0, -6, 70, 80], [1, 2, 3, 4]])
    assert clip(boxes, 40, 50).tolist() == [[0, 0, 50, 40], [1, 2, 3, 4]]


def slow_pool(features: Tensor, boxes: Tensor, side: int, scale: float) -> Tensor:
    channels, height, width = features.shape
    out = torch.zeros(len(boxes), channels, side, side)
    for n, box in enumerate(boxes):
        x1, y1, x2, y2 = (math.floor(value * scale + 0.5) for value in box.tolist())
        for row in range(side):
            for column in range(side):
                tall, wide = torch.tensor(max(y2 - y1 + 1, 1.0)) / side, torch.tensor(max(x2 - x1 + 1, 1.0)) / side
                top, bottom = y1 + int((row * tall).floor()), y1 + int(((row + 1) * tall).ceil())
                left, right = x1 + int((column * wide).floor()), x1 + int(((column + 1) * wide).ceil())
                cells = features[:, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
                if cells.numel():
                    out[n, :, row, column] = cells.amax((1, 2))
    return out


@settings(deadline=None, max_examples=30)
@given(
    height=st.integers(1, 23),
    width=st.integers(1, 23),
    side=st.sampled_from([1, 2, 3, 7]),
    scale=st.sampled_from([1.0, 0.25]),
    seed=st.integers(0, 1000),
)
def test_pooling_equals_the_slow_one(height: int, width: int, side: int, scale: float, seed: int) -> None:
    torch.manual_seed(seed)
    features = torch.randn(3, height, width)
    boxes = clip(random_boxes(5, seed, 20 / scale), int(height / scale), int(width / scale))
    boxes = torch.cat([boxes, torch.tensor([[0.0, 0, width / scale, height / scale], [0, 0, 0, 0]])])
    pooled = RegionMaxima(features, side, scale).pool(boxes)
    assert torch.equal(pooled, slow_pool(features, boxes, side, scale))


def test_pooling_passes_gradients_and_takes_boxes_beyond_the_map() -> None:
    features = torch.randn(2, 9, 9, requires_grad=True)
    RegionMaxima(features, 3, 1.0).pool(torch.tensor([[-4.0, 2, 900, 700]])).sum().backward()
    assert features.grad is not None
    assert features.grad.sum().item() == pytest.approx(18)
