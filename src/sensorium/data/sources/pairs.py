"""Published sets of pictures paired with another sense: SUN RGB-D and NYU-D (depth), LLVIP (heat), Ego4D (motion)."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.folder import IMAGE_SUFFIXES
from sensorium.data.sources.clips import FILMS, Clips, Sense, files_below, listed, reads, words

# Metres between the eyes of SUN RGB-D's cameras, by the folder, as Omnivore's authors gave them (its issue 12).
BASELINES = {"kv1": 0.075, "kv2": 0.075, "realsense": 0.095, "xtion": 0.095}
# The scenes that SUN RGB-D's classification is measured over (its paper; ImageBind's issue 134).
SCENES = (
    *("bathroom", "bedroom", "classroom", "computer room", "conference room", "corridor", "dining area", "dining room"),
    *("discussion area", "furniture store", "home office", "kitchen", "lab", "lecture theatre", "library"),
    *("living room", "office", "rest space", "study space"),
)
NYU_FOCAL = 518.857901  # pixels, of the Kinect that NYU Depth V2 was recorded with
EGO4D_SECONDS = 5.0


def open_pairs(folder: Path) -> Clips | None:
    """The set that lies in a folder; None where it is none of them. Raises SensoriumError where parts are missing."""
    inside = {name for name in (*BASELINES, "SUNRGBD", "visible", "infrared", *_NYU, "imu") if (folder / name).is_dir()}
    if "SUNRGBD" in inside or len(inside & BASELINES.keys()) >= 2:
        return sun_rgbd(folder / "SUNRGBD" if "SUNRGBD" in inside else folder)
    if {"visible", "infrared"} & inside and _split(folder / "visible", folder / "infrared"):
        return llvip(folder)
    if set(_NYU) & inside or _is_nyu(folder):
        return nyu_depth(folder)
    if "imu" in inside and any((folder / "imu").glob("*.csv")):
        return ego4d(folder)
    return None


_NYU = ("nyu_images", "nyu_depths")


def _split(*folders: Path) -> bool:
    return any((folder / split).is_dir() for folder in folders for split in ("train", "test"))


def _is_nyu(folder: Path) -> bool:
    """Whether the first scene of a split has depth beside its pictures."""
    scenes = (next(iter(sorted((folder / split).glob("*"))), None) for split in ("train", "test"))
    return any(scene is not None and any(scene.glob("sync_depth_*.png")) for scene in scenes)


@reads
def sun_rgbd(folder: Path) -> Clips:
    """SUN RGB-D (Song et al. 2015): kv1, kv2, realsense and xtion, a folder a view with image/, depth_bfx/ (filled),
    intrinsics.txt and scene.txt. Classes are all scenes that occur; `of(SCENES)` leaves the 19 that are measured.
    """
    views = sorted(file.parent for file in folder.rglob("scene.txt"))
    scenes = {view: words((view / "scene.txt").read_text(encoding="utf-8")) for view in views}
    classes = tuple(sorted(set(scenes.values())))
    splits = _sun_splits(folder)

    def rows() -> Iterator[Sense | str]:
        for view in views:
            place = view.relative_to(folder).as_posix()
            picture, depth = _one(view / "image"), _one(view / "depth_bfx") or _one(view / "depth")
            if picture is None or depth is None:
                yield f"{place}/{'image' if picture is None else 'depth_bfx'}"
                continue
            try:
                focal = float((view / "intrinsics.txt").read_text().split()[0])
            except (OSError, ValueError, IndexError):
                yield f"{place}/intrinsics.txt (its first number is the focal length)"
                continue
            row = Sense(key=place, image=picture, depth=depth, unit="sun", focal=focal, text=scenes[view])
            row["label"] = classes.index(scenes[view])
            row["baseline"] = BASELINES.get(place.partition("/")[0], BASELINES["kv1"])
            if place in splits:
                row["split"] = splits[place]
            yield row

    unsplit = (
        () if splits else ("no split: SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat is not beside it (scipy reads it)",)
    )
    return listed(str(folder), "SUN RGB-D", rows(), classes=classes, problems=unsplit)


def _sun_splits(folder: Path) -> dict[str, str]:
    """The split of each view, from the toolbox beside it; none without it or without scipy."""
    places = [root / "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat" for root in (folder, folder.parent)]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        return {}
    try:
        from scipy.io import loadmat
    except ImportError:
        return {}
    try:
        table: Any = loadmat(file)
        names = {split: [str(each.item()) for each in table[key].ravel()] for split, key in _KEYS.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(file, f"not SUN RGB-D's splits ({str(error)[:60]})") from error
    return {_SUN.sub("", name).strip("/"): split for split, every in names.items() for name in every}


_KEYS = {"train": "alltrain", "test": "alltest"}
_SUN = re.compile(r"^.*/SUNRGBD/")


@reads
def nyu_depth(folder: Path) -> Clips:
    """NYU Depth V2 (Silberman et al. 2012), unpacked: split/scene/rgb_N.jpg with sync_depth_N.png (millimetres), as
    its splits are usually extracted; or nyu_images/N with nyu_depths/N (.npy in metres, .png in millimetres).
    """
    pictures = sorted(folder.glob("*/*/rgb_*")) or sorted((folder / "nyu_images").glob("*"))
    depths = files_below([folder / "nyu_depths"], {".png", ".npy", ".exr"})
    scenes = {file.parent: words(re.sub(r"_\d+\w?$", "", file.parent.name)) for file in pictures}
    classes = tuple(sorted(set(scenes.values()))) if not depths else ()

    def rows() -> Iterator[Sense | str]:
        for picture in pictures:
            beside = picture.with_name(picture.stem.replace("rgb_", "sync_depth_") + ".png")
            depth = depths.get(picture.stem) if depths else beside if beside.is_file() else None
            if depth is None:
                yield f"the depth of {picture.relative_to(folder)}"
                continue
            unit = "mm" if depth.suffix.lower() == ".png" else "m"
            row = Sense(key=picture.relative_to(folder).as_posix(), image=picture, depth=depth, unit=unit)
            row |= {"focal": NYU_FOCAL, "baseline": BASELINES["kv1"]}
            if classes:
                scene = scenes[picture.parent]
                row |= {"label": classes.index(scene), "text": scene, "split": picture.parent.parent.name}
            yield row

    return listed(str(folder), "NYU Depth V2", rows(), classes=classes)


@reads
def llvip(folder: Path) -> Clips:
    """LLVIP (Jia et al. 2021): visible and infrared pictures of the same name, in train and test."""

    def rows() -> Iterator[Sense | str]:
        for part in ("visible", "infrared"):
            if not (folder / part).is_dir():
                raise SensoriumError(f"{folder}: no folder {part}, which LLVIP has beside the other")
        for split in sorted(each.name for each in (folder / "visible").iterdir() if each.is_dir()):
            warm = files_below([folder / "infrared" / split], IMAGE_SUFFIXES)
            for stem, picture in files_below([folder / "visible" / split], IMAGE_SUFFIXES).items():
                if heat := warm.get(stem):
                    yield Sense(key=f"{split}/{stem}", image=picture, thermal=heat, split=split)
                else:
                    yield f"infrared/{split}/{picture.name}"

    return listed(str(folder), "LLVIP", rows())


@reads
def ego4d(folder: Path) -> Clips:
    """Ego4D's motion (Grauman et al. 2022): imu/UID.csv, the films in full_scale/, clips/ or video_540ss/, and
    annotations/narration.json, of which every sentence is a sample: the five seconds around it. Without narrations a
    recording is cut into five seconds after five seconds.
    """
    films = files_below([folder / name for name in ("full_scale", "clips", "video_540ss", "videos")], FILMS)
    tables = files_below([folder / "imu"], {".csv"})
    said = _narrations(folder)

    def rows() -> Iterator[Sense | str]:
        for uid, table in tables.items():
            length = _length(table)
            if length is None:
                yield f"imu/{table.name} has no canonical_timestamp_ms"
                continue
            film: Sense = {"video": films[uid]} if uid in films else {}
            if said:
                spans = [(max(0.0, at - EGO4D_SECONDS / 2), text) for at, text in said.get(uid, ())]
            else:
                spans = [(i * EGO4D_SECONDS, None) for i in range(int(length // EGO4D_SECONDS))]
            for begin, text in spans:
                if begin + EGO4D_SECONDS <= length:
                    row = Sense(key=f"{uid}@{begin:.2f}", motion=table, begin=begin, end=begin + EGO4D_SECONDS) | film
                    yield row if text is None else row | Sense(text=text)

    missing = sorted(set(tables) - set(films))
    problems = (
        (f"{len(missing):,} of {len(tables):,} recordings have no film, such as {missing[0]}",) if missing else ()
    )
    return listed(str(folder), "Ego4D", rows(), problems=problems)


def _narrations(folder: Path) -> dict[str, list[tuple[float, str]]]:
    """What was said of every film and when, without the tags of who is meant (#C C is the wearer)."""
    places = [root / "narration.json" for root in (folder / "annotations", folder)]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        return {}
    try:
        content: Any = json.loads(file.read_bytes())
        videos: dict[str, Any] = content.get("videos", content)
        found: dict[str, list[tuple[float, str]]] = {}
        for uid, video in videos.items():
            for name in ("narration_pass_1", "narration_pass_2"):
                for each in video.get(name, {}).get("narrations", ()):
                    found.setdefault(uid, []).append((float(each["timestamp_sec"]), _plain(each["narration_text"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(file, f"not Ego4D's narrations ({str(error)[:60]})") from error
    return {uid: sorted(every) for uid, every in found.items()}


def _plain(text: str) -> str:
    return re.sub(r"^#\w+\s+C\b\s*", "someone ", re.sub(r"#unsure", "something", text, flags=re.IGNORECASE)).strip(" .")


def _length(table: Path) -> float | None:
    """The last time in a table of motion, in seconds, from its first and last lines alone."""
    with table.open("rb") as file:
        names = file.readline().decode("utf-8", "replace").strip().split(",")
        size = file.seek(0, 2)
        file.seek(max(0, size - (1 << 16)))
        tail = file.read().decode("utf-8", "replace").splitlines()
    if "canonical_timestamp_ms" not in names:
        return None
    at = names.index("canonical_timestamp_ms")
    for line in reversed(tail):
        fields = line.split(",")
        if len(fields) == len(names) and re.fullmatch(r"[\d.]+(?:e\+?\d+)?", fields[at]):
            return float(fields[at]) / 1000
    return None


def _one(folder: Path) -> Path | None:
    """The only picture in a folder, or the first."""
    found = sorted(each for each in folder.glob("*") if each.suffix.lower() in IMAGE_SUFFIXES)
    return found[0] if found else None
