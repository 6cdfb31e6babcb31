"""Arithmetic in the space of embeddings (ImageBind, Girdhar et al. 2023, figure 4): the vector of a picture plus that
of a sound finds what has both.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.labelled import BETWEEN_LABELS
from sensorium.data.sensed import having, labels_of
from sensorium.data.sources.clips import Clips
from sensorium.tasks.between import Sensed, sense_vectors
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.metrics import all_points_precision, chance_precision
from sensorium.tasks.protocols import How, Result
from sensorium.tasks.zero_shot import class_vectors

MOST = 10_000  # pairs; of more, as many are drawn
TEMPLATES = ("{}",)


@dataclass(frozen=True, kw_only=True)
class Found:
    """Mean average precision over the same questions: sums, either part alone, and what chance gives."""

    both: float
    first: float
    second: float
    chance: float
    questions: int


def composed(
    first: Float[Tensor, "a dim"],
    second: Float[Tensor, "b dim"],
    gallery: Float[Tensor, "n dim"],
    pairs: Int[Tensor, "q 2"],
    relevant: Bool[Tensor, "q n"],
    left_out: Bool[Tensor, "q n"],
) -> Found:
    """Questions are sums of vectors of length 1, a row of `first` and one of `second` each.

    `left_out` are the gallery's copies of the question's own parts. Raises SensoriumError where a question has no
    relevant item.
    """
    parts = F.normalize(first, dim=-1)[pairs[:, 0]], F.normalize(second, dim=-1)[pairs[:, 1]]
    items = F.normalize(gallery, dim=-1)
    means: list[float] = []
    for vectors in (parts[0] + parts[1], *parts):
        values = [
            all_points_precision(items[~out] @ vector, own[~out])
            for vector, own, out in zip(vectors, relevant, left_out, strict=True)
        ]
        means.append(sum(values) / len(values))
    chances = [
        chance_precision(int(own[~out].sum()), int((~out).sum())) for own, out in zip(relevant, left_out, strict=True)
    ]
    both, alone, other = means
    return Found(both=both, first=alone, second=other, chance=sum(chances) / len(chances), questions=len(pairs))


def arithmetic(
    embedder: Embedder, data: Clips, first: str, second: str, target: str, *, seed: int = 0, how: How | None = None
) -> Result:
    """mAP of `first` + `second`, such as image + audio, among the samples as `target` takes them in.

    A question's parts are samples of one class each, of two different classes; what has both is relevant, and
    everything else with `target` stands between. Text is the classes' own names. Raises SensoriumError where no sample
    has two classes of which there are parts.
    """
    how = how or How()
    if first == second or target == "text":
        raise SensoriumError(f"{first}+{second} to {target}: two different senses, and a target that is no text")
    single = [row for row, sample in enumerate(data.rows) if len(labels_of(sample)) == 1]
    seen = _read(embedder, data, (target,), how)
    found = {target: seen}
    for sense in (first, second):
        if sense not in ("text", target):
            found[sense] = _read(embedder, data, (sense,), how)
    parts = [_parts(embedder, data, sense, found, single) for sense in (first, second)]
    labels = [set(labels_of(data.rows[row])) for row in seen.rows]
    has = torch.zeros(len(labels), len(data.classes), dtype=torch.bool)
    for number, own in enumerate(labels):
        has[number, list(own)] = True
    possible = (has.T.float() @ has.float()) > 0
    a, b = (torch.tensor(part.labels) for part in parts)
    allowed = possible[a][:, b] & (a[:, None] != b)
    pairs = allowed.nonzero()
    if not len(pairs):
        raise SensoriumError(
            f"{data.name}: no {target} with two labels (dog{BETWEEN_LABELS}beach), of which one has {first} and one "
            f"{second} of its own"
        )
    if len(pairs) > MOST:
        pairs = pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))[:MOST].sort().values]
    relevant = has[:, a[pairs[:, 0]]].T & has[:, b[pairs[:, 1]]].T
    items = torch.tensor(seen.rows)
    rows = [torch.tensor(part.rows)[pairs[:, side]] for side, part in enumerate(parts)]
    left_out = (items == rows[0][:, None]) | (items == rows[1][:, None])
    value = composed(parts[0].vectors, parts[1].vectors, seen.vectors[target], pairs, relevant, left_out)
    return Result(
        protocol="arithmetic",
        metrics={
            "mAP": value.both,
            f"mAP of {first} alone": value.first,
            f"mAP of {second} alone": value.second,
            "mAP by chance": value.chance,
        },
        own="mAP",
        settings={"questions": value.questions, "question": f"{first} + {second}", "among": target},
        pictures=len(seen.rows),
        unreadable=[
            *(Unreadable(data.name, problem) for problem in data.problems),
            *(each for sensed in found.values() for each in sensed.unreadable),
        ],
        rate=seen.rate,
        unit="sample",
    )


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """One side of the questions: vectors, classes, and the samples that they are of (-1 for words)."""

    vectors: Float[Tensor, "a dim"]
    labels: list[int]
    rows: list[int]


def _parts(embedder: Embedder, data: Clips, sense: str, found: dict[str, Sensed], single: list[int]) -> _Parts:
    if sense == "text":
        words = [name.replace("_", " ") for name in data.classes]
        count = len(words)
        return _Parts(vectors=class_vectors(embedder, words, TEMPLATES), labels=list(range(count)), rows=[-1] * count)
    sensed, alone = found[sense], set(single)
    at = [number for number, row in enumerate(sensed.rows) if row in alone]
    if not at:
        raise SensoriumError(f"{data.name}: no sample of {sense} with exactly one label to ask with")
    rows = [sensed.rows[number] for number in at]
    labels = [labels_of(data.rows[row])[0] for row in rows]
    return _Parts(vectors=sensed.vectors[sense][at], labels=labels, rows=rows)


def _read(embedder: Embedder, data: Clips, senses: tuple[str, ...], how: How) -> Sensed:
    """Vectors of the samples that have the senses; rows count all samples."""
    some = having(data, *senses)
    place = [row for row, sample in enumerate(data.rows) if all(sample.get(sense) for sense in senses)]
    seen = sense_vectors(embedder, some, senses, how)
    rows = [place[row] for row in seen.rows]
    return Sensed(vectors=seen.vectors, rows=rows, unreadable=seen.unreadable, rate=seen.rate)
