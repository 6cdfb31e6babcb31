"""Where the public weights of each preset lie, what they were trained on, and under which licence they are given."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Source:
    """A hub repository. `file` names the weights where the repository holds several; `revision` pins a commit.

    `results` are what the authors published for these very weights.
    """

    hub: str
    licence: str
    trained_on: str
    file: str | None = None
    revision: str | None = None
    results: str | None = None


def _openai(hub: str, top1: float, *, file: str | None = None) -> Source:
    # OpenAI gives code and weights under MIT (openai/CLIP, LICENSE); its hub pages state no licence of their own.
    results = f"ImageNet zero-shot top-1 {top1} (Radford et al. 2021, table 11)"
    return Source(hub=hub, licence="MIT", trained_on="WIT, 400M pairs", file=file, results=results)


def _openai_resnet(name: str, top1: float) -> Source:
    return _openai(f"timm/{name}_clip.openai", top1, file="open_clip_model.safetensors")


def _google(hub: str, trained_on: str) -> Source:
    return Source(hub=f"google/{hub}", licence="Apache-2.0", trained_on=trained_on)


def _timm(hub: str) -> Source:
    return Source(hub=f"timm/{hub}.augreg_in21k_ft_in1k", licence="Apache-2.0", trained_on=FINE_TUNED)


def _dinov2(name: str) -> Source:
    return Source(hub=f"facebook/dinov2-{name}", licence="Apache-2.0", trained_on="LVD-142M, no labels")


def _dinov3(name: str, pool: str = "lvd1689m") -> Source:
    # The hub asks to accept the licence before the first download.
    trained_on = {"lvd1689m": "LVD-1689M, no labels", "sat493m": "SAT-493M, no labels"}[pool]
    return Source(hub=f"facebook/dinov3-{name}-pretrain-{pool}", licence="DINOv3 License", trained_on=trained_on)


def _visualbert(task: str, trained_on: str) -> Source:
    # visualbert-vcr's card states Apache-2.0, the other eight were not seen; the authors' own repository is MIT.
    return Source(hub=f"uclanlp/visualbert-{task}", licence="Apache-2.0", trained_on=trained_on)


def _layout(hub: str, trained_on: str) -> Source:
    # The authors' word for the weights of LayoutLMv2 and LayoutXLM: microsoft/unilm, layoutlmv2/README.md, issue 456.
    return Source(hub=f"microsoft/{hub}", licence="CC-BY-NC-SA-4.0", trained_on=trained_on)


FINE_TUNED = "ImageNet-21k, then 1k"

SOURCES: dict[str, Source] = {
    "clip-rn50": _openai_resnet("resnet50", 59.6),
    "clip-rn101": _openai_resnet("resnet101", 62.2),
    "clip-rn50x4": _openai_resnet("resnet50x4", 65.8),
    "clip-rn50x16": _openai_resnet("resnet50x16", 70.5),
    "clip-rn50x64": _openai_resnet("resnet50x64", 73.6),
    "clip-vit-b-32": _openai("openai/clip-vit-base-patch32", 63.2),
    "clip-vit-b-16": _openai("openai/clip-vit-base-patch16", 68.3),
    "clip-vit-l-14": _openai("openai/clip-vit-large-patch14", 75.5),
    "clip-vit-l-14-336": _openai("openai/clip-vit-large-patch14-336", 76.2),
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
    "layoutlmv2-base": _layout("layoutlmv2-base-uncased", "IIT-CDIP, 11M pages"),
    "layoutlmv2-large": _layout("layoutlmv2-large-uncased", "IIT-CDIP, 11M pages"),
    "layoutxlm-base": _layout("layoutxlm-base", "30M documents in 53 languages"),
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
    "dinov2-vit-s-14-reg": _dinov2("with-registers-small"),
    "dinov2-vit-b-14-reg": _dinov2("with-registers-base"),
    "dinov2-vit-l-14-reg": _dinov2("with-registers-large"),
    "dinov2-vit-g-14-reg": _dinov2("with-registers-giant"),
    "dinov2-vit-s-14": _dinov2("small"),
    "dinov2-vit-b-14": _dinov2("base"),
    "dinov2-vit-l-14": _dinov2("large"),
    "dinov2-vit-g-14": _dinov2("giant"),
    "dinov3-vit-s-16": _dinov3("vits16"),
    "dinov3-vit-s-plus-16": _dinov3("vits16plus"),
    "dinov3-vit-b-16": _dinov3("vitb16"),
    "dinov3-vit-l-16": _dinov3("vitl16"),
    "dinov3-vit-h-plus-16": _dinov3("vith16plus"),
    "dinov3-vit-7b-16": _dinov3("vit7b16"),
    "dinov3-vit-l-16-sat493m": _dinov3("vitl16", "sat493m"),
    "dinov3-vit-7b-16-sat493m": _dinov3("vit7b16", "sat493m"),
    "dinov3-convnext-tiny": _dinov3("convnext-tiny"),
    "dinov3-convnext-small": _dinov3("convnext-small"),
    "dinov3-convnext-base": _dinov3("convnext-base"),
    "dinov3-convnext-large": _dinov3("convnext-large"),
    "visualbert-vqa-coco-pre": _visualbert("vqa-coco-pre", "COCO captions"),
    "visualbert-nlvr2-coco-pre": _visualbert("nlvr2-coco-pre", "COCO captions"),
    "visualbert-vcr-coco-pre": _visualbert("vcr-coco-pre", "COCO captions"),
    "visualbert-vqa-pre": _visualbert("vqa-pre", "COCO captions, then VQA 2.0 with covered words"),
    "visualbert-nlvr2-pre": _visualbert("nlvr2-pre", "COCO captions, then NLVR2 with covered words"),
    "visualbert-vcr-pre": _visualbert("vcr-pre", "COCO captions, then VCR with covered words"),
    "visualbert-vqa": _visualbert("vqa", "COCO captions, then VQA 2.0"),
    "visualbert-nlvr2": _visualbert("nlvr2", "COCO captions, then NLVR2"),
    "visualbert-vcr": _visualbert("vcr", "COCO captions, then VCR"),
}
