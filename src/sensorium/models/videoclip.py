"""VideoCLIP: Contrastive Pre-training for Zero-shot Video-Text Understanding (Xu et al. 2021),
https://arxiv.org/abs/2109.14084

Two BERTs, one that reads a clip second by second and one that reads words, meet in the mean of their tokens.
"""

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.models.bert import Bert, BertConfig
from sensorium.nn.attention import Tokens
from sensorium.nn.frames import FrameMLP, check_ends, embed_frames, mean_of_tokens, with_ends
from sensorium.nn.heads import Pooler

BERT_BASE = BertConfig()


@dataclass(frozen=True, kw_only=True)
class VideoCLIPConfig:
    """Sizes of section 3.1. `features` is the width of a frozen frame feature, `frames` the most seconds of a clip.

    The video tower is the text tower with `video_depth` layers. `cls` and `sep` are the ids of the two words that
    stand around a clip. A text may have up to the 61 tokens that the published model was trained with, and more.
    """

    text: BertConfig = BERT_BASE
    video_depth: int = 6
    features: int = 512
    frames: int = 32
    cls: int = 101
    sep: int = 102


PRESETS = {"videoclip": VideoCLIPConfig()}


class VideoCLIP(nn.Module):
    """Figure 1 of the paper: a clip and a text, each through its own transformer, each averaged over its tokens.

    The poolers are in the published file and no vector goes through them.
    """

    def __init__(self, config: VideoCLIPConfig) -> None:
        super().__init__()
        c = self.config = config
        self.project = FrameMLP(c.features, c.text.width)
        self.video_bert, self.text_bert = Bert(replace(c.text, depth=c.video_depth)), Bert(c.text)
        check_ends(self.video_bert.embedding, (c.cls, c.sep), c.frames)
        self.video_pooler, self.text_pooler = (Pooler(c.text.width, c.text.width) for _ in range(2))

    def embed(self, features: Float[Tensor, "b t features"]) -> Float[Tensor, "b t+2 width"]:
        """[CLS] frames [SEP] before the first layer; raises ValueError for more frames than the model reads."""
        ends = (self.config.cls, self.config.sep)
        return embed_frames(self.video_bert.embedding, self.project(features), ends, self.config.frames)

    def seconds(self, features: Float[Tensor, "b t features"], mask: Bool[Tensor, "b t"]) -> Tokens:
        """Every token of a clip after the last layer, [CLS] first and [SEP] last; `mask` is False on padding."""
        return self.video_bert.blocks(self.embed(features), mask=with_ends(mask)[:, None, None])

    def words(self, ids: Int[Tensor, "b n"], mask: Bool[Tensor, "b n"]) -> Tokens:
        """Every token of a text ([CLS] words [SEP]) after the last layer; `mask` is False on padding."""
        return self.text_bert(ids, mask)

    def video(self, features: Float[Tensor, "b t features"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b width"]:
        """One vector a clip, not scaled: the mean over its seconds and [SEP], without [CLS]."""
        return mean_of_tokens(self.seconds(features, mask)[:, 1:], with_ends(mask)[:, 1:])

    def text(self, ids: Int[Tensor, "b n"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b width"]:
        """One vector a text, not scaled: the mean over its words and [SEP], without [CLS]."""
        return mean_of_tokens(self.words(ids, mask)[:, 1:], mask[:, 1:])

    def forward(
        self,
        features: Float[Tensor, "b t features"],
        frame_mask: Bool[Tensor, "b t"],
        ids: Int[Tensor, "c n"],
        word_mask: Bool[Tensor, "c n"],
    ) -> tuple[Float[Tensor, "b width"], Float[Tensor, "c width"]]:
        """Clips and texts in their common space; the dot product of two says how well they match."""
        return self.video(features, frame_mask), self.text(ids, word_mask)
