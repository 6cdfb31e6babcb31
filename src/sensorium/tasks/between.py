"""Retrieval between any two senses, or sums of them: sounds and captions, films with their sound and captions, ...

The protocols are ImageBind's (Girdhar et al. 2023, section 4): R@1, R@5 and R@10 and the median rank, by cosines.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sensorium.data.augment import texts_of
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.given import given
from sensorium.data.sensed import having
from sensorium.data.senses import SENSES
from sensorium.data.sources.clips import Clips
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.features import Features, compute
from sensorium.tasks.protocols import How, Result
from sensorium.tasks.retrieval_metrics import caption_ranks, retrieval

Mix = tuple[tuple[str, float], ...]
"""Senses and their weights, whose vectors are added."""


@dataclass(frozen=True, kw_only=True)
class Sensed:
    """Samples as vectors of some senses, row by row; `rows` says which samples, those that could be read by all."""

    vectors: Mapping[str, Float[Tensor, "n dim"]]
    rows: list[int]
    unreadable: list[Unreadable]
    rate: float


def mix_of(words: str) -> Mix:
    """ "video+audio", or "0.95*video+0.05*audio". Raises SensoriumError."""
    found: list[tuple[str, float]] = []
    for word in words.split("+"):
        weight, star, sense = word.strip().rpartition("*")
        try:
            value = float(weight) if star else 1.0
        except ValueError:
            value = 0.0
        if sense.strip() not in (*SENSES, "text") or not 0 < value < float("inf"):
            known = ", ".join((*SENSES, "text"))
            raise SensoriumError(
                f"{words!r}: senses joined by +, such as video+audio or 0.9*video+0.1*audio; of {known}"
            )
        found.append((sense.strip(), value))
    if len({sense for sense, _ in found}) < len(found):
        raise SensoriumError(f"{words!r}: each sense once")
    return tuple(found)


def sense_vectors(embedder: Embedder, data: Clips, senses: Iterable[str], how: How) -> Sensed:
    """The samples' vectors by each sense (all samples have all of these); text is not among them.

    A sample that cannot be read by one of the senses is left out, and listed.
    """
    found: dict[str, Features] = {}
    for sense in senses:
        taken = [each for row in data.rows if (each := given(row, sense)) is not None]
        files = [each.path for each in taken] if sense == "image" else taken
        found[sense] = compute(
            embedder, files, "embedding", progress=how.progress, stage=f"understanding {sense}", keep=how.keep
        )
    left = set(range(len(data.rows)))
    for features in found.values():
        left &= set(features.rows)
    if not left:
        raise SensoriumError(f"{data.name}: no sample can be read by {' and '.join(found)}")
    rows = sorted(left)
    vectors = {sense: _these(features, rows) for sense, features in found.items()}
    seconds = sum(features.seconds for features in found.values())
    computed = sum(features.computed for features in found.values())
    unreadable = [each for features in found.values() for each in features.unreadable]
    return Sensed(vectors=vectors, rows=rows, unreadable=unreadable, rate=computed / seconds if seconds else 0.0)


def between(embedder: Embedder, data: Clips, source: Mix, target: Mix, *, how: How | None = None) -> Result:
    """How well `source` finds `target` among the samples that have both, and the other way round.

    Of text every caption asks by itself, and of a sound's own captions the best counts where it looks for them. Raises
    SensoriumError where both are the same, and where no sample has both.
    """
    how = how or How()
    there, wanted = (dict(mix) for mix in (source, target))
    if source == target:
        raise SensoriumError(f"{named(source)} finds itself: choose two different senses")
    data = having(data, *dict.fromkeys((*there, *wanted)))
    seen = sense_vectors(embedder, data, [name for name in dict.fromkeys((*there, *wanted)) if name != "text"], how)
    texts = [texts_of(data.rows[row]) for row in seen.rows] if "text" in there | wanted else []
    alone = next((mix for mix in (source, target) if [name for name, _ in mix] == ["text"]), None)
    vectors = dict(seen.vectors)
    owner = torch.arange(len(seen.rows))
    words = torch.zeros(0)
    if texts:
        words = embedder.embed(text=[text for several in texts for text in several])["text"]
        counts = [len(several) for several in texts]
        if alone is None:
            vectors["text"] = torch.stack([own.mean(0) for own in words.split(counts)])
        else:
            owner = torch.arange(len(texts)).repeat_interleave(torch.tensor(counts))
    if alone is None:
        from_target, from_source = caption_ranks(_sum(vectors, target), _sum(vectors, source), owner)
    else:
        others = target if alone == source else source
        found, asked = caption_ranks(_sum(vectors, others), words, owner)
        from_target, from_source = (found, asked) if alone == source else (asked, found)
    metrics: dict[str, float] = {}
    for (a, b), ranks in (((source, target), from_source), ((target, source), from_target)):
        said, way = retrieval(ranks), f"{named(a)}-to-{named(b)}"
        metrics |= {f"{way} R@1": said.r1, f"{way} R@5": said.r5, f"{way} R@10": said.r10}
        metrics[f"{way} median rank"] = said.median
    chance = {"R@1 by chance": round(100 / len(seen.rows), 2)}
    more: dict[str, str | int | float] = {"captions": len(owner)} if alone is not None else {}
    return Result(
        protocol="retrieval",
        metrics=metrics,
        own=next(iter(metrics)),
        settings={**more, **chance, **weights(source), **weights(target)},
        pictures=len(seen.rows),
        unreadable=[*(Unreadable(data.name, problem) for problem in data.problems), *seen.unreadable],
        rate=seen.rate,
        unit="sample",
    )


def named(mix: Mix) -> str:
    """ "video+audio", without weights."""
    return "+".join(name for name, _ in mix)


def weights(mix: Mix) -> dict[str, str]:
    """The weights of a sum, where they are not all 1."""
    return {named(mix): " + ".join(f"{weight:g}" for _, weight in mix)} if any(w != 1 for _, w in mix) else {}


def _these(features: Features, rows: Sequence[int]) -> Float[Tensor, "n dim"]:
    place = {row: number for number, row in enumerate(features.rows)}
    return features.vectors[[place[row] for row in rows]]


def _sum(vectors: Mapping[str, Tensor], mix: Mix) -> Float[Tensor, "n dim"]:
    """Weighted vectors of length 1, added, and of length 1 again; a sense alone is left as it is, clips averaged."""
    if len(mix) == 1:
        return vectors[mix[0][0]]
    added = torch.stack([weight * F.normalize(vectors[name], dim=-1) for name, weight in mix]).sum(0)
    return F.normalize(added, dim=-1)
