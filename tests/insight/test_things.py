"""What is called the same belongs together, whatever sense it is of."""

import pytest
from PIL import Image

from sensorium.insight.things import Thing, key_of, name_of, pairs_of, partners


def things(*names: tuple[str, str]) -> list[Thing]:
    return [Thing(sense=sense, name=name) for sense, name in names]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Dog_01.jpg", "dog 01"),
        ("dog-01.depth.png", "dog 01"),
        ("sounds/dog 01.wav", "dog 01"),
        ("a dog, barking", "a dog barking"),
        ("thermal.tiff", "thermal"),
        ("Köln.flac", "köln"),
        ("no.1.wav", "no 1"),
        ("???", ""),
    ],
)
def test_names(name: str, key: str) -> None:
    assert key_of(name) == key


def test_pairs_across_senses() -> None:
    pictures = things(("image", "dog.jpg"), ("image", "cat.jpg"), ("image", "sea.jpg"))
    others = things(("audio", "sea.wav"), ("audio", "dog.wav"), ("text", "dog"), ("depth", "lamp_depth.png"))
    assert pairs_of(pictures, others) == [(0, 1), (0, 2), (2, 0)]
    assert partners([*pictures, *others]) == [(0, 4), (0, 5), (2, 3), (4, 5)]


def test_what_could_mean_two_is_no_pair() -> None:
    mixed = things(("image", "a/1.jpg"), ("image", "b/1.jpg"), ("audio", "1.wav"), ("text", "1"))
    assert partners(mixed) == [(2, 3)]
    assert pairs_of(things(("text", "???")), things(("text", "!!"))) == []


def test_one_file_that_is_seen_and_heard() -> None:
    film = [Thing(sense=sense, name="dog.mp4", file="a/dog.mp4") for sense in ("video", "audio")]
    others = things(("audio", "dog.wav"), ("image", "dog.jpg"))
    assert partners([*film, *others]) == [(0, 1), (0, 3)]
    assert pairs_of(film, film) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_long_name_keeps_its_ending() -> None:
    film = Thing(
        sense="video",
        name="a film of the longest train in the world.mp4",
        said="1:12",
        picture=Image.new("RGB", (2, 2)),
    )
    shown = name_of(film, 24)
    assert len(shown) == 24
    assert shown.startswith("a film of")
    assert shown.endswith("d.mp4, 1:12")
    assert name_of(Thing(sense="text", name="words are shown where a picture would be"), 24) == ""
