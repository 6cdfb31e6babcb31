"""How a model is measured: each protocol of the papers as one function from data to a `Result`.

Features are computed once for each set of pictures (`sensorium.tasks.features`); everything after that takes seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.labelled import BETWEEN_LABELS, Captioned, Labelled
from sensorium.nn.neighbours import TEMPERATURE, K, vote
from sensorium.tasks import few_shot as shots_of
from sensorium.tasks import linear_probe
from sensorium.tasks.embedding import Embedder, Reading
from sensorium.tasks.features import Progress, Report, compute, silent, unit_of
from sensorium.tasks.metrics import headline, judge, measure
from sensorium.tasks.retrieval_metrics import caption_ranks, retrieval
from sensorium.tasks.zero_shot import TEMPLATES, check_templates, class_vectors


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was measured: fractions (a median rank is no fraction), how, on how much, and what could not be read.

    `rate` is pictures a second while the model ran; 0 where everything had been kept. `unit` is what `pictures`
    counts, where these are none.
    """

    protocol: str
    metrics: dict[str, float]
    own: str
    settings: Mapping[str, str | int | float]
    pictures: int
    unreadable: list[Unreadable]
    rate: float
    unit: str = "picture"


@dataclass(frozen=True, kw_only=True)
class How:
    """What all protocols share. `data` names the data set where it is a known one, for its own metric."""

    data: str | None = None
    progress: Report = silent
    keep: Path | None = None


@dataclass(frozen=True)
class _Set:
    """Readable pictures: vectors and labels row by row, and which of all they are."""

    vectors: Tensor
    rows: list[int]
    labels: list[tuple[int, ...]]
    classes: tuple[str, ...]
    unreadable: list[Unreadable]
    rate: float
    unit: str

    def truth(self, protocol: str) -> Tensor:
        """Class numbers; raises SensoriumError where a picture has another number of labels than one."""
        if any(len(label) != 1 for label in self.labels):
            raise SensoriumError(f"{protocol} needs one label a picture; for several take zero-shot or probe")
        return torch.tensor([label[0] for label in self.labels])


def zero_shot(
    embedder: Embedder,
    test: Labelled,
    *,
    names: Sequence[str] | None = None,
    templates: Sequence[str] = TEMPLATES,
    how: How | None = None,
) -> Result:
    """Classes are sentences (CLIP, section 3.1): `templates` around `names`, averaged, and the nearest one wins.

    `names` are the words for `test.classes`, in their order; without them the classes' own names serve. Of a name
    like "person|man|woman" the nearest counts.
    """
    how = how or How()
    check_templates(templates)
    several = [
        (name.replace("_", " ") if names is None else name).split(BETWEEN_LABELS) for name in names or test.classes
    ]
    words = [word for group in several for word in group]

    def told(done: int) -> None:
        how.progress(Progress(stage="reading the labels", done=done, total=len(words), rate=0.0, seconds_left=None))

    classes = class_vectors(embedder, words, templates, repeats=True, done=told)
    seen = _read(embedder, test, "embedding", how)
    scores = seen.vectors @ classes.T
    if len(words) > len(several):
        scores = torch.stack([own.amax(1) for own in scores.split([len(group) for group in several], dim=1)], dim=1)
    settings: dict[str, str | int | float] = {"classes": len(several), "templates": len(templates)}
    return _classified("zero-shot", scores, seen, settings, how)


def own_classes(
    embedder: Embedder, test: Labelled, *, names: Sequence[str] | None = None, how: How | None = None
) -> Result:
    """The model's own head. `names` are its classes in its order; the data's are found among them by name.

    Without names the data must have as many classes as the head, in the same order (ImageNet's folders, sorted, have),
    or folders that are the numbers of its classes.
    """
    how = how or How()
    seen = _read(embedder, test, "scores", how)
    heads = seen.vectors.shape[1]
    if names is not None:
        if len(names) != heads:
            raise SensoriumError(
                f"{len(names)} names for the {heads} classes of {embedder.name}: one for each, in order"
            )
        place = [_named(name, names) for name in test.classes]
    elif len(test.classes) == heads:
        place = list(range(heads))
    elif all(name.isdecimal() and int(name) < heads for name in test.classes):
        place = [int(name) for name in test.classes]
    else:
        raise SensoriumError(
            f"{test.name} has {len(test.classes)} classes and {embedder.name} {heads}: which is which? Give the "
            "names of the model's classes, one a line in their order, with --labels"
        )
    seen = replace(seen, labels=[tuple(place[each] for each in label) for label in seen.labels])
    return _classified("classify", seen.vectors, seen, {"classes": heads}, how)


