"""Whether a model that was told positions as a list found out that they form a picture: figure 7, centre, of ViT.

In a trained model closer patches have more similar embeddings, and those of the same row or column too.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.insight.drawing import Figure, colourbar, drawing, heading, page
from sensorium.insight.vit_like import learned_positions

TILES = 14  # maps along a side of the drawing: more would be too small to read


@dataclass(frozen=True, kw_only=True)
class PositionSimilarity:
    """Cosines between position embeddings: `cosines[r, c]` is the map of what is like the patch in row r, column c.

    The means are over pairs of different patches: neighbours that touch at a side, patches of one row, of one column,
    and pairs that share neither; NaN where there is no such pair.
    """

    cosines: Float[Tensor, "rows columns rows columns"]
    neighbours: float
    same_row: float
    same_column: float
    elsewhere: float


def position_similarity(model: nn.Module) -> PositionSimilarity:
    """The similarities of the model's learned positions, at the size of picture that they were learned at.

    Raises SensoriumError where it learned none (DINOv3), naming what else can be looked at.
    """
    return similarity_of(learned_positions(model))


def similarity_of(positions: Float[Tensor, "rows columns width"]) -> PositionSimilarity:
    """The similarities of any grid of embeddings."""
    rows, columns = positions.shape[:2]
    unit = F.normalize(positions.detach().cpu().float(), dim=-1).flatten(0, 1)
    cosines = unit @ unit.T
    row, column = torch.arange(rows).repeat_interleave(columns), torch.arange(columns).repeat(rows)
    down, across = (row[:, None] - row).abs(), (column[:, None] - column).abs()
    return PositionSimilarity(
        cosines=cosines.unflatten(1, (rows, columns)).unflatten(0, (rows, columns)),
        neighbours=float(cosines[down + across == 1].mean()),
        same_row=float(cosines[(down == 0) & (across > 0)].mean()),
        same_column=float(cosines[(across == 0) & (down > 0)].mean()),
        elsewhere=float(cosines[(down > 0) & (across > 0)].mean()),
    )


@drawing
def draw_positions(result: PositionSimilarity, title: str = "") -> Figure:
    """One small map for every patch, where the patch lies; of large grids, as many as can be read."""
    rows, columns = result.cosines.shape[:2]
    shown = [_spread(n) for n in (rows, columns)]
    gap = max(1, round(max(rows, columns) / 10))
    high, wide = len(shown[0]) * (rows + gap) - gap, len(shown[1]) * (columns + gap) - gap
    mosaic = torch.full((high, wide), torch.nan)
    for y, r in enumerate(shown[0]):
        for x, c in enumerate(shown[1]):
            top, left = y * (rows + gap), x * (columns + gap)
            mosaic[top : top + rows, left : left + columns] = result.cosines[r, c]
    figure = page(7.4, 7.2)
    axes = figure.subplots()
    drawn = axes.imshow(mosaic.numpy(), cmap="viridis", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_yticks([y * (rows + gap) + rows / 2 - 0.5 for y in range(len(shown[0]))], [f"{r + 1}" for r in shown[0]])
    axes.set_xticks(
        [x * (columns + gap) + columns / 2 - 0.5 for x in range(len(shown[1]))], [f"{c + 1}" for c in shown[1]]
    )
    axes.set_ylabel("row of the patch")
    axes.set_xlabel("column of the patch")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    colourbar(figure, drawn, axes, "cosine similarity")
    some = "one patch" if len(shown[0]) == rows else "one of some patches"
    heading(
        figure,
        title or "Position embeddings",
        f"each map: the embedding of {some} against all {rows} x {columns}\nmean cosine of {in_words(result)}",
    )
    return figure


def in_words(result: PositionSimilarity) -> str:
    """The means in words."""
    return (
        f"neighbours {result.neighbours:z.2f}, in a row {result.same_row:z.2f}, "
        f"in a column {result.same_column:z.2f}, elsewhere {result.elsewhere:z.2f}"
    )


def _spread(n: int) -> list[int]:
    """At most TILES numbers below n, evenly apart, the first and the last among them."""
    if n <= TILES:
        return list(range(n))
    return [round(i * (n - 1) / (TILES - 1)) for i in range(TILES)]
