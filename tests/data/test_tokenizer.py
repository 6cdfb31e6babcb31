import gzip
import html
import json
import subprocess
import sys
import unicodedata
from importlib import resources
from itertools import pairwise
from pathlib import Path

import ftfy
import pytest
import regex
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sensorium.data.errors import SensoriumError
from sensorium.data.tokenizer import (
    PLAIN,
    ClipTokenizer,
    WordPiece,
    _bytes_of,
    _published_ids,
    _published_merges,
    clean,
)
from tests.conformance.weights import load_case


@pytest.fixture(scope="module")
def clip():
    return ClipTokenizer()


class Plain:
    """The published algorithm in its plainest form: the lowest-ranked pair of a word is joined until none is left."""

    def __init__(self):
        merges = _published_merges()
        self.ids, self.ranks = _published_ids(merges), {pair: i for i, pair in enumerate(merges)}
        self.letter = {byte: letter for letter, byte in _bytes_of().items()}
        self.words = regex.compile(
            r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
            regex.IGNORECASE,
        )

    def encode(self, text):
        text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
        text = regex.sub(r"\s+", " ", text).strip().lower()
        return [i for word in self.words.findall(text) for i in self.word(word)]

    def word(self, word):
        if word in ("<|startoftext|>", "<|endoftext|>"):
            return [self.ids[word]]
        parts = [self.letter[byte] for byte in word.encode("utf-8")]
        parts[-1] += "</w>"
        while len(parts) > 1:
            best = min(pairwise(parts), key=lambda pair: self.ranks.get(pair, 1 << 30))
            if best not in self.ranks:
                break
            joined, i = [], 0
            while i < len(parts):
                if tuple(parts[i : i + 2]) == best:
                    joined.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    joined.append(parts[i])
                    i += 1
            parts = joined
        return [self.ids[part] for part in parts]


def test_the_official_strings(clip):
    case = load_case("clip_tokenizer")
    texts = case.config["texts"]
    assert [clip.encode(text) for text in texts] == case.facts["bpe_ids"]
    assert [clip.decode(ids) for ids in case.facts["bpe_ids"]] == case.facts["decoded"]
    torch.testing.assert_close(clip(texts), case.outputs["tokens"])
    assert (clip.start, clip.end, clip.size) == tuple(case.facts[k] for k in ("start_id", "end_id", "vocab_size"))
    for text, too_long in zip(texts, case.facts["too_long_without_truncate"], strict=True):
        if too_long:
            with pytest.raises(SensoriumError, match=r"tokens, more than context=77"):
                clip([text], truncate=False)
        else:
            clip([text], truncate=False)


SPICE = st.sampled_from(
    [
        *(
            "<|endoftext|>",
            "<|startoftext|>",
            "!",
            "'S",
            "'ll",
            "&amp;",
            "&#39;",
            "\u017f",
            "İ",
            "ﬁ",
            "\u0000",
            "\u2028",
        ),
        *("aaaa", "the", " ", "\r\n", "é", "½", "😀", "\u200d", "\x1b[1m", "\x1c", "<b>", "â€œ", "\u00a0", "\u0345"),
    ]
)
SETTLED = st.characters(exclude_categories=("Cs", "Cn"))  # what Unicode 14 did not know, libraries disagree on
TEXT = st.lists(st.one_of(SPICE, st.text(SETTLED, max_size=12)), max_size=8).map("".join)
PLAIN_TEXT = Plain()


@settings(max_examples=400, deadline=None)
@given(TEXT)
def test_any_text_as_the_plain_algorithm_has_it(clip, text):
    assume(all(unicodedata.category(character) != "Cn" for character in clean(text)))  # the repair can make such, too
    assert clip.encode(text) == PLAIN_TEXT.encode(text)


@settings(max_examples=400, deadline=None)
@given(st.from_regex(PLAIN, fullmatch=True))
def test_the_repair_skipped_for_plain_ascii_would_change_nothing(text):
    repaired = html.unescape(html.unescape(ftfy.fix_text(text)))
    assert clean(text) == " ".join(repaired.split()).lower()


def test_special_tokens_inside_text_need_a_place_to_stand(clip):
    assert clip.encode("a<|endoftext|>b") == [320, 49407, 321]
    assert clip.encode("<|endoftext|><|startoftext|>") == [49407, 49406]
    assert 49407 not in clip.encode("!<|endoftext|>"), "the official splitter has taken '!<|' by then"


def test_rows_and_their_limits(clip):
    rows = clip(["a", "b " * 100], context=8)
    assert rows.tolist()[0] == [49406, 320, 49407, 0, 0, 0, 0, 0]
    assert rows[1, -1] == 49407
    assert clip([]).shape == (0, 77)
    with pytest.raises(SensoriumError, match="one string"):
        clip("a cat")
    with pytest.raises(SensoriumError, match="context=1"):
        clip(["a"], context=1)


