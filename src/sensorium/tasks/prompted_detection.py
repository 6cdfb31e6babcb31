"""Detection by example (ImageBind, Girdhar et al. 2023, section 5.2): a sound's vector in place of a class's name.

The paper puts it into Detic, whose proposals are classified in CLIP's space. Here any proposals serve, a detector's,
kept regions or a plain grid, and what lies in each is embedded as a picture of its own. The score is the cosine.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor

from sensorium.data.dense import Boxed, BoxedPicture
from sensorium.data.detector_picture import detector_picture
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.image import read_image
from sensorium.data.labelled import BETWEEN_LABELS
from sensorium.data.regions import Regions
from sensorium.data.sensed import labels_of
from sensorium.data.sources.clips import Clips
from sensorium.models.detector import Detector
from sensorium.nn.boxes import clip, overlap, suppress_by_class
from sensorium.tasks.between import sense_vectors
from sensorium.tasks.embedding import Embedder, Picture
from sensorium.tasks.features import Progress, identity, keep_shard, kept_shard
from sensorium.tasks.metrics import all_points_precision
from sensorium.tasks.protocols import How, Result
from sensorium.tasks.zero_shot import class_vectors

OVERLAP = 0.5  # from which on a box counts as found
SUPPRESS = 0.5
MOST = 100  # detections of a picture
SIDES = (1.0, 0.6, 0.35)  # of a grid's boxes, as parts of the shorter side
RATIOS = (0.5, 1.0, 2.0)
SHARD = 32  # pictures in a kept file
SMALLEST = 4.0  # pixels that a side must have
TEMPLATES = ("a photo of a {}.", "a photo of the {}.", "{}")

Boxes = Float[Tensor, "n 4"]


@dataclass(frozen=True, kw_only=True)
class Proposals:
    """What says where something may be in a picture; `name` tells one way from another where vectors are kept."""

    name: str
    boxes: Callable[[str, Image.Image], Boxes]


@dataclass(frozen=True, kw_only=True)
class Detected:
    """What was found in one picture, best first: boxes in its pixels, scores, and the number of the prompt."""

    boxes: Boxes
    scores: Float[Tensor, " n"]
    prompts: Int[Tensor, " n"]


def grid(width: int, height: int) -> Boxes:
    """Boxes of three sizes and shapes all over a picture, overlapping by a half; and the whole of it."""
    found = [torch.tensor([[0.0, 0.0, width, height]])]
    for part in SIDES:
        for ratio in RATIOS:
            side = part * min(width, height)
            w, h = min(side / ratio**0.5, width), min(side * ratio**0.5, height)
            x, y = (
                torch.linspace(0, whole - own, max(1, round(2 * (whole - own) / own) + 1))
                for whole, own in ((width, w), (height, h))
            )
            y, x = torch.meshgrid(y, x, indexing="ij")
            found.append(torch.stack([x, y, x + w, y + h], -1).reshape(-1, 4))
    return torch.cat(found).unique(dim=0)


GRID = Proposals(name="grid", boxes=lambda _, picture: grid(*picture.size))


def of_regions(name: str, regions: Mapping[str, Regions]) -> Proposals:
    """The boxes of kept regions, by a picture's name without its ending; a picture that has none is Unreadable."""

    def boxes(key: str, picture: Image.Image) -> Boxes:
        own = regions.get(Path(key).stem)
        if own is None:
            raise Unreadable(key, f"{name} has no regions of {Path(key).stem}")
        scale = torch.tensor([picture.width / own.width, picture.height / own.height] * 2)
        return torch.tensor(own.boxes) * scale

    return Proposals(name=f"regions {name}", boxes=boxes)


def of_detector(name: str, detector: Detector, most: int = MOST) -> Proposals:
    """The first stage of a detector: its proposals, whatever it would call them."""

    def boxes(key: str, picture: Image.Image) -> Boxes:
        seen = detector_picture(picture)
        with torch.inference_mode():
            map = detector.map(seen.pixels.to(next(detector.parameters())))
            found = detector.propose(map, *seen.pixels.shape[1:])[:most].float().cpu()
        return found * torch.tensor(seen.scale * 2)

    return Proposals(name=f"{most} proposals of {name}", boxes=boxes)


def detect(
    vectors: Float[Tensor, "n dim"], boxes: Boxes, prompts: Float[Tensor, "p dim"], *, most: int = MOST
) -> Detected:
    """What in a picture is nearest to each prompt: cosines, and non-maximum suppression prompt by prompt."""
    scores = F.normalize(vectors, dim=-1) @ F.normalize(prompts, dim=-1).T
    stays = suppress_by_class(boxes, scores, SUPPRESS)
    box, prompt = stays.nonzero(as_tuple=True)
    order = scores[box, prompt].argsort(descending=True, stable=True)[:most]
    return Detected(boxes=boxes[box[order]], scores=scores[box[order], prompt[order]], prompts=prompt[order])


