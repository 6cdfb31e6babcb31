"""`sensorium data show` for sets with a truth at every pixel, with boxes, points or partners."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from sensorium.app.console import count, stdout, write_json
from sensorium.data.dense import (
    AnyDense,
    BoxedPicture,
    Clip,
    DepthPicture,
    Depths,
    InstanceQuery,
    Match,
    Segmented,
    SegmentedPicture,
)
from sensorium.data.errors import Unreadable
from sensorium.data.image import Source, read_image
from sensorium.data.layouts import layouts_at, open_dense
from sensorium.data.standins import STANDINS

CHECKED = 25  # items that are read, spread over the whole
NAMED = 6  # classes that are printed


def show_truths(place: str, *, as_json: bool) -> bool | None:
    """Print what sets of truth stand at a place; returns whether all looked at can be read, None where none stand."""
    found = list(_sets(place))
    if not found:
        return None
    shown = [_looked(layout, parts, opened) for layout, parts, opened in found]
    if as_json:
        write_json(shown)
        return not any(each["problems"] for each in shown)
    console = stdout()
    for each in shown:
        classes = f", {len(each['classes']):,} classes" if each["classes"] else ""
        console.print(f"{each['name']} ({each['layout']}): {each['kind']}, {count(each['items'], 'item')}", end="")
        console.print(f"{classes}; parts: {', '.join(each['parts'])}", markup=False)
        if each["about"]:
            console.print(f"  {each['about']}", markup=False)
        if each["classes"]:
            more = f" … ({len(each['classes'])})" if len(each["classes"]) > NAMED else ""
            console.print(f"  {', '.join(each['classes'][:NAMED])}{more}", markup=False)
        for key, value in each["first"].items():
            console.print(f"  {key}={value}", end="", markup=False)
        console.print(f"\n{each['checked'] - len(each['problems'])} of {count(each['checked'], 'item')} looked at fit")
        for problem in each["problems"]:
            console.print("[bold red]![/] ", end="")
            console.print(problem, markup=False)
    return not any(each["problems"] for each in shown)


def _sets(place: str) -> Iterator[tuple[str, tuple[str, ...], AnyDense]]:
    """What layout, which parts, and the part to measure on."""
    if place in STANDINS and not Path(place).expanduser().exists():
        standin = STANDINS[place]
        for kind in standin.kinds:
            yield "made here", standin.splits, open_dense(place, kind)
        return
    for layout, folder in layouts_at(place):
        yield layout.name, layout.splits(folder), open_dense(folder, layout.kind)


def _looked(layout: str, parts: tuple[str, ...], opened: AnyDense) -> dict[str, Any]:
    total, first, problems = len(opened), dict[str, Any](), list[str]()
    looked = sorted({i * total // CHECKED for i in range(CHECKED)}) if total else []
    for index in looked:
        try:
            seen = _seen(opened[index], opened)
        except Unreadable as error:
            problems.append(str(error))
        else:
            first = first or seen
    far = {"metres": [opened.near, opened.far]} if isinstance(opened, Depths) else {}
    return {
        "name": opened.name,
        "layout": layout,
        "kind": opened.kind,
        "about": opened.about,
        **far,
        "items": total,
        "parts": list(parts),
        "classes": list(opened.classes) if isinstance(opened, Segmented) else [],
        "first": first,
        "checked": len(looked),
        "problems": problems,
    }


def _seen(item: Any, opened: AnyDense) -> dict[str, Any]:
    """One item in a few words. Raises Unreadable, also where its truth does not fit its picture."""
    if isinstance(item, Match):
        for source, points in ((item.source, item.source_points), (item.target, item.target_points)):
            width, height = _size(source)
            if len(points) and not (
                (points >= 0).all() and (points[:, 0] <= width).all() and (points[:, 1] <= height).all()
            ):
                raise Unreadable(item.key, f"a point beyond the picture's {width} x {height} pixels")
        return {"pair": item.key, "category": item.category, "points": len(item.source_points)}
    if isinstance(item, Clip):
        masks = [item.masks(index) for index in (0, len(item.frames) - 1)]
        for frame, mask in zip((item.frames[0], item.frames[-1]), masks, strict=True):
            _fits(item.key, _size(frame), tuple(mask.shape))
        return {
            "film": item.key,
            "frames": len(item.frames),
            "objects": len(set(masks[0].unique().tolist()) - {0, 255}),
        }
    picture = cast("SegmentedPicture | DepthPicture | BoxedPicture | InstanceQuery", item)
    size = _size(picture.image)
    about: dict[str, Any] = {"image": picture.key, "size": f"{size[0]}x{size[1]}"}
    if isinstance(picture, SegmentedPicture):
        labels = picture.labels()
        _fits(picture.key, size, tuple(labels.shape))
        classes = cast(Segmented, opened).classes
        there = [classes[number] for number in labels.unique().tolist() if number < len(classes)]
        return {**about, "shows": ", ".join(there[:NAMED])}
    if isinstance(picture, DepthPicture):
        depth = picture.depth()
        _fits(picture.key, size, tuple(depth.shape))
        known = depth[depth > 0]
        span = f"{known.min():.2f}-{known.max():.2f}" if len(known) else "none"
        return {**about, "metres": span, "known": f"{len(known) / depth.numel():.0%}"}
    if isinstance(picture, BoxedPicture):
        return {**about, "boxes": len(picture.boxes), "of": ", ".join(dict.fromkeys(picture.names))}
    return {**about, "easy": len(picture.easy), "hard": len(picture.hard), "junk": len(picture.junk)}


def _size(source: Source) -> tuple[int, int]:
    return read_image(source).info["size"]


def _fits(key: str, size: tuple[int, int], shape: tuple[int, ...]) -> None:
    if shape != (size[1], size[0]):
        raise Unreadable(key, f"{size[0]} x {size[1]} pixels, and its truth has {shape[1]} x {shape[0]}")
