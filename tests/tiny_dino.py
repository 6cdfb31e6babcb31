"""Tiny trunks of DINOv2 and DINOv3, every parameter random."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from sensorium.checkpoints.formats import FAMILIES
from sensorium.models.convnext import ConvNeXtConfig
from sensorium.models.dinotxt import TEXT, DINOtxtConfig
from sensorium.models.dinov2 import DINOv2Config
from sensorium.models.dinov3 import DINOv3Config
from sensorium.nn.positions import DINOV2

V2 = DINOv2Config(image=32, patch=8, width=128, depth=3, heads=2, hidden=256)
V3 = DINOv3Config(patch=8, width=128, depth=3, heads=2, hidden=256)
CONVNEXT = ConvNeXtConfig(depths=(1, 2, 1, 1), widths=(16, 24, 32, 48))
TXT = DINOtxtConfig(
    trunk=replace(V3, depth=2),
    hidden=64,
    text=replace(TEXT, context=12, words=64, width=64, depth=2, heads=1, mlp=128),
)


def build(config: Any, seed: int = 0) -> Any:
    """A model of any configuration; gains of layers are large enough to show what they scale."""
    torch.manual_seed(seed)
    family = next(family for family in FAMILIES.values() if family.config is type(config))
    return randomise(family.model(config))


def randomise(model: nn.Module) -> nn.Module:
    """Random numbers where a fresh model has zeros and ones, which would hide two tensors that are swapped."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 1 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 and len(parameter) else 0.1
            about = 1.0 if "norm" in name and name.endswith("weight") else 0.5 if "gain" in name else 0.0
            parameter.copy_(about + scale * torch.randn(parameter.shape))
            if "log_scale" in name:
                parameter.fill_(2.5)
    return model.eval().requires_grad_(False)


TRUNKS = {
    "DINOv2": V2,
    "DINOv2 without registers": replace(V2, registers=0, resampling=DINOV2),
    "DINOv2, gated": replace(V2, gated=True),
    "DINOv3": V3,
    "DINOv3, gated": replace(V3, gated=True, bias=False, key_bias="none", local_norm=True),
    "DINOv3, untied": replace(V3, untied=True, norm="rms", out_bias=False, mlp_bias=False, normalise="min"),
    "ConvNeXt": CONVNEXT,
}
