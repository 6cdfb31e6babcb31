"""Masks of sounds and erased parts of pictures: how large they may be, where, how often, and that all else stays."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sensorium.data.sense_augment import AREA, RATIO, erase, spec_augment


def dice(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def runs(changed: Tensor) -> list[int]:
    """The lengths of stretches of True."""
    text = "".join("x" if each else " " for each in changed.tolist())
    return [len(part) for part in text.split()]


@given(st.integers(0, 1 << 40), st.integers(8, 64), st.integers(8, 100), st.integers(0, 20), st.integers(0, 40))
def test_spec_augment_masks_one_band_and_one_stretch(
    seed: int, bins: int, frames: int, band: int, stretch: int
) -> None:
    sound = torch.rand(1, bins, frames) + 1
    masked = spec_augment(sound, dice(seed), bins=band, frames=stretch)
    assert sound.min() >= 1, "the input is left alone"
    changed = (masked != sound)[0]
    rows, columns = changed.all(1), changed.all(0)
    assert torch.equal(changed, rows[:, None] | columns[None])
    assert not masked[0][changed].any(), "0 is the mean of what is normalised"
    for axis, widest in ((rows, min(band, bins // 2)), (columns, min(stretch, frames // 2))):
        assert len(runs(axis)) <= 1
        assert sum(runs(axis)) <= widest
    assert torch.equal(masked, spec_augment(sound, dice(seed), bins=band, frames=stretch)), "all from the generator"


def test_every_width_and_both_ends_are_drawn() -> None:
    sound = torch.ones(1, 16, 40)
    rows = [(spec_augment(sound, dice(i), bins=5, frames=0) == 0)[0].all(1) for i in range(400)]
    assert {int(each.sum()) for each in rows} == {0, 1, 2, 3, 4, 5}
    assert torch.stack(rows).any(0).all(), "any bin may be masked"


@given(st.integers(0, 1 << 40), st.integers(16, 80), st.integers(16, 80))
def test_a_rectangle_is_erased_and_nothing_else(seed: int, height: int, width: int) -> None:
    picture = torch.rand(1, height, width) + 1
    erased = erase(picture, dice(seed), chance=1.0)
    changed = (erased != picture)[0]
    if not changed.any():
        return
    rows, columns = changed.any(1), changed.any(0)
    assert torch.equal(changed, rows[:, None] & columns[None])
    assert len(runs(rows)) == len(runs(columns)) == 1
    down, across = int(rows.sum()), int(columns.sum())
    room = (down + across) / 2 + 0.25  # sides are rounded
    assert AREA[0] * height * width - room <= down * across <= AREA[1] * height * width + room
    assert RATIO[0] * (across - 0.5) <= down + 0.5
    assert down - 0.5 <= RATIO[1] * (across + 0.5)
    assert picture.min() >= 1


def test_as_often_as_is_said() -> None:
    picture = torch.ones(1, 32, 32)
    often = sum(bool((erase(picture, dice(i), chance=0.25) == 0).any()) for i in range(2000)) / 2000
    assert often == pytest.approx(0.25, abs=0.03)
    assert erase(picture, dice(0), chance=0.0) is picture
