"""Bottom-up attention: a Faster R-CNN of Visual Genome (Anderson et al. 2018), https://arxiv.org/abs/1707.07998

A detector of things and attributes proposes regions; their pooled features are what a model reads as a picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.nn.boxes import Boxes, anchors, clip, decode, suppress, suppress_by_class, tile
from sensorium.nn.frozen_resnet import FrozenResNet, Stage, Stem, stages
from sensorium.nn.roi import RegionMaxima

STRIDE = 16  # of the map that regions are cut from (C4: the output of res4)
BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
REGIONS_AT_ONCE = 32  # res5 sees 14×14 cells of each: more would only take memory


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Sizes of a Faster R-CNN with a C4 trunk. `depths` are of res2 to res5.

    `classes` and `attributes` are without background and none, which come last. `dilated` keeps res5 at the size of the
    pooled grid; else it halves it. `proposals` of the `candidates` best anchors are kept for the second stage.
    """

    depths: tuple[int, int, int, int] = (3, 4, 23, 3)
    stem: int = 64
    inner: int = 64
    width: int = 256
    hidden: int = 512
    classes: int = 1600
    attributes: int = 400
    class_width: int = 256
    attribute_width: int = 512
    sizes: tuple[float, ...] = (64.0, 128.0, 256.0, 512.0)
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    pool: int = 14
    dilated: bool = True
    candidates: int = 6000
    proposals: int = 300
    threshold: float = 0.7


PRESETS = {"frcnn-vg": DetectorConfig()}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which regions are kept: `least` to `most` of them, best first.

    "likeliest"  every region takes the box of its likeliest class, and one suppression goes over all of them; each of
                 `thresholds` is tried until `least` regions remain
    "by class"   the paper's: a region counts by its best class in which no other suppresses it, its box is the
                 proposal's, and those of at least `confidence` are kept
    """

    rule: Literal["likeliest", "by class"] = "likeliest"
    thresholds: tuple[float, ...] = (0.5, 1.0)
    confidence: float = 0.0
    least: int = 36
    most: int = 36


FIXED_36 = Selection()
ADAPTIVE = Selection(rule="by class", thresholds=(0.3,), confidence=0.2, least=10, most=100)


class Described(NamedTuple):
    """What the heads say of n regions, as logits; `change` deforms the box for each class."""

    features: Float[Tensor, "n d"]
    classes: Float[Tensor, "n classes_and_background"]
    attributes: Float[Tensor, "n attributes_and_none"]
    change: Float[Tensor, "n classes 4"]


class Detection(NamedTuple):
    """The regions kept of one picture, best first; boxes in pixels of the picture as the model saw it.

    `probabilities` are of the classes and, last, of background.
    """

    features: Float[Tensor, "k d"]
    boxes: Float[Tensor, "k 4"]
    objects: Int[Tensor, " k"]
    confidences: Float[Tensor, " k"]
    attributes: Int[Tensor, " k"]
    attribute_confidences: Float[Tensor, " k"]
    probabilities: Float[Tensor, "k classes_and_background"]


class ProposalNetwork(nn.Module):
    """Scores every anchor at every place, and how to deform it."""

    def __init__(self, width: int, c: DetectorConfig) -> None:
        super().__init__()
        count = len(c.sizes) * len(c.ratios)
        self.anchors = nn.Buffer(anchors(c.sizes, c.ratios))
        self.conv = nn.Conv2d(width, c.hidden, 3, padding=1)
        self.objectness, self.change = nn.Conv2d(c.hidden, count, 1), nn.Conv2d(c.hidden, 4 * count, 1)

    def forward(
        self, x: Float[Tensor, "1 width h w"]
    ) -> tuple[Float[Tensor, " h_w_a"], Float[Tensor, "h_w_a 4"], Float[Tensor, "h_w_a 4"]]:
        """Of one picture: scores, changes and anchors, rows outside, anchors inside."""
        y = F.relu(self.conv(x))
        scores = self.objectness(y).permute(0, 2, 3, 1).flatten()
        change = self.change(y).permute(0, 2, 3, 1).reshape(-1, 4)
        return scores, change, tile(self.anchors, x.shape[2], x.shape[3], STRIDE)


class RegionHead(nn.Module):
    """Classes and boxes from a region's features; attributes also from the embedding of its likeliest class."""

    def __init__(self, width: int, c: DetectorConfig) -> None:
        super().__init__()
        self.classes = nn.Linear(width, c.classes + 1)
        self.change = nn.Linear(width, 4 * c.classes)
        self.class_embedding = nn.Embedding(c.classes + 1, c.class_width)
        self.attribute_hidden = nn.Linear(width + c.class_width, c.attribute_width)
        self.attributes = nn.Linear(c.attribute_width, c.attributes + 1)

    def forward(self, x: Float[Tensor, "n width"]) -> Described:
        """Describe n regions."""
        classes = self.classes(x)
        seen = torch.cat([x, self.class_embedding(classes.argmax(-1))], -1)
        attributes = self.attributes(F.relu(self.attribute_hidden(seen)))
        return Described(x, classes, attributes, self.change(x).unflatten(-1, (-1, 4)))


