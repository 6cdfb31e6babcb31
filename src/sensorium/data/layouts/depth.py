"""Depth: NYU Depth v2 as published and as folders of pictures, KITTI's selection, and a folder of one's own."""

import os
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.dense import DepthPicture, Depths
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.layouts.layout import WHOLE, Layout, among, files_in, partners, shown, whole
from sensorium.data.truth import MILLIMETRES, metres, read_depth, read_lines

Pairs = Sequence[tuple[Path, Path]]
LABELLED, SPLITS = "nyu_depth_v2_labeled.mat", "splits.mat"
EIGEN = (slice(45, 471), slice(41, 601))
"""What counts of a test picture of NYU, which is 480 x 640: rows and columns as used since Eigen et al. (2014)."""
KITTI_STEPS = 256.0  # a metre, in the PNGs of KITTI's depth (devkit_depth)


def _depths(
    name: str, pairs: Pairs, *, far: float = 10.0, per_metre: float = MILLIMETRES, crop: bool = False
) -> Depths:
    at = partial(_picture, pairs, per_metre, crop)
    return Depths(name=name, length=len(pairs), at=at, far=far)


def _picture(pairs: Pairs, per_metre: float, crop: bool, index: int) -> DepthPicture:
    picture, truth = pairs[index]
    return DepthPicture(image=picture, key=str(picture), read=partial(_read, truth, per_metre, crop))


def _read(truth: Path, per_metre: float, crop: bool) -> Float[Tensor, "h w"]:
    depth = read_depth(truth, per_metre=per_metre)
    return _eigen(depth, str(truth)) if crop else depth


def _eigen(depth: Float[Tensor, "h w"], key: str) -> Float[Tensor, "h w"]:
    """The same with 0 (unknown) outside of what counts."""
    if depth.shape != (480, 640):
        raise Unreadable(key, f"{depth.shape[1]} x {depth.shape[0]} pixels; NYU's test pictures have 640 x 480")
    cropped = torch.zeros_like(depth)
    cropped[EIGEN] = depth[EIGEN]
    return cropped


def _nyu_folders(folder: Path, split: str) -> Depths:
    """Pairs rgb_N.jpg and sync_depth_N.png (16 bits, millimetres) in a folder a scene, or listed in nyu_SPLIT.txt."""
    if split == WHOLE:
        truths = sorted(folder.glob("**/sync_depth_*.png"))
        pairs = [
            (each.with_name(each.name.replace("sync_depth_", "rgb_")).with_suffix(".jpg"), each) for each in truths
        ]
        if lonely := [picture for picture, _ in pairs if not picture.exists()]:
            raise SensoriumError(f"{shown(lonely[0])}: no such picture for the depth beside it")
        return _depths(f"NYUv2 {folder.name}", pairs, crop=folder.name == "test")
    pairs = []
    for line in read_lines(folder / f"nyu_{split}.txt"):
        words = line.split()
        if len(words) < 2:
            raise SensoriumError(f"{shown(folder)}/nyu_{split}.txt: {line!r} names no picture and depth")
        if words[1] != "None":  # pictures without depth are listed so
            pairs.append((folder / words[0].lstrip("/"), folder / words[1].lstrip("/")))
    return _depths(f"NYUv2 {split}", pairs, crop=split == "test")


def _nyu_labelled(folder: Path, split: str) -> Depths:
    """The 1,449 pictures of the .mat (HDF5), with the depth as measured where the file has it, else filled in."""
    file = folder / LABELLED
    count, field = _contents(file)
    numbers = list(range(count)) if split == WHOLE else _numbers(folder / SPLITS, split, count)
    at = partial(_labelled, file, field, tuple(numbers), split == "test")
    return Depths(name=f"NYUv2 {split}", length=len(numbers), at=at)


@lru_cache(maxsize=2)
def _opened(file: Path, process: int) -> Any:
    """An open file; HDF5 may not be shared between processes."""
    del process
    try:
        import h5py  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise SensoriumError(f"{shown(file)} is HDF5: pip install h5py") from None
    try:
        return cast(Any, h5py).File(file, "r")
    except OSError as error:
        raise Unreadable(file, f"not HDF5 ({str(error)[:60]})") from error


