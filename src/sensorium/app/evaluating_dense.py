"""`sensorium evaluate` of dense tasks: what the words of the command line mean for each of them."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from sensorium.data.errors import SensoriumError

if TYPE_CHECKING:
    from sensorium.data.dense import AnyDense
    from sensorium.tasks.dense_features import View
    from sensorium.tasks.embedding import Embedder
    from sensorium.tasks.protocols import How, Result

DenseProtocol = Literal["segmentation", "depth", "discovery", "correspondence", "tracking", "instances"]
Measure = Callable[["Embedder", "How"], "Result"]

USED = {
    "size": ("segmentation", "depth", "discovery", "correspondence", "tracking"),
    "blocks": ("segmentation", "depth", "discovery", "correspondence", "tracking"),
    "steps": ("segmentation", "depth"),
    "rate": ("segmentation", "depth"),
    "train_split": ("segmentation", "depth"),
    "method": ("discovery", "tracking"),
    "reads": ("discovery",),
    "tau": ("discovery",),
    "bias": ("discovery",),
    "split": get_args(DenseProtocol),
}
METHODS = {"discovery": ("lost", "tokencut"), "tracking": ("dinov3", "dino")}
TRAINING = ("training", "train", "trn")  # what sets call the part to learn from
# How sets call themselves, and how published numbers call them.
KNOWN = {
    "ADE20K": "ade20k",
    "Pascal VOC": "voc2012",
    "VOC2007": "voc2007",
    "VOC2012": "voc2012",
    "Cityscapes": "cityscapes",
    "NYUv2": "nyud",
    "KITTI": "kitti",
    "SPair-71k": "spair",
    "DAVIS 2017": "davis2017",
    "roxford5k": "oxford",
    "rparis6k": "paris",
}


@dataclass(frozen=True, kw_only=True)
class Words:
    """Options of dense tasks; None where nothing was said."""

    size: int | None = None
    blocks: tuple[int, ...] | None = None
    steps: int | None = None
    rate: float | None = None
    method: str | None = None
    reads: Literal["tokens", "queries", "keys", "values"] | None = None
    tau: tuple[float, ...] | None = None
    bias: float | None = None
    split: str | None = None
    train_split: str | None = None


def check(protocol: str, words: Words) -> None:
    """Raises SensoriumError for an option that the protocol has no use for."""
    for field in fields(words):
        if getattr(words, field.name) is not None and protocol not in USED[field.name]:
            option = "--" + field.name.replace("_", "-")
            raise SensoriumError(f"{protocol} has no use for {option}: it is for {' and '.join(USED[field.name])}")
    if words.method is not None and words.method not in METHODS[protocol]:
        raise SensoriumError(f"--method {words.method}: {protocol} has {' and '.join(METHODS[protocol])}")


def prepare_dense(protocol: DenseProtocol, data: str, train: str | None, words: Words) -> tuple[str | None, Measure]:
    """The data set where it is known, and what is to be done with a model. Opens the sets, decodes nothing.

    Raises SensoriumError where there is no such set, and for words that do not fit the protocol.
    """
    from sensorium.data.dense import Boxed, Clips, Depths, Instances, Matched, Segmented
    from sensorium.data.layouts import open_dense
    from sensorium.tasks import correspondence, depth, discovery, instances, segmentation, tracking
    from sensorium.tasks.dense_linear import Training

    def training(steps: int) -> Training:
        how = Training(steps=words.steps or steps)
        return replace(how, rate=words.rate) if words.rate is not None else how

    def learned(kind: "type[AnyDense]") -> str | None:
        return words.train_split or _part_to_learn_from(cast(str, train), kind)

    if protocol == "segmentation":
        test = open_dense(data, Segmented, words.split)
        shown = open_dense(cast(str, train), Segmented, learned(Segmented))
        steps = training(Training().steps)
        return _known(test.name), lambda model, how: segmentation.linear_segmentation(
            model, shown, test, view=_view(segmentation.VIEW, words, model), training=steps, how=how
        )
    if protocol == "depth":
        far = open_dense(data, Depths, words.split)
        near = open_dense(cast(str, train), Depths, learned(Depths))
        steps = training(depth.STEPS)
        return _known(far.name), lambda model, how: depth.linear_depth(
            model, near, far, view=_view(depth.VIEW, words, model), training=steps, how=how
        )
    if protocol == "discovery":
        boxed = open_dense(data, Boxed, words.split)
        method = cast(discovery.Method, words.method or "lost")
        taus, bias = words.tau or (discovery.TAU,), words.bias or 0.0
        return _known(boxed.name), lambda model, how: discovery.discover(
            model, boxed, method=method, taus=taus, bias=bias, view=_view(discovery.VIEW, words, model), how=how
        )
    if protocol == "correspondence":
        matched = open_dense(data, Matched, words.split)
        return _known(matched.name), lambda model, how: correspondence.correspond(
            model, matched, view=_view(correspondence.VIEW, words, model), how=how
        )
    if protocol == "tracking":
        clips = open_dense(data, Clips, words.split)
        propagation = tracking.DINO if words.method == "dino" else tracking.Propagation()
        return _known(clips.name), lambda model, how: tracking.track(
            model, clips, propagation=propagation, view=_view(tracking.VIEW, words, model), how=how
        )
    asked = open_dense(data, Instances, words.split)
    return _known(asked.name), lambda model, how: instances.retrieve_instances(model, asked, how=how)


def _view(usual: "View", words: Words, embedder: "Embedder") -> "View":
    """The protocol's view of a picture, but for what was said; `--size` in pixels is the side that it names."""
    from sensorium.nn.vit_like import find_vit

    view = usual
    if words.blocks is not None:
        view = replace(view, blocks=words.blocks)
    if words.reads is not None:
        view = replace(view, what=words.reads)
    vit = None if embedder.model is None else find_vit(embedder.model)
    if words.size is None or vit is None:  # without patches the task says so itself
        return view
    patches = max(1, round(words.size / vit.patches.patch[-1]))
    return replace(view, long=patches) if view.long is not None else replace(view, short=patches)


def _part_to_learn_from(place: str, kind: "type[AnyDense]") -> str | None:
    """The set's own name of its training part; None where it has no parts."""
    from sensorium.data.layouts import layouts_at
    from sensorium.data.standins import STANDINS

    splits: tuple[str, ...] = ()
    if not Path(place).expanduser().exists() and place in STANDINS:
        splits = STANDINS[place].splits
    for layout, folder in layouts_at(place):
        if layout.kind is kind:
            splits = layout.splits(folder)
    return next((name for name in TRAINING if name in splits), None)


def _known(name: str) -> str | None:
    return next((known for said, known in KNOWN.items() if name.startswith(said)), None)
