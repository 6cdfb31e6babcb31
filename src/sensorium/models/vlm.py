"""VLM: Task-agnostic Video-Language Model Pre-training for Video Understanding (Xu et al. 2021),
https://arxiv.org/abs/2105.09996

One BERT reads [CLS] seconds [SEP] words [SEP]; masks, not separate towers, decide what sees what.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.models.bert import Bert, BertConfig
from sensorium.nn.attention import Mask, Tokens
from sensorium.nn.frames import FrameMLP, check_ends, embed_frames, mean_of_tokens, with_ends
from sensorium.nn.heads import Pooler

BERT_BASE = BertConfig()


@dataclass(frozen=True, kw_only=True)
class VLMConfig:
    """Sizes, with the words of VideoCLIP's.

    `isolated` is how many layers keep seconds and words apart: a clip or a text alone is then read at that depth.
    With 0 each goes alone through every layer together with [CLS], as VideoCLIP's shared encoder does. `head` is
    the objective: masked frames and masked words apart, or masked tokens of either kind in one vocabulary (MTM).
    """

    bert: BertConfig = BERT_BASE
    features: int = 512
    frames: int = 32
    isolated: int = 0
    head: Literal["none", "mfm-mlm", "mtm"] = "none"
    slots: int = 0  # rows of an embedding that the published file holds and no code reads
    cls: int = 101
    sep: int = 102


PRESETS = {"vlm": VLMConfig(head="mtm", slots=256)}


class TokenHead(nn.Module):
    """Dense, GELU, norm: what a covered token should have been, to be compared with words and with frames.

    The biases of the words belong to the objective that keeps the two apart.
    """

    def __init__(self, width: int, words: int, eps: float) -> None:
        super().__init__()
        self.dense, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps)
        self.bias = nn.Parameter(torch.zeros(words)) if words else None

    def forward(self, x: Float[Tensor, "*b width"]) -> Float[Tensor, "*b width"]:
        """A guess at the embedding of every token."""
        return self.norm(F.gelu(self.dense(x)))

    def words(self, x: Float[Tensor, "*b width"], matrix: Float[Tensor, "words width"]) -> Float[Tensor, "*b words"]:
        """Scores for every word of the vocabulary."""
        return F.linear(self(x), matrix, self.bias)


class VLM(nn.Module):
    """Figure 1 of the paper: one encoder for clips, for texts, and for both at once.

    The pooler and the `slots` are in the published file and nothing goes through them.
    """

    def __init__(self, config: VLMConfig) -> None:
        super().__init__()
        c = self.config = config
        width = c.bert.width
        if not 0 <= c.isolated <= c.bert.depth:
            raise ValueError(f"{c.isolated} isolated layers of {c.bert.depth}")
        self.project = FrameMLP(c.features, width)
        self.bert, self.pooler = Bert(c.bert), Pooler(width, width)
        check_ends(self.bert.embedding, (c.cls, c.sep), c.frames)
        self.head = None
        if c.head != "none":
            self.head = TokenHead(width, c.bert.words if c.head == "mfm-mlm" else 0, c.bert.eps)
        self.slots = nn.Parameter(torch.zeros(c.slots, width))

    def embed_video(self, features: Float[Tensor, "b t features"]) -> Tokens:
        """[CLS] frames [SEP] before the first layer."""
        return embed_frames(
            self.bert.embedding, self.project(features), (self.config.cls, self.config.sep), self.config.frames
        )

    def embed_text(self, ids: Int[Tensor, "b n"]) -> Tokens:
        """[CLS] words [SEP] before the first layer: words are of segment 1, placed after the longest clip."""
        e, start = self.bert.embedding, self.config.frames + 2
        positions = torch.cat([e.position.weight[:1], e.position.weight[start : start + ids.shape[1] - 1]])
        segments = torch.cat([e.segment.weight[:1], e.segment.weight[1:2].expand(ids.shape[1] - 1, -1)])
        return e.norm(e.word(ids) + positions + segments)

    def _run(self, x: Tokens, mask: Mask | None, begin: int = 0, end: int | None = None) -> Tokens:
        for block in list(self.bert.blocks)[begin:end]:
            x = block(x, mask=mask)
        return x

    def _alone(self, x: Tokens, mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b width"]:
        """The mean over tokens that see no other kind, without [CLS]."""
        isolated = self.config.isolated
        if isolated:  # [CLS] is seen by nobody there
            x, mask = x[:, 1:], mask[:, 1:]
            return mean_of_tokens(self._run(x, mask[:, None, None], end=isolated), mask)
        return mean_of_tokens(self._run(x, mask[:, None, None])[:, 1:], mask[:, 1:])

    def video(self, features: Float[Tensor, "b t features"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b width"]:
        """One vector a clip, not scaled: the mean over its seconds and [SEP]; `mask` is False on padding."""
        return self._alone(self.embed_video(features), with_ends(mask))

    def text(self, ids: Int[Tensor, "b n"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b width"]:
        """One vector a text ([CLS] words [SEP]), not scaled: the mean over its words and [SEP]."""
        return self._alone(self.embed_text(ids), mask)

    def forward(
        self,
        features: Float[Tensor, "b t features"],
        frame_mask: Bool[Tensor, "b t"],
        ids: Int[Tensor, "b n"],
        word_mask: Bool[Tensor, "b n"],
    ) -> tuple[Float[Tensor, "b t width"], Float[Tensor, "b n width"]]:
        """A clip with its text: every second, and [CLS] words [SEP], after the last layer.

        In the isolated layers seconds and words run apart, which is what a mask between them would compute.
        """
        count, isolated = features.shape[1], self.config.isolated
        video, text = self.embed_video(features), self.embed_text(ids)[:, 1:]
        video_mask, text_mask = with_ends(frame_mask)[:, None, None], word_mask[:, None, None, 1:]
        if isolated:
            cls = self._run(video[:, :1], None, end=isolated)
            seconds = self._run(video[:, 1:], video_mask[..., 1:], end=isolated)
            video, text = torch.cat([cls, seconds], dim=1), self._run(text, text_mask, end=isolated)
        x = self._run(torch.cat([video, text], dim=1), torch.cat([video_mask, text_mask], dim=-1), begin=isolated)
        return x[:, 1 : count + 1], torch.cat([x[:, :1], x[:, count + 2 :]], dim=1)

    def score_words(self, tokens: Float[Tensor, "*b width"]) -> Float[Tensor, "*b words"]:
        """Scores of every word for tokens after the last layer; raises ValueError without a head."""
        if self.head is None:
            raise ValueError("this model has no head for covered tokens")
        return self.head.words(tokens, self.bert.embedding.word.weight)
