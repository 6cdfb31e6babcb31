"""What LayoutLMv2 is asked in pretraining (Xu et al. 2020, section 2.2, https://arxiv.org/abs/2012.14740).

Words are masked, lines are covered, pages are swapped. Written from the paper: its pretraining code was never released,
so the colour of what is covered and what stands for a dropped picture (the same colour) are choices made here.

Every function is pure: what is random comes from the generator that is handed over.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

IGNORE = -100
SAME, REPLACED, DROPPED = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The shares of the paper: tokens masked (and of these shown as [MASK], as a random word), lines, pages."""

    token: float = 0.15
    shown_as_mask: float = 0.8
    shown_as_random: float = 0.1
    line: float = 0.15
    replaced: float = 0.15
    dropped: float = 0.05


PAPER = Rates()


def choose(candidates: Bool[Tensor, "*n"], rate: float, generator: torch.Generator) -> Bool[Tensor, "*n"]:
    """Each candidate with the same chance, independently."""
    return candidates & (torch.rand(candidates.shape, generator=generator) < rate)


def mask_words(
    ids: Int[Tensor, "*n"],
    masked: Bool[Tensor, "*n"],
    mask_id: int,
    words: int,
    generator: torch.Generator,
    rates: Rates = PAPER,
) -> tuple[Int[Tensor, "*n"], Int[Tensor, "*n"]]:
    """The ids to show, and the labels: the true id where a token is masked, -100 elsewhere. Boxes stay as they are."""
    draw = torch.rand(ids.shape, generator=generator)
    random = torch.randint(words, ids.shape, generator=generator)
    shown = torch.where(masked & (draw < rates.shown_as_mask), torch.full_like(ids, mask_id), ids)
    turn = rates.shown_as_mask + rates.shown_as_random
    shown = torch.where(masked & (draw >= rates.shown_as_mask) & (draw < turn), random.to(ids.dtype), shown)
    return shown, ids.masked_fill(~masked, IGNORE)


def choose_lines(line: Int[Tensor, " n"], rate: float, generator: torch.Generator) -> Bool[Tensor, " n"]:
    """Which tokens stand in a covered line. `line` numbers each token's line; -1 is of none (special tokens)."""
    count = int(line.max()) + 1 if line.numel() else 0
    lines = choose(torch.ones(count + 1, dtype=torch.bool), rate, generator)  # the last one is for -1
    lines[-1] = False
    return lines[line]


def choose_partners(pages: int, generator: torch.Generator, rates: Rates = PAPER) -> Int[Tensor, " pages"]:
    """For each page whether its picture stays (0), is another page's (1) or is dropped (2)."""
    draw = torch.rand(pages, generator=generator)
    replaced = (draw < rates.replaced).long()
    return torch.where((draw >= rates.replaced) & (draw < rates.replaced + rates.dropped), DROPPED, replaced)


def cover(
    image: Float[Tensor, "channels h w"], boxes: Int[Tensor, "n 4"], colour: float = 0.0
) -> Float[Tensor, "channels h w"]:
    """A copy of the picture with these boxes (in thousandths) painted over; every pixel that a box touches."""
    height, width = image.shape[-2:]
    image = image.clone()
    for x0, y0, x1, y1 in boxes.tolist():
        rows = slice(y0 * height // 1000, -(-y1 * height // 1000))
        image[:, rows, x0 * width // 1000 : -(-x1 * width // 1000)] = colour
    return image


@dataclass(frozen=True, kw_only=True)
class Question:
    """One page as the model is shown it, and what it should answer.

    `counts` is False where a token is left out of text-image alignment: masked, special or padding.
    """

    ids: Int[Tensor, " n"]
    image: Float[Tensor, "channels h w"]
    labels: Int[Tensor, " n"]
    covered: Bool[Tensor, " n"]
    counts: Bool[Tensor, " n"]
    matching: bool


def question(
    ids: Int[Tensor, " n"],
    boxes: Int[Tensor, "n 4"],
    line: Int[Tensor, " n"],
    image: Float[Tensor, "channels h w"],
    partner: int,
    *,
    mask_id: int,
    words: int,
    generator: torch.Generator,
    rates: Rates = PAPER,
) -> Question:
    """Mask and cover one page. `image` is already another page's where `partner` says REPLACED.

    Pages that do not match are masked and covered too, and all their tokens are to be called covered: otherwise the
    covering would tell which pages match.
    """
    real = line >= 0
    masked = choose(real, rates.token, generator)
    shown, labels = mask_words(ids, masked, mask_id, words, generator, rates)
    covered = choose_lines(line, rates.line, generator)
    picture = torch.zeros_like(image) if partner == DROPPED else cover(image, boxes[masked | covered])
    matching = partner == SAME
    return Question(
        ids=shown,
        image=picture,
        labels=labels,
        covered=covered if matching else real,
        counts=real & ~masked,
        matching=matching,
    )
