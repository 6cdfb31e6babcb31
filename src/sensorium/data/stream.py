"""Samples for training: an endless shuffled mixture, and resuming anywhere in it is arithmetic.

Nothing is remembered. A position decides the source, the epoch, the index within the shuffled epoch and the random
numbers of augmentation; so the batches are the same with any number of workers and processes, and after any kill. An
epoch is shuffled by a small keyed permutation (Luby and Rackoff 1988, https://doi.org/10.1137/0217022) that needs no
list, however long the source is.
"""

import math
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sensorium.data.errors import SensoriumError, Unreadable, printable

Sample = Mapping[str, Any]
"""What a source gives, undecoded: "image" (path, bytes, PIL or array), "text" (one or a tuple), "label", "key"."""

Prepare = Callable[[Sample, torch.Generator], Mapping[str, Tensor]]
"""Decodes, augments and tokenises one sample; random numbers come from the given generator and nowhere else."""

ROUNDS = 8  # of the permutation; three make it one that cannot be told from chance, in the limit
PERIOD = 1 << 16  # positions after which the pattern of a mixture repeats
HOPELESS = 1000  # damaged samples in a row after which a source is given up
MASK = (1 << 64) - 1


class Taken(Protocol):
    """Prepared samples by their position, as `Stream.take` gives them."""

    def take(self, position: int, damaged: dict[str, str]) -> Mapping[str, Tensor]:
        """See `Stream.take`."""
        ...


class Source(Protocol):
    """Samples by number. `name` stands in messages; reading a damaged sample raises Unreadable, naming file and row."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sample: ...


def named(error: Unreadable, sample: Sample) -> Unreadable:
    """The same complaint under the sample's own name, its "key": bytes have no other, and a path tells no row."""
    key = str(sample.get("key", error.path))
    if error.path in (key, "bytes") or error.path.startswith("array "):
        return Unreadable(key, error.reason)
    return Unreadable(key, str(error))


def mix(*values: int) -> int:
    """64 bits that depend on every bit of every value (Steele et al. 2014, SplitMix64)."""
    state = 0x9E3779B97F4A7C15
    for value in values:
        state = (state ^ (value & MASK)) + 0x9E3779B97F4A7C15 & MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK
        state ^= state >> 31
    return state


