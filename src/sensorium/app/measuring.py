"""The command that measures a model: evaluate."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from cyclopts import Parameter

from sensorium.app.commands import DONE, Json, Misuse, app

Number = TypeVar("Number", int, float)


@app.command(sort_key=11)
def evaluate(
    model: str,
    protocol: Literal[
        "zero-shot",
        "probe",
        "knn",
        "few-shot",
        "retrieval",
        "classify",
        "segmentation",
        "depth",
        "discovery",
        "correspondence",
        "tracking",
        "instances",
        "arithmetic",
        "detection",
    ],
    /,
    *,
    data: str,
    train: str | None = None,
    valid: str | None = None,
    labels: str | None = None,
    templates: str | None = None,
    dataset: str | None = None,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    to: str | None = None,
    prompts: str | None = None,
    proposals: str | None = None,
    shots: str | None = None,
    draws: int = 3,
    k: Annotated[int, Parameter(name=["--k", "-k"])] = 20,
    split: str | None = None,
    train_split: str | None = None,
    size: int | None = None,
    blocks: str | None = None,
    steps: int | None = None,
    rate: float | None = None,
    method: Literal["lost", "tokencut", "dinov3", "dino"] | None = None,
    reads: Literal["tokens", "queries", "keys", "values"] | None = None,
    tau: str | None = None,
    bias: float | None = None,
    keep: Path | None = None,
    precision: Literal["fp32", "bf16", "auto"] = "fp32",
    json: Json = False,
) -> int:
    """Measure a model as the papers do, beside the numbers that they published.

    sensorium evaluate clip-vit-b-32 zero-shot --data imagenet/val --labels imagenet --templates imagenet
    sensorium evaluate clip-vit-b-32 zero-shot --data pets --labels names.txt --dataset pets
    sensorium evaluate dinov2-vit-b-14 knn --train imagenet/train --data imagenet/val --keep features
    sensorium evaluate pocket probe --train flowers/train --data flowers/test
    sensorium evaluate vit-b-16-in21k few-shot --train train.csv --data test.csv --shots 1,5,10
    sensorium evaluate clip-vit-b-32 retrieval --data annotations/captions_val2017.json --dataset coco
    sensorium evaluate vit-b-16 classify --data imagenet/val
    sensorium evaluate dinov3-vit-b-16 segmentation --train ade --data ade --keep features
    sensorium evaluate dinov3-vit-b-16 depth --train rendered --data rendered --steps 2000
    sensorium evaluate dinov2-vit-b-14-reg discovery --data VOCdevkit/VOC2007 --split trainval
    sensorium evaluate dinov3-vit-b-16 tracking --data DAVIS --size 960
    sensorium evaluate imagebind-huge zero-shot --data ESC-50
    sensorium evaluate imagebind-huge zero-shot --data ~/sounds --from audio
    sensorium evaluate imagebind-huge retrieval --data clotho_captions_evaluation.csv
    sensorium evaluate imagebind-huge retrieval --data MSRVTT_JSFUSION_test.csv --to video+audio
    sensorium evaluate imagebind-huge few-shot --data ESC-50 --train ESC-50
    sensorium evaluate imagebind-huge arithmetic --data mixed.csv --from image+audio --to image
    sensorium evaluate imagebind-huge detection --data VOC2007 --prompts ~/sounds

    Data is a folder with one folder a class; a table (.csv, .tsv, .jsonl) of path
    and label, or for retrieval path and caption; or whatever `train` takes: COCO
    captions, tars, Parquet, a set by its name. Those of patches read published layouts
    (ADE20K, VOC, Cityscapes, NYUv2, KITTI, SPair-71k, DAVIS, revisited Oxford and
    Paris), your own folders, or a set by its name: composed, rendered. With --from, and
    for published sets of sounds, films, depth, heat and motion, files of any kind are
    read: folders of classes, or tables with columns called image, audio, video, depth,
    thermal, motion. What cannot be read is counted and listed, and never stops the run.

    Parameters
    ----------
    model
        A preset, a hub id, a folder or a weight file.
    protocol
        zero-shot: labels as sentences. probe: logistic regression on features. knn: the nearest vote. few-shot: ridge
        regression from a few. retrieval: captions and pictures, both ways. classify: the model's own classes.
        Of patches: segmentation and depth, by a linear layer; discovery of objects; correspondence of points; tracking
        of masks through films. instances: the same thing in a gallery. Of senses: arithmetic: a picture plus a sound
        finds what has both. detection: boxes that a sound asks for.
    data
        The pictures to be measured on.
    train
        The pictures to learn from: probe, knn, few-shot, segmentation and depth.
    valid
        Pictures on which the probe chooses its penalty. [default: a fifth of --train, held out]
    labels
        What the classes are called: a text file with a name a line in the order of the class folders, or lines of
        class, tab, name; or "imagenet". For classify: the names of the model's classes, in its order.
    templates
        Sentences with {} where the label goes, one a line; or "imagenet" for CLIP's eighty. [default: seven of them]
    dataset
        Which data set this is, for its own metric and what is published on it: imagenet, pets, voc2007, coco ...
    from_
        The sense by which samples are taken in: audio, video, depth, thermal, motion, image. What asks in retrieval
        (also text, or a sum), the two parts in arithmetic. [default: a published set's own; text; image+audio]
    to
        What is asked for in retrieval and arithmetic. [default: a published set's own sense; image]
    prompts
        Sounds that detection asks with, one folder a class, called like the boxes' classes. --from text asks by name.
    proposals
        What detection chooses from: grid, a file or folder of regions, or a detector such as frcnn-vg. [default: grid]
    shots
        Samples of each class that few-shot learns from. [default: 5,10; for senses 1,2,4,8]
    draws
        How often few-shot draws them anew; the mean is reported.
    k
        How many neighbours vote.
    split
        Which part of a published set to measure on, by its own name. [default: the one that papers report]
    train_split
        Which part of --train to learn from. [default: its training part]
    size
        Pixels that the short side of a picture becomes (for correspondence the long one), in whole patches. [default:
        the protocol's; for discovery the picture's own]
    blocks
        After which blocks patches are read, from 0, or from the end where negative; several, such as 2,5,8,11, stand
        side by side. [default: the last]
    steps
        Steps of the linear layer's training. [default: 40000 for segmentation, 38400 for depth]
    rate
        Its learning rate. [default: 0.001]
    method
        For discovery lost or tokencut, for tracking the settings of dinov3 or dino. [default: lost, dinov3]
    reads
        What discovery compares: the block's output or what its attention reads. [default: keys]
    tau
        The cosine above which TokenCut joins patches; of several, such as 0.1,0.2, the best is reported. [default: 0.2]
    bias
        What LOST adds to products of features. [default: 0]
    keep
        A folder for features: a stopped run goes on from there, and another protocol need not compute them again.
    precision
        bf16 is faster where the hardware has it; published numbers are fp32 or fp16.
    """
    from sensorium.app.evaluating import Asked, evaluate_model
    from sensorium.app.evaluating_dense import Words
    from sensorium.app.evaluating_senses import Senses

    words = Words(
        size=size,
        blocks=_numbers(blocks, int, "--blocks: whole numbers with commas between them, such as 2,5,8,11"),
        steps=steps,
        rate=rate,
        method=method,
        reads=reads,
        tau=_numbers(tau, float, "--tau: numbers with commas between them, such as 0.1,0.2"),
        bias=bias,
        split=split,
        train_split=train_split,
    )
    if (size is not None and size < 1) or (steps is not None and steps < 1) or (rate is not None and rate <= 0):
        raise Misuse("--size and --steps must be at least 1, and --rate above 0")
    few = [each.strip() for each in shots.split(",")] if shots is not None else []
    if not all(each.isdecimal() and int(each) for each in few):
        raise Misuse("--shots: whole numbers with commas between them, such as 5,10")
    if draws < 1 or k < 1:
        raise Misuse("--draws and --k must be at least 1")
    asked = Asked(
        protocol=protocol,
        data=data,
        train=train,
        valid=valid,
        labels=labels,
        templates=templates,
        dataset=dataset.lower() if dataset else None,
        shots=list(dict.fromkeys(map(int, few))) or None,
        draws=draws,
        k=k,
        keep=keep.expanduser() if keep else None,
        dense=words,
        senses=Senses(
            source=from_, target=to, prompts=prompts, proposals=proposals, split=split, train_split=train_split
        ),
    )
    evaluate_model(model, asked, precision=precision, as_json=json)
    return DONE


def _numbers(said: str | None, kind: type[Number], wanted: str) -> tuple[Number, ...] | None:
    """A list with commas. Raises Misuse, saying what was wanted."""
    try:
        return None if said is None else tuple(kind(each) for each in said.split(","))
    except ValueError:
        raise Misuse(wanted) from None
