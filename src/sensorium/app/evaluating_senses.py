"""`sensorium evaluate` of senses beside pictures: what the command line's words mean for sounds, films, depth, ..."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sensorium.data.errors import SensoriumError

if TYPE_CHECKING:
    from sensorium.data.labelled import Labelled
    from sensorium.data.sources.clips import Clips
    from sensorium.tasks.embedding import Embedder
    from sensorium.tasks.prompted_detection import Proposals
    from sensorium.tasks.protocols import How, Result

SenseProtocol = Literal["arithmetic", "detection"]
Measure = Callable[["Embedder", "How"], "Result"]

SHOTS = (1, 2, 4, 8)
# Sentences around the names of classes. Those of ImageBind's authors are not published but for pictures.
SENTENCES = {
    "audio": ("this is a sound of {}.",),
    "video": ("a photo of {}.", "a video of {}.", "a photo of a person doing {}.", "a video of a person doing {}."),
    "motion": ("{}", "a video of a person: {}."),
}


@dataclass(frozen=True, kw_only=True)
class Senses:
    """Options of these tasks; None where nothing was said."""

    source: str | None = None
    target: str | None = None
    prompts: str | None = None
    proposals: str | None = None
    split: str | None = None
    train_split: str | None = None


@dataclass(frozen=True, kw_only=True)
class Learning:
    """What the protocols of pictures take, too."""

    train: str | None
    valid: str | None
    shots: Sequence[int] | None
    draws: int
    k: int
    names: Callable[["Labelled"], Sequence[str] | None]
    sentences: Sequence[str] | None


def of_senses(protocol: str, data: str, senses: Senses) -> bool:
    """Whether the command asks for more than pictures: by its protocol, its options, or a published set of senses.

    Raises SensoriumError for an option that the protocol has no use for.
    """
    from sensorium.data.sensed import published_samples

    for option, value, used in (
        ("--from", senses.source, ("zero-shot", "probe", "knn", "few-shot", "retrieval", "arithmetic", "detection")),
        ("--to", senses.target, ("retrieval", "arithmetic")),
        ("--prompts", senses.prompts, ("detection",)),
        ("--proposals", senses.proposals, ("detection",)),
    ):
        if value is not None and protocol not in used:
            raise SensoriumError(f"{protocol} has no use for {option}: it is for {' and '.join(used)}")
    if protocol in ("arithmetic", "detection") or senses.source is not None or senses.target is not None:
        return True
    return protocol in ("zero-shot", "probe", "knn", "few-shot", "retrieval") and published_samples(data) is not None


def prepare_senses(protocol: str, data: str, senses: Senses, learning: Learning) -> tuple[str | None, Measure]:
    """The data set where it is known, and what is to be done with a model. Lists the samples, decodes nothing.

    Raises SensoriumError where there are no such samples.
    """
    from sensorium.data.measured import known_as, part
    from sensorium.data.sensed import open_samples

    if protocol == "detection":
        return None, _detection(data, senses)
    samples = part(open_samples(data), senses.split)
    known = known_as(samples)
    if protocol == "retrieval":
        return known, _retrieval(samples, senses)
    if protocol == "arithmetic":
        return known, _arithmetic(samples, senses)
    return known, _classification(protocol, data, samples, senses, learning)


def _retrieval(samples: "Clips", senses: Senses) -> Measure:
    from sensorium.data.measured import usual_sense
    from sensorium.tasks.between import between, mix_of

    source, target = senses.source, senses.target
    if source is None:
        source = "text" if target != "text" else usual_sense(samples)
    if target is None:
        target = usual_sense(samples) if source == "text" else "text"
    there, wanted = mix_of(source), mix_of(target)
    return lambda model, how: between(model, samples, there, wanted, how=how)


def _arithmetic(samples: "Clips", senses: Senses) -> Measure:
    from sensorium.tasks.arithmetic import arithmetic
    from sensorium.tasks.between import mix_of

    parts = [sense for sense, _ in mix_of(senses.source or "image+audio")]
    target = senses.target or "image"
    if len(parts) != 2:
        raise SensoriumError("arithmetic: --from names two senses, such as image+audio")
    mix_of(target)
    first, second = parts
    return lambda model, how: arithmetic(model, samples, first, second, target, how=how)


def _classification(protocol: str, data: str, samples: "Clips", senses: Senses, learning: Learning) -> Measure:
    from sensorium.data.measured import as_measured, folds_of, part, usual_sense
    from sensorium.data.sensed import as_labelled, having, open_samples
    from sensorium.tasks import protocols
    from sensorium.tasks.zero_shot import TEMPLATES

    sense = senses.source or usual_sense(samples)
    _check(sense)
    measured = as_measured(samples, sense)
    test = as_labelled(measured, sense)
    if protocol == "zero-shot":
        names, sentences = learning.names(test), learning.sentences or SENTENCES.get(sense, TEMPLATES)
        return lambda model, how: protocols.zero_shot(model, test, names=names, templates=sentences, how=how)
    if learning.train is None:
        raise SensoriumError(f"{protocol} learns from samples: name them with --train")
    shots = learning.shots or SHOTS
    folds = folds_of(having(measured, sense))
    same = Path(learning.train).expanduser().resolve() == Path(data).expanduser().resolve()
    if folds is not None and same and senses.split is None and senses.train_split is None:
        if protocol != "few-shot":
            raise SensoriumError(f"{data} has folds: name them, such as --split 1 --train-split 2,3,4,5")
        return lambda model, how: protocols.few_shot_folds(
            model, test, folds, shots=shots, draws=learning.draws, how=how
        )
    train = as_labelled(as_measured(part(open_samples(learning.train), senses.train_split, learn=True), sense), sense)
    if shared := {str(each) for each in train.pictures} & {str(each) for each in test.pictures} if same else None:
        raise SensoriumError(
            f"{data}: {len(shared)} samples both to learn from and to measure on: name parts with --split"
        )
    test = test.under(train.classes)
    if protocol == "knn":
        return lambda model, how: protocols.nearest_neighbours(model, train, test, k=learning.k, how=how)
    if protocol == "few-shot":
        return lambda model, how: protocols.few_shot(model, train, test, shots=shots, draws=learning.draws, how=how)
    valid = as_labelled(open_samples(learning.valid), sense).under(train.classes) if learning.valid else None
    return lambda model, how: protocols.probe(model, train, test, valid=valid, how=how)


def _detection(data: str, senses: Senses) -> Measure:
    from sensorium.data.dense import Boxed
    from sensorium.data.layouts import open_dense
    from sensorium.data.sensed import open_samples
    from sensorium.tasks.prompted_detection import detection

    boxed = open_dense(data, Boxed, senses.split)
    examples = open_samples(senses.prompts) if senses.prompts is not None else None
    sense = senses.source or "audio"
    if sense != "text":
        _check(sense)
    if (sense == "text") == (examples is not None):
        raise SensoriumError(
            "detection: --prompts names the sounds that ask, a folder a class; with --from text leave it out"
        )
    proposals = _proposals(senses.proposals)
    return lambda model, how: detection(model, boxed, examples=examples, sense=sense, proposals=proposals(), how=how)


def _proposals(said: str | None) -> "Callable[[], Proposals]":
    """What proposes boxes; a detector is loaded when it is asked for."""
    from sensorium.data.region_files import open_regions
    from sensorium.models.detector import Detector
    from sensorium.tasks.prompted_detection import GRID, of_detector, of_regions

    if said is None or said == "grid":
        return lambda: GRID
    place = Path(said).expanduser()
    if place.suffix in (".tsv", ".h5", ".hdf5") or (place.is_dir() and any(place.glob("*.npz"))):
        regions = open_regions(place)
        return lambda: of_regions(f"{place.absolute()}, {place.stat().st_mtime_ns}", regions)

    def loaded() -> "Proposals":
        from sensorium.checkpoints.load import load_model

        found = load_model(said)
        if not isinstance(found.model, Detector):
            raise SensoriumError(
                f"{said}: {found.found}, and no detector: --proposals takes grid, regions or a detector"
            )
        return of_detector(f"{found.name} {found.fingerprint[:16]}", found.model)

    return loaded


def _check(sense: str) -> None:
    from sensorium.data.senses import SENSES

    if sense not in SENSES:
        raise SensoriumError(f"--from {sense}: one sense of {', '.join(SENSES)}")
