"""Answers out of several senses: one list of files, though cosines of two senses cannot be compared.

Words are nearer to any page of text than to the picture that they describe, and a picture is nearer to any picture than
to the sound that goes with it. So each sense is searched for itself, and the answers are merged by how sure each is,
and where two are about as sure (to a tenth) by where they stand on the scale of the question with their sense
(`verdict.Scale`). Where there is one sense, there is nothing to merge.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from math import sqrt
from typing import TypeVar

import numpy as np

from sensorium.data.kind_names import Sense
from sensorium.search.asking import Direction, unit
from sensorium.search.store import Filter, Item, Near, Sample, Scored, Store, Vectors
from sensorium.search.verdict import (
    ENOUGH,
    Scale,
    Verdict,
    both,
    judge_others,
    judge_pictures,
    judge_words,
    scale_between,
    scale_of_example,
    scale_of_words,
    usual_nearness,
)

SAMPLE = 1024
"""Stored vectors that stand for a sense when a verdict is given; beyond so many the bar rises no more."""
PIECES = 64
"""Pieces of a file, of each sense, that are judged: of its best moments none is longer than these together."""
LOOKED_THROUGH = 65_536
"""Pieces of long files that an answer looks through for its moments; beyond, those found on the way are told."""

Key = TypeVar("Key")
Value = TypeVar("Value")
Scales = Mapping[Sense, Scale]


@dataclass(frozen=True)
class Ranked:
    """A file that answers, with its pieces, best first."""

    item: Item
    pieces: list[Scored]


class Ranking:
    """Merges and judges answers of one store; what it knows of the stored vectors is kept while they stay the same."""

    def __init__(self, store: Store, captions: Callable[[], Vectors], modelled: Callable[[], bool]) -> None:
        self.store = store
        self._captions = captions
        self._modelled = modelled  # whether captions can be had
        self._usual: dict[Sense, tuple[tuple[Sample, ...], float | None]] = {}
        self._words: dict[Sense, tuple[tuple[Sample, ...], Scale]] = {}
        self._between: dict[tuple[Sense, Sense], tuple[tuple[Sample, ...], Scale | None]] = {}

    def best(self, direction: Direction, need: int, where: Filter | None) -> tuple[list[Ranked], Scales]:
        """At least the `need` best files, where there are so many, and the scale of each sense (none for one sense)."""
        question, senses = unit(direction.whole), self.store.senses()
        found = {sense: self.store.search(question, need, sense=sense, where=where) for sense in senses}
        if len(senses) < 2:
            return [Ranked(near.item, near.pieces) for nears in found.values() for near in nears], {}
        scales = self._scales(direction, senses)
        items: dict[str, Item] = {}
        pieces: dict[str, list[Scored]] = {}
        for near in self._merged(direction, list(found.values()), scales):
            items.setdefault(near.item.id, near.item)
            pieces.setdefault(near.item.id, []).extend(near.pieces)
        return [Ranked(item, pieces[name]) for name, item in items.items()][:need], scales

    def _merged(self, direction: Direction, found: Sequence[Sequence[Near]], scales: Scales) -> list[Near]:
        """Answers of several senses as one list: of what stands first in each, the surest is next. So the order within
        a sense is that of its cosines, and a page begins where the one before it ended."""
        standing = [self._standing(direction, [near.pieces[0] for near in nears], scales) for nears in found]
        places = [0] * len(found)
        merged: list[Near] = []
        while left := [sense for sense, nears in enumerate(found) if places[sense] < len(nears)]:
            sense = max(left, key=lambda sense: standing[sense][places[sense]])
            merged.append(found[sense][places[sense]])
            places[sense] += 1
        return merged

    def with_moments(self, direction: Direction, page: Sequence[Ranked], scales: Scales) -> list[Ranked]:
        """These files with the best of all their pieces, and not only of those that were found on the way."""
        question, left = unit(direction.whole), LOOKED_THROUGH
        every: list[list[Scored]] = []
        for each in page:
            pieces = each.pieces
            if each.item.kind in ("video", "sound", "motion", "document") and left > 0:
                spots = self.store.spots(each.item.digest)
                left -= len(spots)
                pieces = (self.store.moments(spots, question, PIECES) if left >= 0 else []) or pieces
            every.append(pieces)
        flat = [piece for pieces in every for piece in pieces]  # judged together: each call asks all captions
        standing = iter(self._standing(direction, flat, scales) if scales else [(piece.score, 0.0) for piece in flat])
        full: list[Ranked] = []
        for each, pieces in zip(page, every, strict=True):
            placed = sorted(
                [(next(standing), piece) for piece in pieces],
                key=lambda pair: (-pair[0][0], -pair[0][1], pair[1].spot.number),
            )
            full.append(Ranked(each.item, [piece for _, piece in placed]))
        return full

    def _standing(self, direction: Direction, pieces: Sequence[Scored], scales: Scales) -> list[tuple[float, float]]:
        """What tells pieces of several senses apart: how sure each is, to a tenth, and its place on its scale."""
        return [
            (round(confidence, 1), float(scales[piece.spot.sense].of(piece.score)))
            for piece, (confidence, _) in zip(pieces, self.judge(direction, pieces), strict=True)
        ]

    def judge(self, direction: Direction, pieces: Sequence[Scored]) -> list[tuple[float, float]]:
        """For each piece how sure it is a true answer, in 0..1, from 0.5 on a match; and that bar as a cosine."""
        stored = self.store.pieces([each.piece for each in pieces])
        gone = np.zeros(self.store.identity.dim, np.float32)  # deleted since it was found
        judged = [(0.0, 0.0)] * len(pieces)
        senses: set[Sense] = {each.spot.sense for each in pieces}
        for sense in senses:
            places = [place for place, each in enumerate(pieces) if each.spot.sense == sense]
            verdict = self.verdict(direction, sense, np.array([stored.get(pieces[at].piece, gone) for at in places]))
            for place, confidence in zip(places, verdict.confidence.tolist(), strict=True):
                judged[place] = (confidence, verdict.cutoff)
        return judged

    def verdict(self, direction: Direction, sense: Sense, hits: Vectors) -> Verdict:
        """Of pieces (n, dim) of one sense."""
        sample = self.store.sample(SAMPLE, sense)
        parts: list[tuple[Verdict, float]] = []
        words, shown = direction.wanted
        if words:
            verdict = judge_words(unit(direction.words), hits, self._captions(), len(sample.vectors))
            parts.append((verdict, float(np.linalg.norm(direction.words))))
        if shown:
            example, length = unit(direction.shown), float(np.linalg.norm(direction.shown))
            if direction.senses == frozenset((sense,)):
                verdict = judge_pictures(example, hits, self._usual_nearness(sense, sample))
            else:
                scale = self._scale_shown(direction, [sense])[sense]
                verdict = judge_others(example, hits, Scale(scale.common / length, scale.spread / length))
            parts.append((verdict, length))
        return both(parts, float(np.linalg.norm(direction.whole)))

    def usual_cutoff(self, direction: Direction) -> float:
        """The bar that a picture would have to reach where nothing was found."""
        return self.verdict(direction, "image", np.empty((0, self.store.identity.dim), np.float32)).cutoff

    def _scales(self, direction: Direction, senses: Sequence[Sense]) -> Scales:
        length = float(np.linalg.norm(direction.whole))
        shown = self._scale_shown(direction, senses)
        scales: dict[Sense, Scale] = {}
        for sense in senses:
            words = self._scale_words(sense) if direction.effort else Scale(0.0, 0.0)
            common = direction.weight * words.common + shown[sense].common
            spread = sqrt((direction.effort * words.spread) ** 2 + shown[sense].spread ** 2)
            scales[sense] = Scale(common / length, spread / length)
        return scales

    def _scale_words(self, sense: Sense) -> Scale:
        sample = self.store.sample(SAMPLE, sense)
        return _kept(self._words, sense, (sample,), lambda: scale_of_words(sample.vectors, self._captions()))

    def _scale_shown(self, direction: Direction, senses: Sequence[Sense]) -> Scales:
        """Of the examples' sum with each of these senses: by how near stored files are that are like the examples; by
        how near the examples themselves are to everything where these are few.
        """
        shown, length = direction.shown, float(np.linalg.norm(direction.shown))
        products = {sense: self.store.sample(SAMPLE, sense).vectors @ shown for sense in self.store.senses()}
        medians = [float(np.median(some)) for some in products.values() if len(some)]
        expected = sum(medians) / max(len(medians), 1)
        scales: dict[Sense, Scale] = {}
        for sense in senses:
            pairs = [self._scale_between(example, sense) for example in direction.senses]
            known = [pair for pair in pairs if pair is not None]
            if known and len(known) == len(pairs):
                common, spread = (
                    sum(values) / len(known) * length for values in zip(*map(astuple, known), strict=True)
                )
                scales[sense] = Scale(common, spread)
            else:
                scales[sense] = scale_of_example(products.get(sense, np.empty(0)), length, expected)
        return scales

    def _scale_between(self, example: Sense, sense: Sense) -> Scale | None:
        samples = self.store.sample(SAMPLE, example), self.store.sample(SAMPLE, sense)
        return _kept(self._between, (example, sense), samples, lambda: scale_between(*samples))

    def _usual_nearness(self, sense: Sense, sample: Sample) -> float | None:
        def measured() -> float | None:
            few = len(np.unique(sample.contents)) < ENOUGH
            return usual_nearness(sample, self._captions() if few and self._modelled() else None)

        return _kept(self._usual, sense, (sample,), measured)


def _kept(
    known: dict[Key, tuple[tuple[Sample, ...], Value]], key: Key, samples: tuple[Sample, ...], make: Callable[[], Value]
) -> Value:
    """A value that follows from samples, which are the same objects while nothing changes."""
    if key not in known or any(a is not b for a, b in zip(known[key][0], samples, strict=True)):
        known[key] = (samples, make())
    return known[key][1]
