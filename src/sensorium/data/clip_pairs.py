"""Loosely overlapping pairs of text and video (VideoCLIP, section 3.3.1, https://arxiv.org/abs/2109.14084).

What is said and what is shown drift apart in time: a clip overlaps its text and need not start or end with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Protocol


class Draws(Protocol):
    """Where chance comes from: a `random.Random`, or numbers drawn before."""

    def random(self) -> float:
        """A number from 0 to 1, 1 left out."""
        ...

    def randint(self, a: int, b: int) -> int:
        """A whole number from `a` to `b`, both included."""
        ...


@dataclass(frozen=True)
class Captions:
    """What is said in one video: seconds at which each caption begins and ends, and how many tokens it has."""

    start: Sequence[float]
    end: Sequence[float]
    tokens: Sequence[int]

    def __post_init__(self) -> None:
        if not len(self.start) == len(self.end) == len(self.tokens):
            raise ValueError(f"{len(self.start)} starts, {len(self.end)} ends, {len(self.tokens)} lengths of captions")
        if not self.start:
            raise ValueError("a video without captions")


@dataclass(frozen=True)
class Pair:
    """Captions `first` to `last` (left out) and the clip of the seconds `begin` to `end` (left out)."""

    centre: int
    first: int
    last: int
    begin: int
    end: int


def sample_pair(
    captions: Captions,
    seconds: int,
    draws: Draws,
    *,
    words: tuple[int, int] = (8, 64),
    clip: tuple[int, int] = (3, 32),
    most: int = 32,
) -> Pair:
    """Sample captions first, then a second among them, then a clip that grows around it.

    `words` and `clip` are the shortest and longest text and clip, both included; a text may be longer by a part of
    its last caption, and stops where its captions span 256 seconds. `most` cuts the clip to what the model reads.
    Raises ValueError for a video without a second.
    """
    if seconds < 1:
        raise ValueError(f"a video of {seconds} seconds")
    centre = draws.randint(0, len(captions.start) - 1)
    first, last = _grow_text(captions, centre, draws.randint(*words), draws)
    middle = draws.randint(floor(captions.start[first]), ceil(captions.end[last - 1]))
    middle = min(middle, seconds - 1)
    begin, end = _grow_clip(middle, min(draws.randint(*clip), most), seconds, draws)
    return Pair(centre, first, last, begin, end)


LONGEST_TEXT = 256  # seconds


def _grow_text(captions: Captions, centre: int, length: int, draws: Draws) -> tuple[int, int]:
    first, last, total = centre, centre + 1, captions.tokens[centre]
    count = len(captions.start)
    while (
        total < length and (first > 0 or last < count) and captions.end[last - 1] - captions.start[first] < LONGEST_TEXT
    ):
        right = draws.random() > 0.5
        draws.random()  # the reference may leave a caption out here, with a probability that it sets to 0
        if (right and last < count) or first == 0:
            total += captions.tokens[last]
            last += 1
        else:
            first -= 1
            total += captions.tokens[first]
    return first, last


def _grow_clip(middle: int, length: int, seconds: int, draws: Draws) -> tuple[int, int]:
    begin = end = middle
    while end - begin < length and (begin > 0 or end < seconds):
        if begin == 0 or (end < seconds and draws.random() > 0.5):
            end += 1
        else:
            begin -= 1
    return begin, end
