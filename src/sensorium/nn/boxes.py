"""Boxes (x1, y1, x2, y2 in pixels): anchors, how a detector deforms them, and which of many it keeps.

Faster R-CNN (Ren et al. 2015), https://arxiv.org/abs/1506.01497
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LARGEST = math.log(1000 / 16)  # a box grows at most from 16 to 1000 pixels in one step
Boxes = Float[Tensor, "n 4"]


def anchors(sizes: Sequence[float], ratios: Sequence[float]) -> Float[Tensor, "a 4"]:
    """A box of every size (the root of its area) and ratio (height by width) around the origin, sizes outside."""
    sides = torch.tensor([(size / ratio**0.5, size * ratio**0.5) for size in sizes for ratio in ratios])
    return torch.cat([-sides, sides], 1) / 2


def tile(anchors: Float[Tensor, "a 4"], height: int, width: int, stride: int) -> Float[Tensor, "h_w_a 4"]:
    """The anchors at every place of a map, rows outside, anchors inside; the first place is the corner itself."""
    y, x = (torch.arange(side, device=anchors.device) * stride for side in (height, width))
    y, x = torch.meshgrid(y, x, indexing="ij")
    shifts = torch.stack([x, y, x, y], -1).to(anchors.dtype)
    return (shifts[:, :, None] + anchors).flatten(0, 2)


def _centres(boxes: Float[Tensor, "*n 4"]) -> tuple[Float[Tensor, "*n 2"], Float[Tensor, "*n 2"]]:
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + sides / 2, sides


def encode(
    boxes: Float[Tensor, "*n 4"], targets: Float[Tensor, "*n 4"], weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)
) -> Float[Tensor, "*n 4"]:
    """What turns boxes into targets (section 3.1.2): shifts in sides of the box, logarithms of growth, weighted."""
    (centre, sides), (target, target_sides) = _centres(boxes), _centres(targets)
    change = torch.cat([(target - centre) / sides, (target_sides / sides).log()], -1)
    return change * change.new_tensor(weights)


def decode(
    boxes: Float[Tensor, "*n 4"], change: Float[Tensor, "*n 4"], weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)
) -> Float[Tensor, "*n 4"]:
    """The inverse of `encode`; growth is capped at LARGEST."""
    centre, sides = _centres(boxes)
    change = change / change.new_tensor(weights)
    centre, sides = centre + change[..., :2] * sides, sides * change[..., 2:].clamp(max=LARGEST).exp()
    return torch.cat([centre - sides / 2, centre + sides / 2], -1)


def clip(boxes: Float[Tensor, "*n 4"], height: int, width: int) -> Float[Tensor, "*n 4"]:
    """Boxes cut at the border of the picture."""
    return torch.minimum(boxes.clamp(min=0), boxes.new_tensor([width, height, width, height]))


def overlap(a: Float[Tensor, "n 4"], b: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Intersection over union of every pair; not a number where both boxes are empty."""
    low, high = torch.maximum(a[:, None, :2], b[:, :2]), torch.minimum(a[:, None, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area_a, area_b = ((boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (a, b))
    return shared / (area_a[:, None] + area_b - shared)


def suppress(
    boxes: Boxes, scores: Float[Tensor, " n"], threshold: float, most: int | None = None, block: int = 256
) -> Int[Tensor, " kept"]:
    """Greedy non-maximum suppression: indices of the boxes kept, best first, at most `most`.

    A box falls to a kept one of higher score that it overlaps by more than `threshold`. Goes through the boxes in
    blocks and stops when it has enough: of thousands of proposals mostly the first few hundred are looked at.
    """
    order = scores.sort(descending=True, stable=True).indices
    kept = order[:0]
    for candidates in order.split(block):
        if most is not None and len(kept) >= most:
            break
        alive = ~(overlap(boxes[kept], boxes[candidates]) > threshold).any(0)
        candidates = candidates[alive]
        above = (overlap(boxes[candidates], boxes[candidates]) > threshold).triu(1)
        kept = torch.cat([kept, candidates[_survivors(above)]])
    return kept[:most]


def _survivors(above: Bool[Tensor, "n n"]) -> Bool[Tensor, " n"]:
    """Who is hit (a column) by no survivor (a row) before it: repeated until it holds, the i-th after i+1 rounds."""
    survives = torch.ones(len(above), dtype=torch.bool, device=above.device)
    while True:
        new = ~(above & survives[:, None]).any(0)
        if torch.equal(new, survives):
            return survives
        survives = new


def suppress_by_class(boxes: Boxes, scores: Float[Tensor, "n classes"], threshold: float) -> Bool[Tensor, "n classes"]:
    """Greedy non-maximum suppression in every class by itself, all classes at once: which box stays in which class."""
    close = overlap(boxes, boxes) > threshold
    order = scores.argsort(dim=0, descending=True, stable=True)
    classes = torch.arange(scores.shape[1], device=scores.device)
    fallen = torch.zeros_like(scores, dtype=torch.bool)
    kept = torch.zeros_like(fallen)
    for best in order:
        stays = ~fallen[best, classes]
        kept[best, classes] = stays
        fallen |= close[:, best] & stays
    return kept
