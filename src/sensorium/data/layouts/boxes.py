"""Boxes for object discovery: Pascal VOC's and COCO's, counted as LOST counts them (Siméoni et al. 2021, 4.1)."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch

from sensorium.data.dense import Boxed, BoxedPicture
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.layouts.layout import VOC_FOLDERS, Layout, among, shown
from sensorium.data.truth import read_bytes, read_json, read_lines

SELECTION, SELECTED = "coco_20k_filenames.txt", "20k"
Box = tuple[float, float, float, float]


def _voc(folder: Path, split: str) -> Boxed:
    names = tuple(read_lines(folder / "ImageSets/Main" / f"{split}.txt"))
    return Boxed(name=f"{folder.name} {split}", length=len(names), at=partial(_voc_picture, folder, names))


def _voc_picture(folder: Path, names: tuple[str, ...], index: int) -> BoxedPicture:
    """Every object counts, truncated and difficult ones too. Stored corners count pixels from 1, both inside."""
    file = folder / "Annotations" / f"{names[index]}.xml"
    try:
        root = ElementTree.fromstring(read_bytes(file))
        found = [(_child(each, "name"), _child(each, "bndbox")) for each in root.findall("object")]
        classes = tuple((name.text or "").strip() for name, _ in found)
        boxes = [[float(_child(box, side).text or "") for side in ("xmin", "ymin", "xmax", "ymax")] for _, box in found]
    except (ElementTree.ParseError, ValueError) as error:
        raise Unreadable(file, f"not VOC's annotation ({error})") from error
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    corners[:, :2] -= 1
    picture = folder / "JPEGImages" / f"{names[index]}.jpg"
    return BoxedPicture(image=picture, key=str(picture), boxes=corners, names=classes)


def _child(element: ElementTree.Element, name: str) -> ElementTree.Element:
    found = element.find(name)
    if found is None:
        raise ValueError(f"{element.tag} without {name}")
    return found


def _coco_parts(folder: Path) -> dict[str, Path]:
    """Parts by name: train2014, val2017, ... with their file."""
    found = sorted((folder / "annotations").glob("instances_*.json"))
    return {file.stem.removeprefix("instances_"): file for file in found}


def _coco_splits(folder: Path) -> tuple[str, ...]:
    parts = tuple(_coco_parts(folder))
    return (SELECTED, *parts) if (folder / SELECTION).exists() and "train2014" in parts else parts


def _coco(folder: Path, split: str) -> Boxed:
    """`20k` is the selection of train2014 that coco_20k_filenames.txt lists, in its order (Vo et al. 2020)."""
    part = "train2014" if split == SELECTED else split
    file = _coco_parts(folder)[part]
    content = read_json(file)
    if not isinstance(content, Mapping) or not all(
        isinstance(content.get(key), list) for key in ("images", "annotations", "categories")
    ):
        raise Unreadable(file, "not COCO's instances: an object with lists `images`, `annotations` and `categories`")
    places = [place for place in (folder / part, folder / "images" / part) if place.is_dir()]
    if not places:
        raise SensoriumError(f"{shown(folder)}: no {part} and no images/{part} with the pictures of {file.name}")
    try:
        called = {int(each["id"]): str(each["name"]) for each in content["categories"]}
        pictures = {int(each["id"]): places[0] / str(each["file_name"]) for each in content["images"]}
        objects: dict[int, list[tuple[str, Box]]] = {number: [] for number in pictures}
        for each in content["annotations"]:
            if not each.get("iscrowd"):
                objects[int(each["image_id"])].append((called[int(each["category_id"])], _corners(each["bbox"])))
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(file, f"an entry lacks or misnames {error}") from error
    numbers = _selection(folder / SELECTION, pictures) if split == SELECTED else tuple(pictures)
    rows = [(pictures[number], objects[number]) for number in numbers]
    return Boxed(name=f"COCO {split}", length=len(rows), at=partial(_coco_picture, rows))


def _corners(box: Any) -> Box:
    """Left, top, width, height to corners, rounded to whole pixels as LOST does."""
    left, top, width, height = map(float, box)
    return round(left), round(top), round(left + width), round(top + height)


def _coco_picture(rows: list[tuple[Path, list[tuple[str, Box]]]], index: int) -> BoxedPicture:
    picture, objects = rows[index]
    boxes = torch.tensor([box for _, box in objects], dtype=torch.float32).reshape(-1, 4)
    return BoxedPicture(image=picture, key=str(picture), boxes=boxes, names=tuple(name for name, _ in objects))


def _selection(file: Path, known: Mapping[int, Path]) -> tuple[int, ...]:
    numbers: list[int] = []
    for line in read_lines(file):
        match = re.search(r"(\d+)\.\w+$", line)
        if match is None or int(match[1]) not in known:
            raise Unreadable(file, f"{line!r} is no picture of instances_train2014.json")
        numbers.append(int(match[1]))
    return tuple(numbers)


LAYOUTS = (
    Layout(
        name="Pascal VOC",
        kind=Boxed,
        marks=("JPEGImages", "Annotations", "ImageSets/Main"),
        splits=among("ImageSets/Main/{}.txt", "trainval", "train", "val", "test"),
        read=_voc,
        inside=VOC_FOLDERS,
    ),
    Layout(name="COCO", kind=Boxed, marks=("annotations/instances_*.json",), splits=_coco_splits, read=_coco),
)