def probe(
    embedder: Embedder,
    train: Labelled,
    test: Labelled,
    *,
    valid: Labelled | None = None,
    seed: int = 0,
    how: How | None = None,
) -> Result:
    """Logistic regression on frozen features (`sensorium.tasks.linear_probe`)."""
    how = how or How()
    learned, seen = _pair(embedder, train, test, "features", how)
    checked = _read(embedder, valid.under(train.classes), "features", how) if valid else None
    device = embedder.device

    def told(tried: int) -> None:
        how.progress(Progress(stage="fitting", done=tried, total=15, rate=0.0, seconds_left=None))

    found = linear_probe.probe(
        learned.vectors.to(device),
        learned.labels,
        len(train.classes),
        judge=judge(how.data),
        valid=(checked.vectors.to(device), checked.labels) if checked else None,
        seed=seed,
        tried=told,
    )
    scores = found.model(seen.vectors.to(device)).cpu()
    settings: dict[str, str | int | float] = {
        "training pictures": len(learned.labels) + (len(checked.labels) if checked else 0),
        "C": found.c,
        "on validation": max(found.tried.values()),
        "iterations": found.model.iterations,
    }
    return _classified("probe", scores, seen, settings, how)


def nearest_neighbours(
    embedder: Embedder,
    train: Labelled,
    test: Labelled,
    *,
    k: int = K,
    temperature: float = TEMPERATURE,
    how: How | None = None,
) -> Result:
    """The nearest training pictures vote (`sensorium.nn.neighbours`).

    Raises SensoriumError where there are fewer than k of them.
    """
    how = how or How()
    learned, seen = _pair(embedder, train, test, "features", how)
    if not 1 <= k <= len(learned.vectors):
        count = len(learned.vectors)
        raise SensoriumError(f"k={k}: there are {count} pictures to learn from; choose 1 to {count}")
    truth, device = learned.truth("kNN"), embedder.device
    memory, labels = learned.vectors.to(device), truth.to(device)
    seen.truth("kNN")
    scores = vote(memory, labels, seen.vectors.to(device), len(train.classes), k=k, temperature=temperature).cpu()
    settings = {"training pictures": len(truth), "k": k, "temperature": temperature}
    return _classified("knn", scores, seen, settings, how)


def few_shot(
    embedder: Embedder,
    train: Labelled,
    test: Labelled,
    *,
    shots: Sequence[int] = shots_of.SHOTS,
    draws: int = shots_of.DRAWS,
    seed: int = 0,
    how: How | None = None,
) -> Result:
    """Ridge regression from a few pictures of each class (`sensorium.tasks.few_shot`): the mean of several draws."""
    how = how or How()
    if draws < 1 or not shots:
        raise SensoriumError("few-shot: one draw at least, and one number of shots")
    learned, seen = _pair(embedder, train, test, "features", how)
    truth = learned.truth("few-shot")
    seen.truth("few-shot")
    metrics: dict[str, float] = {}
    settings: dict[str, str | int | float] = {"draws": draws, "penalty": shots_of.PENALTY}
    one = judge(how.data)
    for few in shots:
        values = [
            one(scores, seen.labels)
            for scores in shots_of.drawn(learned.vectors, truth, seen.vectors, train.classes, few, draws, seed)
        ]
        metrics[f"{few}-shot"] = fmean(values)
        if draws > 1:
            settings[f"spread of {few}-shot"] = stdev(values)
    return _result("few-shot", metrics, next(iter(metrics)), settings, seen)


def few_shot_folds(
    embedder: Embedder,
    data: Labelled,
    folds: Sequence[int],
    *,
    shots: Sequence[int] = shots_of.SHOTS,
    draws: int = shots_of.DRAWS,
    seed: int = 0,
    how: How | None = None,
) -> Result:
    """`few_shot` of a set with folds (ESC-50): each is measured after learning from the others; the mean over folds.

    `folds` are those of the data, one by one.
    """
    how = how or How()
    whole = _read(embedder, data, "features", how)
    truth, here, one = whole.truth("few-shot"), torch.tensor([folds[row] for row in whole.rows]), judge(how.data)
    metrics: dict[str, float] = {}
    settings: dict[str, str | int | float] = {"folds": len(here.unique()), "draws": draws, "penalty": shots_of.PENALTY}
    for few in shots:
        means: list[float] = []
        for fold in here.unique().tolist():
            train, test = here != fold, here == fold
            tries = shots_of.drawn(
                whole.vectors[train], truth[train], whole.vectors[test], data.classes, few, draws, seed
            )
            means.append(fmean(one(scores, [(label,) for label in truth[test].tolist()]) for scores in tries))
        metrics[f"{few}-shot"] = fmean(means)
        settings[f"spread of {few}-shot"] = stdev(means) if len(means) > 1 else 0.0
    return _result("few-shot", metrics, next(iter(metrics)), settings, whole)


