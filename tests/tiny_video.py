"""Video models small enough to build in a blink, with random weights that are the same in every run."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from sensorium.models.bert import BertConfig
from sensorium.models.s3d import S3D, S3DConfig
from sensorium.models.videoclip import VideoCLIP, VideoCLIPConfig
from sensorium.models.vlm import VLM, VLMConfig

BERT = BertConfig(width=64, depth=2, heads=4, hidden=96, words=40, positions=32)
VIDEOCLIP = VideoCLIPConfig(text=BERT, video_depth=1, features=12, frames=8, cls=2, sep=3)
VLM_JOINT = VLMConfig(bert=BERT, features=12, frames=8, isolated=1, slots=4, cls=2, sep=3)
VLM_SHARED = replace(VLM_JOINT, isolated=0, slots=0)
S3D_TEXT = S3DConfig(embed=16, words=20, word_width=6, hidden=10)


def build(config: VideoCLIPConfig | VLMConfig | S3DConfig) -> nn.Module:
    """Every tensor is random: zeros and ones would hide one that lands in a wrong place."""
    torch.manual_seed(0)
    kinds = {VideoCLIPConfig: VideoCLIP, VLMConfig: VLM, S3DConfig: S3D}
    model = kinds[type(config)](config)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and tensor.numel():
            scale = 1 / tensor[0].numel() ** 0.5 if tensor.ndim > 1 else 0.1
            tensor.copy_(torch.randn(tensor.shape) * scale)
            if "norm" in name and name.endswith(("weight", "running_var")):
                tensor.abs_().add_(1)
    return model.eval().requires_grad_(False)


def videoclip() -> VideoCLIP:
    model = build(VIDEOCLIP)
    assert isinstance(model, VideoCLIP)
    return model


def vlm(config: VLMConfig = VLM_JOINT) -> VLM:
    model = build(config)
    assert isinstance(model, VLM)
    return model


def clips(*lengths: int, to: int | None = None) -> tuple[Tensor, Tensor]:
    """Clips of these lengths, with noise on the padding that no result may show."""
    longest = to or max(lengths)
    features = torch.randn(len(lengths), longest, 12, generator=torch.Generator().manual_seed(1))
    return features, torch.arange(longest) < torch.tensor(lengths)[:, None]


def texts(*lengths: int, to: int | None = None) -> tuple[Tensor, Tensor]:
    """[CLS] words [SEP] of these lengths, then padding."""
    longest = to or max(lengths)
    ids = torch.randint(4, 40, (len(lengths), longest), generator=torch.Generator().manual_seed(2))
    ids[:, 0] = 2
    ids[torch.arange(len(lengths)), torch.tensor(lengths) - 1] = 3
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return ids.masked_fill(~mask, 0), mask
