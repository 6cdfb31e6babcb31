"""The looks into a space of many senses: similarities of two sets, the nearest of each to a question, the map."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.app.console import count, short
from sensorium.app.looking import Seen, View
from sensorium.data.errors import SensoriumError, Unreadable, printable

if TYPE_CHECKING:  # these bring torch and NumPy, which help and usage errors do without
    from torch import Tensor

    from sensorium.data.kinds import Kind, Sense
    from sensorium.insight.things import Thing

ROWS: "dict[tuple[Kind | None, Sense], str]" = {
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
SHOWN = 320  # pixels of a picture in a drawing


@dataclass(frozen=True, kw_only=True)
class Part:
    """What has a vector: a moment or a page of a file, a file as a whole, or words, which have no file.

    `alone` says that the file has no other part of this sense: then where it is goes without saying.
    """

    name: str
    sense: "Sense"
    path: Path | None = None
    kind: "Kind | None" = None
    begin: float | None = None
    page: int | None = None
    alone: bool = True

    def thing(self, *, drawn: bool = True) -> "Thing":
        """As a drawing shows it; by its name alone where it cannot be shown."""
        from sensorium.data.shown import picture_of
        from sensorium.insight.things import Thing

        said = "" if self.alone else f"page {self.page}" if self.page else _clock(self.begin or 0.0)
        picture = None
        if drawn and self.path is not None and self.kind is not None:
            kind = "sound" if self.sense == "audio" else self.kind
            at = None if self.alone else self.begin
            try:
                picture = picture_of(self.path, kind, at=at, page=self.page, size=SHOWN)
            except Unreadable:  # it was read a moment ago: gone since
                picture = None
        file = None if self.path is None else str(self.path)
        return Thing(sense=self.sense, name=self.name, file=file, said=said, picture=picture)


def files_below(roots: Sequence[Path]) -> tuple[list[Path], list[Unreadable]]:
    """Every file below what was named that may be of a kind that is known, and what cannot be reached."""
    from sensorium.data.folder import find_files

    paths: list[Path] = []
    problems: list[Unreadable] = []
    for root in roots:
        for found in find_files(root):
            (problems if isinstance(found, Unreadable) else paths).append(found)  # pyright: ignore[reportArgumentType]
    return paths, problems


def similarity(view: View) -> Seen:
    """Files against other files or words, of any senses."""
    from sensorium.insight.numbers import numbers_of
    from sensorium.insight.similarity import MOST, draw_similarity, similarity_of_sets
    from sensorium.insight.things import pairs_of

    first, rows = _wholes(*_parts(view, view.files))
    others, problems = files_below([Path(each) for each in view.wanted.against])
    view.problems += problems
    second, columns = _wholes(*_parts(view, others, view.wanted.texts))
    found = similarity_of_sets(
        _any(view, rows, "the files"), _any(view, columns, "--against"), view.embedder.logit_scale
    )
    names = [[part.thing(drawn=False) for part in parts] for parts in (first, second)]
    pairs = pairs_of(*names)
    low, high = float(found.cosines.min()), float(found.cosines.max())
    there, back = found.right(pairs)
    right = f"; of {count(len(pairs), 'pair')}, {there:,} nearest one way and {back:,} the other" if pairs else ""
    return Seen(
        numbers={**numbers_of(found), **_named("files", first), **_named("against", second), "pairs": pairs},
        draw=lambda name: draw_similarity(
            found,
            [part.thing() for part in first[:MOST]],
            [part.thing() for part in second[:MOST]],
            pairs,
            f"{name}: similarities",
        ),
        sentence=f"{_counted(first)} against {_counted(second)}, cosines from {low:z.2f} to {high:z.2f}{right}",
    )


def panel(view: View) -> Seen:
    """One question, and the nearest of every sense; of a file its best moment or page."""
    from sensorium.insight.panel import Nearest, draw_panel, nearest

    asked = view.wanted.query or ""
    question, vector = _question(view, asked)
    parts, vectors = _parts(view, _others(view.files, question), view.wanted.texts)
    _any(view, vectors, "the files")
    rows: list[tuple[str, Nearest, list[Part]]] = []
    for (kind, sense), label in ROWS.items():
        places = [i for i, part in enumerate(parts) if (part.kind, part.sense) == (kind, sense)]
        if not places:
            continue
        mine = [parts[i] for i in places]
        files = {key: number for number, key in enumerate(dict.fromkeys(map(_file, mine)))}
        found = nearest(vector, vectors[places], [files[_file(part)] for part in mine])
        rows.append((label, found, [mine[i] for i in found.places.tolist()]))
    numbers: dict[str, Any] = {"query": printable(asked), "rows": [label for label, _, _ in rows]}
    for i, (_, found, best) in enumerate(rows, 1):
        numbers |= {f"{key}_{i}": value for key, value in _named("files", best).items()}
        numbers[f"cosines_{i}"] = found.cosines
    first = ", ".join(f"{label} {printable(best[0].name)}" for label, _, best in rows[:4])
    return Seen(
        numbers=numbers,
        draw=lambda name: draw_panel(
            question.thing(),
            {label: (found, [part.thing() for part in best]) for label, found, best in rows},
            f"{name}: nearest to {printable(question.name)}",
        ),
        sentence=f"nearest to {printable(question.name)}: {first}{', ...' if len(rows) > 4 else ''}",
    )


def space(view: View) -> Seen:
    """All things of all senses in a plane, and how far the senses lie apart."""
    from sensorium.insight.space import MOST, draw_space, in_words, space_map
    from sensorium.insight.things import partners

    parts, vectors = _wholes(*_parts(view, view.files, view.wanted.texts))
    whole = len(parts)
    if whole > MOST:
        some = [i * whole // MOST for i in range(MOST)]
        parts, vectors = [parts[i] for i in some], vectors[some]
    senses = [part.sense for part in parts]
    pairs = partners([part.thing(drawn=False) for part in parts])
    found = space_map(_any(view, vectors, "the files"), senses, pairs)
    of = f" of {whole:,}, evenly spread" if whole > MOST else ""
    return Seen(
        numbers={
            **_named("files", parts),
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
        draw=lambda name: draw_space(found, senses, pairs, f"{name}: a space of {len(set(senses))} senses", of),
        sentence=f"{_counted(parts)}{of}, {count(len(pairs), 'pair')}; {in_words(found)}",
    )


def _question(view: View, asked: str) -> "tuple[Part, Tensor]":
    """What was asked, a file's name or words, and its vector."""
    path = Path(asked).expanduser()
    if path.is_file():
        from sensorium.data.kinds import kind_of

        kind = kind_of(path)
        if kind is None:
            raise SensoriumError(f"--query {short(path)}: this is no kind of file that is known")
        if (reason := view.embedder.lacks(kind)) is not None:
            raise SensoriumError(f"--query {short(path)}: {reason}")
        senses: dict[str, Sense] = {"picture": "image", "sound": "audio", "document": "image"}
        sense: Any = senses.get(kind, kind)
        return Part(name=path.name, sense=sense, path=path, kind=kind), view.embedder.embed_example(path, kind)
    if re.fullmatch(r"\S*\.\w{2,5}", asked):
        raise SensoriumError(f"--query {printable(asked)}: no such file")
    return Part(name=asked, sense="text"), view.embedder.embed(text=[asked])["text"][0]


