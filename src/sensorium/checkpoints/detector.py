"""The Visual Genome detector as the checkpoint `frcnn-vg-finetuned` names it: detectron2's names, with attributes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sensorium.checkpoints.detectron2 import BOTTLENECK, depths, resnet
from sensorium.checkpoints.format import Axis, Call, Family, Format, Trunk
from sensorium.checkpoints.rename import Row, depth, linear, under
from sensorium.models.detector import PRESETS, Detector, DetectorConfig

PROPOSER, HEAD = "proposal_generator", "roi_heads.box_predictor"
ANCHORS = f"{PROPOSER}.anchor_generator.cell_anchors.0"


def published_rows(c: DetectorConfig) -> list[Row]:
    """Every tensor of the file. The batches that norms have counted are dropped: nothing reads them."""
    return [
        *under("backbone.", "trunk.", resnet(3)),
        Row(ANCHORS, "proposer.anchors"),
        *linear(f"{PROPOSER}.rpn_head.conv", "proposer.conv"),
        *linear(f"{PROPOSER}.rpn_head.objectness_logits", "proposer.objectness"),
        *linear(f"{PROPOSER}.rpn_head.anchor_deltas", "proposer.change"),
        *under("roi_heads.res5.*.", "res5.*.", BOTTLENECK),
        *linear(f"{HEAD}.cls_score", "head.classes"),
        *linear(f"{HEAD}.bbox_pred", "head.change"),
        Row(f"{HEAD}.cls_embedding.weight", "head.class_embedding.weight"),
        *linear(f"{HEAD}.fc_attr", "head.attribute_hidden"),
        *linear(f"{HEAD}.attr_score", "head.attributes"),
    ]


def published_config(state: Mapping[str, Tensor], file: Mapping[str, Any] | None) -> DetectorConfig:
    """All sizes from the shapes, the anchors from their numbers."""
    two, three, four = depths(state, "backbone.", 3)
    sides = (state[ANCHORS][:, 2:] - state[ANCHORS][:, :2]).double()
    sizes = dict.fromkeys(round(size, 2) for size in sides.prod(-1).sqrt().tolist())
    ratios = dict.fromkeys(round(ratio, 3) for ratio in (sides[:, 1] / sides[:, 0]).tolist())
    if len(sizes) * len(ratios) != len(sides):
        raise ValueError(f"{ANCHORS} are not of every size in every ratio")
    return DetectorConfig(
        depths=(two, three, four, depth(state, "roi_heads.res5.")),
        stem=len(state["backbone.stem.conv1.weight"]),
        inner=len(state["backbone.res2.0.conv1.weight"]),
        width=len(state["backbone.res2.0.conv3.weight"]),
        hidden=len(state[f"{PROPOSER}.rpn_head.conv.weight"]),
        classes=len(state[f"{HEAD}.cls_score.weight"]) - 1,
        attributes=len(state[f"{HEAD}.attr_score.weight"]) - 1,
        class_width=state[f"{HEAD}.cls_embedding.weight"].shape[1],
        attribute_width=len(state[f"{HEAD}.fc_attr.weight"]),
        sizes=tuple(sizes),
        ratios=tuple(ratios),
    )


FORMATS = (
    Format(
        family="detector",
        naming="frcnn-vg-finetuned",
        marks=((f"{HEAD}.attr_score.weight", f"{PROPOSER}.rpn_head.conv.weight", "backbone.stem.conv1.weight"),),
        rows=published_rows,
        read=published_config,
    ),
)


def trunks(model: Detector) -> list[Trunk]:
    """The convolutional map of one picture, and what the heads say of regions cut from it."""
    c = model.config
    sides = {axis: Axis(name, 16, 2) for axis, name in ((1, "rows"), (2, "columns"))}
    return [
        Trunk(
            name="map",
            module=Call(model, "map"),
            inputs={"picture": 255 * torch.rand(3, 64, 96)},
            varies={"picture": sides},
            outputs=("map",),
        ),
        Trunk(
            name="region",
            module=model.res5,
            inputs={"cells": torch.rand(2, 4 * c.width, c.pool, c.pool)},
            varies={"cells": {0: Axis("regions")}},
            outputs=("map",),
        ),
        Trunk(
            name="head",
            module=model.head,
            inputs={"features": torch.randn(2, 8 * c.width)},
            varies={"features": {0: Axis("regions")}},
            outputs=("same", "classes", "attributes", "change"),
        ),
    ]


FAMILIES = (
    Family(
        name="detector",
        system="Bottom-up attention",
        reads="pictures, for regions that VisualBERT and ViLBERT read",
        model=Detector,
        config=DetectorConfig,
        presets=PRESETS,
        formats=FORMATS,
        trunks=trunks,
    ),
)
