"""ViLBERT: Pretraining Task-Agnostic Visiolinguistic Representations (Lu et al. 2019),
https://arxiv.org/abs/1908.02265, and its many tasks at once, 12-in-1 (Lu et al. 2020), https://arxiv.org/abs/1912.02315

Words and regions each have a stream of their own; in co-attention each stream asks and the other answers.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.models.vilbert_heads import RegionHead, TaskHeads
from sensorium.nn.attention import Attention, Rotation, Tokens
from sensorium.nn.embeddings import BertEmbedding
from sensorium.nn.heads import WordHead
from sensorium.nn.transformer import MLP, PostNorm


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Sizes of one stream's transformer."""

    width: int
    depth: int
    heads: int
    mlp: int


@dataclass(frozen=True, kw_only=True)
class ViLBERTConfig:
    """Two streams and where they meet.

    `meetings` are (text layer, vision layer): a connection runs before that layer of each stream, `co_width` wide.
    `features` are the detector's numbers for a region, `targets` what is guessed of a masked one: its classes, or its
    features. `vqa` and `gqa` count the answers of the two vocabularies; with 0 there are no task heads. `task_tokens`
    counts the tasks that 12-in-1 tells the text stream. `coattention` = False keeps the streams apart up to the last
    product; `dynamic` lets the text gate the vision stream's own attention.
    """

    text: Stream = Stream(width=768, depth=12, heads=12, mlp=3072)
    vision: Stream = Stream(width=1024, depth=6, heads=8, mlp=1024)
    co_width: int = 1024
    co_heads: int = 8
    meetings: tuple[tuple[int, int], ...] = ((6, 0), (7, 1), (8, 2), (9, 3), (10, 4), (11, 5))
    words: int = 30522
    positions: int = 512
    segments: int = 2
    features: int = 2048
    targets: int = 1601
    fusion: Literal["product", "sum"] = "product"
    coattention: bool = True
    dynamic: bool = False
    vqa: int = 0
    gqa: int = 0
    task_tokens: int = 0
    eps: float = 1e-12


BASE = ViLBERTConfig()
TASKS = replace(BASE, vqa=3129, gqa=1533)


def _deep(layers: int) -> ViLBERTConfig:
    """The vision stream of section 4.3's ablation: the text stream's last layers each meet one layer of it."""
    depth = BASE.text.depth
    meetings = tuple((depth - layers + k, k) for k in range(layers))
    return replace(BASE, vision=replace(BASE.vision, depth=layers), meetings=meetings)


PRESETS = {
    "vilbert": BASE,
    "vilbert-tasks": TASKS,
    "vilbert-12in1": replace(TASKS, task_tokens=20),
    "vilbert-2": _deep(2),
    "vilbert-4": _deep(4),
    "vilbert-8": _deep(8),
}


class Reading(NamedTuple):
    """What the two streams made of words and regions; with task tokens the text is one token longer."""

    text: Float[Tensor, "b n text"]
    vision: Float[Tensor, "b m vision"]
    pooled_text: Float[Tensor, "b co"]
    pooled_vision: Float[Tensor, "b co"]
    joint: Float[Tensor, "b co"]


class Connection(nn.Module):
    """The co-attentional transformer layer (figure 2b): both directions at once, from the same two inputs."""

    def __init__(self, c: ViLBERTConfig) -> None:
        super().__init__()

        def block(own: Stream, other: Stream) -> PostNorm:
            attention = Attention(own.width, c.co_heads, context_width=other.width, inner=c.co_width)
            return PostNorm(attention, MLP(own.width, own.mlp), own.width, eps=c.eps)

        self.text, self.vision = block(c.text, c.vision), block(c.vision, c.text)
        # Published with every checkpoint, and used by no line of the authors' code.
        self.text_unused = nn.Linear(c.co_width, c.text.width).requires_grad_(False)
        self.vision_unused = nn.Linear(c.co_width, c.vision.width).requires_grad_(False)

    def forward(
        self,
        text: Tokens,
        vision: Float[Tensor, "b m vision"],
        mask: Bool[Tensor, "b n"] | None,
        region_mask: Bool[Tensor, "b m"] | None,
    ) -> tuple[Tokens, Float[Tensor, "b m vision"]]:
        """Words look at regions, regions look at words."""
        return (
            self.text(text, context=vision, mask=_keys(region_mask)),
            self.vision(vision, context=text, mask=_keys(mask)),
        )


