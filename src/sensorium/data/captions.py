"""Captions and questions as VisualBERT reads them (Li et al. 2019, section 3.3 and the authors' code).

Texts are lists of word ids here, without [CLS] and [SEP]; regions follow the whole text, padding included.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sensorium.data.errors import SensoriumError

CLS, SEP, MASK = 101, 102, 103  # of BERT's uncased vocabulary


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two captions, the first of the picture; `matches` says whether the second is of the same one."""

    first: list[int]
    second: list[int]
    matches: bool


def pair(captions: Sequence[Sequence[list[int]]], picture: int, draw: random.Random) -> Pair:
    """Two captions of a picture, or half of the time the second of another one.

    `captions` are those of every picture. Raises SensoriumError where there is no other picture, or where this one
    has fewer than two captions.
    """
    own = captions[picture]
    if len(captions) < 2 or len(own) < 2:
        raise SensoriumError(f"picture {picture}: two captions and another picture are needed to make pairs")
    first, second = draw.sample(range(len(own)), 2)
    if draw.random() > 0.5:
        other = draw.randrange(len(captions) - 1)
        strange = captions[other + (other >= picture)]
        return Pair(first=own[first], second=strange[draw.randrange(len(strange))], matches=False)
    return Pair(first=own[first], second=own[second], matches=True)


def fit(first: list[int], second: list[int], room: int) -> tuple[list[int], list[int]]:
    """Both texts in `room` words together. The longer one gives way, and loses its beginning, not its end."""
    over = max(0, len(first) + len(second) - room)
    apart = len(first) - len(second)
    lost = min(over, max(0, apart)), min(over, max(0, -apart))  # first until both are as long, then by turns
    rest = over - sum(lost)
    return first[lost[0] + rest // 2 :], second[lost[1] + rest - rest // 2 :]


def layout(
    first: list[int], second: list[int] | None = None, *, cls: int = CLS, sep: int = SEP
) -> tuple[list[int], list[int]]:
    """[CLS] first [SEP], and second [SEP] where there is one: ids and segments."""
    ids = [cls, *first, sep]
    segments = [0] * len(ids)
    return (ids, segments) if second is None else ([*ids, *second, sep], [*segments, *[1] * (len(second) + 1)])


def question(words: list[int], *, cls: int = CLS, sep: int = SEP, mask: int = MASK) -> tuple[list[int], list[int]]:
    """A question of VQA, [CLS] words [MASK] [SEP]: the answer is read where [MASK] stands. Ids and segments."""
    return layout([*words, mask], cls=cls, sep=sep)


def cover(
    ids: Int[Tensor, "*b n"],
    words: Bool[Tensor, "*b n"],
    *,
    vocabulary: int,
    mask: int = MASK,
    share: float = 0.15,
    ignore: int = -100,
    generator: torch.Generator | None = None,
) -> tuple[Int[Tensor, "*b n"], Int[Tensor, "*b n"]]:
    """Cover a share of the words, and give what to read and what to guess (`ignore` where nothing is guessed).

    Of the covered, 80% read [MASK], 10% any entry of the vocabulary (special ones among them), 10% stay (BERT, section
    3.1). `words` is False on [CLS], [SEP] and padding.
    """
    chosen = words & (torch.rand(ids.shape, generator=generator) < share)
    how = torch.rand(ids.shape, generator=generator)
    anything = torch.randint(0, vocabulary, ids.shape, generator=generator)
    read = torch.where(how < 0.8, torch.full_like(ids, mask), torch.where(how < 0.9, anything, ids))
    return torch.where(chosen, read, ids), torch.where(chosen, ids, ignore)
