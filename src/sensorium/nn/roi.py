"""RoI max-pooling: any rectangle of a map as a small grid. Fast R-CNN (Girshick 2015), https://arxiv.org/abs/1504.08083"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


class RegionMaxima:
    """The maxima of one map over all rectangles whose sides are powers of two.

    Any bin is then the largest of four such rectangles, however many cells it has.
    """

    def __init__(self, features: Float[Tensor, "c h w"], side: int, scale: float) -> None:
        self.side, self.scale = side, scale
        self.shape = tuple(features.shape[1:])
        # A bin has at most a part of the map's side, and a cell more at each end: so many doublings are asked for.
        self.levels = [(-(-(cells + 1) // side) + 2).bit_length() for cells in self.shape]
        rows = _doublings(features.permute(1, 2, 0).contiguous(), 0, self.levels[0])
        self.table = torch.cat([t.flatten(0, 1) for row in rows for t in _doublings(row, 1, self.levels[1])])

    def pool(self, boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "n c side side"]:
        """The largest value in each bin of each box (pixels of the picture); zero where a bin has no cell."""
        height, width = self.shape
        corners = (boxes * self.scale + 0.5).floor()
        corners = torch.minimum(corners.clamp(min=0), corners.new_tensor([width, height, width, height]))
        top, bottom = self._bins(corners[:, 1], corners[:, 3], height)
        left, right = self._bins(corners[:, 0], corners[:, 2], width)
        level_y, level_x = _level(bottom - top, self.levels[0]), _level(right - left, self.levels[1])
        base = ((level_y * self.levels[1])[:, :, None] + level_x[:, None, :]) * (height * width)
        out = None
        for y in (top, bottom - (1 << level_y)):
            for x in (left, right - (1 << level_x)):
                # Empty bins point nowhere; they are zeroed below.
                place = base + y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None, :]
                found = self.table.index_select(0, place.flatten())
                out = found if out is None else torch.maximum(out, found)
        assert out is not None
        out = out.view(len(boxes), self.side, self.side, self.table.shape[1])
        empty = (bottom <= top)[:, :, None] | (right <= left)[:, None, :]
        return out.masked_fill(empty[..., None], 0).permute(0, 3, 1, 2)

    def _bins(
        self, low: Float[Tensor, " n"], high: Float[Tensor, " n"], cells: int
    ) -> tuple[Int[Tensor, "n side"], Int[Tensor, "n side"]]:
        """The first cell of each bin, and the one after its last; a region holds its last cell too."""
        step = ((high - low + 1).clamp(min=1) / self.side)[:, None]
        bins = torch.arange(self.side, dtype=low.dtype, device=low.device)
        ends = ((bins * step).floor(), ((bins + 1) * step).ceil())
        first, last = ((low[:, None] + end).clamp(0, cells).long() for end in ends)
        return first, last


def _doublings(x: Float[Tensor, "h w c"], axis: int, levels: int) -> list[Float[Tensor, "h w c"]]:
    """Maxima over 1, 2, 4, ... cells from each on; beyond the border the last cell counts again."""
    made = [x]
    cells = torch.arange(x.shape[axis], device=x.device)
    for level in range(levels - 1):
        last = made[-1]
        made.append(torch.maximum(last, last.index_select(axis, (cells + (1 << level)).clamp(max=len(cells) - 1))))
    return made


def _level(cells: Int[Tensor, "n side"], levels: int) -> Int[Tensor, "n side"]:
    """floor(log2) of whole numbers, 0 for none."""
    powers = torch.tensor([1 << level for level in range(1, levels)], dtype=cells.dtype, device=cells.device)
    return (cells[..., None] >= powers).sum(-1)
