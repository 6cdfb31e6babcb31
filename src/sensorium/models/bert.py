"""BERT (Devlin et al. 2018, https://arxiv.org/abs/1810.04805) as a sentence encoder.

Tokens attend to each other in both directions; a sentence is the mean of its tokens (Reimers & Gurevych 2019,
https://arxiv.org/abs/1908.10084), which is how MiniLM-L6 was trained to place sentences.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.nn.attention import Attention
from sensorium.nn.embeddings import BertEmbedding
from sensorium.nn.transformer import MLP, PostNorm, Transformer


@dataclass(frozen=True)
class BertConfig:
    """Sizes in tokens and channels; `segments` are BERT's sentence A and B."""

    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    words: int = 30522
    positions: int = 512
    segments: int = 2
    eps: float = 1e-12


PRESETS = {
    "bert-base": BertConfig(),
    "minilm-l6": BertConfig(width=384, depth=6, heads=12, hidden=1536),
}


class Bert(nn.Module):
    """WordPiece ids to one vector a token, and to one unit vector a sentence."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = BertEmbedding(config.words, config.positions, config.segments, config.width, config.eps)
        self.blocks = Transformer(
            PostNorm(
                Attention(config.width, config.heads), MLP(config.width, config.hidden), config.width, eps=config.eps
            )
            for _ in range(config.depth)
        )

    def forward(self, ids: Int[Tensor, "b n"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b n width"]:
        """One vector a token; `mask` is False on padding, which no token attends to."""
        return self.blocks(self.embedding(ids), mask=mask[:, None, None, :])

    def sentence(self, ids: Int[Tensor, "b n"], mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b width"]:
        """The mean over real tokens, [CLS] and [SEP] among them, scaled to length 1."""
        tokens, weight = self(ids, mask), mask[..., None].to(self.embedding.word.weight.dtype)
        return F.normalize((tokens * weight).sum(1) / weight.sum(1).clamp(min=1), dim=-1)
