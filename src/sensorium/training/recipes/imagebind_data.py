"""Pairs for binding: which sets there are of each sense, whose turn it is, what is held out, and pictures that are seen
once for the whole run because their tower never changes."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from sensorium.data.errors import SensoriumError, Unreadable, printable
from sensorium.data.paired import PAIRED, Pair, Paired
from sensorium.data.sources import open_source
from sensorium.data.stream import Batches, Sample, Source, Stream, mix, named
from sensorium.training.progress import Ahead
from sensorium.training.recipes.imagebind_towers import Towers
from sensorium.training.world import World

READERS = 4  # threads that decode for the towers
AT_ONCE = 64  # pictures that wait for the towers
TOGETHER = 16  # of them, each with all its views, that the towers see at once
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Part:
    """Some samples of a source."""

    source: Source
    rows: Sequence[int]

    @property
    def name(self) -> str:
        """The source's."""
        return self.source.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The source's, where it names any."""
        return getattr(self.source, "classes", ())

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Sample:
        return self.source[self.rows[index]]


def opened(places: Sequence[str]) -> list[Source]:
    """The sources at these places. Raises SensoriumError where none is named."""
    if not places:
        raise SensoriumError("data: name a set of pictures (or films) paired with another sense: --data pairs.jsonl")
    return [open_source(place) for place in places]


def divided(source: Source, share: float) -> tuple[Part, Part]:
    """A source without the pictures that are held out, and these. All samples of one picture or film are on one side.

    Which side follows from its name below the folder that holds them all: it is the same in every run and place.
    """
    samples = (source[index] for index in range(len(source)))
    called = [(sample.get("video", sample.get("image")), str(sample["key"])) for sample in samples]
    files = [os.fspath(file) if isinstance(file, str | os.PathLike) else key for file, key in called]
    above = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files])
    rows: tuple[list[int], list[int]] = ([], [])
    for index, file in enumerate(files):
        name = os.fsencode(os.path.relpath(file, above))
        number = mix(*(int.from_bytes(name[i : i + 8], "little") for i in range(0, len(name), 8)))
        rows[number < share * 2**64].append(index)
    return Part(source, rows[0]), Part(source, rows[1])


def by_sense(sources: Sequence[Source], senses: Sequence[str], beside: str = "image") -> dict[Paired, list[Source]]:
    """The sources of each sense that are paired with pictures or films (or with another thing: "text"), by what their
    first samples hold. Raises SensoriumError for a source that has no such pair, and for a sense that no source has."""
    found: dict[Paired, list[Source]] = {}
    wanted: Sequence[str] = senses or PAIRED
    for source in sources:
        first = source[0] if len(source) else {}
        paired = beside in first or (beside == "image" and "video" in first)
        there: list[Paired] = [sense for sense in PAIRED if first.get(sense) is not None and (sense in wanted)]
        if not there or not paired:
            raise SensoriumError(
                f"{printable(source.name)}: samples of {', '.join(first) or 'nothing'}, no pairs of {beside} and "
                f"{', '.join(wanted)}; `sensorium data show` tells what is in a set"
            )
        for sense in there:
            found.setdefault(sense, []).append(source)
    if lost := [sense for sense in senses if sense not in found]:
        raise SensoriumError(f"senses: no set has {', '.join(lost)} beside {beside}; they have {', '.join(found)}")
    return {sense: found[sense] for sense in PAIRED if sense in found}


@dataclass(frozen=True)
class Turns:
    """Batches of one kind of pairs each, the kinds in turns by their shares.

    Never two kinds in one batch: within a batch the others are what a pair is contrasted with, and the sets' pictures
    look so different that telling the sets apart would be all there was to learn. The turns follow from the shares
    alone, so any step's batch is found without those before it. `opened` gives a stream a kind; it is called for the
    first batch, because it may look at every picture.
    """

    opened: Callable[[], Mapping[str, Stream]]
    shares: Sequence[float]
    batch: int
    steps: int

    @cached_property
    def streams(self) -> Mapping[str, Stream]:
        """The stream of each kind."""
        return self.opened()

    @cached_property
    def order(self) -> tuple[Sequence[int], Sequence[int]]:
        """For every step: whose turn it is, and how many turns that one had before."""
        shares, given = np.array(self.shares), np.zeros(len(self.shares), dtype=np.int64)
        which, before = np.empty(self.steps, dtype=np.int64), np.empty(self.steps, dtype=np.int64)
        for step in range(self.steps):
            turn = int(np.argmin((given + 0.5) / shares))
            which[step], before[step] = turn, given[turn]
            given[turn] += 1
        return which.tolist(), before.tolist()

    def take(self, position: int, damaged: dict[str, str]) -> Mapping[str, Tensor]:
        """See `Stream.take`."""
        step, row = divmod(position, self.batch)
        which, before = self.order
        stream = list(self.streams.values())[which[step]]
        return stream.take(int(before[step]) * self.batch + row, damaged)

    def batches(
        self, batch: int, *, start: int, steps: int, rank: int = 0, world: int = 1, workers: int = 0
    ) -> Batches:
        """See `Data`."""
        assert self.streams  # opened here, not in every worker
        return Batches(self, batch, range(start, steps), rank=rank, world=world, workers=workers)


