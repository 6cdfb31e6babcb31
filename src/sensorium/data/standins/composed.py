"""Stand-ins for labelled photographs: real cut-out things on plain grounds, whose every truth is known as they are put.

They are no photographs of scenes: light, scale and company are random, and things float. Every item is computed from
its number alone when its turn comes, so the sets are the same on every machine with the same pictures and Pillow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from sensorium.data.dense import (
    Boxed,
    BoxedPicture,
    Clip,
    Clips,
    InstanceQuery,
    Instances,
    Match,
    Matched,
    Segmented,
    SegmentedPicture,
)
from sensorium.data.errors import SensoriumError
from sensorium.data.standins.cutouts import (
    CLASSES,
    Cutout,
    Map,
    Pixels,
    Random,
    cut,
    cutouts,
    ground,
    moved,
    paint,
    placed,
)

SIZE = 256
SPLITS = ("validation", "train")
COUNTS = {"validation": 200, "train": 400}
CLIPS, FRAMES = 24, 24
POINTS = 8
VISIBLE = 0.4  # the share of itself that a thing must show
EASY, HARD = 2, 2
VIEWS = EASY + HARD + 1
SEED = 20260101
ABOUT = "composed of Tux Paint's cut-out photographs on textures: exact truth, but no photographs of real scenes"


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture (size x size x 3) and the number of the thing at each pixel: 0 the ground, then in order painted."""

    pixels: Pixels
    numbers: NDArray[np.uint8]
    things: tuple[Cutout, ...]
    maps: tuple[Map, ...]

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The class at each pixel."""
        return np.array([0, *(thing.label for thing in self.things)], np.uint8)[self.numbers]

    def box(self, number: int) -> tuple[float, float, float, float]:
        """What bounds the visible part of a thing."""
        return bounds(self.numbers == number)


def bounds(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what is true; right and bottom just outside."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def segmented(split: str = "validation", count: int | None = None) -> Segmented:
    """Scenes of one to four things, with the folder of the stamp as the class of a pixel; class 0 is the ground."""
    length = COUNTS[split] if count is None else count
    at = partial(_segmented, split)
    return Segmented(name=f"composed {split}", length=length, at=at, classes=CLASSES, about=ABOUT)


def boxed(split: str = "validation", count: int | None = None) -> Boxed:
    """The same scenes with the box of what each thing shows."""
    length = COUNTS[split] if count is None else count
    return Boxed(name=f"composed {split}", length=length, at=partial(_boxed, split), about=ABOUT)


def matched(split: str = "validation", count: int | None = None) -> Matched:
    """Pairs that show one thing twice, under another affine map, light and ground: the points are of one instance."""
    length = COUNTS[split] if count is None else count
    return Matched(name=f"composed {split}", length=length, at=partial(_match, split), about=ABOUT)


def clips(split: str = "validation", count: int = CLIPS) -> Clips:
    """Films of two or three things that drift, turn, grow or shrink and pass before one another."""
    return Clips(name=f"composed {split}", length=count, at=partial(_clip, split), about=ABOUT)


def instances(split: str = "validation") -> Instances:
    """Half of the cut-outs are asked for, the others keep them company; of each two easy views, two hard, one junk."""
    gallery = _Gallery(split)
    at = partial(_query, split)
    return Instances(name=f"composed {split}", length=len(gallery.wanted), at=at, gallery=gallery, about=ABOUT)


def scene(split: str, index: int) -> Scene:
    """One to four things, each showing at least VISIBLE of itself."""
    random = _random(split, 0, index)
    things = _several(random, _part(split), int(random.integers(1, 5)))
    return _composed(random, things, [_somewhere(random, thing) for thing in things])


def _segmented(split: str, index: int) -> SegmentedPicture:
    made = scene(split, index)
    return SegmentedPicture(image=made.pixels, key=f"composed {split}:{index}", read=partial(_tensor, made.labels))


def _tensor(values: NDArray[np.uint8]) -> UInt8[Tensor, "h w"]:
    return torch.from_numpy(values.copy())


def _boxed(split: str, index: int) -> BoxedPicture:
    made = scene(split, index)
    boxes = torch.tensor([made.box(number) for number in range(1, len(made.things) + 1)])
    names = tuple(CLASSES[thing.label] for thing in made.things)
    return BoxedPicture(image=made.pixels, key=f"composed {split}:{index}", boxes=boxes, names=names)


def _match(split: str, index: int) -> Match:
    random = _random(split, 1, index)
    part = _part(split)
    thing = part[index % len(part)]
    views = [_shown(random, thing, part) for _ in range(2)]
    points = inner_points(cut(thing.path), POINTS)
    source, target = (torch.from_numpy(moved(points, view.maps[-1])).float() for view in views)
    boxes = [torch.tensor(view.box(len(view.things))) for view in views]
    return Match(
        source=views[0].pixels,
        target=views[1].pixels,
        key=f"composed {split}:{index}",
        category=CLASSES[thing.label],
        source_points=source,
        target_points=target,
        source_box=boxes[0],
        target_box=boxes[1],
    )


def inner_points(pixels: Pixels, count: int) -> NDArray[np.floating[Any]]:
    """Centres of opaque pixels away from the edge, each as far as can be from those before; x and y."""
    solid = Image.fromarray(np.pad((pixels[..., 3] > 200) * np.uint8(255), 2))
    inside = np.asarray(solid.filter(ImageFilter.MinFilter(5)))[2:-2, 2:-2] > 0
    rows, columns = np.nonzero(inside if inside.any() else pixels[..., 3] > 127)
    candidates = np.column_stack([columns, rows]) + 0.5
    chosen = [int(((candidates - candidates.mean(0)) ** 2).sum(1).argmin())]
    nearest = np.full(len(candidates), np.inf)
    while len(chosen) < min(count, len(candidates)):
        nearest = np.minimum(nearest, ((candidates - candidates[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(nearest.argmax()))
    return candidates[chosen]


def _clip(split: str, index: int) -> Clip:
    random = _random(split, 2, index)
    things = _several(random, _part(split), int(random.integers(2, 4)))
    wide = ground(random, SIZE + SIZE // 2)
    drift = random.uniform(0, SIZE // 2, (2, 2))  # the ground's corner, first and last
    lights = random.uniform(0.8, 1.15, len(things))
    paths = [_path(random, thing, number) for number, thing in enumerate(things)]
    frames: list[Pixels] = []
    masks: list[NDArray[np.uint8]] = []
    for step in np.linspace(0, 1, FRAMES):
        left, top = (drift[0] + (drift[1] - drift[0]) * step).astype(int)
        canvas = wide[top : top + SIZE, left : left + SIZE].copy()
        numbers = np.zeros((SIZE, SIZE), np.uint8)
        for number, (thing, path, light) in enumerate(zip(things, paths, lights, strict=True), 1):
            numbers[paint(canvas, cut(thing.path), path(float(step)), float(light))] = number
        frames.append(_rounded(canvas))
        masks.append(numbers)
    return Clip(key=f"composed {split}:{index}", frames=frames, read=partial(_frame, masks))


def _frame(masks: list[NDArray[np.uint8]], index: int) -> UInt8[Tensor, "h w"]:
    return _tensor(masks[index])


def _path(random: Random, thing: Cutout, number: int) -> Callable[[float], Map]:
    """From one side to the other, or up and down the middle, so that the ways of things cross but begin apart."""
    shape = cut(thing.path).shape
    begin, end = ((0.22, 0.75), (0.78, 0.25), (0.5, 0.5))[number]
    across = np.array([begin, end])
    heights = random.uniform(0.3, 0.7, 2) if number < 2 else np.array([0.15, 0.85])
    scales = SIZE / max(shape[:2]) * random.uniform(0.28, 0.45, 2)
    turns = random.uniform(-0.4, 0.4, 2)
    wave, phase = random.uniform(0, 0.06), random.uniform(0, 6)

    def at(step: float) -> Map:
        x, y, scale, turn = (pair[0] + (pair[1] - pair[0]) * step for pair in (across, heights, scales, turns))
        y += wave * (np.sin(phase + 6 * step) - np.sin(phase))
        return placed(shape, (x * SIZE, y * SIZE), scale, turn)

    return at


class _Gallery(Sequence[Pixels]):
    """Of each wanted thing its views, in the order of `_query`, then scenes without any."""

    def __init__(self, split: str) -> None:
        self.split = split
        self.wanted, self.company = halves(split)

    def __len__(self) -> int:
        return len(self.wanted) * VIEWS + len(self.company)

    @overload
    def __getitem__(self, index: int, /) -> Pixels: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Pixels]: ...
    def __getitem__(self, index: int | slice, /) -> Pixels | list[Pixels]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        random = _random(self.split, 3, index)
        number, view = divmod(index, VIEWS)
        if number >= len(self.wanted):
            thing = self.company[index - len(self.wanted) * VIEWS]
            return _shown(random, thing, self.company).pixels
        thing = self.wanted[number]
        if view < EASY:
            return _shown(random, thing, self.company).pixels
        return (_hidden if view < EASY + HARD else _cut_off)(random, thing, self.company).pixels


def _query(split: str, index: int) -> InstanceQuery:
    wanted, company = halves(split)
    view = _shown(_random(split, 4, index), wanted[index], company)
    first = index * VIEWS
    return InstanceQuery(
        image=view.pixels,
        key=f"composed {split}:{index}",
        box=view.box(len(view.things)),
        easy=tuple(range(first, first + EASY)),
        hard=tuple(range(first + EASY, first + EASY + HARD)),
        junk=(first + EASY + HARD,),
    )


def halves(split: str) -> tuple[list[Cutout], list[Cutout]]:
    """The cut-outs that are asked for, and those that keep them company; no caption is in both."""
    part = _part(split)
    captions = sorted({thing.caption for thing in part})
    asked = set(captions[::2])
    once = {thing.caption: thing for thing in part if thing.caption in asked}
    return list(once.values()), [thing for thing in part if thing.caption not in asked]


def _shown(random: Random, thing: Cutout, others: Sequence[Cutout]) -> Scene:
    """A thing wholly within the picture, over another one."""
    shape = cut(thing.path).shape
    scale = SIZE / float(np.hypot(*shape[:2])) * random.uniform(0.45, 0.68)
    centre = (float(each) for each in random.uniform(0.38, 0.62, 2) * SIZE)
    by = placed(shape, (next(centre), next(centre)), scale, random.uniform(-0.5, 0.5), random.uniform(-0.2, 0.2))
    other = _other(random, thing, others)
    return _composed(random, [other, thing], [_somewhere(random, other), by], least=0)


def _hidden(random: Random, thing: Cutout, others: Sequence[Cutout]) -> Scene:
    """A thing turned far, small, and where it can be had partly behind another one."""
    shape = cut(thing.path).shape
    scale = SIZE / float(np.hypot(*shape[:2])) * random.uniform(0.3, 0.45)
    turn = random.uniform(0.5, 1.4) * random.choice([-1, 1])
    centre = random.uniform(0.3, 0.7, 2) * SIZE
    by = placed(shape, (float(centre[0]), float(centre[1])), scale, turn)
    other = _other(random, thing, others)
    return _composed(random, [thing, other], [by, _somewhere(random, other)], keep=0)


def _cut_off(random: Random, thing: Cutout, _: Sequence[Cutout]) -> Scene:
    """A thing of which the picture's edge leaves little."""
    shape = cut(thing.path).shape
    scale = SIZE / max(shape[:2]) * 0.6
    beyond = shape[1] * scale * random.uniform(0.3, 0.36)
    edge = -beyond if random.random() < 0.5 else SIZE + beyond
    return _composed(random, [thing], [placed(shape, (edge, SIZE * random.uniform(0.3, 0.7)), scale)], least=0)


