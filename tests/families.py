"""One small configuration of every family, for what must hold of all of them."""

from dataclasses import replace
from typing import Any

from tests import tiny, tiny_detector, tiny_dino, tiny_layoutlmv2, tiny_video
from tests.models import test_vilbert, test_visualbert

# Files without a configuration do not say how many heads there are: 64 channels for each, as published models have.
CONFIGS: dict[str, Any] = {
    "clip": tiny.CLIP_VIT,
    "dinotxt": tiny_dino.TXT,
    "dinov3": tiny_dino.V3,
    "convnext": tiny_dino.CONVNEXT,
    "dinov2": tiny_dino.V2,
    "vilbert": test_vilbert.TINY,
    "layoutlmv2": tiny_layoutlmv2.BASE,
    "vit": tiny.VIT,
    "visualbert": replace(test_visualbert.TINY, width=128, heads=2, labels=0, phrases=False, eps=1e-12),
    "videoclip": tiny_video.VIDEOCLIP,
    "vlm": tiny_video.VLM_JOINT,
    "s3d": tiny_video.S3D_TEXT,
    "imagebind": tiny.IMAGEBIND,
    "detector": tiny_detector.TINY,
}
build = tiny_dino.build  # by the type of the configuration
