"""Bring the index in line with the disk: look, compare, embed what is new, commit batch by batch."""

from dataclasses import dataclass, field
from pathlib import Path

from sensorium.data.errors import Unreadable


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where an update stands. `stage` is "looking", "embedding" or "linking" (building the search graph).

    rate is files per second since the stage began; seconds_left is None until it can be told.
    """

    stage: str
    done: int
    total: int
    rate: float
    seconds_left: float | None
    path: Path | None = None


@dataclass(kw_only=True)
class Report:
    """What an update did, in files. `remaining` is how many were still to be looked at when it was stopped."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    renamed: int = 0
    unreadable: list[Unreadable] = field(default_factory=list[Unreadable])
    remaining: int = 0
    embedded: int = 0
    seconds: float = 0.0


class Stopped(KeyboardInterrupt):
    """The user interrupted an update. Everything committed stays; `report` says what was done and what remains."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"stopped with {report.remaining:,} files to go; run the same command again to continue")
        self.report = report
