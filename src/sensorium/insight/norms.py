"""How long the tokens of patches are, and which stand out: Vision Transformers Need Registers (Darcet et al. 2023),
https://arxiv.org/abs/2309.16588, figures 3 and 4.

In large models that were trained long, some patches of little content have norms about ten times those of the others:
the model keeps notes there (2.37% of DINOv2-g's tokens, above a cutoff of 150).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from sensorium.data.errors import SensoriumError
from sensorium.data.preprocess import Preprocess
from sensorium.insight.drawing import ACCENT, INK, QUIET, Axes, Figure, colourbar, drawing, fitted, heading, page, quiet
from sensorium.insight.places import over_windows, passing
from sensorium.insight.vit_like import ViTLike, grid_of
from sensorium.nn.attention import Tokens
from sensorium.nn.register_neurons import TIMES

SHOWN = 4  # pictures in one drawing
BINS = 48
MARK = "#d1495b"


@dataclass(frozen=True, kw_only=True)
class TokenNorms:
    """Norms of the patches' tokens after every layer, before any final norm, which would make them all alike.

    `cutoffs` are above which a token of a layer counts as an outlier, `fractions` how many do, over all pictures.
    """

    norms: tuple[Float[Tensor, "layers _ _"], ...]
    cutoffs: Float[Tensor, " layers"]
    fractions: Float[Tensor, " layers"]

    def outliers(self, picture: int, layer: int) -> Bool[Tensor, "rows columns"]:
        """Where the outliers of a picture are, after a layer counted from 1."""
        return self.norms[picture][layer - 1] > self.cutoffs[layer - 1]


@torch.inference_mode()
def norms_of_tokens(
    vit: ViTLike, pixels: UInt8[Tensor, "3 h w"], steps: Preprocess, device: torch.device
) -> Float[Tensor, "layers rows columns"]:
    """The norms in one picture; memory holds no tokens but the model's own, and one number for each."""

    def read(part: UInt8[Tensor, "1 3 _ _"]) -> Float[Tensor, "rows columns layers"]:
        seen: list[Tensor] = []
        grid = grid_of(vit, *part.shape[-2:])

        def see(_: int, x: Tokens) -> None:
            seen.append(x[0, -grid.rows * grid.columns :].float().norm(dim=-1).cpu())

        with passing(vit, see):
            vit.tokens(steps.normalise(part.to(device)))
        return torch.stack(seen, dim=1).unflatten(0, (grid.rows, grid.columns))

    stride = vit.patches.stride
    return over_windows(pixels, (stride[-2], stride[-1]), read).permute(2, 0, 1)


def outliers_in(norms: Sequence[Float[Tensor, "layers _ _"]], cutoff: float | None = None) -> TokenNorms:
    """The outliers among the norms of several pictures.

    `cutoff` is a norm, the same for all layers; None takes three times the median of each layer, which follows the
    model's own scale and is not moved by outliers as long as they are fewer than half. Raises SensoriumError where
    there is no picture.
    """
    if not norms:
        raise SensoriumError("no picture to look at")
    flat = torch.cat([x.flatten(1) for x in norms], dim=1)
    cutoffs = TIMES * flat.median(1).values if cutoff is None else torch.full((len(flat),), float(cutoff))
    return TokenNorms(norms=tuple(norms), cutoffs=cutoffs, fractions=(flat > cutoffs[:, None]).float().mean(1))


