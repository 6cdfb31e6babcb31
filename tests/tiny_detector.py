"""A region detector small enough to build in a blink, with every tensor random."""

import torch

from sensorium.models.detector import Detector, DetectorConfig

TINY = DetectorConfig(
    depths=(1, 1, 2, 2),
    stem=8,
    inner=4,
    width=16,
    hidden=12,
    classes=9,
    attributes=5,
    class_width=6,
    attribute_width=7,
    sizes=(16.0, 32.0),
    ratios=(0.5, 1.0, 2.0),
    pool=6,
    candidates=100,
    proposals=40,
)


def build(config: DetectorConfig = TINY, seed: int = 0) -> Detector:
    """Random weights: norms near one, so that values neither vanish nor grow."""
    torch.manual_seed(seed)
    model = Detector(config).eval().requires_grad_(False)
    for name, tensor in model.state_dict().items():
        if name.endswith(("norm.weight", "running_var")):
            tensor.copy_(torch.rand(tensor.shape) * 0.5 + 0.75)
        elif name.endswith(("norm.bias", "running_mean")):
            tensor.copy_(torch.randn(tensor.shape) * 0.1)
    return model