def _contents(file: Path) -> tuple[int, str]:
    content = _opened(file, os.getpid())
    field = "rawDepths" if "rawDepths" in content else "depths"
    if lacking := [name for name in ("images", field) if name not in content]:
        raise Unreadable(file, f"has no {lacking[0]}: it is not NYU's labelled data set")
    if len(content["images"]) != len(content[field]):
        raise Unreadable(file, f"{len(content['images'])} images and {len(content[field])} {field}")
    return len(content["images"]), field


def _numbers(file: Path, split: str, count: int) -> list[int]:
    try:
        from scipy.io import loadmat  # pyright: ignore[reportMissingImports]
        from scipy.io.matlab import MatReadError  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise SensoriumError(f"{shown(file)} is Matlab's old format: pip install scipy") from None
    try:
        content: Any = cast(Any, loadmat)(file)
        found = [int(number) - 1 for number in np.ravel(content[f"{split}Ndxs"])]
    except (OSError, ValueError, TypeError, KeyError, cast(type[Exception], MatReadError)) as error:
        raise Unreadable(file, f"no list {split}Ndxs ({str(error)[:60]})") from error
    if strange := [number for number in found if not 0 <= number < count]:
        raise Unreadable(file, f"picture {strange[0] + 1} of {count}")
    return found


def _labelled(file: Path, field: str, numbers: tuple[int, ...], crop: bool, index: int) -> DepthPicture:
    number = numbers[index]
    key = f"{file}:{number + 1}"
    try:
        pixels = np.ascontiguousarray(np.transpose(_opened(file, os.getpid())["images"][number], (2, 1, 0)))
    except (OSError, ValueError) as error:
        raise Unreadable(key, f"damaged ({str(error)[:60]})") from error
    return DepthPicture(image=pixels, key=key, read=partial(_labelled_depth, file, field, number, crop))


def _labelled_depth(file: Path, field: str, number: int, crop: bool) -> Float[Tensor, "h w"]:
    key = f"{file}:{number + 1}"
    try:
        depth = metres(np.transpose(_opened(file, os.getpid())[field][number]))
    except (OSError, ValueError) as error:
        raise Unreadable(key, f"damaged ({str(error)[:60]})") from error
    return _eigen(depth, key) if crop else depth


def _kitti(folder: Path, _: str) -> Depths:
    """1,000 pictures with depth joined from many sweeps (Uhrig et al. 2017); up to 80 m count."""
    pairs: list[tuple[Path, Path]] = []
    for picture in files_in(folder / "image", (".png",)):
        truth = folder / "groundtruth_depth" / picture.name.replace("_sync_image_", "_sync_groundtruth_depth_")
        if not truth.exists():
            raise SensoriumError(f"{shown(picture)}: no {shown(truth)}")
        pairs.append((picture, truth))
    return _depths("KITTI val_selection_cropped", pairs, far=80.0, per_metre=KITTI_STEPS)


def own_folder(folder: Path, _: str) -> Depths:
    """images/ and depth/ with the same names: PNGs of millimetres, or .npy files of metres."""
    truths = files_in(folder / "depth", (".png", ".npy"))
    return _depths(shown(folder), partners(files_in(folder / "images"), truths, "depth"))


def _labelled_splits(folder: Path) -> tuple[str, ...]:
    return ("test", "train", WHOLE) if (folder / SPLITS).exists() else (WHOLE,)


LAYOUTS = (
    Layout(
        name="NYUv2 (labelled)",
        kind=Depths,
        marks=(LABELLED,),
        splits=_labelled_splits,
        read=_nyu_labelled,
        inside=("nyu_depth_v2",),
    ),
    Layout(
        name="NYUv2 (lists)",
        kind=Depths,
        marks=("nyu_*.txt",),
        splits=among("nyu_{}.txt", "test", "train"),
        read=_nyu_folders,
    ),
    Layout(name="NYUv2 (scenes)", kind=Depths, marks=("*/sync_depth_*.png",), splits=whole, read=_nyu_folders),
    Layout(
        name="KITTI depth selection",
        kind=Depths,
        marks=("image", "groundtruth_depth"),
        splits=whole,
        read=_kitti,
        inside=("val_selection_cropped", "depth_selection/val_selection_cropped"),
    ),
    Layout(name="pictures with depth", kind=Depths, marks=("images", "depth"), splits=whole, read=own_folder),
)