def captions(embedder: Embedder, test: Captioned, *, how: How | None = None) -> Result:
    """Retrieval both ways (CLIP, section 3.1.3, table 13): R@1, R@5, R@10 and the median rank.

    From picture to caption, the best of a picture's own captions counts. Pictures that cannot be read are left out with
    their captions.
    """
    how = how or How()
    every = embedder.embed(text=[text for texts in test.captions for text in texts])["text"]
    seen = compute(embedder, test.pictures, "embedding", progress=how.progress, keep=how.keep)
    place = {row: number for number, row in enumerate(seen.rows)}
    owners = [row for row, texts in enumerate(test.captions) for _ in texts]
    words = every[[row in place for row in owners]]
    owner = torch.tensor([place[row] for row in owners if row in place])
    to_text, to_image = caption_ranks(seen.vectors, words, owner)
    metrics: dict[str, float] = {}
    for way, found in (("image-to-text", retrieval(to_text)), ("text-to-image", retrieval(to_image))):
        metrics |= {f"{way} R@1": found.r1, f"{way} R@5": found.r5, f"{way} R@10": found.r10}
        metrics[f"{way} median rank"] = found.median
    rate = seen.computed / seen.seconds if seen.seconds > 0 else 0.0
    return Result(
        protocol="retrieval",
        metrics=metrics,
        own="text-to-image R@1",
        settings={"captions": len(owner)},
        pictures=len(seen.rows),
        unreadable=[*test.unreadable, *seen.unreadable],
        rate=rate,
    )


def _read(embedder: Embedder, data: Labelled, what: Reading, how: How, stage: str = "understanding") -> _Set:
    found = compute(embedder, data.pictures, what, progress=how.progress, stage=stage, keep=how.keep)
    return _Set(
        vectors=found.vectors,
        rows=found.rows,
        labels=[data.labels[row] for row in found.rows],
        classes=data.classes,
        unreadable=[*data.unreadable, *found.unreadable],
        rate=found.computed / found.seconds if found.seconds > 0 else 0.0,
        unit=unit_of(data.pictures),
    )


def _pair(embedder: Embedder, train: Labelled, test: Labelled, what: Reading, how: How) -> tuple[_Set, _Set]:
    """Training and test pictures, numbered alike; every class keeps a readable training picture."""
    test = test.under(train.classes)  # before anything is computed
    learned = _read(embedder, train, what, how, "understanding the training pictures")
    left = {number for label in learned.labels for number in label}
    if gone := [name for number, name in enumerate(train.classes) if number not in left]:
        raise SensoriumError(f"{train.name}: no picture of {', '.join(gone[:4])} can be read")
    seen = _read(embedder, test, what, how)
    return learned, replace(seen, unreadable=[*learned.unreadable, *seen.unreadable])


def _classified(
    protocol: str,
    scores: Float[Tensor, "n classes"],
    seen: _Set,
    settings: Mapping[str, str | int | float],
    how: How,
) -> Result:
    metrics = measure(scores, seen.labels)
    return _result(protocol, metrics, headline(metrics, how.data), settings, seen)


def _result(
    protocol: str, metrics: dict[str, float], own: str, settings: Mapping[str, str | int | float], seen: _Set
) -> Result:
    return Result(
        protocol=protocol,
        metrics=metrics,
        own=own,
        settings=settings,
        pictures=len(seen.labels),
        unreadable=seen.unreadable,
        rate=seen.rate,
        unit=seen.unit,
    )


def _named(name: str, names: Sequence[str]) -> int:
    """The number of the class that is called so; raises SensoriumError for none, and for two."""
    if (found := names.count(name)) != 1:
        raise SensoriumError(f"{name} is {'no' if not found else 'more than one'} class of the model by its --labels")
    return names.index(name)
