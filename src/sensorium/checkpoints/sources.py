"""Where the public weights of each preset lie, what they were trained on, and under which licence they are given."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Source:
    """A hub repository. `file` names the weights where the repository holds several; `revision` pins a commit."""

    hub: str
    licence: str
    trained_on: str
    file: str | None = None
    revision: str | None = None


def _openai(hub: str, revision: str | None = None) -> Source:
    # OpenAI gives code and weights under MIT (openai/CLIP, LICENSE); its hub pages state no licence of their own.
    return Source(hub=hub, licence="MIT", trained_on="WIT, 400M pairs", revision=revision)


def _openai_resnet(name: str) -> Source:
    return Source(
        hub=f"timm/{name}_clip.openai", licence="MIT", trained_on="WIT, 400M pairs", file="open_clip_model.safetensors"
    )


def _google(hub: str, trained_on: str) -> Source:
    return Source(hub=f"google/{hub}", licence="Apache-2.0", trained_on=trained_on)


def _timm(hub: str) -> Source:
    return Source(hub=f"timm/{hub}.augreg_in21k_ft_in1k", licence="Apache-2.0", trained_on=FINE_TUNED)


FINE_TUNED = "ImageNet-21k, then 1k"

SOURCES: dict[str, Source] = {
    "clip-rn50": _openai_resnet("resnet50"),
    "clip-rn101": _openai_resnet("resnet101"),
    "clip-rn50x4": _openai_resnet("resnet50x4"),
    "clip-rn50x16": _openai_resnet("resnet50x16"),
    "clip-rn50x64": _openai_resnet("resnet50x64"),
    "clip-vit-b-32": _openai("openai/clip-vit-base-patch32"),
    "clip-vit-b-16": _openai("openai/clip-vit-base-patch16"),
    "clip-vit-l-14": _openai("openai/clip-vit-large-patch14"),
    "clip-vit-l-14-336": _openai("openai/clip-vit-large-patch14-336"),
    "clip-vit-b-32-laion2b": Source(
        hub="laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        licence="MIT",
        trained_on="LAION-2B",
        file="open_clip_model.safetensors",
    ),
    "clip-vit-h-14-laion2b": Source(
        hub="laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        licence="MIT",
        trained_on="LAION-2B",
        file="open_clip_model.safetensors",
    ),
    "imagebind-huge": Source(
        hub="nielsr/imagebind-huge",
        licence="CC-BY-NC-SA-4.0",
        trained_on="AudioSet, SUN RGB-D, LLVIP, Ego4D, and LAION-2B through OpenCLIP",
    ),
    "vit-ti-16": _timm("vit_tiny_patch16_224"),
    "vit-s-16": _timm("vit_small_patch16_224"),
    "vit-s-32": _timm("vit_small_patch32_224"),
    "vit-b-8": _timm("vit_base_patch8_224"),
    "vit-b-32": _timm("vit_base_patch32_224"),
    "vit-b-16": _google("vit-base-patch16-224", FINE_TUNED),
    "vit-l-16": _google("vit-large-patch16-224", FINE_TUNED),
    "vit-b-16-384": _google("vit-base-patch16-384", FINE_TUNED),
    "vit-b-32-384": _google("vit-base-patch32-384", FINE_TUNED),
    "vit-l-16-384": _google("vit-large-patch16-384", FINE_TUNED),
    "vit-l-32-384": _google("vit-large-patch32-384", FINE_TUNED),
    "vit-b-16-in21k": _google("vit-base-patch16-224-in21k", "ImageNet-21k"),
    "vit-b-32-in21k": _google("vit-base-patch32-224-in21k", "ImageNet-21k"),
    "vit-l-16-in21k": _google("vit-large-patch16-224-in21k", "ImageNet-21k"),
    "vit-l-32-in21k": _google("vit-large-patch32-224-in21k", "ImageNet-21k"),
    "vit-h-14-in21k": _google("vit-huge-patch14-224-in21k", "ImageNet-21k"),
}
