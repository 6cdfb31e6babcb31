"""Instance retrieval: average precision with junk by hand, the three setups, and colours that are found again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sensorium.data.dense import InstanceQuery, Instances
from sensorium.data.errors import SensoriumError
from sensorium.tasks.instances import average_precision, judged, mean_average_precision, retrieve_instances
from sensorium.tasks.protocols import How
from tests.tiny_dense import colours


def test_average_precision_by_trapezoids() -> None:
    """Right at places 1 and 3 of 4, of two: (1 + 1) / 2 and (1/2 + 2/3) / 2, each worth half a recall."""
    ranked = torch.tensor([True, False, True, False])
    assert average_precision(ranked, 2) == pytest.approx(((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 2)
    assert average_precision(ranked, 3) == pytest.approx(((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 3), "one is not there"
    late = torch.tensor([False, True])
    assert average_precision(late, 1) == pytest.approx((0 + 1 / 2) / 2), "precision begins at 0 where a wrong one leads"
    assert average_precision(torch.tensor([False, False]), 1) == 0


def test_junk_is_taken_out_of_the_ranking() -> None:
    ranking = torch.tensor([5, 3, 1, 4, 0, 2])
    assert judged(ranking, {1, 0}, {5, 4}).tolist() == [False, True, True, False]


@given(st.permutations(range(8)), st.sets(st.integers(0, 7), min_size=1), st.sets(st.integers(0, 7)))
def test_where_junk_stands_changes_nothing(order: list[int], right: set[int], junk: set[int]) -> None:
    junk = junk - right
    there = [number for number in order if number not in junk]
    found = average_precision(judged(torch.tensor(order), right, junk), len(right))
    assert found == average_precision(judged(torch.tensor([*junk, *there]), right, junk), len(right))
    assert 0 <= found <= 1
    best = [*right, *(number for number in order if number not in right)]
    assert average_precision(judged(torch.tensor(best), right, junk), len(right)) == pytest.approx(1)


def test_the_three_setups() -> None:
    """One easy picture leads, junk follows, then a wrong one and a hard one."""
    query = InstanceQuery(image="q", key="q", easy=(0,), hard=(3,), junk=(1,))
    cosines = torch.tensor([[0.9, 0.8, 0.7, 0.6]])
    assert mean_average_precision(cosines, [query], "Easy") == 1
    assert mean_average_precision(cosines, [query], "Hard") == pytest.approx((0 + 1 / 2) / 2)
    assert mean_average_precision(cosines, [query], "Medium") == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)
    clear = InstanceQuery(image="q", key="q", easy=(0,))
    assert mean_average_precision(cosines, [clear], "Hard") is None
    both = torch.cat([cosines, cosines])
    assert mean_average_precision(both, [query, clear], "Hard") == pytest.approx(1 / 4), "a query without any is none"


@pytest.fixture
def gallery(tmp_path: Path) -> list[Path]:
    """Plain pictures of six colours, three shades each."""
    found: list[Path] = []
    for hue in range(6):
        for shade in range(3):
            colour = [40, 40, 40]
            colour[hue % 3] = 230 - 20 * shade
            if hue > 2:
                colour[(hue + 1) % 3] = 200
            found.append(tmp_path / f"{hue}{shade}.png")
            Image.new("RGB", (40, 40), tuple(colour)).save(found[-1])
    return found


def test_colours_are_found_again(gallery: list[Path], tmp_path: Path) -> None:
    """The query's instance is in its box; the whole picture is mostly of another colour."""
    pixels = np.full((40, 80, 3), (40, 230, 40), dtype=np.uint8)
    pixels[:16, :16] = (225, 40, 40)
    Image.fromarray(pixels).save(tmp_path / "query.png")

    def at(index: int) -> InstanceQuery:
        box = (0.0, 0.0, 16.0, 16.0) if index == 0 else None
        return InstanceQuery(image=tmp_path / "query.png", key=f"q{index}", easy=(0, 1), hard=(2,), box=box)

    data = Instances(name="hues", length=1, at=at, gallery=gallery)
    how = How(keep=tmp_path / "kept")
    result = retrieve_instances(colours(), data, how=how)
    assert result.metrics == pytest.approx({"mAP Easy": 1.0, "mAP Medium": 1.0, "mAP Hard": 1.0})
    assert (result.own, result.pictures) == ("mAP Hard", 19)
    assert retrieve_instances(colours(), data, how=how).rate == 0
    whole = Instances(name="hues", length=1, at=lambda index: at(1), gallery=gallery)
    assert retrieve_instances(colours(), whole).metrics["mAP Easy"] < 0.5, "cut out or not makes the difference"


def test_what_cannot_be_read_counts_for_nothing(gallery: list[Path], tmp_path: Path) -> None:
    gallery[0].write_bytes(b"\x89PNG nothing")

    def at(index: int) -> InstanceQuery:
        image = gallery[1] if index else tmp_path / "nowhere.png"
        return InstanceQuery(image=image, key=f"q{index}", easy=(0, 1, 2), box=(0.0, 0.0, 40.0, 40.0))

    data = Instances(name="hues", length=2, at=at, gallery=gallery)
    result = retrieve_instances(colours(), data)
    assert result.metrics == {"mAP Easy": 1.0, "mAP Medium": 1.0}
    assert result.own == "mAP Easy"
    assert (result.settings["gallery"], result.settings["queries"]) == (17, 1)
    assert {Path(each.path).name for each in result.unreadable} == {"00.png", "nowhere.png"}
    outside = Instances(
        name="hues",
        length=1,
        at=lambda index: InstanceQuery(image=gallery[1], key="q", easy=(1,), box=(50.0, 0.0, 60.0, 9.0)),
        gallery=gallery,
    )
    with pytest.raises(SensoriumError, match=r"no query that can be read: q: the box .* holds no pixel of 40 x 40"):
        retrieve_instances(colours(), outside)
    empty = Instances(
        name="hues", length=1, at=lambda index: InstanceQuery(image=gallery[1], key="q", easy=()), gallery=gallery
    )
    with pytest.raises(SensoriumError, match="hues: no query has a picture to find"):
        retrieve_instances(colours(), empty)
