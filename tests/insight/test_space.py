"""The gap between senses against numbers by hand; a map that is the same in every run and finds what was planted."""

import math

import pytest
import torch

from sensorium.data.errors import SensoriumError
from sensorium.insight.space import (
    centred,
    draw_space,
    in_words,
    modality_gap,
    neighbours,
    plane,
    space_map,
)


def planted(number: int = 20, width: int = 32) -> tuple[torch.Tensor, list[str], list[tuple[int, int]]]:
    """Things that are seen and heard: what they are, the place of their sense, which is larger, and a little noise."""
    generator = torch.Generator().manual_seed(0)
    content = torch.randn(number, width, generator=generator)
    parts = [
        content + 2 * torch.randn(width, generator=generator) + 0.2 * torch.randn(number, width, generator=generator)
        for _ in range(2)
    ]
    return torch.cat(parts), ["image"] * number + ["audio"] * number, [(i, number + i) for i in range(number)]


def test_gap_by_hand() -> None:
    vectors = torch.tensor([[2.0, 0, 0], [0, 3, 0], [0, 0, 1], [0, 1, 1], [5, 0, 0]])
    gap = modality_gap(vectors, ["image", "image", "audio", "audio", "text"], [(0, 2), (3, 1)])
    half = 0.5**0.5
    assert gap.senses == ("image", "audio", "text")
    assert gap.counts == (2, 2, 1)
    means = [torch.tensor(x) for x in ([0.5, 0.5, 0], [0, half / 2, (1 + half) / 2], [1.0, 0, 0])]
    for i, a in enumerate(means):
        for j, b in enumerate(means):
            torch.testing.assert_close(gap.apart[i, j], (a - b).norm())
    torch.testing.assert_close(gap.within, torch.tensor([0, half, math.nan]), equal_nan=True)
    torch.testing.assert_close(gap.paired[0, 1], torch.tensor(half / 2))  # cosines 0 and half
    torch.testing.assert_close(gap.unpaired[0, 1], torch.tensor(0.0))
    torch.testing.assert_close(gap.unpaired[0, 2], torch.tensor(0.5))
    assert gap.paired[0, 2].isnan(), "no pair of these"
    for table in (gap.apart, gap.paired, gap.unpaired, gap.pairs):
        torch.testing.assert_close(table, table.mT, equal_nan=True)
    assert gap.pairs.tolist() == [[0, 2, 0], [2, 0, 0], [0, 0, 0]]
    only = modality_gap(vectors[[0, 2]], ["image", "audio"], [(0, 1)])
    assert only.unpaired[0, 1].isnan(), "none but the pair"


def test_the_gap_agrees_with_all_cosines() -> None:
    vectors, senses, pairs = planted()
    gap = modality_gap(vectors, senses, pairs)
    units = torch.nn.functional.normalize(vectors, dim=-1)
    cosines = units[:20] @ units[20:].T
    torch.testing.assert_close(gap.paired[0, 1], cosines.diagonal().mean())
    torch.testing.assert_close(gap.unpaired[0, 1], cosines[~torch.eye(20, dtype=torch.bool)].mean())


def test_without_means_there_is_no_gap_and_partners_are_nearest() -> None:
    vectors, senses, pairs = planted()
    off = centred(vectors, senses)
    before, after = modality_gap(vectors, senses, pairs), modality_gap(off, senses, pairs)
    assert before.apart[0, 1] > 0.7
    assert after.apart[0, 1] < 0.15
    assert after.paired[0, 1] > 0.9
    assert abs(float(after.unpaired[0, 1])) < 0.1
    torch.testing.assert_close(off.norm(dim=-1), torch.ones(40))
    lone = centred(torch.cat([vectors, vectors[:1]]), [*senses, "text"])
    assert lone[-1].tolist() == [0.0] * 32, "one thing alone is its own mean"


def test_plane_keeps_what_lies_in_a_plane() -> None:
    flat = torch.randn(30, 2, generator=torch.Generator().manual_seed(1)) * torch.tensor([5.0, 1.0])
    turn = torch.linalg.qr(torch.randn(7, 7, generator=torch.Generator().manual_seed(2)))[0][:2]
    places, share = plane(flat @ turn + 3)
    torch.testing.assert_close(torch.cdist(places, places), torch.cdist(flat, flat), atol=1e-3, rtol=1e-4)
    assert share.sum() > 0.9999
    assert share[0] > share[1]
    same, _ = plane((flat @ turn).flip(0))
    torch.testing.assert_close(same.flip(0), places, atol=1e-4, rtol=1e-4)
    assert plane(torch.ones(2, 3))[0].tolist() == [[0, 0], [0, 0]]


def test_map_is_the_same_in_every_run_and_finds_the_pairs() -> None:
    vectors, senses, pairs = planted()
    first, second = space_map(vectors, senses, pairs), space_map(vectors, senses, pairs)
    assert first.neighbours is not None
    assert second.neighbours is not None
    assert torch.equal(first.neighbours, second.neighbours)
    assert torch.equal(first.components, second.components)
    said = in_words(first)
    assert said.startswith(f"means of pictures and sounds {float(first.gap.apart[0, 1]):.2f} apart; cosine of pairs 0.")
    assert said.endswith(
        f"with means taken off {float(first.rest.paired[0, 1]):.2f} and {float(first.rest.unpaired[0, 1]):.2f}"
    )
    apart = torch.cdist(first.neighbours[0], first.neighbours[0])
    apart.fill_diagonal_(math.inf)
    side = torch.tensor([sense == "image" for sense in senses])
    assert bool((side[apart.argmin(1)] == side).all()), "as they are, each is among its own sense"
    apart = torch.cdist(first.neighbours[1][:20], first.neighbours[1][20:])
    assert float((apart.argmin(1) == torch.arange(20)).float().mean()) > 0.9, "without means, beside its partner"
    assert neighbours(vectors[:5]) is None


def test_refused() -> None:
    with pytest.raises(SensoriumError, match="two things at least"):
        space_map(torch.ones(1, 4), ["image"])
    with pytest.raises(SensoriumError, match="3 vectors of 2 things"):
        modality_gap(torch.ones(3, 4), ["image", "text"])


@pytest.mark.parametrize("number", [2, 20])
def test_drawing_states_the_gap(number: int) -> None:
    vectors, senses, pairs = planted(number)
    result = space_map(vectors, senses, pairs)
    figure = draw_space(result, senses, pairs, [f"thing {i}" for i in range(2 * number)])
    figure.draw_without_rendering()
    written = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "pictures – sounds" in written
    assert f"{float(result.gap.apart[0, 1]):.2f}" in written
    maps = 4 if number > 2 else 2
    assert written.count("thing 1") == maps
    assert len(figure.axes) == maps + 1
    for axes in figure.axes[:maps]:
        assert sum(len(each.get_offsets()) for each in axes.collections[1:]) == 2 * number  # type: ignore[arg-type]
        assert len(axes.collections[0].get_segments()) == number, "a line for each pair"  # type: ignore[attr-defined]
    assert ("scikit-learn" in figure.texts[1].get_text()) == (number == 2)