@drawing
def draw_norms(
    result: TokenNorms,
    pictures: Sequence[UInt8[Tensor, "3 _ _"]],
    names: Sequence[str] = (),
    title: str = "",
    *,
    layer: int,
) -> Figure:
    """Each picture and its norms after a layer (from 1), outliers framed; below, the norms of every layer.

    `pictures` may be fewer than were looked at: the first ones.
    """
    from matplotlib.colors import LogNorm

    shown = min(len(pictures), SHOWN)
    shapes = [min(1.6, x.shape[1] / x.shape[2]) for x in pictures[:shown]]
    figure = page(7.4, 3.0 * sum(shapes) + 0.24 * shown + 4.2)
    subfigures: Any = figure.subfigures(2, 1, height_ratios=(3.0 * sum(shapes) + 0.24 * shown, 3.0))
    top, bottom = subfigures
    grid = top.subplots(shown, 2, squeeze=False, height_ratios=shapes)
    flat = torch.cat([x.flatten(1) for x in result.norms], dim=1)
    at, cutoff = flat[layer - 1], float(result.cutoffs[layer - 1])
    scale = LogNorm(max(float(at.min()), 1e-6), max(float(at.max()), float(at.min()) * 1.01, 2e-6))
    drawn = None
    for row, (left, right) in enumerate(grid):
        height, width = pictures[row].shape[1:]
        extent = (0, width, height, 0)
        left.imshow(pictures[row].permute(1, 2, 0).cpu().numpy(), extent=extent)
        drawn = right.imshow(result.norms[row][layer - 1].numpy(), cmap="cividis", norm=scale, extent=extent)
        _frame(right, result.outliers(row, layer), (width, height))
        for axes in (left, right):
            quiet(axes)
        if row < len(names):
            left.set_xlabel(fitted(names[row], 40), fontsize=8)
    grid[0, 1].set_title(f"norms after layer {layer}, outliers framed", fontsize=9)
    colourbar(figure, drawn, grid[:, 1].tolist(), "norm (log scale)", format="{x:g}")
    _histogram(bottom, result, flat)
    more = f"; {len(result.norms) - shown} more pictures in the numbers" if len(result.norms) > shown else ""
    heading(
        figure,
        title or "Norms of the patches' tokens",
        f"after layer {layer}, {in_words(result, layer)}: norms above {cutoff:.3g}{more}",
    )
    return figure


def in_words(result: TokenNorms, layer: int) -> str:
    """The outliers of a layer in words."""
    total = sum(x[0].numel() for x in result.norms)
    count = sum(int(result.outliers(picture, layer).sum()) for picture in range(len(result.norms)))
    return f"{count:,} of {total:,} tokens ({float(result.fractions[layer - 1]):.2%}) are outliers"


def _frame(axes: Axes, mask: Bool[Tensor, "rows columns"], size: tuple[int, int]) -> None:
    from matplotlib.patches import Rectangle

    across, down = size[0] / mask.shape[1], size[1] / mask.shape[0]
    for row, column in mask.nonzero().tolist():
        place = (column * across, row * down)
        axes.add_patch(Rectangle(place, across, down, fill=False, edgecolor=MARK, linewidth=1.4))


def _histogram(figure: Any, result: TokenNorms, flat: Float[Tensor, "layers n"]) -> None:
    """Left, how many tokens of each layer have which norm; right, how many are outliers."""
    from matplotlib.colors import LogNorm

    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    layers = len(flat)
    logs = flat.clamp(min=1e-6).log10()
    low, high = float(logs.min()) - 0.02, float(logs.max()) + 0.02
    counts = torch.stack([torch.histc(row, BINS, low, high) for row in logs])
    edges = torch.logspace(low, high, BINS + 1)
    colours = left.pcolormesh(
        torch.arange(layers + 1).numpy() + 0.5,
        edges.numpy(),
        counts.T.where(counts.T > 0, torch.nan).numpy(),
        cmap="viridis",
        norm=LogNorm(1, max(float(counts.max()), 2)),
    )
    places = list(range(1, layers + 1))
    left.plot(places, result.cutoffs.numpy(), "_", color=MARK, ms=max(3, 150 / layers), mew=1.4, label="cutoff")
    left.set_yscale("log")
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter("{x:g}" if high - low < 0.6 else "")
    left.set_xlabel("layer, from input to output")
    left.set_ylabel("norm of a token")
    left.legend(frameon=False, fontsize=8, loc="upper left")
    bar = figure.figure.colorbar(colours, ax=left, pad=0.02, aspect=22, format="{x:g}")
    bar.set_label("tokens (log scale)", fontsize=8)
    bar.ax.tick_params(labelsize=7.5, length=2)
    right.bar(places, (100 * result.fractions).numpy(), color=ACCENT, width=0.7)
    right.set_xlabel("layer")
    right.set_ylabel("outliers (% of tokens)")
    if not result.fractions.any():
        right.text(0.5, 0.5, "none in any layer", ha="center", transform=right.transAxes, color=QUIET)
    right.set_ylim(0, max(1.15 * float(100 * result.fractions.max()), 1.0))
    for axes in (left, right):
        axes.set_xlim(0.5, layers + 0.5)
        axes.set_xticks([n for n in places if layers <= 12 or n % (1 + layers // 12) == 0 or n == 1])
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK, labelsize=8)
