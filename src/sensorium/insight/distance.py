"""How far attention looks, in pixels: figure 7, right, of the ViT paper (and its appendix D.7).

It is the size of a receptive field. In a trained model some heads look over the whole picture already in the lowest
layers, others near; in the highest layers nearly all look far.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.data.errors import SensoriumError
from sensorium.insight.drawing import ACCENT, INK, QUIET, Figure, drawing, heading, page
from sensorium.insight.vit_like import Grid, grid_of, vit_like
from sensorium.nn.looking import Weights, watching


@dataclass(frozen=True, kw_only=True)
class AttentionDistance:
    """Mean distances between a patch and the patches it attends to, weighted by the attention, a row for each layer.

    `pixels` are the model's input pixels between the patches' centres. `elsewhere` is the share of the patches'
    attention that goes to tokens without a place (class token, registers); distances are over the rest. `even` is
    the distance of a patch that looks everywhere alike.
    """

    pixels: Float[Tensor, "layers heads"]
    elsewhere: Float[Tensor, "layers heads"]
    even: float
    pictures: int


@torch.inference_mode()
def attention_distance(model: nn.Module, batches: Iterable[Float[Tensor, "_ 3 _ _"]]) -> AttentionDistance:
    """The distances over all pictures of all batches. Sizes may differ from batch to batch; pictures are not kept.

    Memory holds one batch, and of the attention four million weights at a time. Raises SensoriumError where the model
    has no patches or there is no picture.
    """
    vit, tally = vit_like(model), _Tally()
    for images in batches:
        grid = grid_of(vit, images.shape[-2], images.shape[-1])
        tally.begin(grid, len(images), images.device)
        with watching(vit.blocks, tally.see):
            vit.tokens(images)
    return tally.result()


def distance_of(weights: Sequence[Weights], grid: Grid) -> AttentionDistance:
    """The distances in attention weights that are at hand, (b, heads, tokens, tokens) for each layer."""
    tally = _Tally()
    tally.begin(grid, len(weights[0]) if weights else 0, weights[0].device if weights else torch.device("cpu"))
    for layer, seen in enumerate(weights):
        tally.see(str(layer), 0, seen)
    return tally.result()


def distances(grid: Grid) -> Float[Tensor, "patches patches"]:
    """Pixels between the centres of any two patches."""
    rows, columns, step = grid
    y, x = torch.arange(rows) * step[0], torch.arange(columns) * step[1]
    centres = torch.cartesian_prod(y, x).float().view(-1, 2)
    return torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist")


class _Tally:
    """Sums over pictures and queries, by layer; in double precision, for there may be millions of them."""

    def __init__(self) -> None:
        self.sums: dict[str, Float[Tensor, "3 heads"]] = {}  # attention times distance, attention to patches, to all
        self.pictures, self.even = 0, 0.0

    def begin(self, grid: Grid, pictures: int, device: torch.device) -> None:
        self.apart = distances(grid).to(device)
        self.pictures += pictures
        self.even += pictures * float(self.apart.mean())

    def see(self, name: str, first: int, weights: Weights) -> None:
        prefix = weights.shape[-1] - len(self.apart)
        weights = weights[:, :, max(prefix - first, 0) :].float()  # a patch asks
        begin = max(first - prefix, 0)
        on_patches = weights[..., prefix:]
        far = (on_patches * self.apart[begin : begin + weights.shape[2]]).sum((0, 2, 3))
        sums = torch.stack([far, on_patches.sum((0, 2, 3)), weights.sum((0, 2, 3))]).double().cpu()
        self.sums[name] = self.sums[name] + sums if name in self.sums else sums

    def result(self) -> AttentionDistance:
        if not self.pictures:
            raise SensoriumError("no picture to look at")
        far, on_patches, everywhere = torch.stack(list(self.sums.values()), dim=1)
        return AttentionDistance(
            pixels=(far / on_patches).float(),
            elsewhere=(1 - on_patches / everywhere).clamp(min=0).float(),
            even=self.even / self.pictures,
            pictures=self.pictures,
        )


@drawing
def draw_distance(result: AttentionDistance, title: str = "") -> Figure:
    """A dot for every head of every layer, the mean of each layer, and what an even look would give."""
    layers, heads = result.pixels.shape
    figure = page(6.6, 4.6)
    axes = figure.subplots()
    places = [1 + layer for layer in range(layers)]
    for head in range(heads):
        label = f"one of {heads} heads" if head == 0 else None
        axes.plot(places, result.pixels[:, head].numpy(), "o", color=ACCENT, alpha=0.55, ms=5, mew=0, label=label)
    axes.plot(places, result.pixels.mean(1).numpy(), "-", color=INK, lw=1.4, label="mean of the heads")
    axes.axhline(result.even, color=QUIET, lw=1.2, ls=(0, (5, 3)), label="looking everywhere alike")
    axes.set_ylim(0, 1.12 * max(result.even, float(result.pixels.max())))
    axes.set_xlim(0.5, layers + 0.5)
    axes.set_xticks([n for n in places if layers <= 12 or n % (1 + layers // 12) == 0 or n == 1])
    axes.set_xlabel("layer, from input to output")
    axes.set_ylabel("mean attention distance (pixels)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    seen = "1 picture" if result.pictures == 1 else f"{result.pictures:,} pictures"
    away = f"{float(result.elsewhere.mean()):.1%} of attention goes to tokens without a place, not counted"
    heading(figure, title or "How far attention looks", f"mean over {seen}; {away}")
    return figure
