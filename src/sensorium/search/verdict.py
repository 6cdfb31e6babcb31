"""Is the best answer a good answer? A verdict calibrated for each question, since no cosine means the same for two.

Cosines of words with pictures depend on the words, the picture and the model: 0.25 may be a sure match here and noise
there. So a hit is judged against something that knows the case:

* A question in words, for each picture, against a bank of some hundred everyday captions: on a scale where 0 is what
  the picture has in common with any caption and 1 is how well the best of them describes it, a question that is true
  stands near 1 or above. Captions that mean nearly the same as the question are left out. This needs no other picture,
  so it works in a collection of one, or of cats only; but the best of many pictures is better by luck, so the bar rises
  with the logarithm of the collection.
* A question by example against how near stored pictures usually are to their nearest: their own neighbours show what
  this model calls alike in this collection.
* Words and examples together are judged apart, and both must hold, each as far as it weighs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.search.store import Sample, Vector, Vectors

Scores = NDArray[np.float64]

WORDS, LUCK = 0.75, 0.1
"""The bar for words in a collection of 25 or fewer, and what it rises by with each e-fold of pictures; measured by
benchmarks/verdict.py on photographs, with two models whose cosines spread very differently."""
FEW = 25
STEEP = 4.0
"""Confidence in words is r⁴ / (1 + r⁴) at r times the bar: 0.94 at twice the bar, 0.06 at half of it."""
SYNONYM = 0.75
"""Captions of the bank this close to the question (cosine, both less the mean caption) say the same thing."""
USUAL = 0.35
"""A match by example is nearer than this share of stored pictures are to their nearest."""
COPY = 0.98
"""Stored pictures this close are copies or a burst of one moment, and say nothing about what is alike."""
WIDTH = 0.12
"""How fast confidence by example rises around the bar, in artanh of the cosine, where 0.9 and 0.95 are 0.36 apart."""
ENOUGH = 8
"""Stored files from which on a collection has a distribution to speak of."""
QUESTIONS = 256
"""Stored pieces that are asked as questions to know how near another sense usually is."""
ACROSS = 1.5
"""How much nearer than the usual nearest of another sense a match is."""
NORMAL = 1.4826  # deviations in a median distance from the middle, of normal numbers
FEW_SEEN, DEVIATION = 4, 0.1
"""What is supposed of cosines that few were seen of: so many of them, and how far they lie from their mean."""
LEAST = 1e-6
NEARLY = 1 - 1e-6


@dataclass(frozen=True)
class Verdict:
    """For each hit how sure it is a true answer, in 0..1, from 0.5 on a match; `cutoff` is that bar as a cosine."""

    confidence: Scores
    cutoff: float


@dataclass(frozen=True)
class Scale:
    """A question's cosines with pieces of one sense, made comparable with those of another: 0 is `common`, what any
    piece has with any such question, and 1 is a `spread` above it, where a match may begin.
    """

    common: float
    spread: float

    def of(self, cosine: Any) -> Any:
        """A cosine, or an array of them, on this scale."""
        return (cosine - self.common) / self.spread


def scale_of_words(sample: Vectors, bank: Vectors) -> Scale:
    """Of any question in words with the pieces (n, dim) of a sense: as `judge_words`, on the average of the pieces."""
    if not len(sample):
        return Scale(0.0, 1.0)
    others = sample @ bank.T
    common = np.median(others, axis=1)
    bar = WORDS + LUCK * log(max(len(sample), FEW) / FEW)
    return Scale(float(common.mean()), float((others.max(axis=1) - common).mean()) * bar + LEAST)


def scale_between(examples: Sample, pieces: Sample) -> Scale | None:
    """Of stored pieces of one sense, as questions, with those of a sense: how near their nearest usually are.

    Where the senses differ a match must be nearer than usual (`ACROSS`), since of most sounds there may be no picture.
    None where there are too few files to tell.
    """
    if min(len(np.unique(some.contents)) for some in (examples, pieces)) < ENOUGH:
        return None
    rows = np.unique(np.linspace(0, len(examples.contents) - 1, QUESTIONS).round().astype(int))
    cosines = examples.vectors[rows] @ pieces.vectors.T
    others = examples.contents[rows, None] != pieces.contents
    common = float(np.median(cosines[others]))
    nearest = np.where(others & (cosines <= COPY), cosines, -1.0).max(axis=1)
    if examples is pieces:
        return Scale(common, max(float(np.quantile(nearest, USUAL)) - common, LEAST))
    return Scale(common, max(float(np.median(nearest)) - common, LEAST) * ACROSS)


def scale_of_example(cosines: NDArray[np.floating], length: float, expected: float) -> Scale:
    """Of one question by example, from its products (n,) with a sample of the pieces of a sense.

    A match is about as far from their middle as the farthest of so many would be by luck, in deviations. The deviation
    is that of the nearer half (1.48 times their median distance from the middle), which the matches themselves do not
    widen. A few pieces tell little of either: `FEW_SEEN` more are supposed, of products `expected` ± `DEVIATION` for an
    example of that `length`.
    """
    n, k = len(cosines), FEW_SEEN
    middle = float(np.median(cosines)) if n else 0.0
    deviation = NORMAL * float(np.median(np.abs(cosines - middle))) if n else 0.0
    square = (n * deviation**2 + k * (DEVIATION * length) ** 2) / (n + k)
    return Scale((n * middle + k * expected) / (n + k), sqrt(2 * log(max(n, FEW)) * square) + LEAST)


def judge_words(words: Vector, hits: Vectors, bank: Vectors, collection: int) -> Verdict:
    """A question in words: each hit (n, dim) against the bank's captions (m, dim), in a collection of so many."""
    if not len(hits):
        return Verdict(np.empty(0), 0.0)
    centre = bank.mean(axis=0)
    alike = _unit(bank - centre) @ _unit(words[None] - centre)[0]
    others = hits @ bank[alike < SYNONYM].T
    common = np.median(others, axis=1)
    scale = others.max(axis=1) - common + LEAST
    bar = WORDS + LUCK * log(max(collection, FEW) / FEW)
    return Verdict(_sure((hits @ words - common) / scale / bar), float(np.mean(common + bar * scale)))


