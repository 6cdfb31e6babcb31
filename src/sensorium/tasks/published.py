"""What others measured, to stand beside what was measured here. Percentages, as printed; plain data.

`differs` says what their protocol does otherwise than ours, where that is known.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One number: a preset's, on a data set, by a protocol and its metric, from a source."""

    model: str
    data: str
    protocol: str
    metric: str
    value: float
    source: str
    differs: str = ""


CLIP_PAPER = "Radford et al. 2021, table 11"
OPEN_CLIP = "measured by OpenCLIP, github.com/mlfoundations/open_clip, docs/openclip_"
VIT_PAPER = "Dosovitskiy et al. 2020"
REGISTERS = "Darcet et al. 2024, tables 2 and 3"
DINOV3_PAPER = "Siméoni et al. 2025"
IMAGEBIND_PAPER = "Girdhar et al. 2023, tables 2 to 4"

EIGHTY = "80 templates: --templates imagenet --labels imagenet"
FINE_TUNED = "the number is the fine-tuned model's own; public files come from several trainings"
BY_OTHERS = "measured by others, 21k then 1k"
AUTHORS_PROBE = "the authors sweep a linear layer trained by SGD with augmentation; ours is L-BFGS on fixed features"

LINEAR = "the best of six pairs of rate and decay, trained with augmentation; ours is one pair on fixed features"
TOKENCUT = "--method tokencut --reads tokens --tau 0,0.05,0.1,0.15,0.2,0.25,0.3,0.35,0.4"
SENTENCES = "the authors' sentences are not published"
SQUARE = "the long side becomes 224 and black fills the square; ours is the model's own preprocessing"


def _zero_shot(values: dict[str, float], source: str) -> Iterator[Published]:
    for model, value in values.items():
        yield Published(f"clip-{model}", "imagenet", "zero-shot", "accuracy", value, source, EIGHTY)


def _dinov2(size: str, plain: float, registers: float) -> Iterator[Published]:
    for name, value in ((f"dinov2-vit-{size}-14", plain), (f"dinov2-vit-{size}-14-reg", registers)):
        yield Published(
            name, "imagenet", "probe", "accuracy", value, "the DINOv2 repository's model card", AUTHORS_PROBE
        )


def _giant(data: str, protocol: str, metric: str, plain: float, registers: float) -> Iterator[Published]:
    """DINOv2 ViT-g as the registers' authors trained it anew: not the released weights."""
    anew = "as the paper trained it anew, not the released weights"
    differs = f"LOST on keys with a bias that the paper does not state; {anew}" if protocol == "discovery" else anew
    for name, value in (("dinov2-vit-g-14", plain), ("dinov2-vit-g-14-reg", registers)):
        yield Published(name, data, protocol, metric, value, REGISTERS, differs)


def _dinov3(data: str, protocol: str, metric: str, value: float, differs: str = "") -> Published:
    return Published("dinov3-vit-7b-16", data, protocol, metric, value, DINOV3_PAPER, differs)


def _imagebind(data: str, metric: str, value: float, protocol: str = "zero-shot", differs: str = "") -> Published:
    return Published("imagebind-huge", data, protocol, metric, value, IMAGEBIND_PAPER, differs)


