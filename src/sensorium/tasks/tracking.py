"""Objects followed through a film without training: labels travel to patches that are alike (Jabri et al. 2020).

Every patch of a frame takes the labels of the k most similar patches of the first frame and the last few, within a
neighbourhood, weighted by a softmax of cosines. The mask of the first frame is given; what is predicted goes on as
soft labels. Measured by J, the overlap of regions, and F, that of boundaries (DAVIS 2017, semi-supervised).
"""

from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from math import ceil, hypot
from statistics import fmean

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from sensorium.data.dense import IGNORED, Clip, Clips
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.tasks.dense_features import Named, Patches, View
from sensorium.tasks.dense_linear import upsampled
from sensorium.tasks.embedding import Embedder
from sensorium.tasks.features import Report
from sensorium.tasks.protocols import How, Result

VIEW = View(short=30)  # 480 pixels where a patch has 16, 420 where it has 14: DINOv3's S; 60 is its M and 90 its L
TOLERANCE = 0.008  # of the diagonal: how far a boundary may be off
BLOCK = 256  # patches that look for their like at once

Features = Float[Tensor, "width rows columns"]
Soft = Float[Tensor, "objects rows columns"]


@dataclass(frozen=True, kw_only=True)
class Propagation:
    """The past frames beside the first, patches to each side, neighbours, and the temperature of their weights.

    As DINOv3's authors show it in their notebook, one of the settings of table 27.
    """

    context: int = 7
    radius: float = 12.0
    circle: bool = True
    k: int = 5
    temperature: float = 0.2


DINO = Propagation(circle=False, temperature=0.1)  # DINO's (Caron et al. 2021, the authors' code)


def propagate(frame: Features, context: Sequence[Features], labels: Sequence[Soft], how: Propagation) -> Soft:
    """Labels of a frame's patches from those of earlier frames; features are of length 1."""
    rows, columns = frame.shape[1:]
    memory = torch.cat([each.flatten(1) for each in context], 1)
    known = torch.cat([each.flatten(1) for each in labels], 1)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    places = torch.stack([y.flatten(), x.flatten()], 1).to(frame)
    found: list[Tensor] = []
    for some, here in zip(frame.flatten(1).mT.split(BLOCK), places.split(BLOCK), strict=True):
        apart = (here[:, None] - places).abs()
        far = (apart.square().sum(-1).sqrt() if how.circle else apart.amax(-1)) > how.radius
        alike = (some @ memory).masked_fill(far.repeat(1, len(context)), -torch.inf)
        near, which = alike.topk(min(how.k, alike.shape[1]), dim=1)
        weights = (near / how.temperature).softmax(1)
        found.append(torch.einsum("nk,onk->on", weights, known[:, which]))
    return torch.cat(found, 1).unflatten(1, (rows, columns))


def sharp(soft: Soft, size: Sequence[int]) -> Int[Tensor, "h w"]:
    """Which object each pixel belongs to: stretched bilinearly, each object's share from 0 to 1, the largest wins."""
    large = upsampled(soft, size)
    low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
    return ((large - low) / (high - low)).nan_to_num(0.0).argmax(0)


def jaccard(predicted: Bool[Tensor, "h w"], truth: Bool[Tensor, "h w"]) -> float:
    """J: intersection over union; 1 where both are empty."""
    union = int((predicted | truth).sum())
    return int((predicted & truth).sum()) / union if union else 1.0


