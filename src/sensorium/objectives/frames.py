"""Guess which frame was covered (VLM, Xu et al. 2021, https://arxiv.org/abs/2105.09996, section 3).

A frame has no word of a vocabulary: its candidates are its own embedding and those of the batch's other frames.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def frame_scores(
    guess: Float[Tensor, "m d"], target: Float[Tensor, "m d"], others: Float[Tensor, "k d"]
) -> Float[Tensor, "m 1+k"]:
    """Scores of every covered frame for its own embedding (column 0) and for the frames that were not covered."""
    return torch.cat([(guess * target).sum(-1, keepdim=True), guess @ others.mT], dim=-1)


def masked_frames(scores: Float[Tensor, "m candidates"]) -> Float[Tensor, ""]:
    """Mean cross-entropy of picking column 0; 0 where no frame was covered."""
    return F.cross_entropy(scores, scores.new_zeros(len(scores), dtype=torch.long), reduction="sum") / max(
        len(scores), 1
    )


def masked_tokens(
    frames: Float[Tensor, "m candidates"],
    frames_as_words: Float[Tensor, "m words"],
    words: Float[Tensor, "w words"],
    words_as_frames: Float[Tensor, "w k"],
    labels: Int[Tensor, "w"],
) -> Float[Tensor, ""]:
    """MTM: words and frames are one vocabulary, and one mean is taken over all covered tokens.

    A covered frame also competes with every word, a covered word also with every frame that was not covered.
    `labels` are the covered words. The reference widens a word's row by a column of score 0, so that both kinds have
    as many candidates; it takes part in the softmax, and does here too.
    """
    frame_rows = torch.cat([frames, frames_as_words], dim=-1)
    word_rows = torch.cat([words, words_as_frames, words.new_zeros(len(words), 1)], dim=-1)
    label = torch.cat([labels.new_zeros(len(frames)), labels])
    total = F.cross_entropy(torch.cat([frame_rows, word_rows]), label, reduction="sum")
    return total / max(len(label), 1)
