"""Text in, token ids out: CLIP's lower-cased byte-pair encoding and BERT's WordPiece."""

import gzip
import html
import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

import torch
from jaxtyping import Bool, Int
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.models import WordPiece as WordPieceModel
from torch import Tensor

from sensorium.data.errors import SensoriumError

START, END = "<|startoftext|>", "<|endoftext|>"
# OpenAI's pattern ignores case. Text is in lower case already, so that shows twice: a long s makes a contraction too,
# and U+0345, whose capital is a letter, matches nothing. Scripts newer than a library's Unicode tables may split
# otherwise.
WORD = r"<\|startoftext\|>|<\|endoftext\|>|'[sſ]|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}\x{345}]+"
PLAIN = re.compile(r"[\t\n\r -%'-~]*")  # ASCII without & and control characters


class ClipTokenizer:
    """CLIP's tokeniser: cleaned, lower-cased text, split into words, then byte-pair merges within each (1508.07909).

    Ids are those of openai/CLIP, clip/simple_tokenizer.py, text repair by ftfy included. Without arguments the
    vocabulary that comes with Sensorium is read, which every public CLIP shares.
    """

    def __init__(self, merges: Sequence[tuple[str, str]] | None = None, ids: Mapping[str, int] | None = None) -> None:
        merges = list(_published_merges()) if merges is None else list(merges)
        ids = dict(_published_ids(merges) if ids is None else ids)
        missing = [token for token in (START, END) if token not in ids]
        if missing:
            raise SensoriumError(f"the vocabulary lacks {missing[0]}: it is not CLIP's")
        self.start, self.end, self.size = ids[START], ids[END], len(ids)
        try:
            self.tokenizer = Tokenizer(BPE(ids, merges, end_of_word_suffix="</w>", unk_token=END))
        except Exception as error:  # the tokenizers library raises nothing narrower
            raise SensoriumError(f"vocabulary and merges do not fit together ({error})") from error
        self.words = pre_tokenizers.Split(Regex(WORD), "removed", invert=True)
        self.tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [self.words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "ClipTokenizer":
        """Read a `tokenizer.json` as transformers writes it, or a folder that holds one, or vocab.json + merges.txt.

        Raises SensoriumError when the files are missing or hold another kind of tokeniser.
        """
        path = Path(path)
        file = path / "tokenizer.json" if path.is_dir() else path
        try:
            if file.is_file():
                model = json.loads(file.read_text(encoding="utf-8"))["model"]
                if model.get("type", "BPE") != "BPE" or model.get("end_of_word_suffix") != "</w>":
                    raise SensoriumError("not CLIP's byte-pair encoding")
                return cls([_pair(merge) for merge in model["merges"]], model["vocab"])
            ids = json.loads((path / "vocab.json").read_text(encoding="utf-8"))
            lines = (path / "merges.txt").read_text(encoding="utf-8").split("\n")
            return cls([_pair(line) for line in lines if line and not line.startswith("#version")], ids)
        except FileNotFoundError as error:
            raise SensoriumError(f"{path}: holds neither tokenizer.json nor vocab.json and merges.txt") from error
        except (SensoriumError, KeyError, TypeError, AttributeError, ValueError, OSError) as error:
            raise SensoriumError(f"{path}: not a CLIP tokeniser ({error})") from error

    @classmethod
    def first(cls, words: int) -> "ClipTokenizer":
        """The published vocabulary cut to `words` ids: bytes, the most frequent merges, start and end.

        For small models, whose embedding of 49,408 would be larger than the rest. Raises SensoriumError below 514 ids.
        """
        merges = _published_merges()
        kept = words - 2 * len(_bytes_of()) - 2
        if not 0 <= kept <= len(merges):
            raise SensoriumError(f"words={words}: CLIP's vocabulary can be cut to 514 to {514 + len(merges)} ids")
        return cls(merges[:kept])

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write `tokenizer.json`, as `from_file` reads it; returns the file."""
        path = Path(folder) / "tokenizer.json"
        self.tokenizer.save(str(path))
        return path

    def encode(self, text: str) -> list[int]:
        """Byte-pair ids of the whole text, without start and end, never cut."""
        return self._encode([text])[0]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, a space after every word, as the official tokeniser writes it."""
        pieces = "".join(self.tokenizer.id_to_token(int(i)) or "" for i in ids)
        table = _bytes_of()
        raw = b"".join(bytes([table[c]]) if c in table else c.encode("utf-8") for c in pieces)
        return raw.decode("utf-8", errors="replace").replace("</w>", " ")

    def __call__(self, texts: Sequence[str], context: int = 77, truncate: bool = True) -> Int[Tensor, "b context"]:
        """Rows of start, ids, end, then zeros up to `context`.

        A longer text loses its tail, and its last id becomes the end; without `truncate` it raises SensoriumError.
        """
        if context < 2:
            raise SensoriumError(f"context={context}: needs room for start and end, 2 or more")
        texts = _listed(texts)
        rows = [[self.start, *ids, self.end] for ids in self._encode(texts)]
        out = torch.zeros(len(rows), context, dtype=torch.int64)
        for i, row in enumerate(rows):
            if len(row) > context:
                if not truncate:
                    raise SensoriumError(f"{texts[i][:60]!r}... has {len(row)} tokens, more than context={context}")
                row = [*row[: context - 1], self.end]
            out[i, : len(row)] = torch.tensor(row)
        return out

    def _encode(self, texts: list[str]) -> list[list[int]]:
        cleaned = [clean(text) for text in texts]
        encoded = [e.ids for e in self.tokenizer.encode_batch(cleaned, add_special_tokens=False)]
        for i, text in enumerate(cleaned):
            if START in text or END in text:
                encoded[i] = self._encode_marked(text)
        return encoded

    def _encode_marked(self, text: str) -> list[int]:
        """A text that spells out a special token: where the splitter takes it for a word, it is that token."""
        ids: list[int] = []
        special = {START: self.start, END: self.end}
        for word, _ in self.words.pre_tokenize_str(text):
            known = special.get(word)
            ids += [known] if known is not None else self.tokenizer.encode(word, add_special_tokens=False).ids
        return ids


def clean(text: str) -> str:
    """Text as CLIP reads it: encoding repaired, HTML entities resolved (twice), spaces collapsed, lower case."""
    if not PLAIN.fullmatch(text):  # ftfy leaves the rest as it is, and takes 0.1 s to import
        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


@cache
def _published_merges() -> tuple[tuple[str, str], ...]:
    """CLIP's merges, from the package's own data."""
    packed = resources.files("sensorium.data.vocabulary").joinpath("clip_merges.txt.gz").read_bytes()
    return tuple(_pair(line) for line in gzip.decompress(packed).decode("utf-8").split("\n"))


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    """A merge as "in g" or ["in", "g"]; files of either age exist."""
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _published_ids(merges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The vocabulary that follows from the merges: bytes, bytes that end a word, merges, the two special tokens."""
    single = list(_bytes_of())
    pieces = [*single, *(c + "</w>" for c in single), *(a + b for a, b in merges), START, END]
    return {piece: i for i, piece in enumerate(pieces)}


@cache
def _bytes_of() -> dict[str, int]:
    """The printable character that stands for each byte in vocabularies of this kind (GPT-2, encoder.py)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


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
