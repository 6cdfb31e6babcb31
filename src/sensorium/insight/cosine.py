"""What in a picture is like one place of it: the cosine map that DINOv3 shows (Siméoni et al. 2025, figure 3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.data.errors import SensoriumError
from sensorium.insight.drawing import PAPER, Figure, colourbar, drawing, fitted, heading, page, quiet

SHOWN = 6  # pictures in one drawing
MARK = "#d1495b"


@dataclass(frozen=True, kw_only=True)
class PlaceSimilarity:
    """Cosines of every place of every picture with one `place` (row, column) of the first."""

    cosines: tuple[Float[Tensor, "_ _"], ...]
    place: tuple[int, int]


def place_similarity(maps: Sequence[Float[Tensor, "_ _ channels"]], place: tuple[int, int]) -> PlaceSimilarity:
    """The similarities of all places of all pictures with one of the first picture's.

    Raises SensoriumError where there is no such place.
    """
    rows, columns = maps[0].shape[:2]
    if not (0 <= place[0] < rows and 0 <= place[1] < columns):
        raise SensoriumError(f"no place {place}: the first picture has {rows} x {columns}")
    asked = F.normalize(maps[0][place].float(), dim=-1)
    return PlaceSimilarity(cosines=tuple(F.normalize(x.float(), dim=-1) @ asked for x in maps), place=place)


def place_at(x: float, y: float, rows: int, columns: int) -> tuple[int, int]:
    """Row and column of the place at fractions of a picture's width and height, from the left and from the top."""
    return min(max(int(y * rows), 0), rows - 1), min(max(int(x * columns), 0), columns - 1)


@drawing
def draw_places(
    result: PlaceSimilarity, pictures: Sequence[UInt8[Tensor, "3 _ _"]], names: Sequence[str] = (), title: str = ""
) -> Figure:
    """Each picture beside its map, one scale for all; a ring is on the place that was asked for.

    `pictures` may be fewer than were compared: the first ones.
    """
    shown = min(len(pictures), SHOWN)
    shapes = [min(1.6, x.shape[1] / x.shape[2]) for x in pictures[:shown]]
    figure = page(7.0, 2.9 * sum(shapes) + 0.24 * shown + 1.1)
    grid = figure.subplots(shown, 2, squeeze=False, height_ratios=shapes)
    low = min(float(x.min()) for x in result.cosines[:shown])
    drawn = None
    for row, (left, right) in enumerate(grid):
        height, width = pictures[row].shape[1:]
        extent = (0, width, height, 0)
        left.imshow(pictures[row].permute(1, 2, 0).cpu().numpy(), extent=extent)
        drawn = right.imshow(result.cosines[row].numpy(), cmap="viridis", vmin=low, vmax=1, extent=extent)
        for axes in (left, right):
            quiet(axes)
        if row < len(names):
            left.set_xlabel(fitted(names[row], 40), fontsize=8)
        if row == 0:
            rows, columns = result.cosines[0].shape
            x, y = (result.place[1] + 0.5) * width / columns, (result.place[0] + 0.5) * height / rows
            for axes in (left, right):
                axes.plot(x, y, "o", ms=11, mfc="none", mec=PAPER, mew=3.2)
                axes.plot(x, y, "o", ms=11, mfc="none", mec=MARK, mew=1.8)
    colourbar(figure, drawn, grid[:, 1].tolist(), "cosine similarity")
    more = f"; {len(result.cosines) - shown} more in the numbers" if len(result.cosines) > shown else ""
    heading(figure, title or "What is like this place", f"all places against the one in the ring{more}")
    return figure
