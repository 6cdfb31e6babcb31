"""VisualBERT: A Simple and Performant Baseline for Vision and Language (Li et al. 2019),
https://arxiv.org/abs/1908.03557

The regions of a picture join the sentence as more words, and one BERT reads both.
"""

from dataclasses import dataclass, replace
from typing import TypedDict, TypeVar, Unpack

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.nn import initial
from sensorium.nn.attention import Attention, Tokens
from sensorium.nn.embeddings import BertEmbedding
from sensorium.nn.heads import Pooler, WordHead
from sensorium.nn.ragged import without_padding
from sensorium.nn.transformer import MLP, PostNorm, Transformer


@dataclass(frozen=True, kw_only=True)
class VisualBERTConfig:
    """BERT's sizes, the numbers that a detector gives for a region, and the heads that stand on top.

    `pretraining` has the heads of section 3.3 (masked words, sentence and image), `labels` > 0 a classifier,
    `phrases` the head that grounds phrases in regions (section 4.4). `early_fusion` = False is the ablation of
    section 5.1: BERT reads the words alone, and a single further layer sees words and regions.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp: int = 3072
    words: int = 30522
    positions: int = 512
    segments: int = 2
    features: int = 2048
    labels: int = 0
    pretraining: bool = True
    phrases: bool = False
    early_fusion: bool = True
    eps: float = 1e-12


# The detectors differ by task (section 4), and with them the features of a region.
PRETRAINED = {task: VisualBERTConfig(features=n) for task, n in {"vqa": 2048, "nlvr2": 1024, "vcr": 512}.items()}
LABELS = {"vqa": 3129, "nlvr2": 2, "vcr": 1}
PRESETS = (
    {f"visualbert-{task}-{stage}": c for stage in ("coco-pre", "pre") for task, c in PRETRAINED.items()}
    | {f"visualbert-{task}": replace(c, labels=LABELS[task], pretraining=False) for task, c in PRETRAINED.items()}
    | {"visualbert-flickr": replace(PRETRAINED["vqa"], phrases=True)}
)

Words = Int[Tensor, "b n"]
Regions = Float[Tensor, "b m features"]
Both = Float[Tensor, "b n+m width"]


class Given(TypedDict, total=False):
    """What comes with words and regions.

    Masks are False on padding; without one, all is there. `segments` tell sentence A from B, `region_segments` one
    picture from another: 0 where not given, as in the authors' code. `alignment` are the places of the words that
    name a region (VCR), -1 pads.
    """

    mask: Bool[Tensor, "b n"] | None
    region_mask: Bool[Tensor, "b m"] | None
    segments: Int[Tensor, "b n"] | None
    region_segments: Int[Tensor, "b m"] | None
    alignment: Int[Tensor, "b m k"] | None


Head = TypeVar("Head", bound=nn.Module)


def _present(head: Head | None, what: str) -> Head:
    if head is None:
        raise ValueError(f"this VisualBERT was built without {what}: its config says so")
    return head


def _take(x: Tokens, at: Int[Tensor, "b k"]) -> Float[Tensor, "b k width"]:
    return x.gather(1, at[..., None].expand(-1, -1, x.shape[2]))


class Embedding(nn.Module):
    """Section 3.2: a word is word + position + segment; a region is feature + segment + the place of its words."""

    def __init__(self, c: VisualBERTConfig) -> None:
        super().__init__()
        self.text = BertEmbedding(c.words, c.positions, c.segments, c.width, c.eps)
        self.project = nn.Linear(c.features, c.width)
        self.region_position = nn.Embedding(c.positions, c.width)  # only its first row is ever used
        self.region_segment = nn.Embedding(c.segments, c.width)

    def forward(
        self,
        ids: Words,
        regions: Regions,
        segments: Int[Tensor, "b n"] | None = None,
        region_segments: Int[Tensor, "b m"] | None = None,
        alignment: Int[Tensor, "b m k"] | None = None,
    ) -> Both:
        """[words, regions], normed together; see `Given`."""
        segment = self.region_segment.weight[:1] if region_segments is None else self.region_segment(region_segments)
        x = self.project(regions) + (self.region_position.weight[0] + segment)
        if alignment is not None:
            x = x + self.place(alignment)
        return self.text.norm(torch.cat([self.text.sum(ids, segments), x], dim=1))

    def place(self, alignment: Int[Tensor, "b m k"]) -> Float[Tensor, "b m width"]:
        """The mean position of the words aligned to each region; zero for a region without any."""
        table, aligned = self.text.position.weight, alignment >= 0
        share = (aligned / aligned.sum(-1, keepdim=True).clamp(min=1)).to(table.dtype)
        bags = alignment.clamp(min=0).flatten(0, 1)
        means = F.embedding_bag(bags, table, mode="sum", per_sample_weights=share.flatten(0, 1))
        return means.unflatten(0, alignment.shape[:2])


class Grounding(nn.Module):
    """One attention head from phrases to regions, whose scores are the answer (section 4.4)."""

    def __init__(self, width: int, head: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, head) for _ in range(3))  # value is published unused

    def forward(
        self,
        phrases: Float[Tensor, "b p width"],
        regions: Float[Tensor, "b m width"],
        region_mask: Bool[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b p m"]:
        """A score of every region for every phrase; the lowest number there is where `region_mask` is False."""
        q, k = self.query(phrases), self.key(regions)
        scores = q @ k.mT / k.shape[-1] ** 0.5
        lowest = torch.finfo(scores.dtype).min
        return scores if region_mask is None else scores.masked_fill(~region_mask[:, None], lowest)


class VisualBERT(nn.Module):
    """Figure 2 of the paper."""

    def __init__(self, config: VisualBERTConfig) -> None:
        super().__init__()
        c = self.config = config
        self.embedding = Embedding(c)
        self.blocks = Transformer(self._block() for _ in range(c.depth))
        self.fusion = None if c.early_fusion else self._block()
        self.pooler = Pooler(c.width, c.width)
        self.words = WordHead(c.width, c.words, c.eps) if c.pretraining else None
        self.matching = nn.Linear(c.width, 2) if c.pretraining else None
        self.classifier = nn.Linear(c.width, c.labels) if c.labels else None
        self.grounding = Grounding(c.width, c.width // c.heads) if c.phrases else None
        self.apply(initial.bert)
        region, word = self.embedding, self.embedding.text  # regions begin as words do (the authors' code)
        region.region_position.weight.data.copy_(word.position.weight.data)
        region.region_segment.weight.data.copy_(word.segment.weight.data)

    def _block(self) -> PostNorm:
        c = self.config
        return PostNorm(Attention(c.width, c.heads), MLP(c.width, c.mlp), c.width, eps=c.eps)

    def embed(
        self,
        ids: Words,
        regions: Regions,
        *,
        mask: Bool[Tensor, "b n"] | None = None,
        region_mask: Bool[Tensor, "b m"] | None = None,
        segments: Int[Tensor, "b n"] | None = None,
        region_segments: Int[Tensor, "b m"] | None = None,
        alignment: Int[Tensor, "b m k"] | None = None,
    ) -> tuple[Both, Bool[Tensor, "b n+m"] | None]:
        """[words, regions], and which of them may be looked at (None: all)."""
        x = self.embedding(ids, regions, segments, region_segments, alignment)
        if mask is None and region_mask is None:
            return x, None
        mask = ids.new_ones(ids.shape, dtype=torch.bool) if mask is None else mask
        region_mask = ids.new_ones(regions.shape[:2], dtype=torch.bool) if region_mask is None else region_mask
        return x, torch.cat([mask, region_mask], dim=1)

    def forward(
        self, ids: Words, regions: Regions, *, at: Int[Tensor, "b k"] | None = None, **given: Unpack[Given]
    ) -> Float[Tensor, "b out width"]:
        """Every output token, words before regions; or only those `at` some places, which costs less.

        Padding is not computed: what comes back there means nothing.
        """
        x, seen = self.embed(ids, regions, **given)
        *first, last = self.blocks
        if self.fusion is None:
            x = without_padding(first, x, seen)
        else:
            n, last = ids.shape[1], self.fusion
            words = without_padding(self.blocks, x[:, :n], None if seen is None else seen[:, :n])
            x = torch.cat([words, x[:, n:]], dim=1)
        mask = None if seen is None else seen[:, None, None]
        return last(x if at is None else _take(x, at), context=x, mask=mask)

    def states(self, ids: Words, regions: Regions, **given: Unpack[Given]) -> list[Both]:
        """The embedded sequence and the tokens after every layer."""
        x, seen = self.embed(ids, regions, **given)
        mask = None if seen is None else seen[:, None, None]
        if self.fusion is None:
            return self.blocks.trace(x, mask=mask)
        n = ids.shape[1]
        words = self.blocks.trace(x[:, :n], mask=None if mask is None else mask[..., :n])
        states = [torch.cat([state, x[:, n:]], dim=1) for state in words]  # BERT reads the words alone
        return [*states, self.fusion(states[-1], mask=mask)]

    def represent(self, ids: Words, regions: Regions, **given: Unpack[Given]) -> Float[Tensor, "b width"]:
        """tanh(W·h) of [CLS]: words and picture in one vector."""
        return self.pooler(self(ids, regions, at=ids.new_zeros(ids.shape[0], 1), **given)[:, 0])

    def pretrain(
        self, ids: Words, regions: Regions, masked: Int[Tensor, "b k"], **given: Unpack[Given]
    ) -> tuple[Float[Tensor, "b k words"], Float[Tensor, "b 2"]]:
        """Section 3.3: word logits at the places `masked`, and whether text and picture belong together (1: yes)."""
        words, matching = _present(self.words, "pretraining heads"), _present(self.matching, "pretraining heads")
        x = self(ids, regions, at=F.pad(masked, (1, 0)), **given)  # [CLS] and the covered words
        return words(x[:, 1:], self.embedding.text.word.weight), matching(self.pooler(x[:, 0]))

    def answer(self, ids: Words, regions: Regions, **given: Unpack[Given]) -> Float[Tensor, "b labels"]:
        """VQA (section 4.1): answer logits, read at [MASK], which stands before the last [SEP] of the text."""
        mask = given.get("mask")
        length = ids.new_full((ids.shape[0],), ids.shape[1]) if mask is None else mask.sum(1)
        x = self(ids, regions, at=length[:, None] - 2, **given)
        return _present(self.classifier, "a classifier")(x[:, 0])

    def classify(self, ids: Words, regions: Regions, **given: Unpack[Given]) -> Float[Tensor, "b labels"]:
        """NLVR2 (section 4.3): label logits, read at [CLS]; the regions of both pictures stand in one sequence."""
        return _present(self.classifier, "a classifier")(self.represent(ids, regions, **given))

    def choose(
        self, ids: Int[Tensor, "b c n"], regions: Float[Tensor, "b c m f"], **given: Unpack[Given]
    ) -> Float[Tensor, "b c"]:
        """VCR (section 4.2): a score for every choice; whatever is `given` has the axis of choices too."""
        flat = {name: t.flatten(0, 1) for name, t in given.items() if isinstance(t, Tensor)}
        return self.classify(ids.flatten(0, 1), regions.flatten(0, 1), **flat).view(ids.shape[:2])

    def ground(
        self, ids: Words, regions: Regions, phrases: Int[Tensor, "b p"], **given: Unpack[Given]
    ) -> Float[Tensor, "b p m"]:
        """Flickr30K (section 4.4): a score of every region for the word at each of `phrases` (-1 pads, and reads 0)."""
        x = self(ids, regions, **given)
        spoken, seen = _take(x, phrases.clamp(min=0)), x[:, ids.shape[1] :]
        return _present(self.grounding, "a head for phrases")(spoken, seen, given.get("region_mask"))
