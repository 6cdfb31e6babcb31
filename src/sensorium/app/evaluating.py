"""`sensorium evaluate`: a model measured by a protocol, beside what others published."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from sensorium.app.collection import load_model
from sensorium.app.console import count, short, stderr, stdout, tell_unread, write_json
from sensorium.app.evaluating_dense import DenseProtocol, Words, check, prepare_dense
from sensorium.app.evaluating_senses import Learning, SenseProtocol, Senses, of_senses, prepare_senses
from sensorium.app.indexing import progress_bar
from sensorium.data.errors import SensoriumError, printable

if TYPE_CHECKING:
    from sensorium.data.labelled import Labelled
    from sensorium.tasks.embedding import Embedder, Precision
    from sensorium.tasks.protocols import How, Result
    from sensorium.tasks.published import Published

Protocol = Literal["zero-shot", "probe", "knn", "few-shot", "retrieval", "classify"] | SenseProtocol | DenseProtocol
LEARN = ("probe", "knn", "few-shot", "segmentation", "depth")
PLAIN = ("RMSE", "AbsRel")  # what papers print as it is
IMAGENET = "imagenet"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The command line's words."""

    protocol: Protocol
    data: str
    train: str | None
    valid: str | None
    labels: str | None
    templates: str | None
    dataset: str | None
    shots: Sequence[int] | None
    draws: int
    k: int
    keep: Path | None
    dense: Words
    senses: Senses


def evaluate_model(model: str, asked: Asked, *, precision: "Precision", as_json: bool) -> None:
    """Measure and print; raises SensoriumError where data, labels and protocol do not fit one another."""
    from sensorium.tasks.protocols import How

    known, measure = _prepare(asked)  # what is wrong with the data is said before a model is fetched
    embedder = load_model(model, precision=precision)
    try:
        with progress_bar() as advance:
            result = measure(embedder, How(data=known, progress=advance, keep=asked.keep))
    except KeyboardInterrupt:
        if asked.keep is None:
            raise
        raise KeyboardInterrupt(
            f"interrupted: features are kept in {short(asked.keep)}, and the same command goes on from there"
        ) from None
    rows, like = _published(embedder, asked.protocol, known)
    if as_json:
        write_json(_as_json(embedder, result, known, rows))
    else:
        _print(embedder, result, asked.data, rows, like)


def _prepare(asked: Asked) -> tuple[str | None, "Callable[[Embedder, How], Result]"]:
    """The data set where it is known, and what is to be done with a model; all files are read here, no pictures."""
    from sensorium.data.labelled import open_captioned, open_labelled
    from sensorium.tasks import protocols
    from sensorium.tasks.few_shot import SHOTS

    learns = asked.protocol in LEARN
    if learns != (asked.train is not None):
        what = "learns from pictures: name them with" if learns else "learns from no pictures: leave out"
        raise SensoriumError(f"{asked.protocol} {what} --train")
    for option, value, used in (
        ("--labels", asked.labels, ("zero-shot", "classify")),
        ("--templates", asked.templates, ("zero-shot",)),
        ("--valid", asked.valid, ("probe",)),
    ):
        if value is not None and asked.protocol not in used:
            raise SensoriumError(f"{asked.protocol} has no use for {option}: it is for {' and '.join(used)}")
    if of_senses(asked.protocol, asked.data, asked.senses):
        check(asked.protocol, replace(asked.dense, split=None, train_split=None))
        known, measure = prepare_senses(asked.protocol, asked.data, asked.senses, _learning(asked))
        return asked.dataset or known, measure
    check(asked.protocol, asked.dense)
    if asked.protocol in get_args(DenseProtocol):
        known, measure = prepare_dense(cast(DenseProtocol, asked.protocol), asked.data, asked.train, asked.dense)
        return asked.dataset or known, measure
    if asked.protocol == "retrieval":
        captions = open_captioned(asked.data)
        return asked.dataset, lambda model, how: protocols.captions(model, captions, how=how)
    test = open_labelled(asked.data)
    known = asked.dataset or (IMAGENET if _is_imagenet(test) else None)
    if asked.train is None:
        if asked.protocol == "classify":
            own = _own_names(asked.labels)
            return known, lambda model, how: protocols.own_classes(model, test, names=own, how=how)
        names = _names(asked.labels or (IMAGENET if _is_imagenet(test) else None), test)
        sentences = _sentences(asked.templates)
        return known, lambda model, how: protocols.zero_shot(model, test, names=names, templates=sentences, how=how)
    train = open_labelled(asked.train)
    test = test.under(train.classes)
    if asked.protocol == "knn":
        return known, lambda model, how: protocols.nearest_neighbours(model, train, test, k=asked.k, how=how)
    if asked.protocol == "few-shot":
        shots, draws = asked.shots or SHOTS, asked.draws
        return known, lambda model, how: protocols.few_shot(model, train, test, shots=shots, draws=draws, how=how)
    valid = open_labelled(asked.valid).under(train.classes) if asked.valid is not None else None
    return known, lambda model, how: protocols.probe(model, train, test, valid=valid, how=how)


