"""Every picture against every text: the matrix that CLIP is trained on (Radford et al. 2021, figure 1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.data.errors import SensoriumError
from sensorium.insight.drawing import INK, PAPER, Figure, colourbar, drawing, fitted, heading, page

PICTURES, TEXTS = 12, 20  # in one drawing
LETTERS = 32  # in a line of a label, of which there are two
FLAT = 0.62  # a cell's height, of its width
FRAME = "#e69f00"  # orange of Okabe and Ito's palette: seen on blue, green and yellow alike


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Cosines of pictures and texts, and softmaxes of the scaled cosines both ways.

    `texts` says how probable each text is for a picture (rows sum to 1); `images` how probable each picture is for a
    text (columns sum to 1).
    """

    cosines: Float[Tensor, "pictures texts"]
    texts: Float[Tensor, "pictures texts"]
    images: Float[Tensor, "pictures texts"]


def image_text_similarity(
    images: Float[Tensor, "pictures d"], texts: Float[Tensor, "texts d"], scale: float
) -> Similarity:
    """The similarities of embeddings of any length; `scale` is what the model multiplies cosines by.

    Raises SensoriumError where there is no picture or no text.
    """
    if not len(images) or not len(texts):
        raise SensoriumError("a similarity needs a picture and a text, one of each at least")
    cosines = (F.normalize(images.float(), dim=-1) @ F.normalize(texts.float(), dim=-1).T).detach().cpu()
    return Similarity(cosines=cosines, texts=(scale * cosines).softmax(1), images=(scale * cosines).softmax(0))


@drawing
def draw_similarity(
    result: Similarity, pictures: Sequence[UInt8[Tensor, "3 _ _"]], texts: Sequence[str], title: str = ""
) -> Figure:
    """Texts down, pictures across, the cosine in each cell; the best text of every picture is framed.

    `pictures` may be fewer than were compared: the first ones.
    """
    from matplotlib.patches import Rectangle

    across, down = min(len(pictures), PICTURES), min(len(texts), TEXTS)
    cosines = result.cosines[:across, :down]
    labels = [fill(fitted(text, 3 * LETTERS), LETTERS, max_lines=2, placeholder=" …") for text in texts[:down]]
    figure = page(
        max(0.88 * across + 0.07 * max(len(line) for label in labels for line in label.split("\n")) + 1.3, 4.4),
        0.55 * down + 1.85,
    )
    axes = figure.subplots()
    drawn = axes.imshow(cosines.T.numpy(), cmap="viridis")
    low, high = (float(bound) for bound in drawn.get_clim())
    for x in range(across):
        best = int(cosines[x].argmax())
        for y in range(down):
            value = float(cosines[x, y])
            ink = "white" if value < low + 0.6 * (high - low) else INK
            axes.text(x, y, f"{value:z.2f}", ha="center", va="center", color=ink, fontsize=8.5)
        axes.add_patch(Rectangle((x - 0.47, best - 0.45), 0.94, 0.9, fill=False, edgecolor=FRAME, linewidth=2.2))
        extent = (x - 0.47, x + 0.47, -0.56, -0.56 - 0.94 / FLAT)
        axes.imshow(pictures[x].permute(1, 2, 0).cpu().numpy(), extent=extent, interpolation="antialiased")
    axes.set(xlim=(-0.5, across - 0.5), ylim=(down - 0.5, -0.62 - 0.94 / FLAT), aspect=FLAT, xticks=[], anchor="N")
    axes.set_yticks(range(down), labels)
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    axes.set_facecolor(PAPER)
    colourbar(figure, drawn, axes, "cosine similarity")
    rest = [
        count for count in (_more(len(result.cosines) - across, "picture"), _more(len(texts) - down, "text")) if count
    ]
    more = f"; {' and '.join(rest)} in the numbers alone" if rest else ""
    heading(figure, title or "Pictures and texts", f"the text that is nearest to each picture is framed{more}")
    return figure


def _more(number: int, noun: str) -> str:
    return "" if number < 1 else f"1 more {noun}" if number == 1 else f"{number:,} more {noun}s"