def usual_nearness(sample: Sample, bank: Vectors | None) -> float | None:
    """The cosine that a match by example must reach among stored pieces of its own sense (or, where these are of too
    few files, captions).

    None where there is nothing to compare with.
    """
    few = len(np.unique(sample.contents)) < ENOUGH
    if few and bank is None and len(np.unique(sample.contents)) < 2:
        return None
    others = bank if few and bank is not None else sample.vectors
    cosines = others @ others.T
    cosines[cosines > COPY] = -1.0  # itself, too
    if others is sample.vectors:
        cosines[sample.contents[:, None] == sample.contents] = -1.0  # the next two seconds of a film are like these
    return float(np.quantile(cosines.max(axis=1), USUAL))


def judge_pictures(picture: Vector, hits: Vectors, bar: float | None) -> Verdict:
    """A question by example: each hit (n, dim) against `usual_nearness`; without it, benefit of the doubt."""
    if bar is None:
        return Verdict(np.full(len(hits), 0.5), -1.0)
    excess = (_stretch(hits @ picture) - _stretch(np.array(bar))) / WIDTH
    return Verdict(1 / (1 + np.exp(-np.clip(excess, -50, 50))), bar)


def judge_others(example: Vector, hits: Vectors, scale: Scale) -> Verdict:
    """A question by example of another sense: each hit (n, dim) on the scale of that example with that sense."""
    return Verdict(_sure(scale.of(hits @ example)), scale.common + scale.spread)


def both(parts: Sequence[tuple[Verdict, float]], length: float) -> Verdict:
    """Parts of a question, each with its length, as one: the whole question is their sum, of another length."""
    share = max(sum(weight for _, weight in parts), LEAST)
    confidence = np.prod([verdict.confidence ** (weight / share) for verdict, weight in parts], axis=0)
    return Verdict(confidence, sum(verdict.cutoff * weight for verdict, weight in parts) / length)


def _sure(ratio: NDArray[np.floating]) -> Scores:
    power = np.maximum(ratio, 0.0).astype(np.float64) ** STEEP
    return power / (1 + power)


def _stretch(cosines: NDArray[np.floating]) -> Scores:
    return np.arctanh(np.clip(cosines.astype(np.float64), -NEARLY, NEARLY))


def _unit(rows: Vectors) -> Vectors:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), LEAST)
