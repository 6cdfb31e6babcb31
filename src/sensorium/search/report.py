"""What an update says while it runs and when it is done."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sensorium.data.errors import Unreadable
from sensorium.data.folder import CALLED
from sensorium.data.kind_names import Kind, Spot
from sensorium.search.found import Found


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where an update stands. `stage` is "looking", "embedding" or "linking" (building the search graph).

    done and total count files (vectors when linking; total is 0 while looking); rate is per second since the stage
    began; seconds_left is None until it can be told. What is done is committed. `detail` says how far in a long file
    the work is: "walk.mp4 0:42:10", "thesis.pdf page 12".
    """

    stage: str
    done: int
    total: int
    rate: float
    seconds_left: float | None
    detail: str = ""


@dataclass(kw_only=True)
class Report:
    """What an update did, in files. `embedded` counts those that went through the model; the others were known.

    unreadable lists every unreadable file under the roots, also those found earlier, and partly those that could be
    read only in part. skipped counts files of kinds that the model lacks. remaining is how many were still to be read
    when the update was stopped.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    renamed: int = 0
    embedded: int = 0
    unreadable: list[Unreadable] = field(default_factory=list[Unreadable])
    partly: list[Unreadable] = field(default_factory=list[Unreadable])
    skipped: dict[Kind, int] = field(default_factory=dict[Kind, int])
    remaining: int = 0
    seconds: float = 0.0


class Stopped(KeyboardInterrupt):
    """The user interrupted an update. Everything committed stays; `report` says what was done and what remains."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"stopped with {report.remaining:,} files to go; run the same command again to continue")
        self.report = report


class Pace:
    """How long the rest will take, kind by kind: a byte of film takes another time than a byte of photograph.

    Kinds are what the files are called: to ask all of them beforehand would be to open them.
    """

    def __init__(self, pending: Iterable[Found]) -> None:
        self._left, self._done = Counter[str](), Counter[str]()  # bytes
        self._spent: dict[str, float] = {}
        self._since = time.monotonic()
        for found in pending:
            self._left[_called(found.path)] += found.size + 1

    def over(self, found: Found) -> None:
        """A file is done, or needs no reading after all."""
        self._left[_called(found.path)] -= found.size + 1

    def took(self, paths: Sequence[Path], finished: Iterable[Found]) -> None:
        """The time since the last call went to pieces of these files; some of them are done by now."""
        now = time.monotonic()
        for path in paths:
            called = _called(path)
            self._spent[called] = self._spent.get(called, 0.0) + (now - self._since) / len(paths)
        self._since = now
        for found in finished:
            self.over(found)
            self._done[_called(found.path)] += found.size + 1

    def seconds_left(self) -> float | None:
        """None while there is a kind of which no file is done."""
        left = {called: amount for called, amount in self._left.items() if called and amount > 0}
        if any(not self._done[called] for called in left):
            return None
        return sum(amount * self._spent.get(called, 0.0) / self._done[called] for called, amount in left.items())


def _called(path: Path) -> str:
    return CALLED.get(path.suffix.lower(), "")


class Telling:
    """Where an update stands, and whom to tell."""

    def __init__(self, progress: Callable[[Progress], object] | None) -> None:
        self._progress = progress
        self.stage, self._began, self.done, self.total = "looking", time.monotonic(), 0, 0
        self.pace, self.detail = Pace([]), ""

    def begin(self, stage: str, total: int, pending: Iterable[Found] = ()) -> None:
        """Another stage."""
        self.stage, self._began, self.done, self.total = stage, time.monotonic(), 0, total
        self.pace, self.detail = Pace(pending), ""
        self.count(0)

    def count(self, more: int) -> None:
        """So many more are done."""
        self.done += more
        if self._progress is None:
            return
        rate = self.done / max(time.monotonic() - self._began, 1e-9)
        left = None
        if self.done and self.total:
            left = self.pace.seconds_left() if self.stage == "embedding" else (self.total - self.done) / rate
        now = Progress(
            stage=self.stage,
            done=self.done,
            total=self.total,
            rate=rate,
            seconds_left=left,
            detail=self.detail,
        )
        self._progress(now)


def position(name: str, spot: Spot) -> str:
    """How far a long file is read: "walk.mp4 0:42:10", "thesis.pdf page 12"."""
    if spot.page is not None:
        return f"{name} page {spot.page:,}"
    if spot.begin is None:
        return name
    minutes, seconds = divmod(int(spot.begin), 60)
    return f"{name} {minutes // 60}:{minutes % 60:02}:{seconds:02}"
