"""What reading pages is trained with: LayoutLMv2 (Xu et al. 2020, https://arxiv.org/abs/2012.14740) and LayoutXLM."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.objectives.masked import masked_words

IGNORE = -100


def entity_tags(
    logits: Float[Tensor, "b n labels"], labels: Int[Tensor, "b n"], mask: Bool[Tensor, "b n"] | None = None
) -> Float[Tensor, ""]:
    """Mean cross-entropy over tokens with a label that is not -100, and not over padding (the authors' reference)."""
    return masked_words(logits, labels if mask is None else labels.masked_fill(~mask, IGNORE), ignore=IGNORE)


def answer_span(
    logits: Float[Tensor, "b n 2"], starts: Int[Tensor, " b"], ends: Int[Tensor, " b"]
) -> Float[Tensor, ""]:
    """Mean of the cross-entropies of an answer's first and last token; places beyond the text do not count."""
    n = logits.shape[1]
    first, last = logits[:, None].unbind(-1)
    first = masked_words(first, starts.clamp(0, n)[:, None], ignore=n)
    return (first + masked_words(last, ends.clamp(0, n)[:, None], ignore=n)) / 2


def related(logits: Sequence[Float[Tensor, "_ 2"]], labels: Sequence[Int[Tensor, " _"]]) -> Float[Tensor, ""]:
    """Cross-entropy of pairs of entities: the mean over a page's pairs, summed over pages (LayoutXLM's reference)."""
    return torch.stack([F.cross_entropy(scores, wanted) for scores, wanted in zip(logits, labels, strict=True)]).sum()


def covered_lines(
    logits: Float[Tensor, "b n 2"], covered: Bool[Tensor, "b n"], counts: Bool[Tensor, "b n"]
) -> Float[Tensor, ""]:
    """Text-image alignment (section 2.2): is a token's line covered on the page? Mean over the tokens that count.

    Tokens masked for the masked language model do not count, nor does padding.
    """
    return masked_words(logits, covered.long().masked_fill(~counts, IGNORE), ignore=IGNORE)


def same_page(logits: Float[Tensor, "b 2"], matching: Bool[Tensor, " b"]) -> Float[Tensor, ""]:
    """Text-image matching (section 2.2): are words and picture of one page? Mean over pages."""
    return F.cross_entropy(logits, matching.long())
