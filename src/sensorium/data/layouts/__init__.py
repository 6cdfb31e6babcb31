"""Published data sets as they lie on disk, recognised by what stands in their folder, and folders of one's own."""

import os
from pathlib import Path
from typing import TypeVar, cast

from sensorium.data.dense import AnyDense
from sensorium.data.errors import SensoriumError, Unreadable, printable
from sensorium.data.layouts import boxes, depth, others, segmentation
from sensorium.data.layouts.layout import Layout, shown

LAYOUTS = (*segmentation.LAYOUTS, *depth.LAYOUTS, *boxes.LAYOUTS, *others.LAYOUTS)

Kind = TypeVar("Kind", bound=AnyDense)


def open_dense(place: str | os.PathLike[str], kind: type[Kind], split: str | None = None) -> Kind:
    """The set of this kind (`Segmented`, `Depths`, `Boxed`, `Matched`, `Clips`, `Instances`) in a folder.

    Or a stand-in by its name: what is there comes before a set that is called so. `split` is a part by the set's own
    name for it; None takes the one that papers measure on. Raises SensoriumError, saying what was expected and what
    is missing.
    """
    from sensorium.data.standins import STANDINS, open_standin  # here: they read folders, too

    text = os.fsdecode(place)
    folder = Path(text).expanduser()
    if not folder.exists() and text in STANDINS:
        return open_standin(text, kind, split)
    if not folder.is_dir():
        known = f"no such folder. By name there are {', '.join(STANDINS)}"
        raise Unreadable(text, "a file: name its folder" if folder.exists() else known)
    wanted = [layout for layout in LAYOUTS if layout.kind is kind]
    for layout in wanted:
        if places := layout.places(folder):
            if len(places) > 1:
                raise SensoriumError(f"{shown(folder)} holds {' and '.join(p.name for p in places)}: name one of them")
            return cast(Kind, _read(layout, places[0], split))
    raise SensoriumError(_nearest(folder, wanted))


def layouts_at(place: str | os.PathLike[str]) -> list[tuple[Layout, Path]]:
    """Every layout that a folder has, the first of each kind; none where it is no folder of these."""
    folder = Path(place).expanduser()
    found: dict[type[AnyDense], tuple[Layout, Path]] = {}
    for layout in LAYOUTS if folder.is_dir() else ():
        if layout.kind not in found and (places := layout.places(folder)) and layout.splits(places[0]):
            found[layout.kind] = layout, places[0]
    return list(found.values())


def _read(layout: Layout, folder: Path, split: str | None) -> AnyDense:
    splits = layout.splits(folder)
    if not splits:
        raise SensoriumError(f"{shown(folder)}: {layout.name} without any of its parts")
    if split is not None and split not in splits:
        raise SensoriumError(
            f"{shown(folder)}: {layout.name} here has no part {printable(split)!r}: {', '.join(splits)}"
        )
    return layout.read(folder, split or splits[0])


def _nearest(folder: Path, wanted: list[Layout]) -> str:
    """What is missing for the layout that the folder looks most like, and what is known."""
    known = "; ".join(f"{layout.name}: {', '.join(layout.marks)}" for layout in wanted)
    kind = wanted[0].kind.kind

    def share(layout: Layout) -> float:
        return 1 - len(layout.missing(folder)) / len(layout.marks)

    best = max(wanted, key=share)
    if share(best):
        lacks = ", ".join(best.missing(folder))
        return f"{shown(folder)} looks like {best.name}, but lacks {lacks}"
    return f"{shown(folder)}: no {kind} here. Known are {known}"
