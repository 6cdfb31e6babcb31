"""Which samples of a published set are measured, and what their classes are called (Girdhar et al. 2023, appendix).

Several names of one class stand as "person|man|woman": the nearest of them counts.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from sensorium.data.errors import SensoriumError, Unreadable, system_reason
from sensorium.data.labelled import BETWEEN_LABELS
from sensorium.data.sensed import labels_of, senses_of
from sensorium.data.sources.clips import Clips, Sense, words
from sensorium.data.sources.pairs import SCENES

MEASURED = ("test", "evaluation", "eval")  # what sets call the part that is measured
LEARNED = ("train", "development")
# By the word for a set: what published numbers call it, and the sense that is measured.
KNOWN = {
    "AudioSet's segments": ("audioset", "audio"),
    "VGGSound": ("vggsound", "audio"),
    "ESC-50": ("esc-50", "audio"),
    "Clotho": ("clotho", "audio"),
    "AudioCaps": ("audiocaps", "audio"),
    "SUN RGB-D": ("sun-rgbd", "depth"),
    "NYU Depth V2": ("nyud", "depth"),
    "LLVIP": ("llvip", "thermal"),
    "Ego4D": ("ego4d", "motion"),
    "MSR-VTT": ("msr-vtt", "video"),
}
NYU_NAMED = (
    *("bathroom", "bedroom", "bookstore", "classroom", "dining room", "home office", "kitchen", "living room"),
    "office",
)
NYU_OTHERS = (
    *("basement", "cafe", "computer lab", "conference room", "dinette", "exercise room", "foyer", "furniture store"),
    *("home storage", "indoor balcony", "laundry room", "office kitchen", "playroom", "printer room"),
    *("reception room", "student lounge", "study", "study room"),
)
PEOPLE = ("person", "man", "woman", "people")
STREET = ("street", "road", "car", "light", "tree")
TRIES = 50  # places that are tried for a piece of street as large as a person

Box = tuple[int, int, int, int]


def known_as(data: Clips) -> str | None:
    """What published numbers call the set; None where it is none of them."""
    return KNOWN[data.kind][0] if data.kind in KNOWN else None


def usual_sense(data: Clips) -> str:
    """The sense that a set is measured by; raises SensoriumError where it has several and is none of the published."""
    if data.kind in KNOWN:
        return KNOWN[data.kind][1]
    there = [sense for sense in senses_of(data) if sense != "text"]
    if len(there) != 1:
        raise SensoriumError(f"{data.name} holds {', '.join(there) or 'no files'}: say which is meant, such as --from")
    return there[0]


def part(data: Clips, split: str | None, *, learn: bool = False) -> Clips:
    """One part of a set by its own name, or folds by their numbers (1 or 2,3,4); None takes the usual part, or all.

    Raises SensoriumError where there is no such part.
    """
    splits = {row.get("split") for row in data.rows} - {None}
    if split is None:
        usual = next((name for name in (LEARNED if learn else MEASURED) if name in splits), None)
        return data.only(split=usual) if usual is not None and len(splits) > 1 else data
    numbers = split.replace(" ", "").split(",")
    if any("fold" in row for row in data.rows) and all(number.isdecimal() for number in numbers):
        chosen = {int(number) for number in numbers}
        if strange := chosen - {row.get("fold") for row in data.rows}:
            raise SensoriumError(f"{data.name}: no fold {min(strange)}")
        return replace(data, rows=tuple(row for row in data.rows if row.get("fold") in chosen))
    return data.only(split=split)


def as_measured(data: Clips, sense: str) -> Clips:
    """The classes that a published set is measured over, as far as it is known; other sets as they are."""
    if data.kind == "SUN RGB-D":
        return data.of([name for name in SCENES if name in data.classes])
    if data.kind == "NYU Depth V2":
        return _nyu(data)
    if data.kind == "LLVIP" and sense == "thermal":
        return _llvip(data)
    return _ego4d(data) if data.kind == "Ego4D" else data


def _nyu(data: Clips) -> Clips:
    """Ten classes: nine scenes and all others, which count by the nearest of their eighteen names."""
    names = (*NYU_NAMED, BETWEEN_LABELS.join(NYU_OTHERS))
    place = {name: number for number, name in enumerate(NYU_NAMED)}
    rows: list[Sense] = []
    for row in data.rows:
        label = row.get("label")
        rows.append(row if label is None else row | Sense(label=place.get(data.classes[label], len(NYU_NAMED))))
    return replace(data, rows=tuple(rows), classes=names if data.classes else ())


def _llvip(data: Clips) -> Clips:
    """People, cut out by their boxes in Annotations/, and as many pieces of the same pictures without anybody.

    Where the pieces lie is not published: here it is drawn, by the picture's name.
    """
    folder = Path(data.name) / "Annotations"
    if not folder.is_dir():
        raise SensoriumError(
            f"{data.name}: no folder Annotations with the boxes of people, which are what is classified"
        )
    problems = list(data.problems)
    rows: list[Sense] = []
    for row in data.rows:
        key = row.get("key", "")
        try:
            size, people = _people(folder / f"{Path(key).name}.xml")
        except Unreadable as error:
            problems.append(str(error))
            continue
        for label, boxes in enumerate((people, list(_street(key, size, people)))):
            for number, box in enumerate(boxes):
                cut: Any = {"key": f"{key}#{'ps'[label]}{number}", "label": label, "box": box}
                rows.append(row | cut)
    if not rows:
        raise SensoriumError(f"{data.name}: no boxes of people" + (f": {problems[-1]}" if problems else ""))
    classes = (BETWEEN_LABELS.join(PEOPLE), BETWEEN_LABELS.join(STREET))
    return replace(data, rows=tuple(rows), classes=classes, problems=tuple(problems))


def _people(file: Path) -> tuple[tuple[int, int], list[Box]]:
    """Width and height of a picture, and the boxes in its VOC annotation. Raises Unreadable."""
    try:
        root = ElementTree.fromstring(file.read_bytes())
        width, height = (int(root.findtext(f"size/{side}") or "") for side in ("width", "height"))
        boxes = [
            [int(float(each.findtext(f"bndbox/{side}") or "")) for side in ("xmin", "ymin", "xmax", "ymax")]
            for each in root.findall("object")
        ]
    except OSError as error:
        raise Unreadable(file, system_reason(error)) from error
    except (ElementTree.ParseError, ValueError) as error:
        raise Unreadable(file, f"not VOC's annotation ({error})") from error
    cut = [(max(left, 0), max(top, 0), min(right, width), min(low, height)) for left, top, right, low in boxes]
    return (width, height), [box for box in cut if box[2] > box[0] and box[3] > box[1]]


def _street(key: str, size: tuple[int, int], people: Sequence[Box]) -> Iterator[Box]:
    """For each person a piece of the same size that nobody reaches into, where one is found."""
    draw = random.Random(key)
    for left, top, right, low in people:
        width, height = right - left, low - top
        for _ in range(TRIES):
            x, y = draw.randint(0, size[0] - width), draw.randint(0, size[1] - height)
            if not any(x < each[2] and each[0] < x + width and y < each[3] and each[1] < y + height for each in people):
                yield x, y, x + width, y + height
                break


def _ego4d(data: Clips) -> Clips:
    """Scenarios, of recordings that have exactly one in ego4d.json; without that file, the set as it is."""
    root = Path(data.name)
    file = next(
        (place / "ego4d.json" for place in (root, root / "annotations") if (place / "ego4d.json").is_file()), None
    )
    if file is None:
        return data
    try:
        content: Any = json.loads(file.read_bytes())
        every = {str(video["video_uid"]): [words(each) for each in video["scenarios"]] for video in content["videos"]}
    except OSError as error:
        raise Unreadable(file, system_reason(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable(file, f"not Ego4D's list of videos ({str(error)[:60]})") from error
    one = {uid: scenarios[0] for uid, scenarios in every.items() if len(scenarios) == 1}
    kept = [(row, one[uid]) for row in data.rows if (uid := row.get("key", "").partition("@")[0]) in one]
    classes = tuple(sorted({scenario for _, scenario in kept}))
    rows = tuple(row | Sense(label=classes.index(scenario)) for row, scenario in kept)
    if not rows:
        raise SensoriumError(f"{file}: none of the recordings is of exactly one scenario")
    return replace(data, rows=rows, classes=classes)


def folds_of(data: Clips) -> list[int] | None:
    """The fold of every labelled sample; None where there are none, or only one."""
    folds = [row.get("fold") for row in data.rows if labels_of(row)]
    whole = [fold for fold in folds if fold is not None]
    return whole if len(whole) == len(folds) and len(set(whole)) > 1 else None
