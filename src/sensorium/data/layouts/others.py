"""Films, points and instances: DAVIS 2017, SPair-71k, and the revisited Oxford and Paris."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.data.dense import Clip, Clips, InstanceQuery, Instances, Match, Matched
from sensorium.data.errors import Unreadable
from sensorium.data.layouts.layout import Layout, among, files_in, whole
from sensorium.data.region_pickles import array_of, unpickle
from sensorium.data.truth import read_bytes, read_json, read_labels, read_lines


def _davis(folder: Path, split: str) -> Clips:
    """480p, the semi-supervised masks (Pont-Tuset et al. 2017): numbers of the palette, 0 the ground."""
    names = tuple(read_lines(folder / "ImageSets/2017" / f"{split}.txt"))
    return Clips(name=f"DAVIS 2017 {split}", length=len(names), at=partial(_davis_clip, folder, names))


def _davis_clip(folder: Path, names: tuple[str, ...], index: int) -> Clip:
    name = names[index]
    frames = files_in(folder / "JPEGImages/480p" / name, (".jpg",))
    masks = [folder / "Annotations/480p" / name / f"{frame.stem}.png" for frame in frames]
    if not frames:
        raise Unreadable(folder / "JPEGImages/480p" / name, "holds no frames")
    return Clip(key=name, frames=frames, read=partial(_mask, masks))


def _mask(masks: list[Path], index: int) -> UInt8[Tensor, "h w"]:
    return read_labels(masks[index])


def _spair(folder: Path, split: str) -> Matched:
    """Pairs of the large layout (Min et al. 2019, https://arxiv.org/abs/1908.10543)."""
    names = tuple(read_lines(folder / "Layout/large" / f"{split}.txt"))
    return Matched(name=f"SPair-71k {split}", length=len(names), at=partial(_spair_pair, folder, split, names))


def _spair_pair(folder: Path, split: str, names: tuple[str, ...], index: int) -> Match:
    file = folder / "PairAnnotation" / split / f"{names[index]}.json"
    content = read_json(file)
    try:
        category = str(content["category"])
        pictures = folder / "JPEGImages" / category
        source_points, target_points = (_numbers(content[name], 2) for name in ("src_kps", "trg_kps"))
        source_box, target_box = (_numbers([content[name]], 4)[0] for name in ("src_bndbox", "trg_bndbox"))
        source, target = pictures / str(content["src_imname"]), pictures / str(content["trg_imname"])
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(file, f"not SPair's annotation of a pair ({error})") from error
    if len(source_points) != len(target_points):
        raise Unreadable(file, f"{len(source_points)} points in one picture and {len(target_points)} in the other")
    return Match(
        source=source,
        target=target,
        key=names[index],
        category=category,
        source_points=source_points,
        target_points=target_points,
        source_box=source_box,
        target_box=target_box,
    )


def _numbers(rows: Any, width: int) -> Float[Tensor, "n {width}"]:
    return torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float32).reshape(-1, width)


def _revisited(folder: Path, _: str) -> Instances:
    """gnd_*.pkl as published (read without running it) or the same as .json (Radenović et al. 2018)."""
    file = min(folder.glob("gnd_r*"))
    content: Any = read_json(file) if file.suffix == ".json" else unpickle(read_bytes(file), str(file))
    try:
        gallery, queries, truth = (content[name] for name in ("imlist", "qimlist", "gnd"))
        found = tuple(_query(folder, str(name), entry) for name, entry in zip(queries, truth, strict=True))
        pictures = [folder / "jpg" / f"{name}.jpg" for name in gallery]
        highest = max((max((*q.easy, *q.hard, *q.junk), default=-1) for q in found), default=-1)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(file, f"not the revisited ground truth: imlist, qimlist, gnd ({error})") from error
    if highest >= len(pictures):
        raise Unreadable(file, f"picture {highest}, and there are {len(pictures)}")
    return Instances(name=file.stem.removeprefix("gnd_"), length=len(found), at=found.__getitem__, gallery=pictures)


def _query(folder: Path, name: str, entry: Mapping[str, Any]) -> InstanceQuery:
    easy, hard, junk = (_indices(entry[each]) for each in ("easy", "hard", "junk"))
    left, top, right, bottom = (float(value) for value in array_of(entry["bbx"]))
    box = (left, top, right, bottom)
    return InstanceQuery(image=folder / "jpg" / f"{name}.jpg", key=name, easy=easy, hard=hard, junk=junk, box=box)


def _indices(values: Any) -> tuple[int, ...]:
    numbers = tuple(int(value) for value in array_of(values))
    if min(numbers, default=0) < 0:
        raise ValueError(f"picture {min(numbers)}")
    return numbers


LAYOUTS = (
    Layout(
        name="DAVIS 2017",
        kind=Clips,
        marks=("JPEGImages/480p", "Annotations/480p", "ImageSets/2017"),
        splits=among("ImageSets/2017/{}.txt", "val", "train"),
        read=_davis,
        inside=("DAVIS",),
    ),
    Layout(
        name="SPair-71k",
        kind=Matched,
        marks=("JPEGImages", "PairAnnotation", "Layout/large"),
        splits=among("Layout/large/{}.txt", "test", "val", "trn"),
        read=_spair,
        inside=("SPair-71k",),
    ),
    Layout(
        name="revisited Oxford and Paris",
        kind=Instances,
        marks=("jpg", "gnd_r*"),
        splits=whole,
        read=_revisited,
    ),
)