def _other(random: Random, thing: Cutout, others: Sequence[Cutout]) -> Cutout:
    return _several(random, [each for each in others if each.caption != thing.caption], 1)[0]


def _composed(
    random: Random, things: Sequence[Cutout], maps: Sequence[Map], *, least: float = VISIBLE, keep: int | None = None
) -> Scene:
    """Painted in order. What shows less than `least` of itself goes, or another where it is to `keep`."""
    base = ground(random, SIZE)
    lights = random.uniform(0.8, 1.15, len(things))
    left = list(range(len(things)))
    while True:
        canvas, numbers = base.copy(), np.zeros((SIZE, SIZE), np.uint8)
        for place, each in enumerate(left, 1):
            numbers[paint(canvas, cut(things[each].path), maps[each], float(lights[each]))] = place
        parts = [
            float((numbers == place).sum()) / _area(things[each], maps[each]) for place, each in enumerate(left, 1)
        ]
        if len(left) == 1 or min(parts) >= least:
            break
        gone = int(np.argmin(parts))
        left.pop(gone if left[gone] != keep else len(left) - 1)
    return Scene(_rounded(canvas), numbers, tuple(things[each] for each in left), tuple(maps[each] for each in left))


def _area(thing: Cutout, by: Map) -> float:
    """How many pixels it would have if nothing hid it."""
    return float((cut(thing.path)[..., 3] > 127).sum() * abs(np.linalg.det(by[:, :2])))


