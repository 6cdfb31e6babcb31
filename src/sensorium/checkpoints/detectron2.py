"""How detectron2 names a residual trunk: for the page encoder of LayoutLMv2 and for region detectors."""

from collections.abc import Mapping

from torch import Tensor

from sensorium.checkpoints.rename import Row, depth, linear, under

FIRST = 2  # stages and pyramid levels are numbered from res2, p2


def conv_norm(theirs: str, ours: str) -> list[Row]:
    """A convolution that owns its norm; the batches that a norm has counted are dropped."""
    parts = ("weight", "bias", "running_mean", "running_var")
    return [
        Row(f"{theirs}.weight", f"{ours}.conv.weight"),
        *(Row(f"{theirs}.norm.{part}", f"{ours}.norm.{part}") for part in parts),
        Row(f"{theirs}.norm.num_batches_tracked", None),
    ]


BOTTLENECK = [row for part in ("conv1", "conv2", "conv3", "shortcut") for row in conv_norm(part, part)]


def resnet(stages: int) -> list[Row]:
    """Stem and stages of `nn.frozen_resnet.FrozenResNet`."""
    rows = conv_norm("stem.conv1", "stem.conv")
    for level in range(stages):
        rows += under(f"res{level + FIRST}.*.", f"stages.{level}.*.", BOTTLENECK)
    return rows


def pyramid(levels: int) -> list[Row]:
    """Laterals and outputs of `nn.feature_pyramid.FeaturePyramid`."""
    rows: list[Row] = []
    for level in range(levels):
        rows += linear(f"fpn_lateral{level + FIRST}", f"laterals.{level}")
        rows += linear(f"fpn_output{level + FIRST}", f"outputs.{level}")
    return rows


def depths(state: Mapping[str, Tensor], before: str, stages: int) -> tuple[int, ...]:
    """How many bottlenecks each stage has; raises KeyError naming the first that is missing."""
    return tuple(depth(state, f"{before}res{level + FIRST}.") for level in range(stages))


def groups(state: Mapping[str, Tensor], before: str) -> int:
    """Into how many groups the 3×3 convolutions are cut, from the first one's shape."""
    outputs, inputs = state[f"{before}res{FIRST}.0.conv2.weight"].shape[:2]
    return outputs // inputs
