"""Classes at every pixel: ADE20K, Pascal VOC, Cityscapes, and a folder of one's own."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sensorium.data.dense import IGNORED, Segmented, SegmentedPicture
from sensorium.data.errors import SensoriumError
from sensorium.data.layouts.layout import VOC_FOLDERS, Layout, among, files_in, partners, shown, whole
from sensorium.data.layouts.names import ADE20K, CITYSCAPES, CITYSCAPES_IDS, VOC
from sensorium.data.truth import read_labels, read_lines

Pairs = list[tuple[Path, Path]]
Table = NDArray[np.int16]


def _segmented(name: str, pairs: Pairs, classes: tuple[str, ...], table: Table) -> Segmented:
    return Segmented(name=name, length=len(pairs), at=partial(_picture, pairs, table), classes=classes)


def _picture(pairs: Pairs, table: Table, index: int) -> SegmentedPicture:
    picture, truth = pairs[index]
    return SegmentedPicture(image=picture, key=str(picture), read=partial(read_labels, truth, table))


def _table(numbers: Sequence[int], ignored: Sequence[int] = (IGNORED,)) -> Table:
    """What each stored number becomes: `numbers` the classes in order, `ignored` nothing; others may not occur."""
    table = np.full(256, -1, np.int16)
    table[list(ignored)] = IGNORED
    table[list(numbers)] = np.arange(len(numbers))
    return table


def _ade20k(folder: Path, split: str) -> Segmented:
    """1 to 150 are classes, 0 is all else and is not counted (Zhou et al. 2017, the Scene Parsing benchmark)."""
    pairs = partners(files_in(folder / "images" / split), files_in(folder / "annotations" / split), "annotation")
    return _segmented(f"ADE20K {split}", pairs, ADE20K, _table(range(1, 151), (0,)))


def _voc(folder: Path, split: str) -> Segmented:
    """0 is the background, 255 the contours that are not counted."""
    names = read_lines(folder / "ImageSets/Segmentation" / f"{split}.txt")
    pairs = [(folder / "JPEGImages" / f"{name}.jpg", folder / "SegmentationClass" / f"{name}.png") for name in names]
    return _segmented(f"Pascal VOC {split}", pairs, VOC, _table(range(len(VOC))))


def _cityscapes(folder: Path, split: str) -> Segmented:
    """The 19 classes of training and evaluation, out of the 34 that are drawn."""
    pairs: Pairs = []
    for picture in sorted((folder / "leftImg8bit" / split).glob("*/*_leftImg8bit.png")):
        stem = picture.name.removesuffix("_leftImg8bit.png")
        truth = folder / "gtFine" / split / picture.parent.name / f"{stem}_gtFine_labelIds.png"
        if not truth.exists():
            raise SensoriumError(f"{shown(picture)}: no {shown(truth)} beside it")
        pairs.append((picture, truth))
    if not pairs:
        raise SensoriumError(f"{shown(folder / 'leftImg8bit' / split)}: no city with *_leftImg8bit.png")
    return _segmented(f"Cityscapes {split}", pairs, CITYSCAPES, _table(CITYSCAPES_IDS, (*range(34), IGNORED)))


def own_folder(folder: Path, _: str) -> Segmented:
    """images/ and labels/ with the same names; classes.txt has a name a line, number 0 first.

    Without it the maps are read once for the highest number.
    """
    pairs = partners(files_in(folder / "images"), files_in(folder / "labels", (".png",)), "map of labels")
    if (folder / "classes.txt").exists():
        classes = tuple(read_lines(folder / "classes.txt"))
    else:
        highest = max(_highest(truth) for _, truth in pairs)
        classes = tuple(str(number) for number in range(highest + 1))
    if not 0 < len(classes) <= IGNORED:
        raise SensoriumError(f"{shown(folder)}: {len(classes)} classes; 1 to {IGNORED} can be told apart")
    return _segmented(shown(folder), pairs, classes, _table(range(len(classes))))


def _highest(truth: Path) -> int:
    labels = read_labels(truth)
    return int(labels[labels != IGNORED].max()) if (labels != IGNORED).any() else -1


LAYOUTS = (
    Layout(
        name="ADE20K",
        kind=Segmented,
        marks=("images", "annotations"),
        splits=among("annotations/{}", "validation", "training"),
        read=_ade20k,
        inside=("ADEChallengeData2016",),
    ),
    Layout(
        name="Pascal VOC",
        kind=Segmented,
        marks=("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"),
        splits=among("ImageSets/Segmentation/{}.txt", "val", "train", "trainval", "test"),
        read=_voc,
        inside=VOC_FOLDERS,
    ),
    Layout(
        name="Cityscapes",
        kind=Segmented,
        marks=("leftImg8bit", "gtFine"),
        splits=among("gtFine/{}", "val", "train"),
        read=_cityscapes,
    ),
    Layout(
        name="pictures with labels", kind=Segmented, marks=("images", "labels/*.png"), splits=whole, read=own_folder
    ),
)