def prompted_detection(
    embedder: Embedder,
    picture: Path | Image.Image,
    prompts: Float[Tensor, "p dim"],
    *,
    proposals: Proposals = GRID,
    most: int = MOST,
) -> Detected:
    """Where in a picture is what the prompts sound like, or say: vectors of any sense of the same model.

    Raises Unreadable where the picture cannot be read, or has no proposals.
    """
    key = str(picture) if isinstance(picture, Path) else "picture"
    vectors, boxes = _regions(embedder, key, picture, proposals)
    return detect(vectors, boxes, prompts, most=most)


def sound_prompts(
    embedder: Embedder, data: Clips, sense: str, how: How
) -> tuple[dict[str, Float[Tensor, " dim"]], list[Unreadable]]:
    """For each class the mean of its examples' vectors, of length 1; and what could not be read."""
    seen = sense_vectors(embedder, data, (sense,), how)
    vectors = F.normalize(seen.vectors[sense], dim=-1)
    owners = [labels_of(data.rows[row]) for row in seen.rows]
    found: dict[str, Tensor] = {}
    for number, name in enumerate(data.classes):
        own = [at for at, labels in enumerate(owners) if number in labels]
        if own:
            found[name] = F.normalize(vectors[own].mean(0), dim=0)
    return found, seen.unreadable


def detection(
    embedder: Embedder,
    test: Boxed,
    *,
    examples: Clips | None = None,
    sense: str = "audio",
    proposals: Proposals = GRID,
    how: How | None = None,
) -> Result:
    """AP at an overlap of one half, the mean over the classes that have examples and boxes; names beside sounds.

    Without examples the names alone ask. `recall` counts boxes that one of a picture's best hundred detections of the
    class finds, `bound` those that any proposal could. Raises SensoriumError where no class has both.
    """
    how = how or How()
    pictures = list(_pictures(test))
    readable = [each for each in pictures if isinstance(each, BoxedPicture)]
    unreadable = [each for each in pictures if isinstance(each, Unreadable)]
    there = sorted({name for each in readable for name in each.names})
    sounds: dict[str, Tensor] = {}
    if examples is not None:
        sounds, damaged = sound_prompts(embedder, examples, sense, how)
        unreadable = [*(Unreadable(examples.name, problem) for problem in examples.problems), *damaged, *unreadable]
        names = [name for name in there if name in sounds]
        if not names:
            raise SensoriumError(
                f"{examples.name} has examples of {_some(sounds)}, {test.name} boxes of {_some(there)}: none of both"
            )
    else:
        names = there
    if not names:
        raise SensoriumError(f"{test.name}: boxes without the names of their classes")
    ways: dict[str, Float[Tensor, "classes dim"]] = {}
    if examples is not None:
        ways[sense] = torch.stack([sounds[name] for name in names])
    if embedder.text is not None or examples is None:
        words = [name.replace("_", " ").replace(BETWEEN_LABELS, " or ") for name in names]
        ways["names"] = class_vectors(embedder, words, TEMPLATES)
    seen = _Seen(embedder, readable, proposals, how)
    found: dict[str, list[tuple[Detected, BoxedPicture]]] = {name: [] for name in (*ways, "chance")}
    draw = torch.Generator().manual_seed(0)
    bounds: list[float] = []
    for picture, vectors, boxes in seen:
        own = picture.boxes[[name in names for name in picture.names]]
        bounds += (overlap(own, boxes).amax(1) >= OVERLAP).tolist() if len(own) else []
        for way, prompts in ways.items():
            found[way].append((detect(vectors, boxes, prompts), picture))
        chance = torch.randn(len(boxes), embedder.dim, generator=draw)
        found["chance"].append((detect(chance, boxes, next(iter(ways.values()))), picture))
    if not bounds:
        raise SensoriumError(f"{test.name}: no picture with boxes of {_some(names)} could be read")
    metrics: dict[str, float] = {}
    for way, results in found.items():
        ap, recall = scored(results, names)
        said = "" if way == next(iter(ways)) else f" by {way}"
        metrics |= {f"AP50{said}": ap, f"recall{said}": recall}
    metrics["bound"] = sum(bounds) / len(bounds)
    return Result(
        protocol="detection",
        metrics=metrics,
        own="AP50",
        settings={
            "classes": len(names),
            "boxes": len(bounds),
            "asked by": next(iter(ways)),
            "proposals": proposals.name,
        },
        pictures=seen.readable,
        unreadable=[*unreadable, *seen.unreadable],
        rate=seen.rate,
    )


