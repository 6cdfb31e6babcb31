"""Text in, token ids out: CLIP's lower-cased byte-pair encoding and BERT's WordPiece."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Int
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece as WordPieceModel
from torch import Tensor

from sensorium.data.errors import SensoriumError


class WordPiece:
    """BERT's tokeniser: basic cleaning, then the longest known piece from the left (Wu et al. 2016).

    `uncased` vocabularies are lower-cased and lose their accents first. Every text becomes [CLS] pieces [SEP].
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        pad = tokenizer.token_to_id("[PAD]")
        if pad is None:
            raise SensoriumError("this vocabulary has no [PAD] token: it is not BERT's WordPiece")
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer, self.pad = tokenizer, pad

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, uncased: bool = True) -> "WordPiece":
        """Read a `tokenizer.json`, a `vocab.txt` (one piece a line), or a folder that holds either.

        `uncased` says how text is cleaned before a `vocab.txt`; a `tokenizer.json` states that itself.
        Raises SensoriumError when the file is missing or is neither.
        """
        path = Path(path)
        if path.is_dir():
            found = [path / name for name in ("tokenizer.json", "vocab.txt") if (path / name).is_file()]
            if not found:
                raise SensoriumError(f"{path}: holds neither tokenizer.json nor vocab.txt")
            path = found[0]
        if not path.is_file():
            raise SensoriumError(f"{path}: no such vocabulary file")
        try:
            return cls(Tokenizer.from_file(str(path)) if path.suffix == ".json" else _bert(path, uncased))
        except SensoriumError as error:
            raise SensoriumError(f"{path}: {error}") from error
        except Exception as error:  # the tokenizers library raises nothing narrower
            raise SensoriumError(f"{path}: not a WordPiece vocabulary ({error})") from error

    def encode(self, text: str) -> list[int]:
        """Ids of the whole text, [CLS] and [SEP] included, never cut."""
        return self.tokenizer.encode(text).ids

    def __call__(self, texts: Sequence[str], max_tokens: int = 256) -> tuple[Int[Tensor, "b n"], Bool[Tensor, "b n"]]:
        """Ids padded to the longest text of the batch, and which of them are real.

        Texts beyond `max_tokens` (specials included) lose their tail and keep their [SEP].
        """
        if max_tokens < 2:
            raise SensoriumError(f"max_tokens={max_tokens}: needs room for [CLS] and [SEP], 2 or more")
        rows = [e.ids for e in self.tokenizer.encode_batch(_listed(texts))]
        rows = [row if len(row) <= max_tokens else [*row[: max_tokens - 1], row[-1]] for row in rows]
        ids = torch.full((len(rows), max(map(len, rows), default=0)), self.pad)
        mask = torch.zeros(ids.shape, dtype=torch.bool)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = True
        return ids, mask


def _bert(vocabulary: Path, uncased: bool) -> Tokenizer:
    """The tokenizer of a plain BERT vocabulary: line number = id."""
    pieces = vocabulary.read_text(encoding="utf-8").split("\n")
    ids = {piece.rstrip("\r"): i for i, piece in enumerate(pieces) if piece.strip()}
    missing = [token for token in ("[UNK]", "[CLS]", "[SEP]", "[PAD]") if token not in ids]
    if missing:
        raise SensoriumError(f"the vocabulary lacks {', '.join(missing)}")
    tokenizer = Tokenizer(WordPieceModel(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.add_special_tokens([token for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if token in ids])
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=uncased)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _listed(texts: Sequence[str]) -> list[str]:
    """`texts` as a list; one bare string is a common slip and would be read letter by letter."""
    if isinstance(texts, str):
        raise SensoriumError("texts must be a list of strings, not one string: write [text]")
    return list(texts)
