"""What stands on top of a trunk."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.attention import Tokens


class Pooler(nn.Module):
    """tanh(Linear(x)): BERT's pooler, and the hidden layer of ViT's pre-training head."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, out)

    def forward(self, x: Float[Tensor, "b width"]) -> Float[Tensor, "b out"]:
        """One vector a picture or a sentence."""
        return torch.tanh(self.project(x))


class WordHead(nn.Module):
    """BERT's masked-word head: dense, GELU, norm, then a score for every word of the vocabulary.

    The matrix of the last step is the word embedding itself, handed over at every call: it has one owner.
    """

    def __init__(self, width: int, words: int, eps: float = 1e-12) -> None:
        super().__init__()
        self.dense, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps)
        self.bias = nn.Parameter(torch.zeros(words))

    def forward(self, x: Tokens, words: Float[Tensor, "words width"]) -> Float[Tensor, "b n words"]:
        """Logits over the vocabulary for every token."""
        return F.linear(self.norm(F.gelu(self.dense(x))), words, self.bias)