def scored(found: Sequence[tuple[Detected, BoxedPicture]], names: Sequence[str]) -> tuple[float, float]:
    """AP and recall, each the mean over the classes that have boxes."""
    precisions: list[float] = []
    recalls: list[float] = []
    for number, name in enumerate(names):
        scores: list[Tensor] = []
        hits: list[Tensor] = []
        total = 0
        for detected, picture in found:
            own = picture.boxes[[each == name for each in picture.names]]
            chosen = detected.prompts == number
            scores.append(detected.scores[chosen])
            hits.append(matched(detected.boxes[chosen], own))
            total += len(own)
        if not total:
            continue
        every, right = torch.cat(scores), torch.cat(hits)
        share = int(right.sum()) / total
        recalls.append(share)
        precisions.append(share * all_points_precision(every, right) if right.any() else 0.0)
    return sum(precisions) / max(len(precisions), 1), sum(recalls) / max(len(recalls), 1)


def matched(boxes: Boxes, truth: Float[Tensor, "m 4"]) -> Bool[Tensor, " n"]:
    """Which of a picture's detections, best first, find a box that none before found: the one they overlap most."""
    hit = torch.zeros(len(boxes), dtype=torch.bool)
    if not len(truth):
        return hit
    taken = torch.zeros(len(truth), dtype=torch.bool)
    for number, shared in enumerate(overlap(boxes, truth)):
        best = int(shared.argmax())
        if shared[best] >= OVERLAP and not taken[best]:
            hit[number] = taken[best] = True
    return hit


class _Seen:
    """Proposals and their vectors, picture by picture, kept where asked."""

    def __init__(self, embedder: Embedder, pictures: Sequence[BoxedPicture], proposals: Proposals, how: How) -> None:
        self.embedder, self.pictures, self.proposals, self.how = embedder, pictures, proposals, how
        self.readable = 0
        self.unreadable: list[Unreadable] = []
        self.computed, self.seconds = 0, 0.0

    @property
    def rate(self) -> float:
        """Pictures a second, of those that were computed."""
        return self.computed / self.seconds if self.seconds else 0.0

    def __iter__(self) -> Iterator[tuple[BoxedPicture, Float[Tensor, "n dim"], Boxes]]:
        for start in range(0, len(self.pictures), SHARD):
            some = self.pictures[start : start + SHARD]
            file = self.how.keep / f"{self._digest(some)}.safetensors" if self.how.keep else None
            shard = kept_shard(file) if file is not None else None
            if shard is None:
                shard = self._compute(some, start)
                if file is not None:
                    keep_shard(file, *shard)
            table, rows, bad = shard
            self.unreadable += bad
            at = torch.tensor(rows, dtype=torch.int64)
            for number, picture in enumerate(some):
                own = table[at == number]
                if len(own):
                    self.readable += 1
                    yield picture, own[:, :-4], own[:, -4:]

    def _compute(self, some: Sequence[BoxedPicture], start: int) -> tuple[Tensor, list[int], list[Unreadable]]:
        tables: list[Tensor] = []
        rows: list[int] = []
        bad: list[Unreadable] = []
        for number, picture in enumerate(some):
            began = time.perf_counter()
            try:
                vectors, boxes = _regions(self.embedder, picture.key, picture.image, self.proposals)
            except Unreadable as error:
                bad.append(error)
            else:
                tables.append(torch.cat([vectors, boxes], dim=1))
                rows += [number] * len(boxes)
            self.computed, self.seconds = self.computed + 1, self.seconds + time.perf_counter() - began
            done, total = start + number + 1, len(self.pictures)
            left = (total - done) / self.rate
            told = Progress(stage="understanding regions", done=done, total=total, rate=self.rate, seconds_left=left)
            self.how.progress(told)
        return torch.cat(tables) if tables else torch.zeros(0, self.embedder.dim + 4), rows, bad

    def _digest(self, some: Sequence[BoxedPicture]) -> str:
        about = f"{self.embedder.fingerprint} {self.embedder.precision} {self.proposals.name}"
        digest = hashlib.blake2b(about.encode(), digest_size=16)
        for picture in some:
            digest.update(identity(picture.image))
        return digest.hexdigest()


def _regions(
    embedder: Embedder, key: str, source: Picture, proposals: Proposals
) -> tuple[Float[Tensor, "n dim"], Boxes]:
    """The vectors of what lies in each proposal, and the proposals, cut at the border. Raises Unreadable."""
    picture = read_image(source)
    boxes = clip(proposals.boxes(key, picture), picture.height, picture.width)
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2] >= SMALLEST).all(1)]
    if not len(boxes):
        raise Unreadable(key, "no proposal of at least 4 pixels")
    corners = torch.cat([boxes[:, :2].floor(), boxes[:, 2:].ceil()], 1).int().tolist()
    cuts = [np.asarray(picture.crop(tuple(corner))) for corner in corners]
    return embedder.embed(images=cuts)["images"], boxes


def _pictures(test: Boxed) -> Iterator[BoxedPicture | Unreadable]:
    for number in range(len(test)):
        try:
            yield test[number]
        except Unreadable as error:
            yield error


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:4]) + (f" … ({len(listed)})" if len(listed) > 4 else "")