def _others(files: Sequence[Path], question: Part) -> list[Path]:
    """The files without the question's own, which is nearest to itself."""
    if question.path is None:
        return list(files)
    own = question.path.resolve()
    return [path for path in files if path.resolve() != own]


def _parts(view: View, files: Sequence[Path], texts: Sequence[str] = ()) -> "tuple[list[Part], Tensor]":
    """Every part of every file that the model takes in, then words, and their vectors; what it cannot is noted."""
    import torch

    from sensorium.data.kinds import kind_of
    from sensorium.tasks.senses import Job

    kinds: dict[Path, Kind] = {}
    for path in dict.fromkeys(files):
        try:
            kind = kind_of(path)
        except Unreadable as problem:
            view.problems.append(problem)
            continue
        if kind is None:
            continue
        if (reason := view.embedder.lacks(kind)) is None:
            kinds[path] = kind
        elif reason not in view.remarks:
            view.remarks.append(reason)
    rows: list[tuple[Path, Any]] = []
    blocks: list[Tensor] = [torch.zeros(0, view.embedder.dim)]
    for taken in view.embedder.embed_files(Job(path, kind) for path, kind in kinds.items()):
        rows += taken.rows
        blocks.append(torch.from_numpy(taken.vectors).float())
        view.problems += taken.unreadable
        view.problems += [Unreadable(each.path, each.reason) for each in taken.finished if each.reason]
    order = {path: i for i, path in enumerate(kinds)}
    sequence = sorted(range(len(rows)), key=lambda i: (order[rows[i][0]], rows[i][1].number))
    several: dict[tuple[Path, str], int] = {}
    for path, place in rows:
        several[path, place.sense] = several.get((path, place.sense), 0) + 1
    parts = [
        Part(
            name=path.name,
            sense=place.sense,
            path=path,
            kind=kinds[path],
            begin=place.begin,
            page=place.page,
            alone=several[path, place.sense] == 1,
        )
        for path, place in (rows[i] for i in sequence)
    ]
    vectors = torch.cat(blocks)[sequence]
    if texts:
        parts += [Part(name=text, sense="text") for text in texts]
        vectors = torch.cat([vectors, view.embedder.embed(text=list(texts))["text"]])
    return parts, vectors