class Detector(nn.Module):
    """Trunk, proposals, res5 on each region, heads."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        c = self.config = config
        stem = Stem(c.stem, nn.MaxPool2d(3, 2, ceil_mode=True))  # Caffe's
        self.trunk = FrozenResNet(stem, stages(c.depths[:3], c.stem, c.inner, c.width, stride_first=True))
        stride, dilation = (1, 2) if c.dilated else (2, 1)
        self.proposer = ProposalNetwork(4 * c.width, c)
        self.res5 = Stage(
            c.depths[3], 4 * c.width, 8 * c.inner, 8 * c.width, stride, stride_first=True, dilation=dilation
        )
        self.head = RegionHead(8 * c.width, c)

    def map(self, picture: Float[Tensor, "3 h w"]) -> Float[Tensor, "1 c h16 w16"]:
        """The output of res4. The picture is BGR, its means subtracted."""
        return self.trunk(picture[None])[-1]

    def propose(self, map: Float[Tensor, "1 c h16 w16"], height: int, width: int) -> Float[Tensor, "n 4"]:
        """Where something may be, best first, within a picture of this size."""
        c = self.config
        scores, change, places = self.proposer(map)
        scores, best = scores.topk(min(c.candidates, len(scores)))
        boxes = clip(decode(places[best], change[best]), height, width)
        whole = (boxes[:, 2:] > boxes[:, :2]).all(-1)
        boxes, scores = boxes[whole], scores[whole]
        return boxes[suppress(boxes, scores, c.threshold, c.proposals)]

    def describe(self, map: Float[Tensor, "1 c h16 w16"], boxes: Float[Tensor, "n 4"]) -> Described:
        """Features and logits of any boxes: proposals, or those that a person drew."""
        maxima = RegionMaxima(map[0], self.config.pool, 1 / STRIDE)
        pooled = [self.res5(maxima.pool(some)).mean((2, 3)) for some in boxes.split(REGIONS_AT_ONCE)]
        return self.head(torch.cat(pooled))

    def forward(self, pictures: Sequence[Float[Tensor, "3 _ _"]], selection: Selection = FIXED_36) -> list[Detection]:
        """The regions of pictures of any sizes: each is seen at its own, so none changes with its neighbours."""
        found: list[Detection] = []
        for picture in pictures:
            height, width = picture.shape[1:]
            map = self.map(picture)
            boxes = self.propose(map, height, width)
            found.append(select(self.describe(map, boxes), boxes, (height, width), selection))
        return found


def select(seen: Described, proposals: Boxes, size: tuple[int, int], selection: Selection) -> Detection:
    """The regions that a selection keeps; fewer than `least` only where there are fewer proposals."""
    probabilities = seen.classes.softmax(-1)
    confidences, objects = probabilities[:, :-1].max(-1)
    if selection.rule == "likeliest":
        change = seen.change[torch.arange(len(objects), device=objects.device), objects]
        boxes = clip(decode(proposals, change, BOX_WEIGHTS), *size)
        kept = objects[:0]
        for threshold in selection.thresholds:
            kept = suppress(boxes, confidences, threshold, selection.most)
            if len(kept) >= selection.least:
                break
    else:
        boxes = proposals
        stays = suppress_by_class(proposals, probabilities[:, :-1], selection.thresholds[0])
        scores, order = probabilities[:, :-1].masked_fill(~stays, 0).amax(-1).sort(descending=True, stable=True)
        count = int((scores >= selection.confidence).sum())
        kept = order[: min(max(count, selection.least), selection.most)]
    attribute_confidences, attributes = seen.attributes[kept, :-1].softmax(-1).max(-1)
    return Detection(
        seen.features[kept],
        boxes[kept],
        objects[kept],
        confidences[kept],
        attributes,
        attribute_confidences,
        probabilities[kept],
    )
