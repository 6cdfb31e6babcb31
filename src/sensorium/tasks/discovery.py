"""Object discovery without labels: one box a picture, from the similarities of its patches alone.

LOST (Siméoni et al. 2021), https://arxiv.org/abs/2109.14279: the patch that is like the fewest others is in an object;
with those it is like it votes for the rest of it. TokenCut (Wang et al. 2022), https://arxiv.org/abs/2202.11539: the
normalised cut of the graph of similar patches. Pictures are seen at their own size, filled up to whole patches.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sensorium.data.dense import Boxed
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.nn.boxes import overlap
from sensorium.tasks.components import box_of, component
from sensorium.tasks.dense_features import Patches, Seen, View, pictured
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.protocols import How, Result

Method = Literal["lost", "tokencut"]
VIEW = View(what="keys")
LOWEST = 100  # patches of the lowest degree that LOST expands its seed over
TAU, EPS = 0.2, 1e-5  # TokenCut: cosines above `TAU` are edges of 1, all others of `EPS`
SWEEP = tuple(step / 20 for step in range(9))  # DINOv3's thresholds, the best of which it reports (appendix D.4)
ENOUGH = 0.5

Object = Bool[Tensor, "rows columns"]


def lost(features: Float[Tensor, "width rows columns"], *, k: int = LOWEST, bias: float = 0.0) -> Object:
    """The object's patches by LOST (section 3).

    Similarities are plain products plus `bias`, which suits features that are not centred (Darcet et al. 2024, section
    3.3). The seed is the patch with the fewest positive ones, the first of equals; those of the `k` lowest that are
    positive to the seed vote together; the object is what their sum makes positive around the seed.
    """
    x = features.flatten(1).mT
    alike = x @ x.mT + bias
    degree = (alike > 0).fill_diagonal_(False).sum(1)
    order = degree.sort(stable=True).indices
    seed, lowest = order[0], order[:k]
    voters = lowest[alike[seed, lowest] > 0]
    votes = alike[voters].sum(0) > 0
    votes[seed] = True  # a patch that bias makes unlike itself is still one
    return component(votes.unflatten(0, features.shape[1:]), int(seed))


def tokencut(features: Float[Tensor, "width rows columns"], *, tau: float = TAU, eps: float = EPS) -> Object:
    """The object's patches by TokenCut (section 3.2).

    Of (D - W) y = λ D y the vector of the second smallest λ, cut at its mean; the object is the side on which its
    largest absolute value lies, and of it the part around that patch.
    """
    x = F.normalize(features.flatten(1), dim=0).double()
    weights = torch.where(x.mT @ x > tau, 1.0, eps).double()
    root = weights.sum(1).rsqrt()
    # D^-1/2 W D^-1/2 has the same vectors, times D^1/2; its largest values are the smallest λ
    vectors = torch.linalg.eigh(root[:, None] * weights * root).eigenvectors
    second = vectors[:, -2] * root
    side = second > second.mean()
    seed = int(second.abs().argmax())
    side = side if side[seed] else ~side
    return component(side.unflatten(0, features.shape[1:]), seed)


def in_picture(found: Object, seen: Seen) -> Float[Tensor, "4"]:
    """The box of an object in pixels of the picture: left, top, right, bottom, inside the picture."""
    box = box_of(found.cpu()) * torch.tensor([seen.patch[1], seen.patch[0]] * 2) * seen.scale.repeat(2)
    return torch.minimum(box, torch.tensor([seen.size[1], seen.size[0]] * 2).float())


def located(box: Float[Tensor, "4"], truth: Float[Tensor, "objects 4"]) -> bool:
    """CorLoc's measure of one picture: the box shares at least half of a union with one object's."""
    return bool((overlap(box[None], truth.float())[0] >= ENOUGH).any())


def discover(
    embedder: Embedder,
    data: Boxed,
    *,
    method: Method = "lost",
    taus: Sequence[float] = (TAU,),
    bias: float = 0.0,
    view: View = VIEW,
    how: How | None = None,
) -> Result:
    """CorLoc: the share of pictures whose one box finds an object; pictures without objects are left out.

    Of several `taus` (TokenCut) the best is reported, as DINOv3 does; published numbers of LOST and TokenCut read
    "keys", DINOv3's read "tokens". Raises SensoriumError where no picture with objects can be read.
    """
    how = how or How()
    patches = Patches(embedder, view, keep=how.keep)
    hits = torch.zeros(len(taus) if method == "tokencut" else 1)
    unreadable: list[Unreadable] = []
    measured = 0
    for found in patches.over(range(len(data)), pictured(data), progress=how.progress):
        if isinstance(found, Unreadable):
            unreadable.append(found)
            continue
        item, seen = found
        if not len(item.boxes):
            continue
        x = seen.patches.to(embedder.device)
        objects = [lost(x, bias=bias)] if method == "lost" else [tokencut(x, tau=tau) for tau in taus]
        hits += torch.tensor([located(in_picture(each, seen), item.boxes) for each in objects])
        measured += 1
    if not measured:
        first = f": {unreadable[0]}" if unreadable else ""
        raise SensoriumError(f"{data.name}: no picture with objects that can be read{first}")
    best = int(hits.argmax())
    settings: dict[str, str | int | float] = {"method": method, "reads": view.what}
    if method == "tokencut":
        settings |= {"tau": taus[best], "thresholds tried": len(taus)}
    elif bias:
        settings["bias"] = bias
    return Result(
        protocol="discovery",
        metrics={"CorLoc": float(hits[best]) / measured},
        own="CorLoc",
        settings=settings,
        pictures=measured,
        unreadable=unreadable,
        rate=patches.rate,
    )
