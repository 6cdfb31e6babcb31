"""Where in the picture an output comes from: Quantifying Attention Flow in Transformers (Abnar & Zuidema 2020),
https://arxiv.org/abs/2005.00928, as the ViT paper draws it in figure 6 (its appendix D.7).

Attention is followed through all layers: each mixes what the one below has mixed, and half of every token passes by
it through the residual connection.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from sensorium.data.errors import SensoriumError
from sensorium.insight.drawing import Figure, colourbar, drawing, fitted, heading, page, quiet
from sensorium.insight.vit_like import Grid, grid_of, vit_like
from sensorium.nn.looking import Weights, watching

SHOWN = 6  # pictures in one drawing


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """What share of an output each patch of the input has; with the prefix's shares they sum to 1.

    The output is the class token, or the mean of all patches in a model that has none.
    """

    maps: Float[Tensor, "b rows columns"]
    prefix: Float[Tensor, "b prefix"]


@torch.inference_mode()
def attention_rollout(model: nn.Module, images: Float[Tensor, "b 3 h w"]) -> Rollout:
    """The rollout of every picture, one at a time: memory holds two numbers for each pair of its tokens.

    Raises SensoriumError where the model has no patches or there is no picture.
    """
    vit = vit_like(model)
    grid = grid_of(vit, images.shape[-2], images.shape[-1])
    found: list[Rollout] = []
    for image in images:
        flow = _Flow()
        with watching(vit.blocks, flow.see):
            vit.tokens(image[None])
        found.append(flow.result(grid, cls=len(vit.cls) > 0))
    return joined(found)


def rollout_of(weights: Sequence[Weights], grid: Grid, *, cls: bool = True) -> Rollout:
    """The rollout of attention weights that are at hand, (b, heads, tokens, tokens) for each layer.

    `cls` says whether token 0 is the output; otherwise it is the mean of the patches.
    """
    if not weights:
        raise SensoriumError("no layers to follow attention through")
    flow = _Flow()
    for layer, seen in enumerate(weights):
        flow.see(str(layer), 0, seen)
    return flow.result(grid, cls=cls)


def joined(rollouts: Sequence[Rollout]) -> Rollout:
    """Several rollouts of one size as one. Raises SensoriumError where there is none."""
    if not rollouts:
        raise SensoriumError("no picture to look at")
    return Rollout(
        maps=torch.cat([each.maps for each in rollouts]), prefix=torch.cat([each.prefix for each in rollouts])
    )


class _Flow:
    """The product of (attention + 1) / 2 over the layers so far, heads averaged; rows of the next one as they come."""

    def __init__(self) -> None:
        self.layer, self.below, self.rows = "", torch.empty(0), list[Tensor]()

    def see(self, name: str, first: int, weights: Weights) -> None:
        if name != self.layer:
            self._ascend()
            self.layer = name
        mixed = weights.float().mean(1)
        own = slice(first, first + mixed.shape[1])
        if self.below.numel():
            self.rows.append((mixed @ self.below + self.below[:, own]) / 2)
        else:
            mixed.diagonal(first, 1, 2).add_(1)
            self.rows.append(mixed / 2)

    def _ascend(self) -> None:
        if self.rows:
            self.below, self.rows = torch.cat(self.rows, dim=1), []

    def result(self, grid: Grid, *, cls: bool) -> Rollout:
        self._ascend()
        prefix = self.below.shape[1] - grid.rows * grid.columns
        shares = self.below[:, 0] if cls else self.below[:, prefix:].mean(1)
        return Rollout(
            maps=shares[:, prefix:].unflatten(1, (grid.rows, grid.columns)).cpu(), prefix=shares[:, :prefix].cpu()
        )


@drawing
def draw_rollout(
    result: Rollout, pictures: Sequence[UInt8[Tensor, "3 _ _"]], names: Sequence[str] = (), title: str = ""
) -> Figure:
    """Each picture, the picture lit by its rollout, and the map: of an even share, how many times each patch has.

    `pictures` may be fewer than were followed: the first ones.
    """
    shown = min(len(pictures), SHOWN)
    maps = result.maps[:shown]
    times = maps * (maps.shape[1] * maps.shape[2]) / maps.sum((1, 2), keepdim=True)
    figure = page(7.6, 2.35 * shown + 1.15)
    grid = figure.subplots(shown, 4, squeeze=False, width_ratios=(1, 1, 1, 0.05))
    for row in range(shown):
        picture = pictures[row].permute(1, 2, 0).cpu().float() / 255
        height, width = picture.shape[:2]
        smooth = torch.nn.functional.interpolate(times[row][None, None], size=(height, width), mode="bilinear")[0, 0]
        lit = picture * (smooth / smooth.max())[..., None]
        left, middle, right, bar = grid[row]
        left.imshow(picture.numpy())
        middle.imshow(lit.numpy())
        drawn = right.imshow(times[row].numpy(), cmap="cividis", vmin=0, extent=(0, width, height, 0))
        colourbar(figure, drawn, bar, "times an even share", inside=True)
        for axes in (left, middle, right):
            quiet(axes)
        if row < len(names):
            left.set_xlabel(fitted(names[row], 30), fontsize=8)
        if row == 0:
            for axes, name in (
                (left, "what the model saw"),
                (middle, "lit by its share"),
                (right, "attention rollout"),
            ):
                axes.set_title(name, fontsize=9)
    more = f"; {len(result.maps) - shown} more in the numbers" if len(result.maps) > shown else ""
    heading(
        figure, title or "Attention rollout", f"where in the picture the output comes from, through all layers{more}"
    )
    return figure
