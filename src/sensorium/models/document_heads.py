"""What stands on a model that read a page (LayoutLMv2, Xu et al. 2020, https://arxiv.org/abs/2012.14740; for relations
LayoutXLM, Xu et al. 2021, https://arxiv.org/abs/2104.08836): one head a task.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.nn.attention import Tokens
from sensorium.nn.heads import WordHead


class Reading(NamedTuple):
    """A page as read: its text tokens, its visual tokens, and the visual tokens before the transformer."""

    text: Tokens
    visual: Tokens
    look: Tokens


class TokenHead(nn.Module):
    """Scores for every text token: entity tags, or where an answer starts and where it ends."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, labels)

    def forward(self, page: Reading) -> Float[Tensor, "b n labels"]:
        """Visual tokens get none."""
        return self.score(page.text)


class PageHead(nn.Module):
    """Scores for the page, from [CLS] and the visual tokens' means before and after the transformer."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.score = nn.Linear(3 * width, labels)

    def forward(self, page: Reading) -> Float[Tensor, "b labels"]:
        """One row a page."""
        return self.score(torch.cat([page.text[:, 0], page.look.mean(1), page.visual.mean(1)], dim=-1))


class RelationHead(nn.Module):
    """Which question an answer belongs to: a biaffine classifier of pairs of entities."""

    def __init__(self, width: int, labels: int = 2, kinds: int = 3) -> None:
        super().__init__()
        half = width // 2
        self.kind = nn.Embedding(kinds, width)
        self.head = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, half), nn.ReLU())
        self.tail = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, half), nn.ReLU())
        self.bilinear, self.linear = nn.Bilinear(half, half, labels, bias=False), nn.Linear(2 * half, labels)

    def forward(
        self,
        text: Float[Tensor, "n width"],
        starts: Int[Tensor, " entities"],
        kinds: Int[Tensor, " entities"],
        pairs: Int[Tensor, "pairs 2"],
    ) -> Float[Tensor, "pairs labels"]:
        """Scores of one page's pairs (head, tail): an entity is its first token and its kind."""
        entities = torch.cat([text[starts], self.kind(kinds)], dim=-1)
        head, tail = self.head(entities)[pairs[:, 0]], self.tail(entities)[pairs[:, 1]]
        return self.bilinear(head, tail) + self.linear(torch.cat([head, tail], dim=-1))


class PretrainingHead(nn.Module):
    """The three objectives (section 2.2): masked words, covered lines, and whether page and text belong together."""

    def __init__(self, width: int, words: int, eps: float) -> None:
        super().__init__()
        self.word = WordHead(width, words, eps)
        self.covered, self.matching = nn.Linear(width, 2), nn.Linear(width, 2)

    def forward(self, page: Reading, words: Float[Tensor, "words width"]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of words [b, n, words], of covering [b, n, 2] and of matching [b, 2]."""
        return self.word(page.text, words), self.covered(page.text), self.matching(page.text[:, 0])
