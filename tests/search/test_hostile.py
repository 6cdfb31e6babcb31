"""Two hundred damaged and hostile files: every one ends as an item or as a listed reason, and none stops the run."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sensorium.data.errors import Unreadable
from sensorium.data.image import read_image
from sensorium.data.kinds import Kind
from sensorium.search.index import Index
from sensorium.tasks.senses import Finished, Job, Spot, Taken
from tests.hostile import Hostile, make_hostile
from tests.search.fake import Colours, paint, unit


class Reading(Colours):
    """Sees by the library's own decoder."""

    def pieces(self, path: Path, kind: Kind) -> tuple[list[tuple[Spot, np.ndarray]], Finished]:
        image = read_image(path)
        size = {"width": image.width, "height": image.height}
        return [(Spot(), unit(np.asarray(image.resize((4, 4)))))], Finished(path=path, pieces=1, **size)

    def embed_files(self, jobs: Iterable[Job], *, batch: int = 32) -> Iterator[Taken]:
        for job in jobs:
            try:
                yield from super().embed_files([job], batch=batch)
            except Unreadable as problem:
                none = np.empty((0, self.dim), np.float32)
                yield Taken(rows=[], vectors=none, finished=[], unreadable=[problem])


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Hostile]:
    made = make_hostile(tmp_path / "hostile")
    yield made
    if made.deep is not None:
        shutil.rmtree(made.deep, ignore_errors=True)


def test_all_are_listed_and_none_stops_the_run(hostile: Hostile, tmp_path: Path) -> None:
    good = paint(tmp_path / "hostile" / "zz-last.png", "red")
    with Index.open(tmp_path / "index", Reading()) as index:
        report = index.update(tmp_path / "hostile")
        readable = {item.path for item in index.items()}
        unreadable = {path for path, _ in index.unreadable()}
        assert {Path(each.path) for each in report.unreadable} == unreadable
        assert good in readable
        assert not readable & unreadable
        assert hostile.readable <= readable
        assert hostile.unreadable <= unreadable
        left = set(hostile.files) - readable - unreadable
        assert {path for path in left if hostile.deep not in path.parents} == set()
        assert all(each.reason for each in report.unreadable)
        again = index.update(tmp_path / "hostile")
        assert (again.embedded, again.added, again.updated, again.removed) == (0, 0, 0, 0)
        assert {path for path, _ in index.unreadable()} == unreadable
