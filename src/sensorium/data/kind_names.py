"""What kinds of files there are, by which senses a model takes something in, and which ways lead from one to the other:
names alone, which bring nothing else with them."""

from typing import Literal, NamedTuple, get_args

Kind = Literal["picture", "video", "sound", "depth", "thermal", "motion", "document"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Sense = Literal["image", "text", "video", "audio", "depth", "thermal", "motion"]
SENSES: tuple[Sense, ...] = get_args(Sense)

WAYS: dict[Kind, tuple[Sense, ...]] = {
    "picture": ("image",),
    "video": ("video", "audio"),
    "sound": ("audio",),
    "depth": ("depth",),
    "thermal": ("thermal",),
    "motion": ("motion",),
    "document": ("image", "text"),
}
"""The senses by which a kind of file can be taken in: any of them is enough."""


class Spot(NamedTuple):
    """Which piece of a file: its number from 0, the sense that takes it in, begin and end in seconds, page from 1."""

    number: int = 0
    sense: Sense = "image"
    begin: float | None = None
    end: float | None = None
    page: int | None = None