def test_transformers_agrees_where_its_cleaning_does(clip):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.CLIPTokenizer(vocab=_published_ids(_published_merges()), merges=list(_published_merges()))
    for text in ("a photo of a cat", "It's 3.14, isn't it?", "HELLO   world", "naïve café", "😀 emoji", "x" * 60):
        assert theirs(text)["input_ids"][1:-1] == clip.encode(text)


def test_files_as_transformers_writes_them(clip, tmp_path):
    merges = _published_merges()
    (tmp_path / "vocab.json").write_text(json.dumps(_published_ids(merges)), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges), ""]
    (tmp_path / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    text = "a photo of a naïve café, isn't it?"
    assert ClipTokenizer.from_file(tmp_path).encode(text) == clip.encode(text)
    clip.tokenizer.save(str(tmp_path / "tokenizer.json"))
    for source in (tmp_path, tmp_path / "tokenizer.json"):
        assert ClipTokenizer.from_file(source).encode(text) == clip.encode(text)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordPiece"}}')
    with pytest.raises(SensoriumError, match="not a CLIP tokeniser"):
        ClipTokenizer.from_file(tmp_path)
    with pytest.raises(SensoriumError, match="holds neither"):
        ClipTokenizer.from_file(tmp_path / "gone")


def test_loading_needs_no_text_repair():
    program = "import sys; from sensorium.data.tokenizer import ClipTokenizer; ClipTokenizer().encode('a cat');"
    program += "print('ftfy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_merges_are_the_published_ones():
    packed = resources.files("sensorium.data.vocabulary").joinpath("clip_merges.txt.gz").read_bytes()
    assert len(packed) < 400_000
    assert len(gzip.decompress(packed).split(b"\n")) == 48_894
    assert len(_published_ids(_published_merges())) == 49_408


VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghijklmnopqrstuvwxyz0123456789!?,.'-",
    "##s",
    "##ing",
]
VOCABULARY += [
    "cat",
    "dog",
    "play",
    "the",
    "on",
    "sofa",
    "##a",
    "##e",
    "中",
    "café",
    "Cat",
    *(f"##{c}" for c in "bcdfgt"),
]


@pytest.fixture
def vocabulary(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return tmp_path / "vocab.txt"


BERT_TEXTS = [
    "The cats playing, on the sofa!",
    "Café DOG's 中文 cat\u0301",
    "",
    "zzzqqq",
    "a" * 150,
    "tab\tnew\nline \x00\ufffd",
]


def test_wordpiece_equals_transformers(vocabulary):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizer(vocab={word: i for i, word in enumerate(VOCABULARY)}, do_lower_case=True)
    ours = WordPiece.from_file(vocabulary)
    for text in BERT_TEXTS:
        assert ours.encode(text) == theirs(text)["input_ids"], text
    ids, mask = ours(BERT_TEXTS, max_tokens=12)
    batch = theirs(BERT_TEXTS, padding=True, truncation=True, max_length=12, return_tensors="pt")
    assert torch.equal(ids, batch["input_ids"])
    assert torch.equal(mask, batch["attention_mask"].bool())


def test_wordpiece_files_and_their_faults(vocabulary):
    ours = WordPiece.from_file(vocabulary)
    ours.tokenizer.enable_truncation(4)
    ours.tokenizer.enable_padding()
    ours.tokenizer.save(str(vocabulary.parent / "tokenizer.json"))
    again = WordPiece.from_file(vocabulary.parent)
    assert again.encode("the cats playing") == WordPiece.from_file(vocabulary).encode("the cats playing")
    assert WordPiece.from_file(vocabulary, uncased=False).encode("Cat")[1] == VOCABULARY.index("Cat")
    assert again([])[0].shape == (0, 0)
    with pytest.raises(SensoriumError, match="no such vocabulary"):
        WordPiece.from_file(vocabulary.parent / "gone.txt")
    (vocabulary.parent / "bad.txt").write_text("just\nwords\n")
    with pytest.raises(SensoriumError, match=r"lacks \[UNK\], \[CLS\]"):
        WordPiece.from_file(vocabulary.parent / "bad.txt")
    (vocabulary.parent / "bad.json").write_text("{}")
    with pytest.raises(SensoriumError, match="not a WordPiece vocabulary"):
        WordPiece.from_file(vocabulary.parent / "bad.json")
    with pytest.raises(SensoriumError, match="max_tokens=1"):
        ours(["a"], max_tokens=1)


def test_a_vocabulary_cut_short_reads_everything_and_is_read_back(tmp_path: Path) -> None:
    small = ClipTokenizer.first(1000)
    assert small.size == 1000
    assert max(max(small.encode(text)) for text in ("a red heart", "straße 東京", "🙂")) < 998
    assert small.decode(small.encode("a red heart")) == "a red heart "
    small.save(tmp_path)
    assert torch.equal(ClipTokenizer.from_file(tmp_path)(["a red heart"], 12), small(["a red heart"], 12))
    assert ClipTokenizer.first(ClipTokenizer().size).encode("a photo of a cat") == ClipTokenizer().encode(
        "a photo of a cat"
    )
    for words in (513, 50000):
        with pytest.raises(SensoriumError, match="514 to 49408"):
            ClipTokenizer.first(words)
