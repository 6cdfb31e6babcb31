"""What the class token and each register look at, head by head: figures 1 and 9 of Vision Transformers Need Registers
(Darcet et al. 2023), https://arxiv.org/abs/2309.16588, after DINO (Caron et al. 2021), https://arxiv.org/abs/2104.14294.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from sensorium.insight.drawing import Figure, colourbar, drawing, fitted, heading, page, quiet
from sensorium.insight.places import numbered
from sensorium.insight.vit_like import grid_of, vit_like
from sensorium.nn.looking import Weights, watching

SHOWN = 6  # pictures in one drawing
HEADS = 16  # in one drawing
ROW = 4  # frames of a film in a row


@dataclass(frozen=True, kw_only=True)
class TokenAttention:
    """What each of the tokens that ask looks at in one layer: `maps` over the patches, `elsewhere` to tokens without a
    place (class token, registers); for every head the two sum to 1."""

    asking: tuple[str, ...]
    maps: Float[Tensor, "asking heads rows columns"]
    elsewhere: Float[Tensor, "asking heads"]
    layer: int

    def mean(self, asking: int = 0) -> Float[Tensor, "rows columns"]:
        """One token's map over all heads."""
        return self.maps[asking].mean(0)


@torch.inference_mode()
def token_attention(model: nn.Module, image: Float[Tensor, "1 3 h w"], layer: int | None = None) -> TokenAttention:
    """The attention of class token and registers in a layer (from 1, or from the end where negative; None: the last).

    Where there is no class token, the mean over all patches asks in its place. Memory holds four million weights at a
    time, and the maps; the time grows with the square of the patches. Raises SensoriumError where the model has no
    patches or no such layer.
    """
    vit = vit_like(model)
    grid = grid_of(vit, image.shape[-2], image.shape[-1])
    number, patches = numbered(layer, len(vit.blocks)), grid.rows * grid.columns
    without = len(vit.cls) == 0
    first_rows: list[Tensor] = []
    mean = torch.zeros(0)

    def see(_: str, first: int, weights: Weights) -> None:
        nonlocal mean
        prefix = weights.shape[-1] - patches
        if first < prefix:
            first_rows.append(weights[0, :, : prefix - first].float().cpu())
        if without:
            rest = weights[0, :, max(prefix - first, 0) :].float().sum(1).cpu() / patches
            mean = mean + rest if mean.numel() else rest

    with watching(vit.blocks[number - 1], see):
        vit.tokens(image)
    rows = [mean[:, None]] if without else []
    shares = torch.cat([*rows, *first_rows], dim=1).transpose(0, 1)
    prefix = shares.shape[-1] - patches
    registers = prefix - len(vit.cls)
    return TokenAttention(
        asking=("mean of the patches" if without else "class token", *(f"register {i + 1}" for i in range(registers))),
        maps=shares[..., prefix:].unflatten(-1, (grid.rows, grid.columns)).clone(),
        elsewhere=shares[..., :prefix].sum(-1),
        layer=number,
    )


@drawing
def draw_attention(
    results: Sequence[TokenAttention],
    pictures: Sequence[UInt8[Tensor, "3 _ _"]],
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """One picture: a row for each token that asks, all heads and their mean. Several: a row for each picture, a column
    for each token, heads averaged. Every map has its own scale, from nothing to its largest.

    `pictures` may be fewer than were looked at: the first ones.
    """
    shown = min(len(pictures), SHOWN)
    asking = results[0].asking
    heads = results[0].maps.shape[1]
    if shown == 1:
        result = results[0]
        drawn = min(heads, HEADS)
        labels = ["the picture", "all heads", *(f"head {i + 1}" for i in range(drawn))]
        rows: list[list[Tensor]] = [[result.mean(i), *result.maps[i, :drawn]] for i in range(len(asking))]
        sides = list(asking)
    else:
        labels = ["the picture", *asking]
        rows = [[result.mean(i) for i in range(len(asking))] for result in results[:shown]]
        sides = [""] * shown
    shapes = [min(1.6, x.shape[1] / x.shape[2]) for x in pictures[:shown]] * (len(rows) if shown == 1 else 1)
    each = 1.9 if len(labels) <= 4 else 1.3
    figure = page(each * len(labels) + 0.5, each * sum(shapes) + (0.13 if shown == 1 else 0.26) * len(rows) + 1.2)
    grid = figure.subplots(len(rows), len(labels), squeeze=False, height_ratios=shapes)
    for row, maps in enumerate(rows):
        picture = pictures[0 if shown == 1 else row]
        height, width = picture.shape[1:]
        extent = (0, width, height, 0)
        first, *others = grid[row]
        first.imshow(picture.permute(1, 2, 0).cpu().numpy(), extent=extent)
        for axes, map in zip(others, maps, strict=True):
            axes.imshow(map.numpy(), cmap="inferno", vmin=0, extent=extent)
        for axes in grid[row]:
            quiet(axes)
        first.set_ylabel(sides[row], fontsize=8)
        if row < len(names):
            first.set_xlabel(fitted(names[row], int(each * 14)), fontsize=7.5)
    for axes, label in zip(grid[0], labels, strict=True):
        axes.set_title(label, fontsize=8.5)
    left_out = [f"{heads - HEADS} more heads"] if shown == 1 and heads > HEADS else []
    left_out += [f"{len(results) - shown} more pictures"] if len(results) > shown else []
    more = f"; {' and '.join(left_out)} in the numbers" if left_out else ""
    heading(figure, title or "Attention of tokens", f"layer {results[0].layer}; each map from 0 to its largest{more}")
    return figure


@drawing
def draw_film(
    results: Sequence[TokenAttention],
    frames: Sequence[UInt8[Tensor, "3 _ _"]],
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """A contact sheet: every frame, and under it what its first asking token looks at, all on one scale."""
    columns = min(ROW, len(frames))
    rows = -(-len(frames) // columns)
    shape = frames[0].shape[1] / frames[0].shape[2]
    figure = page(1.95 * columns + 0.9, rows * (2 * 1.9 * shape + 0.3) + 1.0)
    grid = figure.subplots(2 * rows, columns, squeeze=False)
    highest = max(float(result.mean().max()) for result in results)
    drawn = None
    for place in range(rows * columns):
        above, below = grid[2 * (place // columns), place % columns], grid[2 * (place // columns) + 1, place % columns]
        if place >= len(frames):
            above.set_axis_off()
            below.set_axis_off()
            continue
        height, width = frames[place].shape[1:]
        extent = (0, width, height, 0)
        above.imshow(frames[place].permute(1, 2, 0).cpu().numpy(), extent=extent)
        drawn = below.imshow(results[place].mean().numpy(), cmap="inferno", vmin=0, vmax=highest, extent=extent)
        quiet(above)
        quiet(below)
        if place < len(names):
            above.set_title(fitted(names[place], 28), fontsize=7.5, pad=2)
    colourbar(figure, drawn, grid.ravel().tolist(), "share of the attention, mean of the heads")
    heading(
        figure, title or "Attention over a film", f"what the {results[0].asking[0]} looks at, layer {results[0].layer}"
    )
    return figure
