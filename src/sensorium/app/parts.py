"""Parts of files of every kind, and words, with their vectors: what the looks into a space of many senses compare."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.app.looking import View
from sensorium.app.moments import clock
from sensorium.data.errors import Unreadable, printable

if TYPE_CHECKING:  # these bring torch and NumPy, which help and usage errors do without
    from torch import Tensor

    from sensorium.data.kinds import Kind, Sense
    from sensorium.insight.things import Thing

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
    end: float | None = None
    page: int | None = None
    alone: bool = True

    @property
    def source(self) -> str | Path:
        """The file, or the words."""
        return self.name if self.path is None else self.path

    def thing(self, *, drawn: bool = True) -> "Thing":
        """As a drawing shows it; by its name alone where it cannot be shown."""
        from sensorium.app.shown import show
        from sensorium.insight.things import Thing

        said = "" if self.alone else f"page {self.page}" if self.page else clock(self.begin or 0.0)
        picture = None
        if drawn and self.path is not None and self.kind is not None:
            kind = "sound" if self.sense == "audio" else self.kind
            at, until = (None, None) if self.alone else (self.begin, self.end)
            try:
                picture = show(self.path, kind, SHOWN, at=at, until=until, page=self.page).picture
            except Unreadable:  # it was read a moment ago: gone since
                picture = None
        file = None if self.path is None else str(self.path)
        return Thing(sense=self.sense, name=self.name, file=file, said=said, picture=picture)


def parts_of(view: View, files: Sequence[Path], texts: Sequence[str] = ()) -> "tuple[list[Part], Tensor]":
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
            end=place.end,
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


def wholes(parts: Sequence[Part], vectors: "Tensor") -> "tuple[list[Part], Tensor]":
    """One of each sense of a file, in the mean direction of its parts; words stay as they are."""
    import torch
    import torch.nn.functional as F

    places: dict[tuple[Any, ...], list[int]] = {}
    for i, part in enumerate(parts):
        places.setdefault((part.source, part.sense, i if part.path is None else None), []).append(i)
    if not places:
        return [], vectors
    whole = [
        Part(name=first.name, sense=first.sense, path=first.path, kind=first.kind)
        for first in (parts[some[0]] for some in places.values())
    ]
    means = torch.stack([F.normalize(vectors[some], dim=-1).mean(0) for some in places.values()])
    return whole, F.normalize(means, dim=-1)


def named(name: str, parts: Iterable[Part]) -> dict[str, Any]:
    """Files or words, by which sense, and where in them: NaN seconds and page 0 where they are whole."""
    parts = list(parts)
    return {
        name: [printable(str(part.source)) for part in parts],
        f"{name}_senses": [part.sense for part in parts],
        f"{name}_seconds": [math.nan if part.begin is None else part.begin for part in parts],
        f"{name}_pages": [part.page or 0 for part in parts],
    }