def boundary(mask: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """Pixels that differ from their right, their lower, or their lower right neighbour, where there is one."""
    wide = F.pad(mask[None, None].float(), (0, 1, 0, 1), mode="replicate")[0, 0] > 0
    return (mask != wide[:-1, 1:]) | (mask != wide[1:, :-1]) | (mask != wide[1:, 1:])


def boundary_f(predicted: Bool[Tensor, "h w"], truth: Bool[Tensor, "h w"], *, tolerance: float = TOLERANCE) -> float:
    """F: the harmonic mean of boundary precision and recall, within a disk of `tolerance` times the diagonal."""
    radius = ceil(tolerance * hypot(*truth.shape))
    own, right = boundary(predicted), boundary(truth)
    if not own.any() or not right.any():
        return float(not own.any() and not right.any())
    precision = int((own & _grown(right, radius)).sum()) / int(own.sum())
    recall = int((right & _grown(own, radius)).sum()) / int(right.sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def one_hot(mask: UInt8[Tensor, "h w"], objects: Sequence[int], grid: tuple[int, int]) -> Soft:
    """The ground and the objects of a mask, one label a patch: that of the pixel in its middle."""
    small = F.interpolate(mask[None, None].float(), size=grid, mode="nearest-exact")[0, 0]
    of = torch.stack([small == number for number in objects])
    return torch.cat([~of.any(0, keepdim=True), of]).float()


def track(
    embedder: Embedder,
    data: Clips,
    *,
    propagation: Propagation | None = None,
    view: View = VIEW,
    how: How | None = None,
) -> Result:
    """J and F of every object of the first frame over all frames but the first and the last, averaged over objects.

    Raises SensoriumError where no film can be followed.
    """
    how, propagation = how or How(), propagation or Propagation()
    patches = Patches(embedder, view, keep=how.keep)
    unreadable: list[Unreadable] = []
    regions: list[float] = []
    boundaries: list[float] = []
    films = frames = 0
    for number in range(len(data)):
        try:
            clip = data[number]
            found = _follow(clip, patches, propagation, how.progress, f"following {number + 1} of {len(data)}")
        except Unreadable as error:
            unreadable.append(error)
            continue
        regions += [fmean(j) for j, _ in found]
        boundaries += [fmean(f) for _, f in found]
        films, frames = films + bool(found), frames + len(clip.frames)
    if not regions:
        first = f": {unreadable[0]}" if unreadable else ""
        raise SensoriumError(f"{data.name}: no film with an object in its first frame that can be followed{first}")
    j, f = fmean(regions), fmean(boundaries)
    return Result(
        protocol="tracking",
        metrics={"J&F": (j + f) / 2, "J": j, "F": f},
        own="J&F",
        settings={
            "films": films,
            "objects": len(regions),
            "context": propagation.context,
            "radius": propagation.radius,
            "neighbourhood": "circle" if propagation.circle else "square",
            "k": propagation.k,
            "temperature": propagation.temperature,
        },
        pictures=frames,
        unreadable=unreadable,
        rate=patches.rate,
    )


def _follow(
    clip: Clip, patches: Patches, how: Propagation, progress: Report, stage: str
) -> list[tuple[list[float], list[float]]]:
    """J and F of each object, frame by frame. Raises Unreadable where a frame or a mask is."""
    given = clip.masks(0)
    objects = [int(number) for number in given.unique() if number not in (0, IGNORED)]
    if not objects:
        return []
    measures: list[tuple[list[float], list[float]]] = [([], []) for _ in objects]
    first: tuple[Features, Soft] | None = None
    past: deque[tuple[Features, Soft]] = deque(maxlen=how.context)
    last = max(2, len(clip.frames) - 1)  # the last frame is not measured, but in a film of two

    def read(number: int) -> tuple[int, Named]:
        return number, (f"{clip.key}, frame {number}", clip.frames[number])

    with closing(patches.over(range(len(clip.frames)), read, progress=progress, stage=stage)) as stream:
        for found in stream:
            if isinstance(found, Unreadable):
                raise found
            number, seen = found
            features = F.normalize(seen.patches.to(patches.embedder.device), dim=0)
            if first is None:
                first = features, one_hot(given, objects, seen.grid).to(features)
                continue
            known = [first, *past]
            soft = propagate(features, [each for each, _ in known], [labels for _, labels in known], how)
            past.append((features, soft))
            if number < last:
                truth = clip.masks(number)
                counts, predicted = truth != IGNORED, sharp(soft, truth.shape).cpu()
                for place, (j, f) in enumerate(measures):
                    own, right = (predicted == place + 1) & counts, (truth == objects[place]) & counts
                    j.append(jaccard(own, right))
                    f.append(boundary_f(own, right))
    return measures if measures[0][0] else []


def _grown(mask: Bool[Tensor, "h w"], radius: int) -> Bool[Tensor, "h w"]:
    """Every pixel within `radius` of one that is set."""
    steps = torch.arange(-radius, radius + 1, device=mask.device)
    disk = (steps[:, None].square() + steps.square() <= radius * radius).float()
    return F.conv2d(mask[None, None].float(), disk[None, None], padding=radius)[0, 0] > 0.5