def _wholes(parts: Sequence[Part], vectors: "Tensor") -> "tuple[list[Part], Tensor]":
    """One of each sense of a file, in the mean direction of its parts; words stay as they are."""
    import torch
    import torch.nn.functional as F

    places: dict[tuple[Any, ...], list[int]] = {}
    for i, part in enumerate(parts):
        places.setdefault((_file(part), part.sense, i if part.path is None else None), []).append(i)
    if not places:
        return [], vectors
    whole = [
        Part(name=first.name, sense=first.sense, path=first.path, kind=first.kind)
        for first in (parts[some[0]] for some in places.values())
    ]
    means = torch.stack([F.normalize(vectors[some], dim=-1).mean(0) for some in places.values()])
    return whole, F.normalize(means, dim=-1)


def _any(view: View, vectors: "Tensor", where: str) -> "Tensor":
    """The vectors; raises SensoriumError where there are none, with the reasons."""
    if not len(vectors):
        reasons = "; ".join([*view.remarks, *map(str, view.problems[:7])])
        raise SensoriumError(f"nothing to look at in {where}: {reasons or 'there is no file of a kind that is known'}")
    return vectors


def _file(part: Part) -> str | Path:
    return part.name if part.path is None else part.path


def _named(name: str, parts: Iterable[Part]) -> dict[str, Any]:
    """Files or words, by which sense, and where in them: -1 where they are whole."""
    parts = list(parts)
    return {
        name: [printable(str(_file(part))) for part in parts],
        f"{name}_senses": [part.sense for part in parts],
        f"{name}_seconds": [-1.0 if part.begin is None else part.begin for part in parts],
        f"{name}_pages": [part.page or -1 for part in parts],
    }


def _counted(parts: Sequence[Part]) -> str:
    from sensorium.insight.things import counted

    return counted([part.sense for part in parts])


def _clock(seconds: float) -> str:
    """`0:07`, `12:05`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


LOOKS: dict[str, Callable[[View], Seen]] = {"similarity": similarity, "panel": panel, "map": space}
