"""Instance retrieval: which pictures of a gallery show the very same thing, by the cosines of whole pictures' vectors.

The protocol of the revisited Oxford and Paris sets (Radenović et al. 2018), https://arxiv.org/abs/1803.11285: a query
is right on pictures that show its instance clearly ("easy"), or less so ("hard"); what counts for nothing is taken out
of the ranking. Average precision is the area under the curve of precision over recall, by trapezoids.
"""

from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.data.dense import InstanceQuery, Instances
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.image import read_image
from sensorium.tasks.embedding import Embedder, Picture
from sensorium.tasks.features import compute
from sensorium.tasks.protocols import How, Result

SETUPS = ("Easy", "Medium", "Hard")


def average_precision(ranked: Bool[Tensor, " n"], positives: int) -> float:
    """The area under precision over recall: of `positives`, those that are True in the ranking, best first.

    Between two recalls precision goes straight from what it was before the right picture to what it is with it; before
    the first it is 1 where that one leads, else 0.
    """
    places = ranked.nonzero()[:, 0].double()
    found = torch.arange(len(places)).double()
    before = torch.where(places == 0, 1.0, found / places.clamp(min=1))
    return ((before + (found + 1) / (places + 1)) / 2).sum().item() / positives


def judged(ranking: Int[Tensor, " n"], right: Collection[int], out: Collection[int]) -> Bool[Tensor, " m"]:
    """Which pictures of a ranking are right, those that count for nothing taken out of it."""
    return torch.tensor([number in right for number in ranking.tolist() if number not in out], dtype=torch.bool)


def sides(query: InstanceQuery, setup: str) -> tuple[set[int], set[int]]:
    """The pictures that are right in a setup, and those that count for nothing (section 3.3)."""
    easy, hard, junk = set(query.easy), set(query.hard), set(query.junk)
    return {"Easy": (easy, junk | hard), "Medium": (easy | hard, junk), "Hard": (hard, junk | easy)}[setup]


def mean_average_precision(
    cosines: Float[Tensor, "queries gallery"], queries: Sequence[InstanceQuery], setup: str
) -> float | None:
    """Average precision in "Easy", "Medium" or "Hard", averaged over the queries that have something to find in it.

    None where no query has. The first of equal cosines ranks higher.
    """
    found: list[float] = []
    for row, query in zip(cosines, queries, strict=True):
        right, out = sides(query, setup)
        if right:
            ranking = row.sort(descending=True, stable=True).indices
            found.append(average_precision(judged(ranking, right, out), len(right)))
    return sum(found) / len(found) if found else None


def retrieve_instances(embedder: Embedder, data: Instances, *, how: How | None = None) -> Result:
    """Rank the gallery for every query, cut out of its picture where it has a box.

    Pictures of the gallery that cannot be read are taken out of all lists. Raises SensoriumError where no query is
    left.
    """
    how = how or How()
    gallery = compute(
        embedder, data.gallery, "features", progress=how.progress, stage="understanding the gallery", keep=how.keep
    )
    row_of = {number: row for row, number in enumerate(gallery.rows)}
    unreadable: list[Unreadable] = []
    queries: list[InstanceQuery] = []
    cut: list[Picture] = []
    for number in range(len(data)):
        try:
            item = data[number]
            cut.append(item.image if item.box is None else _cut(item.image, item.box, item.key))
        except Unreadable as error:
            unreadable.append(error)
        else:
            queries.append(_renumbered(item, row_of))
    if not queries:
        first = f": {unreadable[0]}" if unreadable else ""
        raise SensoriumError(f"{data.name}: no query that can be read{first}")
    asked = compute(embedder, cut, "features", progress=how.progress, stage="understanding the queries", keep=how.keep)
    queries = [queries[row] for row in asked.rows]
    cosines = F.normalize(asked.vectors, dim=1) @ F.normalize(gallery.vectors, dim=1).T
    values = {f"mAP {setup}": mean_average_precision(cosines, queries, setup) for setup in SETUPS}
    metrics = {name: value for name, value in values.items() if value is not None}
    if not metrics:
        raise SensoriumError(f"{data.name}: no query has a picture to find in the gallery")
    computed, seconds = gallery.computed + asked.computed, gallery.seconds + asked.seconds
    return Result(
        protocol="instances",
        metrics=metrics,
        own="mAP Hard" if "mAP Hard" in metrics else next(iter(metrics)),
        settings={"queries": len(queries), "gallery": len(gallery.rows)},
        pictures=len(gallery.rows) + len(queries),
        unreadable=[*unreadable, *gallery.unreadable, *asked.unreadable],
        rate=computed / seconds if seconds > 0 else 0.0,
    )


def _cut(picture: Picture, box: tuple[float, float, float, float], key: str) -> Picture:
    image = read_image(picture)
    left, top, right, bottom = box
    inside = (
        max(0, round(left)),
        max(0, round(top)),
        min(image.width, round(right)),
        min(image.height, round(bottom)),
    )
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        raise Unreadable(key, f"the box {box} holds no pixel of {image.width} x {image.height}")
    return image.crop(inside)


def _renumbered(query: InstanceQuery, row_of: dict[int, int]) -> InstanceQuery:
    """The query's lists as rows of what could be read."""
    easy, hard, junk = (
        tuple(row_of[number] for number in some if number in row_of) for some in (query.easy, query.hard, query.junk)
    )
    return InstanceQuery(image=query.image, key=query.key, easy=easy, hard=hard, junk=junk, box=query.box)
