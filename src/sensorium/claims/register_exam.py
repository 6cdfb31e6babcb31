"""What the claim about registers measures in a trunk: outliers among its patches, what its class token looks at, what
LOST finds with it, and what single tokens know (Darcet et al. 2023, sections 2 and 3)."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import log

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from sensorium.data.dense import Boxed
from sensorium.data.image import read_image
from sensorium.data.preprocess import Preprocess
from sensorium.data.standins.things import Things
from sensorium.insight.places import passing
from sensorium.insight.vit_like import vit_like
from sensorium.models.dinov3 import DINOv3
from sensorium.nn.attention import Tokens
from sensorium.nn.looking import looking
from sensorium.nn.neighbours import vote
from sensorium.nn.patch_maps import Kind, patch_maps
from sensorium.nn.register_neurons import TIMES, register_at_test_time, register_neurons
from sensorium.tasks.components import box_of
from sensorium.tasks.discovery import located, lost
from sensorium.tasks.few_shot import ridge
from sensorium.tasks.metrics import top_k

FAR = 10.0  # medians: the paper's outliers are about ten times as long as the others
PAPER_SHARE = 0.0237  # of DINOv2-g's tokens
LOWEST = 12  # LOST expands its seed over one patch in so many: 100 of the 1,200 of a photograph
BLOCK = 64  # pictures at a time
FEW = 200  # outliers in the training pictures: with fewer, no probe of them is believed
PENALTY = 1e2

Pictures = Float[Tensor, "n 3 h w"]
Norms = Float[Tensor, "layers n patches"]


@dataclass(frozen=True, kw_only=True)
class Exam:
    """Pictures of things at the size of training, whose neighbours are asked; some at twice that size, whose tokens are
    looked at; scenes with the boxes of their things, for LOST."""

    memory: Pictures
    known: Int[Tensor, " n"]
    asked: Pictures
    truth: Int[Tensor, " m"]
    things: int
    large: Pictures
    scenes: Pictures
    boxes: Sequence[Float[Tensor, "_ 4"]]

    @classmethod
    def of(
        cls, parts: tuple[Things, Things], scenes: Boxed, steps: Preprocess, *, every: int, looked_at: int
    ) -> "Exam":
        """One training picture of `every`; scenes are seen at four ninths more than the pictures that are looked at."""
        (memory, known), (asked, truth) = (pictures(part, steps, n) for part, n in zip(parts, (every, 1), strict=True))
        items = [scenes[row] for row in range(len(scenes))]
        side = 8 * steps.size // 3
        boxes = [item.boxes * (side / read_image(item.image).width) for item in items]
        shown = Preprocess(size=side, mean=steps.mean, std=steps.std)
        return cls(
            memory=memory,
            known=known,
            asked=asked,
            truth=truth,
            things=len(parts[0].classes),
            large=pictures(parts[1], twice(steps), max(1, len(asked) // looked_at))[0],
            scenes=steps.normalise(torch.stack([shown.pixels(read_image(item.image)) for item in items])),
            boxes=boxes,
        )

    def __call__(self, trunk: DINOv3) -> dict[str, float]:
        """`outliers` and `far`: shares of the last layer's patches above 3 and 10 medians; `largest`, in medians;
        `most`: the share of `outliers` in the layer where it is largest; `variation` and `entropy` of the class token's
        attention; `corloc` of LOST on the better of keys and values; `knn` of the things."""
        ratio = in_medians(norms_of(trunk, self.large))
        rough, even = smoothness(trunk, self.large)
        said = vote(features(trunk, self.memory), self.known, features(trunk, self.asked), self.things, k=10)
        return {
            "outliers": float((ratio[-1] > TIMES).float().mean()),
            "far": float((ratio[-1] > FAR).float().mean()),
            "largest": float(ratio[-1].max()),
            "most": float((ratio > TIMES).float().mean((1, 2)).max()),
            "variation": rough,
            "entropy": even,
            "corloc": max(self.corloc(trunk, kind) for kind in ("keys", "values")),
            "knn": top_k(said, self.truth),
        }

    @torch.no_grad()
    def corloc(self, trunk: DINOv3, kind: Kind) -> float:
        """The share of scenes in which LOST's one box finds a thing."""
        maps = torch.cat([patch_maps(vit_like(trunk), some, what=kind)[0].float() for some in self.scenes.split(BLOCK)])
        patch, count = trunk.config.patch, maps[0, 0].numel()
        found = [patch * box_of(lost(each, k=max(1, count // LOWEST))) for each in maps]
        return sum(located(box, truth) for box, truth in zip(found, self.boxes, strict=True)) / len(found)


def twice(steps: Preprocess) -> Preprocess:
    """The same at twice the size."""
    return Preprocess(size=2 * steps.size, mean=steps.mean, std=steps.std)


def pictures(source: Things, steps: Preprocess, every: int = 1) -> tuple[Pictures, Int[Tensor, " n"]]:
    """One picture of `every`, as the model reads it, and the number of its thing."""
    rows = [source[row] for row in range(0, len(source), every)]
    pixels: list[UInt8[Tensor, "3 _ _"]] = [steps.pixels(read_image(row["image"])) for row in rows]
    return steps.normalise(torch.stack(pixels)), torch.tensor([row["label"] for row in rows])


@torch.no_grad()
def features(trunk: DINOv3, images: Pictures) -> Float[Tensor, "n d"]:
    """The class tokens."""
    return torch.cat([trunk(some).cls.float() for some in images.split(BLOCK)])


@torch.no_grad()
def norms_of(trunk: DINOv3, images: Pictures) -> Norms:
    """The norms of the patches' tokens after every block, before the final norm."""
    seen: list[list[Tensor]] = [[] for _ in trunk.blocks]
    count = len(trunk.places(images))

    def see(layer: int, x: Tokens) -> None:
        seen[layer - 1].append(x[:, -count:].float().norm(dim=-1))

    with passing(vit_like(trunk), see):
        for some in images.split(BLOCK):
            trunk.tokens(some)
    return torch.stack([torch.cat(layer) for layer in seen])


def in_medians(norms: Norms) -> Norms:
    """Norms divided by the median of their layer, over all pictures."""
    return norms / norms.flatten(1).median(1).values[:, None, None]


@torch.no_grad()
def smoothness(trunk: DINOv3, images: Pictures) -> tuple[float, float]:
    """Of the class token's attention in the last layer, as a map over the patches that sums to 1: its total variation,
    the differences between neighbours summed, and its entropy as a share of an even map's; means over heads."""
    rows, columns = trunk.patches.grid(*images.shape[-2:])
    count, variation, entropy = rows * columns, list[Tensor](), list[Tensor]()
    for some in images.split(BLOCK):
        with looking(trunk.blocks[-1]) as seen:
            trunk.tokens(some)
        (weights,) = next(iter(seen.values()))
        share = weights[:, :, 0, -count:].float()
        share = share / share.sum(-1, keepdim=True)
        entropy.append(-(share * share.clamp(min=1e-12).log()).sum(-1).mean(1) / log(count))
        map = share.unflatten(-1, (rows, columns))
        variation.append((map.diff(dim=-1).abs().sum((-2, -1)) + map.diff(dim=-2).abs().sum((-2, -1))).mean(1))
    return float(torch.cat(variation).mean()), float(torch.cat(entropy).mean())


# -- planted ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Outliers that were put into a trunk: how many, how many were found in the layers that have them, how many others
    were; whether the neuron that makes them was; how many are left when it is moved to a test-time register."""

    cutoff: float
    tokens: int
    planted: int
    found: int
    wrong: int
    neuron: bool
    left: int

    @property
    def exact(self) -> bool:
        """Whether all is as it must be."""
        return self.found == self.planted and not self.wrong and self.neuron and not self.left

    @property
    def words(self) -> str:
        """The same in words."""
        return (
            f"{self.planted} in {self.tokens:,} tokens: above {self.cutoff:g} medians {self.found} of them and "
            f"{self.wrong} others; {'the' if self.neuron else 'not the'} neuron; {self.left} left after the move"
        )


@torch.no_grad()
def planted(trunk: DINOv3, images: Pictures, *, seed: int = 0) -> Planted:
    """Plant the paper's share of outliers, ten times as long as the others, into an untrained trunk, and look for them.

    Patches at random places are replaced by a mark, no longer than they were, to which one neuron in the middle block
    answers; it is this neuron that makes them long. The cutoff is half of their length: without training, norms are
    contrasts of the picture, a few of which are above three medians by themselves.
    """
    dice, width = torch.Generator().manual_seed(seed), trunk.dim
    count, half = len(trunk.places(images)), len(trunk.blocks) // 2
    where = torch.rand(len(images), count, generator=dice) < PAPER_SHARE
    mark, written = torch.randn(2, width, generator=dice)
    mark, written = mark - mark.mean(), written / written.norm()
    mark = mark / mark.norm()
    length = float(norms_of(trunk, images).median())
    mlp = trunk.blocks[half].get_submodule("mlp")
    neuron = int(torch.randint(trunk.config.hidden, (), generator=dice))
    heard = (
        4 * width**0.5
    )  # of the mark alone, which a norm brings to the length √width; cosines below 0.65 say nothing
    mlp.get_parameter("up.weight")[neuron], mlp.get_parameter("up.bias")[neuron] = 4 * mark, -0.65 * heard
    said = 0.35 * heard * trunk.config.layer_scale
    mlp.get_parameter("down.weight")[:, neuron] = FAR * length / said * written
    with marked(trunk, where, length * mark):
        high = in_medians(norms_of(trunk, images)) > FAR / 2
        found = register_neurons(vit_like(trunk), list(images.split(BLOCK)), 1, cutoff=FAR / 2 * length)
        neurons = {} if found is None else found.neurons
        with register_at_test_time(vit_like(trunk), neurons):
            left = in_medians(norms_of(trunk, images)) > FAR / 2
    wanted = torch.zeros_like(high)
    wanted[half:] = where
    after = len(trunk.blocks) - half
    return Planted(
        cutoff=FAR / 2,
        tokens=where.numel(),
        planted=int(where.sum()),
        found=int((high & wanted).sum()) // after,
        wrong=int((high & ~wanted).sum()),
        neuron={block: which.tolist() for block, which in neurons.items()} == {half: [neuron]},
        left=int(left.sum()),
    )


@contextmanager
def marked(trunk: DINOv3, where: Bool[Tensor, "n patches"], mark: Float[Tensor, " d"]) -> Generator[None]:
    """Inside the block some patches of the pictures, which are read in their order, begin as the mark."""
    place = [0]

    def replaced(_module: object, _inputs: object, x: Tensor) -> Tensor:
        rows = torch.arange(place[0], place[0] + len(x)) % len(where)  # they may be read several times
        place[0] += len(x)
        return torch.where(where[rows][..., None], mark, x)

    hook = trunk.patches.register_forward_hook(replaced)
    try:
        yield
    finally:
        hook.remove()


# -- what single tokens know ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Known:
    """Top-1 of linear probes that read one token: its place in the picture, the thing in it. `count` outliers."""

    count: int
    place: tuple[float, float]  # of outliers, of others
    thing: tuple[float, float]


@dataclass(frozen=True)
class Single:
    """Every patch's token, which patch of its picture it is, the thing in the picture, and whether it is an outlier."""

    token: Float[Tensor, "n d"]
    place: Int[Tensor, " n"]
    thing: Int[Tensor, " n"]
    high: Bool[Tensor, " n"]

    @classmethod
    @torch.no_grad()
    def of(cls, trunk: DINOv3, images: Pictures, truth: Int[Tensor, " n"]) -> "Single":
        """The last layer's, normed; whether they are outliers is asked before the norm."""
        high = in_medians(norms_of(trunk, images))[-1] > TIMES
        tokens = torch.cat([trunk(some).patches.float() for some in images.split(BLOCK)])
        place = torch.arange(tokens.shape[1]).expand(len(tokens), -1)
        thing = truth[:, None].expand_as(place)
        return cls(tokens.flatten(0, 1), place.flatten(), thing.flatten(), high.flatten())

    def drawn(self, *, high: bool) -> "Single":
        """The outliers, or as many others by chance."""
        rows = (self.high == high).nonzero()[:, 0]
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
        rows = rows[order[: int(self.high.sum())]]
        return Single(self.token[rows], self.place[rows], self.thing[rows], self.high[rows])


def known_by_tokens(train: Single, test: Single, things: int) -> Known | None:
    """Outliers against as many other tokens drawn at random (section 2.1 of the paper); None where there are too few of
    them to be judged."""
    if int(train.high.sum()) < FEW or int(test.high.sum()) < FEW // 10:
        return None

    def probe(high: bool) -> tuple[float, float]:
        x, z = train.drawn(high=high), test.drawn(high=high)
        place, thing = (
            top_k(ridge(x.token, labels, z.token, classes, penalty=PENALTY), truth)
            for labels, truth, classes in (
                (x.place, z.place, 1 + int(train.place.max())),
                (x.thing, z.thing, things),
            )
        )
        return place, thing

    (high_place, high_thing), (other_place, other_thing) = probe(True), probe(False)
    return Known(count=int(train.high.sum()), place=(high_place, other_place), thing=(high_thing, other_thing))


def tail(norms: Float[Tensor, " n"], steps: int = 25) -> tuple[list[float], list[float]]:
    """log10 of norms in medians, and log10 of the share of tokens that are longer; ends where none is."""
    logs = norms.log10()
    at = torch.linspace(0, float(logs.max()), steps)[:-1]
    share = (logs > at[:, None]).float().mean(1)
    return at.tolist(), share.clamp(min=1 / len(norms)).log10().tolist()
