"""What the patch embedding looks for: figure 7, left, of the ViT paper (Dosovitskiy et al. 2020).

A trained model's principal filters look like plausible basis functions for the fine structure within a patch.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.insight.drawing import Figure, drawing, heading, page, quiet
from sensorium.insight.vit_like import filter_bank, vit_like

SHOWN = 28  # as many as the figure has
COLUMNS = 7


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The principal components of the filters, strongest first, and what share of the filters' variance each holds."""

    components: Float[Tensor, "k 3 height width"]
    share: Float[Tensor, " k"]
    filters: int


def principal_filters(model: nn.Module, count: int = SHOWN) -> Filters:
    """The first `count` principal components of the RGB filters of the model's patch embedding.

    Each has length 1; its sign, which is arbitrary, makes its largest number positive. Filters of clips are summed
    over time, which is what a still picture meets. Raises SensoriumError where the model has no patches.
    """
    weight = filter_bank(vit_like(model).patches)
    return principal_components(weight.flatten(2, -3).sum(2) if weight.ndim > 4 else weight, count)


def principal_components(filters: Float[Tensor, "n 3 height width"], count: int = SHOWN) -> Filters:
    """Principal components of any set of filters, of their differences from the mean filter."""
    flat = filters.detach().cpu().double().flatten(1)
    _, lengths, directions = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    directions = directions[:count]
    signs = directions.gather(1, directions.abs().argmax(1, keepdim=True)).sign()
    variance = lengths.square()
    return Filters(
        components=(directions * signs).unflatten(1, filters.shape[1:]).float(),
        share=(variance / variance.sum().clamp(min=torch.finfo(variance.dtype).tiny))[:count].float(),
        filters=len(filters),
    )


@drawing
def draw_filters(result: Filters, title: str = "") -> Figure:
    """A sheet of the components, in colours: mid-grey is zero, and every component fills the range."""
    shown = len(result.share)
    columns = min(COLUMNS, shown)
    rows = -(-shown // columns)
    figure = page(max(1.15 * columns, 4.6) + 0.4, 1.36 * rows + 1.0)
    grid = figure.subplots(rows, columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= shown:
            axes.set_axis_off()
            continue
        component = result.components[place]
        reach = float(component.abs().max()) or 1.0
        axes.imshow((component / reach / 2 + 0.5).permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_title(f"{place + 1} · {result.share[place]:.1%}", fontsize=8, pad=3)
        quiet(axes)
    heading(
        figure,
        title or "Filters of the patch embedding",
        f"the first {shown} principal components of {result.filters:,} RGB filters, with their share of the variance",
    )
    return figure
