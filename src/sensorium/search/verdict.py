"""Is the best answer a good answer? A verdict calibrated for each question, since no cosine means the same for two.

Cosines of words with pictures depend on the words, the picture and the model: 0.25 may be a sure match here and noise
there. So a hit is judged against something that knows the case:

* A question in words, for each picture, against a bank of some hundred everyday captions: on a scale where 0 is what
  the picture has in common with any caption and 1 is how well the best of them describes it, a question that is true
  stands near 1 or above. Captions that mean nearly the same as the question are left out. This needs no other picture,
  so it works in a collection of one, or of cats only; but the best of many pictures is better by luck, so the bar rises
  with the logarithm of the collection.
* A question by example against how alike the pictures of the collection are among themselves.
* A mixture of both has a direction of its own, and is compared with the scores of the collection for it.
"""

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from sensorium.search.store import Vector, Vectors

Scores = NDArray[np.float64]

WORDS, LUCK = 0.7, 0.1
"""The bar for words in a collection of 25 or fewer, and what it rises by with each e-fold of pictures; measured by
benchmarks/verdict.py on photographs, with two models whose cosines spread very differently."""
FEW = 25
STEEP = 4.0
"""Confidence in words is r⁴ / (1 + r⁴) at r times the bar: 0.94 at twice the bar, 0.06 at half of it."""
SYNONYM = 0.75
"""Captions of the bank this close to the question (cosine, both less the mean caption) say the same thing."""
PICTURES, MIXTURE = 2.0, 3.5
"""Robust standard deviations above the median from which on a hit is a match."""
WIDTH = 0.6
"""How fast confidence rises around those, in the same unit."""
ENOUGH = 8
"""Stored pictures from which on a collection has a distribution to speak of."""
LEAST = 1e-6
NEARLY = 1 - 1e-6


@dataclass(frozen=True)
class Verdict:
    """For each hit how sure it is a true answer, in 0..1, from 0.5 on a match; `cutoff` is that bar as a cosine."""

    confidence: Scores
    cutoff: float


def judge_words(question: Vector, hits: Vectors, scores: Scores, bank: Vectors, collection: int) -> Verdict:
    """A question in words: each hit (n, dim) against the bank's captions (m, dim), in a collection of so many."""
    if not len(hits):
        return Verdict(np.empty(0), 0.0)
    centre = bank.mean(axis=0)
    alike = _unit(bank - centre) @ _unit(question[None] - centre)[0]
    others = hits @ bank[alike < SYNONYM].T
    common = np.median(others, axis=1)
    scale = others.max(axis=1) - common + LEAST
    bar = WORDS + LUCK * log(max(collection, FEW) / FEW)
    ratio = np.maximum((scores - common) / scale / bar, 0.0) ** STEEP
    return Verdict(ratio / (1 + ratio), float(np.mean(common + bar * scale)))


def judge_pictures(scores: Scores, sample: Vectors, bank: Vectors | None) -> Verdict:
    """A question by example: against cosines among stored pictures (or, where these are too few, among captions)."""
    others = sample if len(sample) >= ENOUGH or bank is None else bank
    if len(others) < 2:
        return Verdict(np.full(len(scores), 0.5), -1.0)  # nothing to compare with: benefit of the doubt
    return _outlying(scores, (others @ others.T)[np.triu_indices(len(others), 1)], PICTURES)


def judge_mixture(question: Vector, scores: Scores, sample: Vectors) -> Verdict:
    """Words and examples together: against the scores that stored pictures (n, dim) have for the same question."""
    if len(sample) < ENOUGH:
        return Verdict(np.full(len(scores), 0.5), -1.0)
    return _outlying(scores, sample @ question, MIXTURE)


def _outlying(scores: Scores, others: NDArray[np.float32], threshold: float) -> Verdict:
    """Against the median, in units of the median absolute deviation: a few true answers among the others move neither.

    Cosines are stretched by Fisher's transform, artanh, under which those near 1 are as spread as those near 0.
    """
    stretched = _stretch(others)
    median = float(np.median(stretched))
    deviation = 1.4826 * float(np.median(np.abs(stretched - median))) + LEAST
    excess = ((_stretch(scores) - median) / deviation - threshold) / WIDTH
    return Verdict(1 / (1 + np.exp(-np.clip(excess, -50, 50))), float(np.tanh(median + threshold * deviation)))


def _stretch(cosines: NDArray[np.floating]) -> Scores:
    return np.arctanh(np.clip(cosines.astype(np.float64), -NEARLY, NEARLY))


def _unit(rows: Vectors) -> Vectors:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), LEAST)
