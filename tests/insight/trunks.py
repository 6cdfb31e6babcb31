"""A tiny model of every family that reads pictures as patches."""

from dataclasses import replace

from torch import nn

from tests import tiny, tiny_dino

TRUNKS = {
    "ViT": tiny.VIT,
    "ViT without class token": replace(tiny.VIT, pool="mean"),
    "ViT with registers": replace(tiny.VIT, registers=4, class_position=False),
    "ViT with registers alone": replace(tiny.VIT, registers=4, pool="mean", class_position=False),
    "CLIP": tiny.CLIP_VIT,
    "ImageBind": tiny.IMAGEBIND,
    "DINOv2": tiny_dino.V2,
    "DINOv2 without registers": tiny_dino.TRUNKS["DINOv2 without registers"],
    "DINOv3": tiny_dino.V3,
    "DINOv3, untied": tiny_dino.TRUNKS["DINOv3, untied"],
    "dino.txt": tiny_dino.TXT,
}
PREFIX = {
    "ViT without class token": 0,
    "ViT with registers": 5,
    "ViT with registers alone": 4,
    "DINOv2": 5,
    "DINOv3": 5,
    "DINOv3, untied": 5,
    "dino.txt": 5,
}


def build(name: str) -> nn.Module:
    return (tiny_dino if name.startswith(("DINO", "dino")) else tiny).build(TRUNKS[name])
