"""One question, and what is nearest to it in every sense: figure 1 of ImageBind (Girdhar et al. 2023).

Cosines are compared within a row alone: two senses that were never trained together lie in different parts of the
space, and one has larger cosines than the other whatever is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.data.errors import SensoriumError
from sensorium.insight.drawing import ACCENT, QUIET, Figure, drawing, fitted, heading, page
from sensorium.insight.things import Thing, name_of, put

SHOWN = 5  # answers in a row


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The nearest of one row, best first: where they stand in it, their cosines, and of how many they are."""

    places: Int[Tensor, " k"]
    cosines: Float[Tensor, " k"]
    files: int


def nearest(
    question: Float[Tensor, " d"], vectors: Float[Tensor, "n d"], files: Sequence[int] | None = None, k: int = SHOWN
) -> Nearest:
    """The k nearest of some vectors of any length; of those that are parts of one file (`files`), the best alone.

    Equal ones keep their order. Raises SensoriumError where there is none.
    """
    if not len(vectors):
        raise SensoriumError("nothing to be near to: give one thing at least")
    cosines = (F.normalize(vectors.float(), dim=-1) @ F.normalize(question.float(), dim=-1)).detach().cpu()
    order = cosines.argsort(descending=True, stable=True).tolist()
    best: dict[int, int] = {}
    for place in order:
        best.setdefault(place if files is None else files[place], place)
    places = torch.tensor(list(best.values())[:k])
    return Nearest(places=places, cosines=cosines[places], files=len(best))


@drawing
def draw_panel(
    question: Thing, rows: Mapping[str, tuple[Nearest, Sequence[Thing]]], title: str = "", remark: str = ""
) -> Figure:
    """The question at the left, and to the right a row for every sense: the nearest things, their names and cosines.

    A row's things are those at its `places`, best first.
    """
    columns = max(len(things) for _, things in rows.values())
    figure = page(2.4 + 1.62 * max(columns, 3), 1.76 * len(rows) + 0.9)
    grid = figure.add_gridspec(len(rows), columns + 1, width_ratios=[1.35, *[1.0] * columns])
    axes = figure.add_subplot(grid[: min(2, len(rows)), 0])
    put(axes, question)
    axes.set_anchor("N")
    axes.set_title("the question", fontsize=9, color=ACCENT, weight="bold", loc="left")
    axes.set_xlabel(name_of(question, 28), fontsize=8)
    for row, (label, (found, things)) in enumerate(rows.items()):
        for column in range(columns):
            axes = figure.add_subplot(grid[row, column + 1])
            if column >= len(things):
                axes.set_axis_off()
                continue
            put(axes, things[column])
            name = name_of(things[column], 24)
            cosine = f"{float(found.cosines[column]):+z.2f}"
            axes.set_xlabel(f"{name}\n{cosine}" if name else cosine, fontsize=7.5, labelpad=2)
            if column == 0:
                axes.set_title(
                    fitted(f"{label} · {found.files:,}", 26), fontsize=9, loc="left", color=QUIET, weight="bold"
                )
    said = "numbers are cosines: they can be compared within a row, not between rows"
    heading(figure, title or "The nearest of every sense", f"{said}; {remark}" if remark else said)
    return figure
