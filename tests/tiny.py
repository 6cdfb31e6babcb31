"""Models of every kind, small enough to build in a blink, with random weights that are the same in every run."""

from dataclasses import replace

import torch

from sensorium.models.clip import CLIP, CLIPConfig, ResNetTower, TextTower, ViTTower
from sensorium.models.imagebind import EPS, ImageBind, ImageBindConfig, TrunkConfig
from sensorium.models.vit import ViT, ViTConfig

TEXT = TextTower(context=16, words=64, width=64, depth=2, heads=1, mlp=128)
CLIP_VIT = CLIPConfig(vision=ViTTower(image=32, patch=8, width=64, depth=2, heads=1, mlp=128), text=TEXT, embed=24)
CLIP_RESNET = CLIPConfig(vision=ResNetTower(image=64, depths=(1, 2, 1, 1), width=8, heads=4), text=TEXT, embed=24)
VIT = ViTConfig(image=32, patch=8, width=192, depth=2, heads=3, mlp=256, classes=10)

_TRUNK = {"width": 32, "depth": 2, "heads": 4, "mlp": 64}
IMAGEBIND = ImageBindConfig(
    vision=TrunkConfig(channels=3, sides=(2, 32, 32), patch=(2, 8, 8), norm="tokens", null_token=False, **_TRUNK),
    text=TextTower(context=16, words=64, activation="gelu", eps=EPS, **_TRUNK),
    audio=TrunkConfig(channels=1, sides=(32, 44), patch=(16, 16), stride=(10, 10), **_TRUNK),
    depth=TrunkConfig(channels=1, sides=(32, 32), patch=(8, 8), **_TRUNK),
    thermal=TrunkConfig(channels=1, sides=(32, 32), patch=(16, 16), **_TRUNK),
    imu=TrunkConfig(channels=6, sides=(64,), patch=(8,), **_TRUNK),
    embed=24,
)


def build(config: CLIPConfig | ViTConfig | ImageBindConfig, seed: int = 0) -> CLIP | ViT | ImageBind:
    """A model in which every tensor is random: zeros and ones would hide a tensor that lands in a wrong place."""
    torch.manual_seed(seed)
    kinds = {CLIPConfig: CLIP, ViTConfig: ViT, ImageBindConfig: ImageBind}
    model = kinds[type(config)](config)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and tensor.numel() and not name.startswith("scales."):
            scale = 1 / tensor[0].numel() ** 0.5 if tensor.ndim > 1 else 0.1
            tensor.copy_(
                torch.randn(tensor.shape) * scale + (1 if name.endswith(("norm.weight", "running_var")) else 0)
            )
            if name.endswith("running_var"):
                tensor.abs_()
    if isinstance(model, CLIP):
        model.log_scale.data.fill_(2.5)
    return model.eval().requires_grad_(False)


def with_vocabulary() -> CLIP:
    """A CLIP that reads CLIP's own 49408 words, for whole ways from a sentence to a vector."""
    model = build(replace(CLIP_VIT, text=replace(TEXT, words=49408, context=77)))
    assert isinstance(model, CLIP)
    return model