@dataclass(frozen=True, eq=False)
class Seen:
    """A source whose pictures the tower has seen: samples have "seen", the vectors of their views, and the key "views"
    from which each view can be drawn again for the other sense.

    `picture` says which picture is whose; `vectors`, `keys` and `unreadable` are by picture.
    """

    source: Source
    picture: Sequence[int]
    vectors: Float[Tensor, "pictures views dim"]
    keys: Sequence[int]
    unreadable: Mapping[int, Unreadable]

    @property
    def name(self) -> str:
        """The source's."""
        return self.source.name

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int, /) -> Sample:
        number = self.picture[index]
        if number in self.unreadable:
            raise self.unreadable[number]
        return {**self.source[index], "seen": self.vectors[number], "views": self.keys[number]}


def seen(source: Source, pair: Pair, views: int, towers: Towers, world: World, seed: int) -> Seen:
    """Look at every picture `views` times, each time otherwise cropped; once where several samples have the same one.
    The processes share the work."""
    first: dict[object, int] = {}  # by what a picture is called, or where a film is looked at: its number
    picture: list[int] = []
    rows: list[int] = []  # a sample of each picture
    for index in range(len(source)):
        called = _called(source, index) if pair.sense in ("audio", "motion") else index
        if first.setdefault(called, len(rows)) == len(rows):
            rows.append(index)
        picture.append(first[called])
    keys = [mix(seed, number) >> 2 for number in range(len(rows))]
    mine = range(world.rank, len(rows), world.size)
    vectors = torch.zeros(-(-len(rows) // world.size), views, towers.dim)

    def looked(number: int) -> Tensor | Unreadable:
        sample: Sample = {}
        try:
            sample = source[rows[number]]
            return torch.stack([pair.picture(sample, pair.view(keys[number], view)) for view in range(views)])
        except Unreadable as error:
            return named(error, sample)

    unreadable: dict[int, Unreadable] = {}
    progress, done = Ahead("pictures seen", len(mine), quiet=world.rank > 0), 0
    ahead = enumerate(zip(mine, read_ahead(looked, mine), strict=True))
    while some := list(islice(ahead, TOGETHER)):
        good = [(row, pixels) for row, (_, pixels) in some if not isinstance(pixels, Unreadable)]
        unreadable |= {number: error for _, (number, error) in some if isinstance(error, Unreadable)}
        if good:
            found = towers.see(torch.cat([pixels for _, pixels in good]), world.device).cpu()
            vectors[[row for row, _ in good]] = found.unflatten(0, (len(good), views))
        done += len(some)
        progress.show(done)
    everybody = world.gather(vectors.to(world.device)).cpu()
    whole = everybody.unflatten(0, (world.size, -1)).transpose(0, 1).flatten(0, 1)[: len(rows)]
    if world.size > 1:
        told: list[Any] = [None] * world.size
        dist.all_gather_object(told, unreadable)
        unreadable = {number: error for part in told for number, error in part.items()}
    return Seen(source, picture, whole.contiguous(), keys, unreadable)


def _called(source: Source, index: int) -> object:
    """What tells a sample's picture from others: its file; itself where it is none, or part of a film."""
    try:
        sample = source[index]
    except Unreadable:  # it is read again, and listed, where its turn comes
        return index
    image = sample.get("image")
    return os.fsencode(image) if isinstance(image, str | os.PathLike) else index


def read_ahead(read: Callable[[T], R], rows: Iterable[T]) -> Iterator[R]:
    """What `read` makes of each row, in their order; threads work ahead."""
    todo = iter(rows)
    with ThreadPoolExecutor(READERS, thread_name_prefix="pairs") as pool:
        while some := list(islice(todo, AT_ONCE)):
            yield from pool.map(read, some)


def measured(
    source: Source, pair: Pair, most: int, *, pictures: bool = True
) -> tuple[list[Mapping[str, Tensor]], list[Sample]]:
    """The first pairs that can be read, as they are measured, with their samples; or their sense alone."""

    def plain(index: int) -> tuple[Mapping[str, Tensor], Sample] | None:
        try:
            sample = source[index]
            inputs = pair.plain(sample) if pictures else {pair.sense: pair.sensed(sample, None, None)}
            return inputs, sample
        except Unreadable:
            return None

    found = list(islice((each for each in read_ahead(plain, range(len(source))) if each), most))
    return [inputs for inputs, _ in found], [sample for _, sample in found]
