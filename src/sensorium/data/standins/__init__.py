"""Sets with exact truth that this library makes, where the published ones cannot be had; each says what it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sensorium.data.dense import AnyDense, Boxed, Clips, Depths, Instances, Matched, Segmented
from sensorium.data.emoji import Progress
from sensorium.data.errors import SensoriumError
from sensorium.data.parcels import place as parcel_place
from sensorium.data.sets import STAMPS
from sensorium.data.standins import composed, rendered

Kind = TypeVar("Kind", bound=AnyDense)


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """A set by its name. `kinds` opens each kind of truth that it has; `fetch` makes it ready, which `ready` tells."""

    name: str
    about: str
    licence: str
    samples: int
    megabytes: int  # to download
    kinds: Mapping[type[AnyDense], Callable[[str], AnyDense]]
    fetch: Callable[[Progress | None], object]
    ready: Callable[[], bool]
    splits: tuple[str, ...] = ("validation", "train")


STANDINS: Mapping[str, StandIn] = {
    each.name: each
    for each in (
        StandIn(
            name="composed",
            about=composed.ABOUT,
            licence=STAMPS.licence,
            samples=sum(composed.COUNTS.values()),
            megabytes=STAMPS.megabytes,
            kinds={
                Segmented: composed.segmented,
                Boxed: composed.boxed,
                Matched: composed.matched,
                Clips: composed.clips,
                Instances: composed.instances,
            },
            fetch=lambda _: composed.segmented()[0],
            ready=lambda: parcel_place(STAMPS).is_dir(),
        ),
        StandIn(
            name="rendered",
            about=rendered.ABOUT,
            licence="drawn with Bullet's objects: zlib, BSD-3-Clause",
            samples=sum(rendered.COUNTS.values()),
            megabytes=0,
            kinds={Depths: rendered.depths, Segmented: rendered.segmented},
            fetch=lambda progress: rendered.drawn(progress),
            ready=rendered.ready,
        ),
        StandIn(
            name="stereo",
            about=rendered.STEREO,
            licence="Middlebury 2014, as scikit-image carries it",
            samples=1,
            megabytes=0,
            kinds={Depths: lambda _: rendered.stereo()},
            fetch=lambda _: rendered.stereo(),
            ready=rendered.has_stereo,
            splits=("all",),
        ),
    )
}


def open_standin(name: str, kind: type[Kind], split: str | None = None) -> Kind:
    """The set of this kind that a stand-in has. Raises SensoriumError where it has none, or no such part."""
    standin = STANDINS[name]
    if kind not in standin.kinds:
        has = ", ".join(each.kind for each in standin.kinds)
        raise SensoriumError(f"{name} has no {kind.kind}; it has {has}")
    if split is not None and split not in standin.splits:
        raise SensoriumError(f"{name} has no part {split!r}: {', '.join(standin.splits)}")
    return cast(Kind, cast(Any, standin.kinds[kind])(split or standin.splits[0]))