class Gate(nn.Module):
    """The text decides which channels of the regions' queries and keys count: dynamic attention (the authors' code)."""

    def __init__(self, text: int, vision: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(text, vision), nn.Linear(text, vision)

    def forward(self, text: Tokens, mask: Bool[Tensor, "b n"] | None, heads: int) -> Rotation:
        """What to do to queries and keys. They meet in a product only, so each takes the root of both gates."""
        weight = torch.ones_like(text[..., :1]) if mask is None else mask[..., None].to(text.dtype)
        mean = (text * weight).sum(1) / weight.sum(1).clamp(min=1)
        gate = ((1 + self.query(mean).sigmoid()) * (1 + self.key(mean).sigmoid())).sqrt()
        gate = gate.unflatten(-1, (heads, 1, -1))
        return lambda t: t * gate


class ViLBERT(nn.Module):
    """Figure 1 of the paper; `alignment` reads the joint vector, `regions` the vision stream."""

    def __init__(self, config: ViLBERTConfig) -> None:
        super().__init__()
        c = self.config = config
        stops = [*c.meetings, (c.text.depth, c.vision.depth)]
        if not c.meetings or any(list(layers) != sorted(layers) for layers in zip(*stops, strict=True)):
            raise ValueError(f"meetings {c.meetings} do not go up through {c.text.depth} and {c.vision.depth} layers")
        self.words_in = BertEmbedding(c.words, c.positions, c.segments, c.text.width, c.eps)
        self.task = nn.Embedding(c.task_tokens, c.text.width) if c.task_tokens else None
        self.feature, self.place = nn.Linear(c.features, c.vision.width), nn.Linear(5, c.vision.width)
        self.norm = nn.LayerNorm(c.vision.width, c.eps)
        self.text, self.vision = _blocks(c.text, c.eps), _blocks(c.vision, c.eps)
        self.connections = nn.ModuleList(Connection(c) for _ in c.meetings)
        gates = c.vision.depth if c.dynamic else 0
        self.gates = nn.ModuleList(Gate(c.text.width, c.vision.width) for _ in range(gates))
        self.pool_text, self.pool_vision = (nn.Linear(s.width, c.co_width) for s in (c.text, c.vision))
        self.words = WordHead(c.text.width, c.words, c.eps)
        self.regions = RegionHead(c.vision.width, c.targets, c.eps)
        self.alignment = nn.Linear(c.co_width, 2)
        widths = (c.text.width, c.vision.width, c.co_width)
        self.tasks = TaskHeads(*widths, c.vqa, c.gqa, c.eps) if c.vqa else None

    def embed_words(
        self, ids: Int[Tensor, "b n"], segments: Int[Tensor, "b n"] | None = None, task: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b tokens width"]:
        """[CLS], the task where one is given, words: the task's token has no position and no segment."""
        x = self.words_in.sum(ids, segments)
        if self.task is not None:
            if task is None:
                raise ValueError("this ViLBERT has task tokens: say the task of every row")
            x = torch.cat([x[:, :1], self.task(task)[:, None], x[:, 1:]], dim=1)
        return self.words_in.norm(x)

    def embed_regions(
        self, features: Float[Tensor, "b m features"], places: Float[Tensor, "b m 5"]
    ) -> Float[Tensor, "b m vision"]:
        """What a region looks like and where it is: see `sensorium.data.regions_masking.location`."""
        return self.norm(self.feature(features) + self.place(places))

    def forward(
        self,
        ids: Int[Tensor, "t n"],
        features: Float[Tensor, "b m features"],
        places: Float[Tensor, "b m 5"],
        *,
        mask: Bool[Tensor, "t n"] | None = None,
        region_mask: Bool[Tensor, "b m"] | None = None,
        segments: Int[Tensor, "t n"] | None = None,
        task: Int[Tensor, " t"] | None = None,
        every_pair: bool = False,
    ) -> Reading:
        """Text i with picture i; the first region stands for the whole picture. Masks are False on padding.

        With `every_pair` each of t texts is read with each of b pictures: row i·b + j is text i with picture j, and
        the layers before the first meeting run once a text and once a picture. One text among many pictures is t = 1.
        """
        c, text, vision = self.config, self.embed_words(ids, segments, task), self.embed_regions(features, places)
        if mask is not None and self.task is not None:
            mask = F.pad(mask, (1, 0), value=True)
        t = v = 0
        for (next_t, next_v), connection in zip(c.meetings, self.connections, strict=True):
            text = self._listen(text, mask, t, next_t)
            vision = self._look(vision, region_mask, text, mask, v, next_v)
            if every_pair and connection is self.connections[0]:
                row, pictures = torch.arange(len(text) * len(vision), device=ids.device), len(vision)
                text, vision = text[row // pictures], vision[row % pictures]
                mask = None if mask is None else mask[row // pictures]
                region_mask = None if region_mask is None else region_mask[row % pictures]
            if c.coattention:
                text, vision = connection(text, vision, mask, region_mask)
            t, v = next_t, next_v
        # The text that gates the last vision layers has not been through its own last layers (reference).
        vision = self._look(vision, region_mask, text, mask, v, c.vision.depth)
        text = self._listen(text, mask, t, c.text.depth)
        pooled_text, pooled_vision = self.pool_text(text[:, 0]).relu(), self.pool_vision(vision[:, 0]).relu()
        fused = pooled_text * pooled_vision if c.fusion == "product" else pooled_text + pooled_vision
        return Reading(text, vision, pooled_text, pooled_vision, fused)

    def _listen(self, text: Tensor, mask: Tensor | None, begin: int, end: int) -> Tensor:
        for i in range(begin, end):
            text = self.text[i](text, mask=_keys(mask))
        return text

    def _look(
        self, vision: Tensor, region_mask: Tensor | None, text: Tensor, mask: Tensor | None, begin: int, end: int
    ) -> Tensor:
        for i in range(begin, end):
            rotate = self.gates[i](text, mask, self.config.vision.heads) if self.config.dynamic else None
            vision = self.vision[i](vision, mask=_keys(region_mask), rotate=rotate)
        return vision

    def masked_words(self, text: Float[Tensor, "b n text"]) -> Float[Tensor, "b n words"]:
        """Logits over the vocabulary for every token of the text stream."""
        return self.words(text, self.words_in.word.weight)


def _blocks(stream: Stream, eps: float) -> nn.ModuleList:
    return nn.ModuleList(
        PostNorm(Attention(stream.width, stream.heads), MLP(stream.width, stream.mlp), stream.width, eps=eps)
        for _ in range(stream.depth)
    )


def _keys(mask: Bool[Tensor, "b keys"] | None) -> Bool[Tensor, "b 1 1 keys"] | None:
    return None if mask is None else mask[:, None, None]
