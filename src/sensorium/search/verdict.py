"""Is the best answer a good answer? A verdict calibrated for each question, since no cosine means the same for two.

Cosines of words with pictures depend on the words, the picture and the model: 0.25 may be a sure match here and noise
there. So a hit is judged in standard deviations of something that knows about the case:

* A question in words is compared, for each picture, with a bank of some hundred everyday captions: does this picture
  prefer the question to what pictures are generally about? Captions that mean nearly the same as the question are left
  out. This needs no other picture, so it works in a collection of one, or of cats only.
* A question by example is compared with how alike the pictures of the collection are among themselves.
* A mixture of both has a direction of its own, and is compared with the scores of the collection for it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensorium.search.store import Vector, Vectors

Scores = NDArray[np.float64]

WORDS, PICTURES, MIXTURE = 3.0, 2.0, 3.5
"""Standard deviations from which on a hit is a match; chosen on photographs, see benchmarks/verdict.py."""
WIDTH = 0.6
"""How fast confidence rises around the threshold, in the same unit."""
SYNONYM = 0.75
"""Captions of the bank this close to the question (cosine, both less the mean caption) say the same thing."""
ENOUGH = 8
"""Stored pictures from which on a collection has a distribution to speak of."""
LEAST = 1e-6
NEARLY = 1 - 1e-6


@dataclass(frozen=True)
class Verdict:
    """For each hit how sure it is a true answer, in 0..1, from 0.5 on a match; `cutoff` is that bar as a cosine."""

    confidence: Scores
    cutoff: float


def judge_words(question: Vector, hits: Vectors, scores: Scores, bank: Vectors) -> Verdict:
    """A question in words: each hit (n, dim) against the captions of the bank (m, dim)."""
    centre = bank.mean(axis=0)
    alike = _unit(bank - centre) @ _unit(question[None] - centre)[0]
    other = hits @ bank[alike < SYNONYM].T
    mean, deviation = other.mean(axis=1), other.std(axis=1) + LEAST
    cutoff = float(np.mean(mean + WORDS * deviation)) if len(scores) else 0.0
    return Verdict(_logistic((scores - mean) / deviation - WORDS), cutoff)


def judge_pictures(scores: Scores, sample: Vectors, bank: Vectors | None) -> Verdict:
    """A question by example: against cosines among stored pictures (or, where these are too few, among captions)."""
    others = sample if len(sample) >= ENOUGH or bank is None else bank
    if len(others) < 2:
        return Verdict(np.full(len(scores), 0.5), -1.0)  # nothing to compare with: benefit of the doubt
    pairs = (others @ others.T)[np.triu_indices(len(others), 1)]
    return _robustly(scores, pairs, PICTURES)


def judge_mixture(question: Vector, scores: Scores, sample: Vectors) -> Verdict:
    """Words and examples together: against the scores that stored pictures (n, dim) have for the same question."""
    if len(sample) < ENOUGH:
        return Verdict(np.full(len(scores), 0.5), -1.0)
    return _robustly(scores, sample @ question, MIXTURE)


def _robustly(scores: Scores, others: NDArray[np.float32], threshold: float) -> Verdict:
    """Against the median, in units of the median absolute deviation: a few true answers among the others move neither.

    Cosines are stretched by Fisher's transform, artanh, under which those near 1 are as spread as those near 0.
    """
    stretched = _stretch(others)
    median = np.median(stretched)
    deviation = 1.4826 * float(np.median(np.abs(stretched - median))) + LEAST
    sure = _logistic((_stretch(scores) - median) / deviation - threshold)
    return Verdict(sure, float(np.tanh(median + threshold * deviation)))


def _stretch(cosines: NDArray[np.floating]) -> Scores:
    return np.arctanh(np.clip(cosines.astype(np.float64), -NEARLY, NEARLY))


def _logistic(excess: Scores) -> Scores:
    return 1 / (1 + np.exp(-np.clip(excess / WIDTH, -50, 50)))


def _unit(rows: Vectors) -> Vectors:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), LEAST)
