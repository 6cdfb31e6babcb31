"""A ViT whose patches say their mean colour and nothing else, so that what dense tasks must find in it is known."""

import torch

from sensorium.data.preprocess import HALF, Preprocess
from sensorium.models.vit import ViT, ViTConfig
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.loading import in_memory

PATCH = 4
CONFIG = ViTConfig(image=32, patch=PATCH, width=8, depth=2, heads=1, mlp=8, classes=0, pool="mean")


def colour_vit() -> ViT:
    """Its blocks add nothing. A patch is its red, green, blue, their negatives, and 0.5 and -0.5: of mean 0."""
    model = ViT(CONFIG)
    with torch.no_grad():
        for name, x in model.named_parameters():
            x.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
        weight = model.get_parameter("patches.project.weight")
        for channel in range(3):
            weight[channel, channel] = 1 / PATCH**2
            weight[channel + 3, channel] = -1 / PATCH**2
        model.get_parameter("patches.project.bias")[6:] = torch.tensor([0.5, -0.5])
        for block in model.blocks:
            for layer in ("query", "key", "value"):
                block.get_parameter(f"attention.{layer}.weight").copy_(torch.eye(8))
    return model.eval().requires_grad_(False)


def colours() -> Embedder:
    """The same with preprocessing that maps colours to [-1, 1] and resizes by nearest neighbours."""
    return in_memory(colour_vit(), Preprocess(32, interpolation="nearest", mean=HALF, std=HALF), name="colours")
