"""Which place of one picture is which of another: nearest neighbours among patches, at keypoints (SPair-71k).

The feature of a point is taken between patch centres bilinearly; it is found where the patch with the largest cosine
has its centre (Probe3D, El Banani et al. 2024, whose protocol DINOv3 follows, appendix D.3). PCK@a is the share of
points found within a times the longer side of the object's box, or of the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sensorium.data.dense import Match, Matched
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.tasks.dense_features import Named, Patches, Seen, View
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.protocols import How, Result

VIEW = View(long=64)  # 1024 pixels where a patch has 16 (appendix D.3, SPair)
ALPHAS = (0.1, 0.05, 0.01)


def match(source: Seen, target: Seen, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
    """Where the target shows what the source shows at `points`: x and y in pixels of each picture."""
    wanted = F.normalize(source.at(points), dim=1)
    offered = F.normalize(target.patches.flatten(1), dim=0)
    return target.centres()[(wanted @ offered).argmax(1)]


def pck(distances: Float[Tensor, " n"], alpha: float, side: float | Float[Tensor, " n"]) -> float:
    """The share of the distances that are at most `alpha` times `side`."""
    return (distances <= alpha * side).double().mean().item()


@dataclass(frozen=True)
class Found:
    """One pair: its category, how far off each point is, and the longer sides of the box and of the target picture."""

    category: str
    distances: Float[Tensor, " n"]
    box: float
    picture: float


def summary(pairs: Sequence[Found], alphas: Sequence[float] = ALPHAS) -> dict[str, float]:
    """Over all points together, PCK by the box and by the picture; by the box also as means over pairs; the recall.

    The recall is Probe3D's: points within a tenth of the box, in each category, averaged over the categories.
    """
    distances = torch.cat([pair.distances for pair in pairs])
    box, picture = (
        torch.cat([torch.full_like(pair.distances, getattr(pair, name)) for pair in pairs])
        for name in ("box", "picture")
    )
    found = {f"PCK@{alpha:g}": pck(distances, alpha, box) for alpha in alphas}
    found |= {f"PCK@{a:g} by pair": fmean(pck(pair.distances, a, pair.box) for pair in pairs) for a in alphas}
    found |= {f"PCK@{alpha:g} of picture": pck(distances, alpha, picture) for alpha in alphas}
    categories = sorted({pair.category for pair in pairs})
    own = [[pair for pair in pairs if pair.category == category] for category in categories]
    shares = [
        pck(
            torch.cat([pair.distances for pair in some]),
            0.1,
            torch.cat([torch.full_like(pair.distances, pair.box) for pair in some]),
        )
        for some in own
    ]
    return {"recall": fmean(shares), **found}


def correspond(embedder: Embedder, data: Matched, *, view: View = VIEW, how: How | None = None) -> Result:
    """Find the points of every pair; a picture of several pairs is read once where features are kept.

    Raises SensoriumError where no pair can be read.
    """
    how = how or How()
    patches = Patches(embedder, view, keep=how.keep)

    def read(request: tuple[int, bool]) -> tuple[Match, Named]:
        item = data[request[0]]
        picture, side = (item.target, "target") if request[1] else (item.source, "source")
        return item, (f"{item.key}, {side}", picture)

    requests = [(number, side) for number in range(len(data)) for side in (False, True)]
    stream = patches.over(requests, read, progress=how.progress)
    pairs: list[Found] = []
    unreadable: list[Unreadable] = []
    for one, other in zip(stream, stream, strict=True):
        unreadable += [each for each in (one, other) if isinstance(each, Unreadable)]
        if isinstance(one, Unreadable) or isinstance(other, Unreadable) or not len(one[0].source_points):
            continue
        item, source, target = one[0], one[1], other[1]
        off = (match(source, target, item.source_points) - item.target_points).norm(dim=1)
        left, top, right, bottom = item.target_box.tolist()
        pairs.append(Found(item.category, off, max(right - left, bottom - top), float(max(target.size))))
    if not pairs:
        raise SensoriumError(f"{data.name}: no pair that can be read" + (f": {unreadable[0]}" if unreadable else ""))
    return Result(
        protocol="correspondence",
        metrics=summary(pairs),
        own="recall",
        settings={
            "pairs": len(pairs),
            "points": sum(len(pair.distances) for pair in pairs),
            "categories": len({pair.category for pair in pairs}),
        },
        pictures=2 * len(pairs),
        unreadable=unreadable,
        rate=patches.rate,
    )
