"""Sentences to vectors: a text tower with the tokeniser that it was trained with."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.data.tokenizer import ClipTokenizer, WordPiece
from sensorium.models.pocket import Pocket


class ClipText:
    """Sentences through CLIP's tokeniser and a text tower made for it; long ones are cut at the tower's context."""

    def __init__(self, tower: nn.Module, tokenizer: ClipTokenizer, context: int, device: torch.device) -> None:
        self.tower, self.tokenizer, self.context, self.device = tower, tokenizer, context, device

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "b d"]:
        """Embed a batch, not normalised."""
        return self.tower(self.tokenizer(texts, context=self.context, truncate=True).to(self.device))


class PocketText:
    """Sentences through WordPiece and pocket's reader."""

    def __init__(self, model: Pocket, tokenizer: WordPiece, device: torch.device) -> None:
        self.model, self.tokenizer, self.device = model, tokenizer, device

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "b d"]:
        """Embed a batch."""
        ids, mask = self.tokenizer(texts)
        return self.model.embed_text(ids.to(self.device), mask.to(self.device))


def clip_tokenizer(words: int, folder: Path) -> ClipTokenizer:
    """CLIP's own for its number of words; that of a model which knows fewer lies beside its weights."""
    plain = ClipTokenizer()
    return plain if words == plain.size else ClipTokenizer.from_file(folder)
