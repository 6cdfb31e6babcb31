"""The looks into a space of many senses: similarities of two sets, the nearest of each to a question, the map."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.app.classifying import files_below
from sensorium.app.console import count, short
from sensorium.app.expression import parse, spell
from sensorium.app.looking import Seen, View
from sensorium.app.parts import Part, named, parts_of, wholes
from sensorium.data.errors import SensoriumError, printable
from sensorium.data.kind_names import WAYS, Kind, Sense
from sensorium.search.query import Term

if TYPE_CHECKING:  # these bring torch and NumPy, which help and usage errors do without
    from torch import Tensor

    from sensorium.insight.panel import Nearest

    Row = tuple[str, Nearest, list["Part"]]

ROWS: dict[tuple[Kind | None, Sense], str] = {
    ("picture", "image"): "pictures",
    ("video", "video"): "films",
    ("video", "audio"): "films, by their sound",
    ("sound", "audio"): "sounds",
    ("depth", "depth"): "depth",
    ("thermal", "thermal"): "heat",
    ("motion", "motion"): "motion",
    ("document", "image"): "pages",
    ("document", "text"): "pages, by their words",
    (None, "text"): "words",
}


def similarity(view: View) -> Seen:
    """Files against other files or words, of any senses."""
    from sensorium.insight.numbers import numbers_of
    from sensorium.insight.similarity import MOST, draw_similarity, similarity_of_sets
    from sensorium.insight.things import counted, pairs_of

    first, rows = wholes(*parts_of(view, view.files))
    others, problems = files_below([Path(each) for each in view.wanted.against])
    view.problems += problems
    second, columns = wholes(*parts_of(view, others, view.wanted.texts))
    found = similarity_of_sets(
        _any(view, rows, "the files"), _any(view, columns, "--against"), view.embedder.logit_scale
    )
    names = [[part.thing(drawn=False) for part in parts] for parts in (first, second)]
    pairs = pairs_of(*names)
    senses = [[part.sense for part in parts] for parts in (first, second)]
    low, high = float(found.cosines.min()), float(found.cosines.max())
    there, back = found.right(pairs)
    right = f"; of {count(len(pairs), 'pair')}, {there:,} nearest one way and {back:,} the other" if pairs else ""
    return Seen(
        numbers={**numbers_of(found), **named("files", first), **named("against", second), "pairs": pairs},
        draw=lambda name: draw_similarity(
            found,
            [part.thing() for part in first[:MOST]],
            [part.thing() for part in second[:MOST]],
            pairs,
            f"{name}: similarities",
        ),
        sentence=f"{counted(senses[0])} against {counted(senses[1])}, cosines from {low:z.2f} to {high:z.2f}{right}",
    )


def panel(view: View) -> Seen:
    """One question, and the nearest of every sense; of a file its best moment or page."""
    from sensorium.insight.panel import draw_panel

    asked = view.wanted.query or ""
    terms = [Term(file=Path(asked))] if Path(asked).is_file() else parse([asked])
    question = _question(view, terms)
    rows = _of_files(view, terms) if view.wanted.index is None else _of_index(view, terms, view.wanted.index)
    if not rows:
        raise _nothing(view, "the files" if view.wanted.index is None else "the index")
    numbers: dict[str, Any] = {"query": printable(asked), "rows": [label for label, _, _ in rows]}
    for i, (_, found, best) in enumerate(rows, 1):
        numbers |= {f"{key}_{i}": value for key, value in named("files", best).items()}
        numbers[f"cosines_{i}"] = found.cosines
    spelt = printable(spell(terms))
    first = ", ".join(f"{label} {printable(best[0].name)}" for label, _, best in rows[:4])
    return Seen(
        numbers=numbers,
        draw=lambda name: draw_panel(
            question.thing(),
            {label: (found, [part.thing() for part in best]) for label, found, best in rows},
            f"{name}: nearest to {spelt}",
        ),
        sentence=f"nearest to {spelt}: {first}{', ...' if len(rows) > 4 else ''}",
    )


def _of_files(view: View, terms: Sequence[Term]) -> "list[Row]":
    """The rows of a panel over the files and words that were given, without those that the question consists of."""
    from sensorium.insight.panel import nearest

    own = {Path(term.file).resolve() for term in terms if term.file is not None}
    others = [path for path in view.files if path.resolve() not in own]
    parts, vectors = parts_of(view, others, view.wanted.texts)
    rows: list[Row] = []
    for (kind, sense), label in ROWS.items():
        places = [i for i, part in enumerate(parts) if (part.kind, part.sense) == (kind, sense)]
        if not places:
            continue
        mine = [parts[i] for i in places]
        files = {key: number for number, key in enumerate(dict.fromkeys(part.source for part in mine))}
        found = nearest(_direction(view, terms), vectors[places], [files[part.source] for part in mine])
        rows.append((label, found, [mine[i] for i in found.places.tolist()]))
    return rows


def _of_index(view: View, terms: Sequence[Term], folder: Path) -> "list[Row]":
    """The rows of a panel over an index, where each file stands by its best moment, in the row of its sense."""
    import torch

    from sensorium.insight.panel import SHOWN, Nearest
    from sensorium.search.index import Filter, Index, Query

    rows: list[Row] = []
    with Index.open(folder, view.embedder, create=False) as index:
        held = index.stats().kinds
        for (kind, sense), label in ROWS.items():
            if kind is None or not held.get(kind):
                continue
            hits = index.search(Query(list(terms)), 2 * SHOWN, where=Filter(kind=kind)).hits
            best = [(hit, hit.moments[0]) for hit in hits if hit.moments[0].sense == sense][:SHOWN]
            if not best:
                continue
            cosines = torch.tensor([moment.score for _, moment in best])
            found = Nearest(places=torch.arange(len(best)), cosines=cosines, files=held[kind])
            parts = [
                Part(
                    name=hit.path.name,
                    sense=sense,
                    path=hit.path,
                    kind=kind,
                    begin=moment.begin,
                    end=moment.end,
                    page=moment.page,
                    alone=len(hit.moments) == 1,
                )
                for hit, moment in best
            ]
            rows.append((label, found, parts))
    return rows


def space(view: View) -> Seen:
    """All things of all senses in a plane, and how far the senses lie apart."""
    from sensorium.insight.space import MOST, draw_space, in_words, space_map
    from sensorium.insight.things import counted, partners

    parts, vectors = wholes(*parts_of(view, view.files, view.wanted.texts))
    whole = len(parts)
    if whole > MOST:
        some = [i * whole // MOST for i in range(MOST)]
        parts, vectors = [parts[i] for i in some], vectors[some]
    senses = [part.sense for part in parts]
    pairs = partners([part.thing(drawn=False) for part in parts])
    called = [part.name if part.path is None else part.path.stem for part in parts]
    found = space_map(_any(view, vectors, "the files"), senses, pairs)
    of = f" of {whole:,}, evenly spread" if whole > MOST else ""
    return Seen(
        numbers={
            **named("files", parts),
            "senses": senses,
            "pairs": pairs,
            "components": found.components,
            "share": found.share,
            **({} if found.neighbours is None else {"neighbours": found.neighbours}),
            "gap_senses": list(found.gap.senses),
            "gap_counts": list(found.gap.counts),
            **{f"gap_{key}": getattr(found.gap, key) for key in ("pairs", "apart", "within", "paired", "unpaired")},
            **{f"rest_{key}": getattr(found.rest, key) for key in ("within", "paired", "unpaired")},
        },
        draw=lambda name: draw_space(found, senses, pairs, called, f"{name}: a space of {len(set(senses))} senses", of),
        sentence=f"{counted(senses)}{of}, {count(len(pairs), 'pair')}; {in_words(found)}",
    )


def _question(view: View, terms: Sequence[Term]) -> Part:
    """What was asked: a file, or words. Raises SensoriumError for a file that the model cannot take in."""
    from sensorium.data.kinds import kind_of

    files: list[tuple[Path, Kind]] = []
    for source in (term.item if term.file is None else term.file for term in terms if term.text is None):
        file = Path(source or "")
        kind = kind_of(file)
        reason = "it is of no kind that is known" if kind is None else view.embedder.lacks(kind)
        if kind is None or reason is not None:
            raise SensoriumError(f"--query {short(file)}: {reason}")
        files.append((file, kind))
    if len(terms) != 1 or not files:
        return Part(name=spell(terms), sense="text")
    file, kind = files[0]
    return Part(name=file.name, sense=WAYS[kind][0], path=file, kind=kind)


def _direction(view: View, terms: Sequence[Term]) -> "Tensor":
    """The weighted sum of the terms' unit vectors."""
    import torch

    whole = torch.zeros(view.embedder.dim)
    for term in terms:
        if term.item is not None:
            raise SensoriumError(f"--query {spell([term])}: moments have numbers in an index alone: name it, --index")
        if term.text is not None:
            whole += term.weight * view.embedder.embed(text=[term.text])["text"][0]
        elif term.file is not None:
            whole += term.weight * view.embedder.embed_example(Path(term.file))
    return whole


def _any(view: View, vectors: "Tensor", where: str) -> "Tensor":
    if not len(vectors):
        raise _nothing(view, where)
    return vectors


def _nothing(view: View, where: str) -> SensoriumError:
    reasons = "; ".join([*view.remarks, *(str(problem) for problem in view.problems[:7])])
    return SensoriumError(f"nothing to look at in {where}: {reasons or 'there is no file of a kind that is known'}")


LOOKS: dict[str, Callable[[View], Seen]] = {"similarity": similarity, "panel": panel, "map": space}