def _somewhere(random: Random, thing: Cutout) -> Map:
    shape = cut(thing.path).shape
    scale = min(SIZE / max(shape[:2]) * random.uniform(0.3, 0.65), 1.6)
    centre = random.uniform(0.15, 0.85, 2) * SIZE
    return placed(shape, (float(centre[0]), float(centre[1])), scale, random.normal(0, 0.2))


def _rounded(canvas: NDArray[np.float32]) -> Pixels:
    return np.clip(canvas.round(), 0, 255).astype(np.uint8)


def _several(random: Random, things: Sequence[Cutout], count: int) -> list[Cutout]:
    """Different ones, each class as likely as any other."""
    labels = np.array([thing.label for thing in things])
    share = 1 / np.bincount(labels)[labels]
    return [things[int(each)] for each in random.choice(len(things), count, replace=False, p=share / share.sum())]


@cache
def _cutouts() -> dict[str, list[Cutout]]:
    return cutouts()


def _part(split: str) -> list[Cutout]:
    if split not in SPLITS:
        raise SensoriumError(f"composed has no part {split!r}: {', '.join(SPLITS)}")
    return _cutouts()[split]


def _random(split: str, kind: int, index: int) -> Random:
    _part(split)  # which says what there is
    return np.random.default_rng([SEED, SPLITS.index(split), kind, index])