PUBLISHED: tuple[Published, ...] = (
    *_zero_shot(
        {"rn50": 59.6, "rn101": 62.2, "vit-b-32": 63.2, "vit-b-16": 68.3, "vit-l-14": 75.5, "vit-l-14-336": 76.2},
        CLIP_PAPER,
    ),
    *_zero_shot(
        {"vit-b-32": 63.32, "vit-b-16": 68.34, "vit-l-14": 75.54, "vit-l-14-336": 76.56}, OPEN_CLIP + "results.csv"
    ),
    *(
        Published(
            "clip-vit-b-32",
            "coco",
            "retrieval",
            f"{way} R@1",
            value,
            OPEN_CLIP + "retrieval_results.csv",
            "5,000 pictures with five captions each",
        )
        for way, value in (("text-to-image", 30.4), ("image-to-text", 50.1))
    ),
    Published("vit-b-16-384", "imagenet", "classify", "accuracy", 83.97, f"{VIT_PAPER}, table 5", FINE_TUNED),
    Published("vit-b-16", "imagenet", "classify", "accuracy", 84.5, BY_OTHERS, FINE_TUNED),
    Published("vit-l-16", "imagenet", "classify", "accuracy", 84.5, BY_OTHERS, "84.5 to 85.1"),
    Published("vit-b-32", "imagenet", "classify", "accuracy", 81.7, BY_OTHERS, FINE_TUNED),
    Published("vit-l-16-jft", "imagenet", "classify", "accuracy", 87.76, VIT_PAPER, "no public weights"),
    Published("vit-h-14-jft", "imagenet", "classify", "accuracy", 88.55, VIT_PAPER, "no public weights"),
    *_dinov2("s", 81.1, 80.9),
    *_dinov2("b", 84.5, 84.6),
    *_dinov2("l", 86.3, 86.7),
    *_dinov2("g", 86.5, 87.1),
    *_giant("imagenet", "probe", "accuracy", 84.3, 84.8),
    *_giant("ade20k", "segmentation", "mIoU", 46.6, 47.9),
    *_giant("nyud", "depth", "RMSE", 0.378, 0.366),
    *_giant("voc2007", "discovery", "CorLoc", 35.3, 55.4),
    *_giant("voc2012", "discovery", "CorLoc", 40.2, 60.0),
    *_giant("coco20k", "discovery", "CorLoc", 26.9, 42.0),
    _dinov3("imagenet", "probe", "accuracy", 88.4, AUTHORS_PROBE),
    _dinov3("ade20k", "segmentation", "mIoU", 55.9, LINEAR),
    _dinov3("cityscapes", "segmentation", "mIoU", 81.1, LINEAR),
    _dinov3("voc2012", "segmentation", "mIoU", 86.6, LINEAR),
    _dinov3("nyud", "depth", "RMSE", 0.309, LINEAR),
    _dinov3("kitti", "depth", "RMSE", 2.346, f"another part of KITTI, Garg's crop; {LINEAR}"),
    _dinov3("navi", "correspondence", "recall", 64.4, "distances in space, which are not measured here"),
    _dinov3("spair", "correspondence", "recall", 58.7, "the better of features with and without the final norm"),
    _dinov3("voc2007", "discovery", "CorLoc", 66.1, TOKENCUT),
    _dinov3("voc2012", "discovery", "CorLoc", 69.5, TOKENCUT),
    _dinov3("coco20k", "discovery", "CorLoc", 55.1, TOKENCUT),
    *(
        Published(
            "dinov3-vit-7b-16", "davis2017", "tracking", "J&F", value, f"{DINOV3_PAPER}, table 5: {name}", differs
        )
        for name, value, differs in (
            ("S", 71.1, "--size 480, the default"),
            ("M", 79.7, "--size 960"),
            ("L", 83.3, "--size 1440"),
        )
    ),
    _dinov3("oxford", "instances", "mAP Medium", 81.1, SQUARE),
    _dinov3("oxford", "instances", "mAP Hard", 60.7, SQUARE),
    _dinov3("paris", "instances", "mAP Medium", 93.3, SQUARE),
    _dinov3("paris", "instances", "mAP Hard", 87.1, SQUARE),
    Published("dinov3-vit-b-16", "imagenet-real", "probe", "accuracy", 89.3, DINOV3_PAPER, AUTHORS_PROBE),
    Published("dinov3-vit-b-16", "ade20k", "segmentation", "mIoU", 51.8, DINOV3_PAPER, LINEAR),
    Published("dinov3-vit-l-16", "imagenet-real", "probe", "accuracy", 90.2, DINOV3_PAPER, AUTHORS_PROBE),
    Published("dinov3-vit-l-16", "ade20k", "segmentation", "mIoU", 54.9, DINOV3_PAPER, LINEAR),
    _imagebind("imagenet", "accuracy", 77.7, differs=EIGHTY),
    _imagebind("places365", "accuracy", 45.4),
    _imagebind("kinetics400", "accuracy", 50.0, differs="clips of video"),
    _imagebind("msr-vtt", "text-to-video R@1", 36.1, "retrieval", "clips of video"),
    _imagebind("nyud", "accuracy", 54.0, differs="depth alone, ten classes"),
    _imagebind("sun-rgbd", "accuracy", 35.1, differs="depth alone, 19 classes"),
    _imagebind("audioset", "mAP over all points", 17.6, differs=f"sound alone; {SENTENCES}"),
    _imagebind("vggsound", "accuracy", 27.8, differs=f"sound alone; {SENTENCES}"),
    _imagebind("esc-50", "accuracy", 66.9, differs=f"sound alone; {SENTENCES}"),
    _imagebind("llvip", "accuracy", 63.4, differs="thermal pictures alone; pieces of street are drawn anew"),
    _imagebind("ego4d", "accuracy", 25.0, differs="motion alone; 108 scenarios, one five seconds each"),
    _imagebind("clotho", "text-to-audio R@1", 6.0, "retrieval", "sound"),
    _imagebind("clotho", "text-to-audio R@10", 28.4, "retrieval", "sound"),
    _imagebind("audiocaps", "text-to-audio R@1", 9.3, "retrieval", "sound"),
    _imagebind("audiocaps", "text-to-audio R@10", 42.3, "retrieval", "sound"),
)


def published(model: str, protocol: str, data: str | None = None) -> list[Published]:
    """What is known of a preset by a protocol: on one data set, or on all where none is named."""
    return [
        row
        for row in PUBLISHED
        if row.model == model and row.protocol == protocol and (data is None or row.data == data)
    ]


def data_sets() -> list[str]:
    """Every data set of the table."""
    return sorted({row.data for row in PUBLISHED})
