"""A LayoutLMv2 small enough to build in a blink, and pages for it."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.models.layoutlmv2 import LayoutLMv2, LayoutLMv2Config
from sensorium.models.page_encoder import PageConfig

PAGE = PageConfig(depths=(1, 1, 2, 1), groups=2, width=8, stem=6, stage=8, pyramid=10)
BASE = LayoutLMv2Config(
    width=24, depth=2, heads=3, mlp=32, words=43, positions=60, coordinate=4, shape=4, page=PAGE, labels=5
)
LARGE = replace(BASE, key_bias=True)  # as the large model's layers: three layers, and a key with a bias
XLM = replace(BASE, key_bias=True, segments=1, bins=0, spatial_bins=0, visual_segment=True, eps=1e-5)
CONFIGS = {"base": BASE, "large": LARGE, "xlm": XLM}


class Page(NamedTuple):
    ids: Tensor
    boxes: Tensor
    image: Tensor
    mask: Tensor


def build(config: LayoutLMv2Config, seed: int = 0) -> LayoutLMv2:
    """Every number random, but variances positive, and deviations of pixels as they are."""
    torch.manual_seed(seed)
    model = LayoutLMv2(config)
    for name, tensor in model.state_dict().items():
        if not tensor.numel() or name in ("page.mean", "page.deviation"):
            continue
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        else:
            tensor.copy_(torch.randn(tensor.shape) * 0.2 + name.endswith("norm.weight"))
    return model.eval().requires_grad_(False)


def pages(count: int = 2, n: int = 9, words: int = 43, seed: int = 0) -> Page:
    """Random words in random boxes; the first page is full, each further one has two tokens of padding more."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, words, (count, n), generator=generator)
    corners = torch.randint(0, 1001, (count, n, 2, 2), generator=generator).sort(dim=2).values
    mask = torch.arange(n) < n - 2 * torch.arange(count)[:, None]
    image = torch.randint(0, 256, (count, 3, 64, 64), generator=generator).float()
    return Page(ids * mask, corners.flatten(2) * mask[..., None], image, mask)
