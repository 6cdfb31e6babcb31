"""Visual question answering (VQA 2.0, Goyal et al. 2017): how right an answer is."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def degree(people: Int[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """How right an answer is that so many of the ten people asked gave: min(0.3 · people, 1)."""
    return (0.3 * people).clamp(max=1.0)


def soft_accuracy(scores: Float[Tensor, "b answers"], targets: Float[Tensor, "b answers"]) -> Float[Tensor, ""]:
    """The mean degree of the best answer. Answer 0 stands for all that the answer list lacks: it is never given."""
    best = scores[:, 1:].argmax(1, keepdim=True) + 1
    return targets.gather(1, best).mean()


def whole_answers(
    logits: Float[Tensor, "b n words"], labels: Int[Tensor, "b n"], *, ignore: int = -100
) -> Float[Tensor, ""]:
    """How many answers are right in every covered word, where answers are words to be guessed (VisualBERT's code)."""
    right = (logits.argmax(-1) == labels) | (labels == ignore)
    return right.all(1).to(torch.float32).mean()
