import os
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.stream import Permutation, Sample, Stream, collate

numbers = st.integers(0, 2**64 - 1)


@dataclass(frozen=True)
class Numbers:
    """`count` samples that are numbers; some are damaged."""

    count: int
    name: str = "numbers"
    damaged: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> Sample:
        if index in self.damaged:
            raise Unreadable(f"{self.name}:{index}", "truncated")
        return {"label": index, "key": f"{self.name}:{index}"}


def prepare(sample: Sample, generator: torch.Generator) -> Mapping[str, Tensor]:
    return {"label": torch.tensor(sample["label"]), "noise": torch.rand(3, generator=generator)}


def labels(stream: Stream, positions: Sequence[int] | range) -> list[int]:
    return [int(stream(position)["label"]) for position in positions]


@given(st.integers(1, 3000), numbers)
@settings(max_examples=40, deadline=None)
def test_a_permutation_is_a_bijection(length: int, key: int) -> None:
    order = Permutation(length, key)
    assert sorted(order[i] for i in range(length)) == list(range(length))


@given(st.integers(1, 10**15), numbers)
def test_a_permutation_of_any_length_stays_inside(length: int, key: int) -> None:
    order = Permutation(length, key)
    found = [order[i] for i in {0, length // 2, length - 1}]
    assert all(0 <= i < length for i in found)
    assert len(set(found)) == len({0, length // 2, length - 1})
    with pytest.raises(IndexError):
        order[length]


def test_permutations_are_as_likely_as_chance_makes_them() -> None:
    """All 24 orders of 4 numbers over 4,800 keys: chi-square of 23 degrees of freedom, 0.9999 quantile 58.6."""
    seen = Counter(tuple(Permutation(4, key)[i] for i in range(4)) for key in range(4800))
    assert set(seen) == set(permutations(range(4)))
    assert sum((n - 200) ** 2 / 200 for n in seen.values()) < 58.6


def test_neighbours_are_torn_apart() -> None:
    order = [Permutation(10_000, 5)[i] for i in range(10_000)]
    values = torch.tensor(order, dtype=torch.float64)
    correlation = torch.corrcoef(torch.stack([values[:-1], values[1:]]))[0, 1]
    assert abs(correlation) < 0.04  # four standard deviations of chance


def test_every_epoch_is_whole_and_ordered_anew() -> None:
    stream = Stream(sources=[Numbers(50)], prepare=prepare, seed=3)
    first, second = labels(stream, range(50)), labels(stream, range(50, 100))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert labels(Stream(sources=[Numbers(50)], prepare=prepare, seed=4), range(50)) != first
    plain = Stream(sources=[Numbers(50)], prepare=prepare, shuffle=False)
    assert labels(plain, range(60)) == [*range(50), *range(10)]


def test_augmentation_differs_between_samples_and_epochs() -> None:
    stream = Stream(sources=[Numbers(5)], prepare=prepare)
    noise = {tuple(stream(position)["noise"].tolist()) for position in range(10)}
    assert len(noise) == 10


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    part=st.integers(1, 4),
    worlds=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    cut=st.integers(0, 6),
    seed=numbers,
)
@settings(max_examples=40, deadline=None)
def test_resuming_anywhere_on_any_number_of_processes_gives_the_same_samples(
    lengths: list[int], part: int, worlds: tuple[int, int], cut: int, seed: int
) -> None:
    stream = Stream(sources=[Numbers(n) for n in lengths], prepare=prepare, seed=seed)
    batch, steps = part * 12, 6

    def run(start: int, stop: int, world: int) -> list[dict[str, Tensor]]:
        parts = [stream.batches(batch, start=start, steps=stop, rank=rank, world=world) for rank in range(world)]
        return [
            {name: torch.cat([p[name] for p in pieces]) for name in pieces[0]} for pieces in zip(*parts, strict=True)
        ]

    whole = run(0, steps, 1)
    resumed = run(0, cut, worlds[0]) + run(cut, steps, worlds[1])
    assert len(whole) == len(resumed) == steps
    for one, other in zip(whole, resumed, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


@given(st.lists(st.floats(0.05, 20), min_size=2, max_size=5), st.integers(0, 10**12))
@settings(max_examples=30, deadline=None)
def test_a_mixture_keeps_its_shares_in_every_stretch(weights: list[float], start: int) -> None:
    stream = Stream(sources=[Numbers(7 + i) for i in range(len(weights))], weights=weights, prepare=prepare)
    seen = Counter(stream.place(position).source for position in range(start, start + 1000))
    for source, weight in enumerate(weights):
        assert abs(seen[source] - 1000 * weight / sum(weights)) <= len(weights) + 2


def test_a_mixture_takes_each_source_in_its_own_order() -> None:
    """Every source is seen whole before any of it comes again, across the end of the pattern too."""
    stream = Stream(sources=[Numbers(11), Numbers(4)], weights=[2.5, 1], prepare=prepare)
    places = [stream.place(position) for position in range(65_000, 67_000)]
    for source, length in ((0, 11), (1, 4)):
        own = [place for place in places if place.source == source]
        epochs = Counter(place.epoch for place in own)
        whole = list(epochs)[1:-1]
        assert len(whole) > 20
        assert whole == list(range(whole[0], whole[-1] + 1))
        assert all(sorted(p.index for p in own if p.epoch == epoch) == list(range(length)) for epoch in whole)


def test_without_weights_every_sample_is_seen_equally_often() -> None:
    stream = Stream(sources=[Numbers(30), Numbers(3), Numbers(100)], prepare=prepare)
    places = [stream.place(position) for position in range(133)]
    assert Counter(place.source for place in places) == {0: 30, 1: 3, 2: 100}
    assert len(set(places)) == 133


def test_the_next_of_its_order_stands_in_for_a_damaged_sample() -> None:
    sound = Stream(sources=[Numbers(20)], prepare=prepare, seed=1)
    order = labels(sound, range(20))
    stream = Stream(sources=[Numbers(20, "set.tar", frozenset(order[4:6]))], prepare=prepare, seed=1)
    batches = stream.batches(10, start=0, steps=2)
    got = torch.cat([batch["label"] for batch in batches]).tolist()
    assert got == [*order[:4], order[6], order[6], *order[6:]]
    assert batches.damaged == {f"set.tar:{i}": "truncated" for i in order[4:6]}
    last = Stream(sources=[Numbers(20, damaged=frozenset(order[19:]))], prepare=prepare, seed=1)
    assert labels(last, [19]) == [order[0]]  # the order is a circle
    assert len(set(map(tuple, torch.cat([b["noise"] for b in stream.batches(10, start=0, steps=2)]).tolist()))) == 20


def test_a_source_without_a_sound_sample_is_an_error_that_names_the_last() -> None:
    stream = Stream(sources=[Numbers(3, "gone", frozenset(range(3)))], prepare=prepare)
    with pytest.raises(SensoriumError, match=r"gone: 3 samples in a row .* gone:\d: truncated"):
        stream(0)
    batches = stream.batches(2, start=0, steps=1, workers=1)
    with pytest.raises(SensoriumError, match="gone: 3 samples in a row"):
        next(batches)
    assert len(batches.damaged) == 3


def test_workers_change_nothing_and_report_damage() -> None:
    sources = [Numbers(40, damaged=frozenset({3, 17})), Numbers(9)]
    stream = Stream(sources=sources, prepare=prepare, seed=8)
    before = torch.random.get_rng_state()
    alone, helped = (stream.batches(8, start=2, steps=20, workers=workers) for workers in (0, 2))
    for one, other in zip(alone, helped, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert helped.damaged == alone.damaged
    assert len(alone.damaged) == 2
    assert torch.equal(torch.random.get_rng_state(), before)


def test_workers_ignore_what_the_loop_was_told_and_stop_with_it() -> None:
    def who(sample: Sample, _: torch.Generator) -> Mapping[str, Tensor]:
        dies = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        return {"pid": torch.tensor(os.getpid()), "dies": torch.tensor(dies)}

    kept = signal.signal(signal.SIGTERM, lambda *_: None)  # as a training loop does
    try:
        batches = Stream(sources=[Numbers(10)], prepare=who).batches(2, start=0, steps=1000, workers=1)
        first = next(batches)
        assert bool(first["dies"].all())
        worker = int(first["pid"][0])
        os.kill(worker, signal.SIGINT)
        assert int(next(batches)["pid"][0]) == worker
        batches.close()
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
        assert list(batches) == []
    finally:
        signal.signal(signal.SIGTERM, kept)


def test_a_worker_that_dies_is_an_error_with_a_remedy() -> None:
    def die(sample: Sample, _: torch.Generator) -> Mapping[str, Tensor]:
        os._exit(9)

    with pytest.raises(SensoriumError, match="worker that reads the data died"):
        next(Stream(sources=[Numbers(10)], prepare=die).batches(2, start=0, steps=3, workers=1))


@pytest.mark.parametrize("kind", [RuntimeError, ConnectionError, KeyError])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_in_preparing_is_not_hidden(kind: type[Exception], workers: int) -> None:
    def prepare(sample: Sample, _: torch.Generator) -> Mapping[str, Tensor]:
        raise kind("a mistake")

    with pytest.raises(kind, match="a mistake"):
        next(Stream(sources=[Numbers(10)], prepare=prepare).batches(2, start=0, steps=3, workers=workers))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sources": []}, "one source or more"),
        ({"sources": [Numbers(0, "empty.jsonl")]}, "empty.jsonl: holds no samples"),
        ({"sources": [Numbers(1)], "weights": [1, 2]}, "2 for 1 sources"),
        ({"sources": [Numbers(1), Numbers(1)], "weights": [1, 0]}, "weights: 0 is no share"),
        ({"sources": [Numbers(1), Numbers(1)], "weights": [1, float("nan")]}, "nan is no share"),
    ],
)
def test_what_is_no_mixture(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SensoriumError, match=message):
        Stream(prepare=prepare, **settings)  # pyright: ignore[reportArgumentType]


def test_what_is_no_slice() -> None:
    stream = Stream(sources=[Numbers(1)], prepare=prepare)
    with pytest.raises(SensoriumError, match="batch=10 cannot be shared by 4 processes: take a multiple, such as 12"):
        stream.batches(10, start=0, steps=1, world=4)
    with pytest.raises(SensoriumError, match="rank=2, world=2"):
        stream.batches(10, start=0, steps=1, rank=2, world=2)


def test_samples_that_do_not_fit_together_are_named() -> None:
    with pytest.raises(SensoriumError, match=r"image of shape \(3, 5\) and of \(3, 4\)"):
        collate([{"image": torch.zeros(3, 4)}, {"image": torch.zeros(3, 5)}])
    with pytest.raises(SensoriumError, match=r"prepare gave \['image'\] for one sample and \['image', 'text'\]"):
        collate([{"image": torch.zeros(3), "text": torch.zeros(3)}, {"image": torch.zeros(3)}])
