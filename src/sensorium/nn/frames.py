"""Frames as tokens of a BERT: one feature a second, projected and set between [CLS] and [SEP]."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sensorium.nn.attention import Tokens
from sensorium.nn.embeddings import BertEmbedding


class FrameMLP(nn.Module):
    """Linear, GELU, norm, Linear: a frozen video feature to the width of the transformer.

    The norm has torch's epsilon, 1e-5, unlike the 1e-12 of the rest of a BERT.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.up, self.norm, self.out = nn.Linear(features, width), nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, features: Float[Tensor, "*b features"]) -> Float[Tensor, "*b width"]:
        """One token a frame."""
        return self.out(self.norm(F.gelu(self.up(features))))


def embed_frames(
    embedding: BertEmbedding, frames: Float[Tensor, "b t width"], ends: tuple[int, int], limit: int
) -> Float[Tensor, "b t+2 width"]:
    """[CLS] frames [SEP] as the input of a BERT; `ends` are the ids of the two words.

    [SEP] has the position after `limit` frames, however many there are: a batch need not be padded beyond its
    longest clip. Raises ValueError where there are more frames than positions for them.
    """
    count = frames.shape[1]
    if count > limit:
        raise ValueError(f"a clip has {count} frames, the model reads at most {limit}")
    first, last = (embedding.word.weight[word].expand(frames.shape[0], 1, -1) for word in ends)
    places = embedding.position.weight
    positions = torch.cat([places[: count + 1], places[limit + 1 : limit + 2]])
    return embedding.norm(torch.cat([first, frames, last], dim=1) + positions + embedding.segment.weight[0])


def check_ends(embedding: BertEmbedding, ends: tuple[int, int], limit: int) -> None:
    """Raise ValueError where a BERT has no word or no position for what stands around a clip."""
    words, positions = embedding.word.num_embeddings, embedding.position.num_embeddings
    if max(ends) >= words:
        raise ValueError(f"[CLS] and [SEP] are the words {ends} of {words}")
    if limit + 2 > positions:
        raise ValueError(f"{limit} frames, [CLS] and [SEP] need {limit + 2} positions, not {positions}")


def with_ends(mask: Bool[Tensor, "b t"]) -> Bool[Tensor, "b t+2"]:
    """The mask of [CLS] frames [SEP]: the two words are always there."""
    return F.pad(mask, (1, 1), value=True)


def mean_of_tokens(tokens: Tokens, mask: Bool[Tensor, "b n"]) -> Float[Tensor, "b width"]:
    """The mean over the tokens where `mask` is True."""
    weight = mask[..., None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)
