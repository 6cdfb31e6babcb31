"""A file as one sense of a sample, with what its loader is told beside the path."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOLD: dict[str, tuple[str, ...]] = {
    "depth": ("unit", "focal", "baseline"),
    "motion": ("begin", "end"),
    "thermal": ("box",),
}


@dataclass(frozen=True)
class Given:
    """A file that is taken in by one sense; `told` is name by name what is known of it.

    These are unit, focal length and baseline of depth, begin and end of motion in seconds, and the box (left, top,
    right, bottom in pixels) that is cut out of a thermal picture.
    """

    path: Path
    sense: str
    told: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return str(self.path)


def given(sample: Mapping[str, Any], sense: str) -> Given | None:
    """A sample as one sense takes it in; None where it has none for it."""
    if sense not in sample:
        return None
    told = tuple((name, sample[name]) for name in TOLD.get(sense, ()) if name in sample)
    return Given(Path(sample[sense]), sense, told)
