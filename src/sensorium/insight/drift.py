"""How patches' likeness to each other changes from one checkpoint to the next: the Gram matrix that DINOv3 anchors
(Siméoni et al. 2025, https://arxiv.org/abs/2508.10104, section 4).

During long training the class token goes on to improve while patches lose what makes them comparable; the matrix of
their cosines shows it, whatever way the features themselves have turned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.data.errors import SensoriumError
from sensorium.insight.cosine import MARK
from sensorium.insight.drawing import ACCENT, INK, PAPER, Figure, colourbar, drawing, fitted, heading, page, quiet

SHOWN, MODELS = 3, 5  # pictures and checkpoints in one drawing
ROWS = 1024  # of a Gram matrix that are formed at a time


@dataclass(frozen=True, kw_only=True)
class GramDrift:
    """Mean squared differences of the Gram matrices from the first checkpoint's, and one row of each matrix as a map.

    `maps[m][p]` are the cosines of picture p's places with its `places[p]` (row, column), as checkpoint m sees them.
    """

    drift: Float[Tensor, "checkpoints pictures"]
    maps: tuple[tuple[Float[Tensor, "_ _"], ...], ...]
    places: tuple[tuple[int, int], ...]


def gram_drift(features: Sequence[Sequence[Float[Tensor, "_ _ _"]]], places: Sequence[tuple[int, int]]) -> GramDrift:
    """The drift of `features[checkpoint][picture]`; memory holds 1,024 rows of two matrices at a time.

    Raises SensoriumError where a checkpoint has another grid of places than the first.
    """
    for later in features[1:]:
        for ours, theirs in zip(features[0], later, strict=True):
            if ours.shape[:2] != theirs.shape[:2]:
                raise SensoriumError(
                    f"{tuple(ours.shape[:2])} places in the first model, {tuple(theirs.shape[:2])} in another: only "
                    "models with patches of one size can be compared"
                )
    units = [[F.normalize(x.float(), dim=-1) for x in pictures] for pictures in features]
    drift = [[gram_difference(a, b) for a, b in zip(units[0], later, strict=True)] for later in units]
    maps = [[x @ x[place] for x, place in zip(pictures, places, strict=True)] for pictures in units]
    return GramDrift(drift=torch.tensor(drift), maps=tuple(map(tuple, maps)), places=tuple(places))


def gram_difference(ours: Float[Tensor, "rows columns _"], theirs: Float[Tensor, "rows columns _"]) -> float:
    """The mean squared difference of the two matrices of products of unit vectors."""
    a, b = ours.flatten(0, 1), theirs.flatten(0, 1)
    total = sum(
        float((a[at : at + ROWS] @ a.mT - b[at : at + ROWS] @ b.mT).double().square().sum())
        for at in range(0, len(a), ROWS)
    )
    return total / len(a) ** 2


@drawing
def draw_drift(
    result: GramDrift,
    pictures: Sequence[UInt8[Tensor, "3 _ _"]],
    checkpoints: Sequence[str],
    names: Sequence[str] = (),
    title: str = "",
) -> Figure:
    """Each picture with the ring's row of its Gram matrix under every checkpoint; below, the drift from the first.

    `pictures` may be fewer than were compared: the first ones.
    """
    shown, models = min(len(pictures), SHOWN), len(checkpoints)
    chosen = sorted({round(i * (models - 1) / (min(models, MODELS) - 1)) for i in range(min(models, MODELS))})
    shapes = [min(1.6, x.shape[1] / x.shape[2]) for x in pictures[:shown]]
    each = min(2.3, 8.4 / (len(chosen) + 1))
    tall = each * sum(shapes) + 0.25 * shown
    figure = page(max(each * (len(chosen) + 1) + 0.9, 5.2), tall + 3.6)
    subfigures: Any = figure.subfigures(2, 1, height_ratios=(tall + 0.2, 2.5))
    top, bottom = subfigures
    grid = top.subplots(shown, len(chosen) + 1, squeeze=False, height_ratios=shapes)
    low = min(float(result.maps[m][p].min()) for m in chosen for p in range(shown))
    drawn = None
    for row in range(shown):
        height, width = pictures[row].shape[1:]
        extent = (0, width, height, 0)
        grid[row, 0].imshow(pictures[row].permute(1, 2, 0).cpu().numpy(), extent=extent)
        rows, columns = result.maps[0][row].shape
        place = result.places[row]
        x, y = (place[1] + 0.5) * width / columns, (place[0] + 0.5) * height / rows
        grid[row, 0].plot(x, y, "o", ms=9, mfc="none", mec=PAPER, mew=3)
        grid[row, 0].plot(x, y, "o", ms=9, mfc="none", mec=MARK, mew=1.6)
        for axes, model in zip(grid[row, 1:], chosen, strict=True):
            drawn = axes.imshow(result.maps[model][row].numpy(), cmap="viridis", vmin=low, vmax=1, extent=extent)
        for axes in grid[row]:
            quiet(axes)
        if row < len(names):
            grid[row, 0].set_xlabel(fitted(names[row], int(each * 14)), fontsize=7.5)
    for axes, model in zip(grid[0, 1:], chosen, strict=True):
        axes.set_title(fitted(checkpoints[model], int(each * 13)), fontsize=8)
    colourbar(figure, drawn, grid[:, 1:].ravel().tolist(), "cosine with the place in the ring")
    axes = bottom.subplots()
    across = list(range(models))
    for picture in range(result.drift.shape[1]):
        label = "one picture" if picture == 0 else None
        axes.plot(across, result.drift[:, picture].numpy(), "-", color=ACCENT, lw=0.9, alpha=0.5, label=label)
    axes.plot(across, result.drift.mean(1).numpy(), "o-", color=INK, lw=1.4, ms=4, label="mean of the pictures")
    axes.set_xticks(across, [fitted(name, max(6, int(60 / models))) for name in checkpoints], fontsize=8)
    axes.set_ylim(0, max(1.1 * float(result.drift.max()), 1e-6))
    axes.set_ylabel("drift of the Gram matrix", fontsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    more = f"; {result.drift.shape[1] - shown} more pictures in the numbers" if result.drift.shape[1] > shown else ""
    heading(
        figure,
        title or "Drift of the Gram matrix",
        f"mean squared difference of the patches' cosines from those of {checkpoints[0]}{more}",
    )
    return figure