def _learning(asked: Asked) -> Learning:
    """What the protocols of pictures are told, for other senses."""
    return Learning(
        train=asked.train,
        valid=asked.valid,
        shots=asked.shots,
        draws=asked.draws,
        k=asked.k,
        names=lambda data: _names(asked.labels, data),
        sentences=_sentences(asked.templates) if asked.templates else None,
    )


def _names(labels: str | None, data: "Labelled") -> Sequence[str] | None:
    """What the classes of the data are called."""
    from sensorium.data.imagenet import imagenet_names
    from sensorium.data.labelled import read_names

    if labels != IMAGENET:
        return None if labels is None else read_names(labels, data.classes)
    if len(data.classes) != len(imagenet_names()):
        raise SensoriumError(f"{data.name} has {len(data.classes)} classes, and ImageNet {len(imagenet_names())}")
    return imagenet_names()


def _sentences(templates: str | None) -> Sequence[str]:
    from sensorium.data import imagenet
    from sensorium.data.labelled import read_lines
    from sensorium.tasks.zero_shot import TEMPLATES, check_templates

    if templates == IMAGENET:
        return imagenet.templates(80)
    lines = read_lines(templates) if templates else TEMPLATES
    check_templates(lines)
    return lines


def _own_names(labels: str | None) -> Sequence[str] | None:
    from sensorium.data.imagenet import imagenet_names
    from sensorium.data.labelled import read_lines

    return None if labels is None else imagenet_names() if labels == IMAGENET else read_lines(labels)


def _is_imagenet(data: "Labelled") -> bool:
    """A thousand folders called n01440764 and so on: WordNet's numbers."""
    names = data.classes
    return len(names) == 1000 and all(len(name) == 9 and name[0] == "n" and name[1:].isdecimal() for name in names)


def _published(embedder: "Embedder", protocol: str, known: str | None) -> tuple[list["Published"], str | None]:
    """Rows of the preset that was loaded; else of the one of the same sizes, with its name."""
    from sensorium.checkpoints.formats import PRESETS, like_preset
    from sensorium.tasks.published import published

    if embedder.name in PRESETS or embedder.name == "pocket" or embedder.model is None:
        return published(embedder.name, protocol, known), None
    like = like_preset(embedder.model)
    return (published(like, protocol, known), like) if like else ([], None)


def _as_json(
    embedder: "Embedder", result: "Result", known: str | None, rows: Sequence["Published"]
) -> dict[str, object]:
    many = "pictures" if result.unit == "picture" else "files"
    return {
        "model": embedder.name,
        "fingerprint": embedder.fingerprint,
        "precision": embedder.precision,
        "protocol": result.protocol,
        "data": known,
        "metric": result.own,
        "value": result.metrics[result.own],
        "metrics": result.metrics,
        "settings": dict(result.settings),
        many: result.pictures,
        f"{many}_per_second": round(result.rate, 2),
        "unreadable": [{"path": each.path, "reason": each.reason} for each in result.unreadable],
        "published": [asdict(row) for row in rows],
    }


def _print(embedder: "Embedder", result: "Result", data: str, rows: Sequence["Published"], like: str | None) -> None:
    console = stdout()
    where = f"{short(data)}, {count(result.pictures, result.unit)}"
    console.print(printable(f"{embedder.name}, {result.protocol}, {where}"), style="mark", markup=False)
    for name, value in result.metrics.items():
        mark = "mark" if name == result.own else "default"
        console.print(f"  {name:<28} {_shown(name, value):>8}", style=mark, markup=False)
    said = ", ".join(f"{name} {_plain(value)}" for name, value in result.settings.items())
    pace = f"{result.rate:.1f} {result.unit}s per second" if result.rate else "features as kept"
    console.print(f"  {said}; {embedder.precision}, {pace}", style="quiet", markup=False)
    if rows:
        same = f", if these are the weights of {like}" if like else ""
        console.print(f"Published{same}:", style="mark", markup=False)
    for row in rows:
        name = f"{row.metric} on {row.data}"
        console.print(f"  {name:<28} {row.value:>8}  {row.source}", markup=False)
        if row.differs:
            console.print(f"  {'':<37}  {row.differs}", style="quiet", markup=False)
    left_out = count(len(result.unreadable), result.unit if result.unit == "picture" else "file")
    unread = f"{left_out} could not be read and count for nothing"
    tell_unread(stderr(), result.unreadable, unread, "--json")


def _shown(name: str, value: float) -> str:
    """Percentages, as papers print them; a median rank is a number of places, and depth is in metres."""
    if name in PLAIN:
        return f"{value:.4f}"
    return f"{value:.1f}" if name.endswith("median rank") else f"{100 * value:.2f}"


def _plain(value: str | int | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"
