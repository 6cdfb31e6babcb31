"""Boxes that were asked for by example, drawn on their picture (`sensorium.tasks.prompted_detection`)."""

from collections.abc import Sequence

from jaxtyping import Float, Int, UInt8
from torch import Tensor

from sensorium.insight.drawing import ACCENT, PAPER, Figure, drawing, fitted, heading, page, quiet

COLUMNS = 4
FEW = 3  # boxes of each question


@drawing
def draw_detected(
    picture: UInt8[Tensor, "3 h w"],
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, " n"],
    prompts: Int[Tensor, " n"],
    names: Sequence[str],
    title: str = "",
) -> Figure:
    """For each question (its name; `prompts` counts them) the picture with its three best boxes, best first as given.

    The best is drawn strong, with its score.
    """
    columns = min(len(names), COLUMNS)
    rows = -(-len(names) // columns)
    height, width = picture.shape[1:]
    side = 3.2 if columns == 1 else 2.4
    figure = page(side * columns + 0.4, (side * height / width + 0.3) * rows + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    for number, (axes, name) in enumerate(zip(grid[: len(names)], names, strict=True)):
        axes.imshow(picture.permute(1, 2, 0).cpu().numpy(), extent=(0, width, height, 0))
        own = (prompts == number).nonzero()[:FEW, 0].tolist()
        for place, row in reversed(list(enumerate(own))):
            left, top, right, low = boxes[row].tolist()
            line = {"color": ACCENT, "linewidth": 2.2} if place == 0 else {"color": ACCENT, "linewidth": 0.8}
            axes.plot([left, right, right, left, left], [top, top, low, low, top], **line, clip_on=True)
            if place == 0:
                said = {"boxstyle": "square,pad=0.25", "facecolor": ACCENT, "linewidth": 0}
                axes.text(left, top, f"{scores[row]:.2f}", color=PAPER, fontsize=7.5, va="top", ha="left", bbox=said)
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.set_title(fitted(name, int(side * 12)), fontsize=8.5)
        quiet(axes)
    heading(figure, title or "What each asks for", f"cosines with what lies in a box; the best {FEW} boxes of each")
    return figure
