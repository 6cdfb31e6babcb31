"""Things of any sense, as drawings show them, and which of them belong together."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from PIL import Image

from sensorium.data.kinds import NAMES
from sensorium.insight.drawing import INK, PAPER, Axes, fitted, quiet

# Okabe and Ito's palette, and shapes, so that senses are told apart without colours, too
LOOKS: dict[str, tuple[str, str, str]] = {
    "image": ("pictures", "#0072b2", "o"),
    "video": ("films", "#56b4e9", "s"),
    "audio": ("sounds", "#d55e00", "^"),
    "depth": ("depth", "#009e73", "D"),
    "thermal": ("heat", "#cc79a7", "P"),
    "motion": ("motion", "#e69f00", "X"),
    "text": ("words", "#1c1b19", "*"),
}
NOUNS = {
    "image": "picture",
    "video": "film",
    "audio": "sound",
    "depth": "depth map",
    "thermal": "thermal picture",
    "motion": "motion recording",
    "text": "text",
}
WORDS = (22, 7)  # letters in a line and lines of words that stand in the place of a picture


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One thing in the space: by which sense a model took it in, its name, and how it looks; words look like words.

    `said` is a moment or a page of it ("0:12", "page 3"), `file` what it was read from: a film is seen and heard.
    """

    sense: str
    name: str
    file: str | None = None
    said: str = ""
    picture: Image.Image | None = None


def put(axes: Axes, thing: Thing) -> None:
    """A thing alone in its axes, whole, in a box of four to three: a picture, or words in their frame."""
    quiet(axes)
    axes.set_box_aspect(3 / 4)
    if thing.picture is not None:
        across, down = thing.picture.size
        scale = min(4 / across, 3 / down) / 2
        extent = (2 - scale * across, 2 + scale * across, 1.5 + scale * down, 1.5 - scale * down)
        axes.imshow(thing.picture, extent=extent, interpolation="antialiased", aspect="auto")
        axes.set(xlim=(0, 4), ylim=(3, 0))
        axes.set_facecolor(PAPER)
        axes.spines[:].set_visible(False)
        return
    width, lines = WORDS
    words = fill(fitted(thing.name, width * lines), width, max_lines=lines, placeholder=" …")
    axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=8, color=INK, transform=axes.transAxes)


def name_of(thing: Thing, letters: int) -> str:
    """A file's name with its moment, in so many letters, the middle left out; nothing for words, which are shown."""
    if thing.picture is None and thing.sense == "text" and not thing.said:
        return ""
    room = letters - (len(thing.said) + 2 if thing.said else 0)
    name = fitted(thing.name, 400)
    if len(name) > room:
        name = f"{name[: room // 2]}…{name[len(name) - (room - room // 2 - 1) :]}"
    return f"{name}, {thing.said}" if thing.said else name


def key_of(name: str) -> str:
    """What a file or words are called, whatever sense they are of: `Dog_01.depth.png` and "dog 01" are one thing."""
    known: frozenset[str] = frozenset().union(*NAMES.values())
    stem = re.sub(r"\.\w{2,5}$", "", name.replace("\\", "/").rsplit("/", 1)[-1])
    words = [word for word in re.split(r"[\W_]+", stem.lower()) if word]
    return " ".join([word for word in words if word not in known] or words)


def pairs_of(first: Sequence[Thing], second: Sequence[Thing]) -> list[tuple[int, int]]:
    """(i, j) of every thing of the first set and those of the second that are of the same file or called the same.

    What is called the same as another of its own set and sense has no partner by name: nobody knows which is meant.
    """
    found = set[tuple[int, int]]()
    for mine, theirs in ((_alone(first), _alone(second)), (_by_file(first), _by_file(second))):
        found |= {(i, j) for key, here in mine.items() for i in here for j in theirs.get(key, [])}
    return sorted(found)


def partners(things: Sequence[Thing]) -> list[tuple[int, int]]:
    """(i, j), i below j, of all things of one set that belong together and are of two senses."""
    return [(i, j) for i, j in pairs_of(things, things) if i < j and things[i].sense != things[j].sense]


def _alone(things: Sequence[Thing]) -> dict[str, list[int]]:
    """Where each name stands, without those that are there twice in one sense."""
    found: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i, thing in enumerate(things):
        found[key_of(thing.name)][thing.sense].append(i)
    return {key: [places[0] for places in senses.values() if len(places) == 1] for key, senses in found.items() if key}


def _by_file(things: Sequence[Thing]) -> dict[str, list[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for i, thing in enumerate(things):
        if thing.file is not None:
            found[thing.file].append(i)
    return found


def counted(senses: Sequence[str]) -> str:
    """`2 pictures, 1 film, 3 texts`, as far as there are."""
    numbers = {noun: senses.count(sense) for sense, noun in NOUNS.items()}
    return ", ".join(f"{number:,} {noun}{'s' * (number > 1)}" for noun, number in numbers.items() if number)


def legend(axes: Axes, senses: Sequence[str], **options: Any) -> None:
    """What the colours and shapes of senses are."""
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], color=LOOKS[s][1], marker=LOOKS[s][2], ls="", ms=6, label=LOOKS[s][0]) for s in senses]
    axes.legend(handles=marks, frameon=False, fontsize=8.5, **options)
