"""All of one set against all of another, whatever senses they are of: the matrix that CLIP is trained on (Radford et
al. 2021, figure 1), and ImageBind sense by sense (Girdhar et al. 2023, section 3.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from sensorium.data.errors import SensoriumError
from sensorium.insight.drawing import INK, PAPER, Axes, Figure, colourbar, drawing, fitted, heading, page
from sensorium.insight.things import Thing, name_of

ACROSS, DOWN = 12, 20  # so many are drawn with the number in every cell
MOST = 48  # and so many without, each way
LETTERS = 32  # in a line of a label, of which there are two
WIDE, FLAT = 0.88, 0.62  # inches of a cell with a number, and its height, of its width
SMALL = 0.26  # inches of a cell without
FRAME = "#e69f00"  # orange of Okabe and Ito's palette: seen on blue, green and yellow alike


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Cosines of two sets, and softmaxes of the scaled cosines both ways.

    `of_second` says how probable each of the second set is for one of the first (rows sum to 1); `of_first` how
    probable each of the first is for one of the second (columns sum to 1).
    """

    cosines: Float[Tensor, "first second"]
    of_second: Float[Tensor, "first second"]
    of_first: Float[Tensor, "first second"]

    def right(self, pairs: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """For how many pairs the partner is nearest: to the one of the first set, and to the one of the second."""
        return (
            sum(int(self.cosines[i].argmax()) == j for i, j in pairs),
            sum(int(self.cosines[:, j].argmax()) == i for i, j in pairs),
        )


def similarity_of_sets(first: Float[Tensor, "first d"], second: Float[Tensor, "second d"], scale: float) -> Similarity:
    """The similarities of embeddings of any length; `scale` is what the model multiplies cosines by.

    Raises SensoriumError where a set is empty.
    """
    if not len(first) or not len(second):
        raise SensoriumError("a similarity needs one of each set at least")
    cosines = (F.normalize(first.float(), dim=-1) @ F.normalize(second.float(), dim=-1).T).detach().cpu()
    return Similarity(cosines=cosines, of_second=(scale * cosines).softmax(1), of_first=(scale * cosines).softmax(0))


@drawing
def draw_similarity(
    result: Similarity,
    first: Sequence[Thing],
    second: Sequence[Thing],
    pairs: Sequence[tuple[int, int]] = (),
    title: str = "",
) -> Figure:
    """The first set across, the second down; the nearest of the second is framed for each of the first.

    Cells hold their cosines where there are few. A dot marks the pairs. `first` and `second` may be fewer than were
    compared: the first ones.
    """
    from matplotlib.patches import Rectangle

    many = len(first) > ACROSS or len(second) > DOWN
    across, down = (min(len(things), MOST) for things in (first, second))
    side, flat = (SMALL, 1.0) if many else (WIDE, FLAT)
    labels = [_label(thing, many) for thing in second[:down]]
    beside = any(thing.picture is not None for thing in second[:down])
    letters = max(len(line) for label in labels for line in label.split("\n"))
    top = side * (1.1 if all(thing.picture for thing in first[:across]) else 1.6)
    figure = page(
        max(side * across + (0.055 if many else 0.07) * letters + 1.3 + beside * side * flat, 4.4),
        side * flat * down + top + (1.1 if many else 0.95),
    )
    axes = figure.subplots()
    cosines = result.cosines[:across, :down]
    drawn = axes.imshow(cosines.T.numpy(), cmap="viridis")
    low, high = (float(bound) for bound in drawn.get_clim())
    for x in range(across):
        for y in range(0 if many else down):
            ink = "white" if float(cosines[x, y]) < low + 0.6 * (high - low) else INK
            axes.text(x, y, f"{float(cosines[x, y]):z.2f}", ha="center", va="center", color=ink, fontsize=8.5)
        best, width = int(cosines[x].argmax()), 0.8 if many else 2.2
        axes.add_patch(Rectangle((x - 0.47, best - 0.45), 0.94, 0.9, fill=False, edgecolor=FRAME, linewidth=width))
        if (picture := first[x].picture) is not None:
            _thumbnail(axes, picture, x, -0.56 - 0.47 / flat, 0.94, 0.94 / flat)
        else:
            axes.text(
                x, -0.62, fitted(first[x].name, 18), rotation=60, ha="left", va="bottom", fontsize=6.5 if many else 8
            )
    for y in range(down):
        if (picture := second[y].picture) is not None:
            _thumbnail(axes, picture, -0.56 - 0.47 * flat, y, 0.94 * flat, 0.94)
    shown = [(i, j) for i, j in pairs if i < across and j < down]
    if shown:
        at = torch.tensor(shown).float() + (0 if many else torch.tensor([0.36, 0.3]))
        axes.plot(at[:, 0], at[:, 1], "o", ms=2.6 if many else 4.5, mfc="white", mec=INK, mew=0.8, ls="")
    axes.set(xlim=(-0.5 - beside * flat, across - 0.5), ylim=(down - 0.5, -0.5 - top / side / flat), aspect=flat)
    axes.set(xticks=[], anchor="N")
    axes.set_yticks(range(down), labels)
    axes.tick_params(length=0, labelsize=6.5 if many else 9)
    axes.spines[:].set_visible(False)
    axes.set_facecolor(PAPER)
    colourbar(figure, drawn, axes, "cosine similarity")
    heading(figure, title or "Similarities", _remark(result, pairs, across, down))
    return figure


def _remark(result: Similarity, pairs: Sequence[tuple[int, int]], across: int, down: int) -> str:
    said = "framed: the nearest for each column"
    if pairs:
        there, back = result.right(pairs)
        said += f"; dots: pairs, nearest for {there:,} of {len(pairs):,} columns and {back:,} of {len(pairs):,} rows"
    rest = [
        f"{count:,} more {noun}{'s' * (count > 1)}"
        for count, noun in zip(
            (result.cosines.shape[0] - across, result.cosines.shape[1] - down), ("column", "row"), strict=True
        )
        if count > 0
    ]
    return f"{said}; {' and '.join(rest)} in the numbers alone" if rest else said


def _label(thing: Thing, many: bool) -> str:
    if thing.picture is not None or many:
        return name_of(thing, LETTERS) or fitted(thing.name, LETTERS)
    return fill(fitted(thing.name, 3 * LETTERS), LETTERS, max_lines=2, placeholder=" …")


def _thumbnail(axes: Axes, picture: Image.Image, x: float | int, y: float | int, width: float, height: float) -> None:
    """A picture around a place, whole, in a box of so many of the axes' units, which stands for a square."""
    across, down = (side / max(picture.size) / 2 for side in picture.size)
    extent = (x - across * width, x + across * width, y + down * height, y - down * height)
    axes.imshow(picture, extent=extent, interpolation="antialiased")
