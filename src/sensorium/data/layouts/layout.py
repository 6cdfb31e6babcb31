"""How a published data set lies in its folder: what marks it, which parts it has, and what reads one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sensorium.data.dense import AnyDense
from sensorium.data.errors import SensoriumError, Unreadable, printable, system_reason
from sensorium.data.folder import IMAGE_SUFFIXES

Splits = Callable[[Path], tuple[str, ...]]
VOC_FOLDERS = ("VOC2012", "VOC2007", "VOCdevkit/VOC2012", "VOCdevkit/VOC2007")
WHOLE = "all"
"""The one part of a set that has no others."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """`marks` are patterns that all find something in the folder; of `splits`, the first is the one to measure on.

    `inside` are folders of the archive that may stand between the given folder and the marks.
    """

    name: str
    kind: type[AnyDense]
    marks: tuple[str, ...]
    splits: Splits
    read: Callable[[Path, str], AnyDense]
    inside: tuple[str, ...] = ()

    def places(self, folder: Path) -> list[Path]:
        """The folders that have all marks: the given one, or those inside it."""
        for tried in ([folder], [folder / name for name in self.inside]):
            if found := [place for place in tried if not self.missing(place)]:
                return found
        return []

    def missing(self, folder: Path) -> list[str]:
        """The marks that find nothing."""
        return [mark for mark in self.marks if not any(folder.glob(mark))]


def among(pattern: str, *names: str) -> Splits:
    """The names for which the pattern finds something, in this order."""

    def splits(folder: Path) -> tuple[str, ...]:
        return tuple(name for name in names if any(folder.glob(pattern.format(name))))

    return splits


def whole(_: Path) -> tuple[str, ...]:
    """A set without parts."""
    return (WHOLE,)


def files_in(folder: Path, suffixes: Sequence[str] | frozenset[str] = IMAGE_SUFFIXES) -> list[Path]:
    """The files of one folder with these suffixes, by name. Raises Unreadable."""
    try:
        found = [each for each in folder.iterdir() if each.suffix.lower() in suffixes and not each.name.startswith(".")]
    except OSError as error:
        raise Unreadable(folder, system_reason(error)) from error
    return sorted(found)


def partners(pictures: Sequence[Path], truths: Sequence[Path], what: str) -> list[tuple[Path, Path]]:
    """Pictures with the truth of the same stem. Raises SensoriumError where one has none, or there are no pictures."""
    by_stem = {truth.stem: truth for truth in truths}
    if lonely := [picture for picture in pictures if picture.stem not in by_stem]:
        more = f" and for {len(lonely) - 1:,} more" if len(lonely) > 1 else ""
        raise SensoriumError(f"{shown(lonely[0])}: no {what} of the same name{more}")
    if not pictures:
        raise SensoriumError(f"no pictures for the {what}")
    return [(picture, by_stem[picture.stem]) for picture in pictures]


def shown(path: Path) -> str:
    """A path as messages print it."""
    return printable(str(path))
