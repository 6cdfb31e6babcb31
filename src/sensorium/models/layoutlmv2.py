"""LayoutLMv2: Multi-modal Pre-training for Visually-Rich Document Understanding (Xu et al. 2020),
https://arxiv.org/abs/2012.14740

Words, their places on the page and the look of the page are read by one transformer, whose attention knows how far
apart two tokens stand. LayoutXLM (Xu et al. 2021, https://arxiv.org/abs/2104.08836) is the same in 53 languages.
"""

from dataclasses import dataclass, replace
from math import log
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.models.document_heads import PageHead, PretrainingHead, Reading, RelationHead, TokenHead
from sensorium.models.page_encoder import PageConfig, PageEncoder
from sensorium.nn.attention import Attention, Mask, Tokens
from sensorium.nn.embeddings import BertEmbedding
from sensorium.nn.heads import Pooler
from sensorium.nn.transformer import MLP, PostNorm, Transformer

Boxes = Int[Tensor, "b n 4"]  # x0, y0, x1, y1 in thousandths of the page's width and height
PAGE = PageConfig()
Head = Literal["none", "tokens", "page", "answer", "relations", "pretraining"]


@dataclass(frozen=True, kw_only=True)
class LayoutLMv2Config:
    """The sizes. `coordinate` and `shape` are the parts of the layout embedding: four and two make a width.

    `bins` = 0 and `spatial_bins` = 0 leave a bias away (LayoutXLM). `labels` are those of the head: entity tags,
    page classes; an answer and a relation have two.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp: int = 3072
    words: int = 30522
    positions: int = 512
    segments: int = 2
    places: int = 1024
    coordinate: int = 128
    shape: int = 128
    bins: int = 32
    reach: int = 128
    spatial_bins: int = 64
    spatial_reach: int = 256
    grid: tuple[int, int] = (7, 7)
    visual_segment: bool = False
    key_bias: bool = False
    eps: float = 1e-12
    page: PageConfig = PAGE
    head: Head = "none"
    labels: int = 2


BASE = LayoutLMv2Config()
PRESETS = {
    "layoutlmv2-base": BASE,
    "layoutlmv2-large": replace(
        BASE, width=1024, depth=24, heads=16, mlp=4096, coordinate=171, shape=170, key_bias=True
    ),
    "layoutxlm-base": replace(
        BASE,
        words=250002,
        positions=514,
        segments=1,
        bins=0,
        spatial_bins=0,
        visual_segment=True,
        key_bias=True,
        eps=1e-5,
    ),
}


class LayoutEmbedding(nn.Module):
    """Where a box is and how large (section 2.1): both x share a table, both y another."""

    def __init__(self, c: LayoutLMv2Config) -> None:
        super().__init__()
        if (whole := 4 * c.coordinate + 2 * c.shape) != c.width:
            parts = f"4 coordinates of {c.coordinate} and 2 sides of {c.shape}"
            raise ValueError(f"{parts} are {whole} wide, not {c.width}")
        self.x, self.y = nn.Embedding(c.places, c.coordinate), nn.Embedding(c.places, c.coordinate)
        self.height, self.width = nn.Embedding(c.places, c.shape), nn.Embedding(c.places, c.shape)

    def forward(self, boxes: Boxes) -> Tokens:
        """One vector a box; raises IndexError for a box outside of the page, or upside down."""
        x0, y0, x1, y1 = boxes.unbind(-1)
        corners = [self.x(x0), self.y(y0), self.x(x1), self.y(y1)]
        return torch.cat([*corners, self.height(y1 - y0), self.width(x1 - x0)], dim=-1)


def bucket(distance: Int[Tensor, "*n"], bins: int, reach: int, *, both_ways: bool = True) -> Int[Tensor, "*n"]:
    """T5's buckets of distances: near ones exactly, far ones by their logarithm, beyond `reach` all alike.

    With `both_ways` half of the bins are for what stands after the query; without, that is all bin 0.
    """
    later = torch.zeros_like(distance)
    if both_ways:
        bins //= 2
        later = (distance > 0) * bins
        distance = distance.abs()
    else:
        distance = (-distance).clamp(min=0)
    exact = bins // 2
    far = exact + (torch.log(distance.clamp(min=1).float() / exact) / log(reach / exact) * (bins - exact)).long()
    return later + torch.where(distance < exact, distance, far.clamp(max=bins - 1))


def _between(places: Int[Tensor, "b n"]) -> Int[Tensor, "b n n"]:
    return places[:, None, :] - places[:, :, None]


def _pick(table: Tensor, bins: Tensor) -> Tensor:
    picked = table.index_select(1, bins.flatten())  # five times as fast as table[:, bins]
    return picked.unflatten(1, bins.shape).transpose(0, 1)


class SpatialBias(nn.Module):
    """What attention adds for the distance of two tokens, in the text and on the page (section 2.1)."""

    def __init__(self, c: LayoutLMv2Config) -> None:
        super().__init__()
        self.config = c
        self.order = nn.Parameter(torch.zeros(c.heads, c.bins))
        self.x = nn.Parameter(torch.zeros(c.heads, c.spatial_bins))
        self.y = nn.Parameter(torch.zeros(c.heads, c.spatial_bins))

    def in_order(self, positions: Int[Tensor, "b n"]) -> Float[Tensor, "b heads n n"]:
        """The bias for the distance in reading order."""
        return _pick(self.order, bucket(_between(positions), self.config.bins, self.config.reach))

    def in_space(self, boxes: Boxes) -> Float[Tensor, "b heads n n"]:
        """The bias for the distance of left edges, and of bottom edges."""
        bins, reach = self.config.spatial_bins, self.config.spatial_reach
        x, y = (bucket(_between(boxes[..., edge]), bins, reach) for edge in (0, 3))
        return _pick(self.x, x) + _pick(self.y, y)

    def forward(self, positions: Int[Tensor, " n"], boxes: Boxes, seen: Bool[Tensor, "b n"] | None) -> Mask | None:
        """The one mask that all layers share: biases, and -inf where a key is padding."""
        bias = self.in_space(boxes) if self.config.spatial_bins else None
        if self.config.bins:
            order = self.in_order(positions[None])
            bias = order if bias is None else bias + order
        visible = None if seen is None else seen[:, None, None, :]
        if bias is None or visible is None:
            return visible if bias is None else bias
        return bias.masked_fill(~visible, -torch.inf)


def _head(c: LayoutLMv2Config) -> nn.Module:
    if c.head == "relations":
        return RelationHead(c.width, c.labels)
    if c.head == "pretraining":
        return PretrainingHead(c.width, c.words, c.eps)
    return {"tokens": TokenHead, "answer": TokenHead, "page": PageHead}[c.head](c.width, c.labels)


class LayoutLMv2(nn.Module):
    """Figure 1 of the paper: text and visual tokens, their layout, and a transformer that feels distances."""

    def __init__(self, config: LayoutLMv2Config) -> None:
        super().__init__()
        c = self.config = config
        self.embedding = BertEmbedding(c.words, c.positions, c.segments, c.width, c.eps)
        self.layout = LayoutEmbedding(c)
        self.page = PageEncoder(c.page, c.grid)
        self.project, self.visual_norm = nn.Linear(c.page.pyramid, c.width), nn.LayerNorm(c.width, c.eps)
        self.visual_segment = nn.Parameter(torch.zeros(int(c.visual_segment), c.width))
        self.bias = SpatialBias(c)
        self.blocks = Transformer(
            PostNorm(Attention(c.width, c.heads, key_bias=c.key_bias), MLP(c.width, c.mlp), c.width, eps=c.eps)
            for _ in range(c.depth)
        )
        self.pooler = Pooler(c.width, c.width)
        self.head = nn.Identity() if c.head == "none" else _head(c)

    def cells(self, device: torch.device | None = None) -> Int[Tensor, "1 cells 4"]:
        """The boxes of the page's grid, row by row, in whole thousandths."""
        rows, columns = (torch.arange(0, 1000 * side + 1, 1000, device=device) // side for side in self.config.grid)
        y0, x0 = torch.meshgrid(rows[:-1], columns[:-1], indexing="ij")
        y1, x1 = torch.meshgrid(rows[1:], columns[1:], indexing="ij")
        return torch.stack([x0, y0, x1, y1], dim=-1).flatten(0, 1)[None]

    def embed_text(self, ids: Int[Tensor, "b n"], boxes: Boxes, segments: Int[Tensor, "b n"] | None = None) -> Tokens:
        """Word + position + segment + layout, normed."""
        return self.embedding.norm(self.embedding.sum(ids, segments) + self.layout(boxes))

    def embed_page(
        self, features: Float[Tensor, "b cells pyramid"], boxes: Int[Tensor, "#b cells 4"]
    ) -> Float[Tensor, "b cells width"]:
        """Features of the grid + position + layout, normed; the positions are the text's first ones."""
        placed = self.project(features) + self.embedding.position.weight[: features.shape[1]]
        return self.visual_norm(placed + self.layout(boxes) + self.visual_segment.sum(0))

    def states(
        self,
        ids: Int[Tensor, "b n"],
        boxes: Boxes,
        image: Tensor,
        mask: Bool[Tensor, "b n"] | None = None,
        segments: Int[Tensor, "b n"] | None = None,
    ) -> list[Float[Tensor, "b _ width"]]:
        """Text and visual tokens before the first block and after every one."""
        x, bias = self._embed(ids, boxes, image, mask, segments)
        return self.blocks.trace(x, mask=bias)

    def read(
        self,
        ids: Int[Tensor, "b n"],
        boxes: Boxes,
        image: Tensor,
        mask: Bool[Tensor, "b n"] | None = None,
        segments: Int[Tensor, "b n"] | None = None,
    ) -> Reading:
        """The page's tokens. `image` is in blue, green, red, 0..255; `mask` is False on padding."""
        x, bias = self._embed(ids, boxes, image, mask, segments)
        n = ids.shape[1]
        y = self.blocks(x, mask=bias)
        return Reading(y[:, :n], y[:, n:], x[:, n:])

    def forward(
        self,
        ids: Int[Tensor, "b n"],
        boxes: Boxes,
        image: Tensor,
        mask: Bool[Tensor, "b n"] | None = None,
        segments: Int[Tensor, "b n"] | None = None,
    ) -> Tensor:
        """The scores of a head for tokens, answers or pages; with another or none, the pooled [CLS].

        Heads that want more are called on `read`: relations on each page's entities, pretraining on the words.
        """
        page = self.read(ids, boxes, image, mask, segments)
        return self.head(page) if isinstance(self.head, TokenHead | PageHead) else self.pooler(page.text[:, 0])

    def _embed(
        self, ids: Tensor, boxes: Tensor, image: Tensor, mask: Tensor | None, segments: Tensor | None
    ) -> tuple[Tokens, Mask | None]:
        cells = self.cells(boxes.device)
        look = self.embed_page(self.page(image), cells)
        x = torch.cat([self.embed_text(ids, boxes, segments), look], dim=1)
        positions = torch.cat([torch.arange(part, device=ids.device) for part in (ids.shape[1], look.shape[1])])
        places = torch.cat([boxes, cells.expand(boxes.shape[0], -1, -1)], dim=1)
        seen = None if mask is None else torch.cat([mask, mask.new_ones(look.shape[:2])], dim=1)
        return x, self.bias(positions, places, seen)
