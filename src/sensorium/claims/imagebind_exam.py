"""What ImageBind's claim measures: whether a sense finds words that it never met, and whether the sum of a picture and
a sound finds the picture that has both (Girdhar et al. 2023, sections 4.1 and 4.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.claims.imagebind_pairs import Pairs
from sensorium.data.standins.figures import POSES
from sensorium.training.recipes.imagebind_towers import Towers

AT_ONCE = 64
MET = 500
RANKS = (1, 2, 5, 10, 20, 50)


@dataclass(frozen=True)
class Found:
    """Zero-shot over all captions of the set, for other recordings of things that training met; and among the captions
    of things of which it met nothing in this sense (0 where the set has none of them)."""

    top1: float
    top5: float
    classes: int
    unseen: float = 0.0
    unseen_classes: int = 0

    @property
    def chance(self) -> float:
        """Of top-1."""
        return 1 / self.classes

    @property
    def unseen_chance(self) -> float:
        """Of `unseen`."""
        return 1 / max(1, self.unseen_classes)


@torch.no_grad()
def embedded(trunk: nn.Module, inputs: Float[Tensor, "n ..."], *, bf16: bool) -> Float[Tensor, "n d"]:
    """Unit vectors of many inputs."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return torch.cat([F.normalize(trunk(x.float()).float(), dim=-1) for x in inputs.split(AT_ONCE)])


def words(pairs: Pairs, towers: Towers) -> Float[Tensor, "classes d"]:
    """The text tower's vector of each class: its caption, or the mean of several."""
    if pairs.sense != "motion":
        return towers.read(list(pairs.source.classes))
    return F.normalize(torch.stack([towers.read(list(pose.captions)).mean(0) for pose in POSES]), dim=-1)


@dataclass(frozen=True, eq=False)
class Exam:
    """One sense before the words of one pair of towers."""

    pairs: Pairs
    names: Float[Tensor, "classes d"]
    bf16: bool

    def __call__(self, trunk: nn.Module) -> Found:
        """Of a trunk of this sense."""
        return self.of({split: embedded(trunk, self.inputs(split), bf16=self.bf16) for split in self.splits})

    def met(self, trunk: nn.Module) -> float:
        """Top-1 of the very inputs that a trunk was trained with, beside pictures: about `MET` of them."""
        rows = self.pairs.rows("train")
        some = rows[:: max(1, len(rows) // MET)]
        said = (embedded(trunk, self.pairs.inputs[some], bf16=self.bf16) @ self.names.T).argmax(1)
        return float((said == self.pairs.labels(some)).float().mean())

    @property
    def splits(self) -> list[str]:
        """Those that the set has."""
        return [split for split in ("test", "unseen") if self.pairs.rows(split)]

    def inputs(self, split: str) -> Float[Tensor, "n ..."]:
        """What a trunk is asked about."""
        return self.pairs.inputs[self.pairs.rows(split)]

    def of(self, vectors: dict[str, Float[Tensor, "n d"]]) -> Found:
        """Of vectors of the two splits, whatever made them."""
        truth = self.pairs.labels(self.pairs.rows("test"))
        order = (vectors["test"] @ self.names.T).topk(min(5, len(self.names)), dim=1).indices
        hits = order == truth[:, None]
        found = Found(float(hits[:, 0].float().mean()), float(hits.any(1).float().mean()), len(self.names))
        if "unseen" not in vectors:
            return found
        truth = self.pairs.labels(self.pairs.rows("unseen"))
        among = truth.unique()
        right = among[(vectors["unseen"] @ self.names[among].T).argmax(1)] == truth
        return Found(found.top1, found.top5, found.classes, float(right.float().mean()), len(among))


@dataclass(frozen=True)
class Sums:
    """How often the picture with both is among the first 1, 2, 5 ... (`RANKS`), and the mean average precision."""

    recall: dict[str, list[float]]
    precision: dict[str, float]
    queries: int
    gallery: int


def arithmetic(
    things: Int[Tensor, "g 2"],
    gallery: Float[Tensor, "g d"],
    pictures: dict[int, Float[Tensor, "n d"]],
    sounds: dict[int, Float[Tensor, "m d"]],
) -> Sums:
    """For every picture of two things of `gallery`: another picture of the one, and a sound of the other. The number of
    a thing is the key of `pictures` and `sounds`."""
    queries = [
        (one, other, i)
        for i, pair in enumerate(things.tolist())
        for one, other in (pair, pair[::-1])
        if one in pictures and other in sounds
    ]
    image = torch.stack([pictures[one][i % len(pictures[one])] for one, _, i in queries])
    sound = torch.stack([sounds[other][i % len(sounds[other])] for _, other, i in queries])
    both = torch.tensor([[one, other] for one, other, _ in queries])
    relevant = (things[None] == both[:, None]).all(-1) | (things[None] == both[:, None].flip(-1)).all(-1)
    asked = {"image + sound": image + sound, "image alone": image, "sound alone": sound}
    ranked = {name: relevant.gather(1, (x @ gallery.T).argsort(1, descending=True)) for name, x in asked.items()}
    recall = {name: [float(x[:, :k].any(1).float().mean()) for k in RANKS] for name, x in ranked.items()}
    share = float(relevant.float().sum(1).mean()) / len(gallery)
    recall["chance"] = [1 - (1 - share) ** k for k in RANKS]
    precision = {name: _precision(x) for name, x in ranked.items()} | {"chance": share}
    return Sums(recall, precision, len(queries), len(gallery))


def _precision(ranked: Bool[Tensor, "q g"]) -> float:
    """The mean over queries of average precision."""
    at = torch.arange(1, ranked.shape[1] + 1)
    each = (ranked.cumsum(1) / at * ranked).sum(1) / ranked.sum(1)
    return float(each.mean())


def by_class(vectors: Float[Tensor, "n d"], labels: Sequence[int]) -> dict[int, Float[Tensor, "m d"]]:
    """The vectors of each class."""
    return {label: vectors[[i for i, each in enumerate(labels) if each == label]] for label in sorted(set(labels))}