@dataclass(frozen=True)
class Permutation:
    """A shuffled order of `length` numbers, each found by itself: `permutation[i]`. Another key is another order.

    Numbers are pairs (row, column) of a grid that is hardly larger than `length`; in turn, each part is moved round by
    an amount that the other part and the key decide. What lands beyond `length` is moved again until it does not.
    """

    length: int
    key: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.length:
            raise IndexError(index)
        rows, columns = self._grid
        keys = self._keys
        while True:
            row, column = divmod(index, columns)
            for turn in range(0, ROUNDS, 2):
                row = (row + mix(keys[turn], column)) % rows
                column = (column + mix(keys[turn + 1], row)) % columns
            index = row * columns + column
            if index < self.length:
                return index

    @cached_property
    def _grid(self) -> tuple[int, int]:
        columns = math.isqrt(self.length - 1) + 1
        return -(-self.length // columns), columns

    @cached_property
    def _keys(self) -> tuple[int, ...]:
        return tuple(mix(self.key, turn) for turn in range(ROUNDS))


@lru_cache(maxsize=256)
def _order(length: int, key: int) -> Permutation:
    return Permutation(length, key)


@dataclass(frozen=True)
class Place:
    """Where a position's sample stands: which source, which pass over it, which of its samples."""

    source: int
    epoch: int
    index: int


@dataclass(frozen=True, kw_only=True)
class Stream:
    """An endless mixture of sources: `stream(position)` is the same on every machine, worker and number of processes.

    weights   shares of the sources in every stretch of positions; None takes every sample equally often
    prepare   what becomes of a sample; damage that it finds it raises as Unreadable
    shuffle   False keeps each source's own order, epoch after epoch

    Every source is seen whole before any of it is seen again. A sample that cannot be read is listed, and the next one
    of its source's order takes its place. Raises SensoriumError for empty sources and weights that are no shares.
    """

    sources: Sequence[Source]
    weights: Sequence[float] | None = None
    prepare: Prepare
    seed: int = 0
    shuffle: bool = True

    def __post_init__(self) -> None:
        if not self.sources:
            raise SensoriumError("a stream needs one source or more")
        for source in self.sources:
            if len(source) < 1:
                raise SensoriumError(f"{printable(source.name)}: holds no samples")
        weights = self.weights
        if weights is None:
            return
        if len(weights) != len(self.sources):
            raise SensoriumError(f"weights: {len(weights)} for {len(self.sources)} sources; give one for each")
        for weight in weights:
            if not (math.isfinite(weight) and weight > 0):
                raise SensoriumError(f"weights: {weight} is no share; leave the source out or give it more than 0")

    def __call__(self, position: int) -> Mapping[str, Tensor]:
        """The prepared sample of a position, 0 or more."""
        return self.take(position, {})

    def place(self, position: int) -> Place:
        """Where the sample of a position stands, were it not damaged."""
        source, number = self._draw(position)
        epoch, offset = divmod(number, len(self.sources[source]))
        return Place(source, epoch, self._index(source, epoch, offset))

    def take(self, position: int, damaged: dict[str, str]) -> Mapping[str, Tensor]:
        """The prepared sample of a position; samples passed over on the way are added to `damaged`, name to reason.

        Raises SensoriumError where none can be read.
        """
        number, draw = self._draw(position)
        source = self.sources[number]
        epoch, offset = divmod(draw, len(source))
        found: Unreadable | None = None
        for attempt in range(min(len(source), HOPELESS)):
            index = self._index(number, epoch, (offset + attempt) % len(source))
            generator = torch.Generator().manual_seed(mix(self.seed, number, epoch, index, attempt) >> 1)
            sample: Sample = {}
            try:
                sample = source[index]
                return self.prepare(sample, generator)
            except Unreadable as error:
                found = named(error, sample)
                damaged[printable(found.path)] = found.reason
        tried = min(len(source), HOPELESS)
        raise SensoriumError(f"{printable(source.name)}: {tried} samples in a row cannot be read; the last is {found}")

    def batches(
        self, batch: int, *, start: int, steps: int, rank: int = 0, world: int = 1, workers: int = 0
    ) -> "Batches":
        """This process's part of the batches of steps `start` to `steps`, the latter left out.

        Step s holds positions s * batch to (s + 1) * batch; of these, the rank-th of `world` equal slices. Raises
        SensoriumError where the batch cannot be cut so.
        """
        return Batches(self, batch, range(start, steps), rank=rank, world=world, workers=workers)

    def _draw(self, position: int) -> tuple[int, int]:
        """The source of a position, and how many of that source come before it."""
        if position < 0:
            raise SensoriumError(f"position {position}: positions count from 0")
        if len(self.sources) == 1:
            return 0, position
        which, before, shares = self._pattern
        cycle, at = divmod(position, len(which))
        source = int(which[at])
        return source, cycle * int(shares[source]) + int(before[at])

    def _index(self, source: int, epoch: int, offset: int) -> int:
        if not self.shuffle:
            return offset
        return _order(len(self.sources[source]), mix(self.seed, source, epoch))[offset]

    @cached_property
    def _pattern(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """For every position of a period: its source, how many of that source precede it; and each source's number.

        A source's places are spread evenly over the period, each shifted a little by chance so that no two sources
        march in step.
        """
        shares = _shares([len(source) for source in self.sources], 1) if self.weights is None else _shares(self.weights)
        chance = np.random.default_rng(mix(self.seed, len(shares)))
        times = [(np.arange(n) + (chance.random(n) if self.shuffle else 0.5)) / n for n in shares]
        which = np.repeat(np.arange(len(shares)), shares)
        before = np.concatenate([np.arange(n) for n in shares])
        order = np.argsort(np.concatenate(times), kind="stable")
        return which[order], before[order], np.array(shares)


def _shares(weights: Sequence[float], scale: int | None = None) -> list[int]:
    """Whole numbers in the proportion of the weights: exact where these are small whole numbers, else of PERIOD."""
    whole = [int(weight) for weight in weights]
    if all(a == b for a, b in zip(whole, weights, strict=True)) and sum(whole) <= PERIOD:
        return [n * (scale or PERIOD // sum(whole)) for n in whole]
    total = math.fsum(weights)
    exact = [weight / total * PERIOD for weight in weights]
    shares = [max(1, math.floor(value)) for value in exact]
    by_rest = sorted(range(len(exact)), key=lambda i: shares[i] - exact[i])
    for i in by_rest[: max(0, PERIOD - sum(shares))]:
        shares[i] += 1
    return shares


class Batches(Iterator[dict[str, Tensor]]):
    """The batches of a stream, one a step, collated: every value gains a first axis of this process's rows.

    With workers, that many processes prepare batches ahead; what comes out does not depend on it. `damaged` names
    every sample that was passed over so far, with the reason. `close` (or the end) stops the workers.
    """

    def __init__(
        self, stream: Taken, batch: int, steps: range, *, rank: int = 0, world: int = 1, workers: int = 0
    ) -> None:
        if batch < 1 or world < 1 or not 0 <= rank < world:
            raise SensoriumError(f"batch={batch}, rank={rank}, world={world}: no slice of a batch")
        if batch % world:
            fits = -(-batch // world) * world
            raise SensoriumError(
                f"batch={batch} cannot be shared by {world} processes: take a multiple, such as {fits}"
            )
        if steps.start < 0:
            raise SensoriumError(f"start={steps.start}: steps count from 0")
        self.steps = steps
        self.damaged: dict[str, str] = {}
        part = batch // world
        self._rows = _Rows(stream, batch, rank * part, part)
        self._workers = min(workers, len(steps))
        self._source: Iterator[_Item] | None = None

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> dict[str, Tensor]:
        if self._source is None:
            self._source = self._started()
        try:
            rows, damaged = next(self._source)
        except BaseException as error:  # whatever it is goes on, but the workers do not
            self.close()
            if self._workers and _died(error):
                reason = f"a worker that reads the data died ({error})"
                raise SensoriumError(f"{reason}; if memory ran out, take fewer workers or a smaller batch") from error
            raise
        self.damaged |= damaged
        if isinstance(rows, SensoriumError):
            self.close()
            raise rows
        return rows

    def close(self) -> None:
        """Stop the workers; nothing more comes."""
        # at once, not when it is collected: that may be in a worker forked later, which waits for them in vain
        stop = getattr(self._source, "_shutdown_workers", None)
        self._source = iter(())
        if stop is not None:
            stop()

    def _started(self) -> "Iterator[_Item]":
        if self._workers == 0:
            return map(self._rows.__getitem__, self.steps)
        loader = DataLoader(
            self._rows,
            batch_size=None,  # a worker's item is a batch already
            sampler=_Steps(self.steps),
            num_workers=self._workers,
            collate_fn=_same,
            worker_init_fn=_quiet_worker,
            prefetch_factor=2,
            # what a recipe prepares with need not travel, and indexes in memory are shared
            multiprocessing_context="fork" if sys.platform == "linux" else None,
            generator=torch.Generator(),  # or a number would be drawn from the one that training uses
        )
        return iter(loader)


_Item = tuple[dict[str, Tensor] | SensoriumError, dict[str, str]]  # errors as values: torch would reword them


@dataclass(frozen=True)
class _Rows(Dataset[_Item]):
    """Step to this process's collated rows, and what was found damaged among them."""

    stream: Taken
    batch: int
    first: int
    count: int

    def __getitem__(self, step: int) -> _Item:
        damaged: dict[str, str] = {}
        begin = step * self.batch + self.first
        try:
            return collate([self.stream.take(at, damaged) for at in range(begin, begin + self.count)]), damaged
        except SensoriumError as error:
            return error, damaged


@dataclass(frozen=True)
class _Steps(Iterable[int]):
    steps: range

    def __iter__(self) -> Iterator[int]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)


def collate(samples: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Prepared samples as one batch, value by value. Raises SensoriumError where they do not fit together."""
    first = samples[0]
    for sample in samples:
        if sample.keys() != first.keys():
            raise SensoriumError(f"prepare gave {sorted(sample)} for one sample and {sorted(first)} for another")
        for name, value in sample.items():
            if value.shape != first[name].shape:
                raise SensoriumError(
                    f"prepare gave {name} of shape {tuple(value.shape)} and of {tuple(first[name].shape)}: "
                    "pad or crop it to one shape"
                )
    return {name: torch.stack([sample[name] for sample in samples]) for name in first}


def _died(error: BaseException) -> bool:
    """Whether an error says that a worker is gone: in words, or by a connection that broke off."""
    if str(error).startswith("Caught"):  # raised in a worker that lives
        return False
    return isinstance(error, ConnectionError | EOFError) or (
        isinstance(error, RuntimeError) and "DataLoader worker" in str(error)
    )


def _same(item: Any) -> Any:
    return item


def _quiet_worker(_: int) -> None:
    """A worker leaves Ctrl-C to the process that started it, and dies when that one says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the handler of a training loop that was forked along
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread a worker, and no warning about the fork
