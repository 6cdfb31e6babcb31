"""With packages that the test writes: as npm's are laid out, but of four emoji."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium.data import emoji
from sensorium.data.emoji import ARTISTS, Concept, held_out, splits
from sensorium.data.errors import SensoriumError, Unreadable

NAMES = (
    ("1F408", "cat", ["pet"], 3, 30),
    ("1F415", "dog", ["pet", "dog"], 3, 30),
    ("2764-FE0F", "red heart", [], 0, 7),
    ("1F1E9-1F1EA", "flag: Germany", ["DE"], 9, 90),
    ("1F1E9", "regional indicator D", [], None, None),
    ("1F9B0", "red hair", [], 2, 20),
)
SHADES = {"cat": "#ff0000", "dog": "#00ff00", "heart": "#0000ff", "flag": "#000000"}


def body(name: str) -> str:
    return f'<path fill="{SHADES[name]}" d="M0 0h8v8H0z"/>'


def write(file: Path, value: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value) if not isinstance(value, str) else value)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "packages"
    monkeypatch.setattr(emoji, "unpacked", lambda parcel: home / parcel.package)
    names = home / "emojibase-data/package"
    rows = [
        {"hexcode": code, "label": label, "tags": tags} | ({} if group is None else {"group": group, "subgroup": sub})
        for code, label, tags, group, sub in NAMES
    ]
    write(names / "en/data.json", rows)
    groups = {"0": "smileys", "2": "component", "3": "animals", "9": "flags"}
    subgroups = {"7": "heart", "20": "hair-style", "30": "animal-mammal", "90": "country-flag"}
    write(names / "meta/groups.json", {"groups": groups, "subgroups": subgroups})
    write(names / "meta/unicode-names.json", {"2764": "HEAVY BLACK HEART"})
    write(names / "en/shortcodes/cldr.json", {"1F408": "cat", "1F415": ["dog"]})
    write(names / "en/shortcodes/joypixels.json", {})
    icons = {"cat": {"body": body("cat")}, "dog": {"body": body("dog")}, "heart": {"body": body("heart")}}
    chars = {"1f408": "cat", "1f415": "dog", "2764": "heart", "1f1e9-1f1ea": "flag-germany"}
    named = icons | {"flag-germany": {"body": body("flag"), "width": 16}}
    for artist in ("twemoji", "noto", "fluent-emoji-flat"):
        write(home / f"@iconify-json/{artist}/package/icons.json", {"icons": named, "width": 8, "height": 8})
        write(home / f"@iconify-json/{artist}/package/chars.json", chars)
    guessed = {
        "icons": {"cat": icons["cat"], "heavyblackheart": icons["heart"], "somethingelse": icons["dog"]},
        "aliases": {"flag-for-germany": {"parent": "cat"}, "dog": {"parent": "cat", "hFlip": True}},
    }
    for artist in ("fluent-emoji", "emojione", "fxemoji"):
        write(home / f"@iconify-json/{artist}/package/icons.json", guessed | {"width": 8, "height": 8})
        write(home / f"@iconify-json/{artist}/package/chars.json", {})
    for code, name in (("1F408", "cat"), ("2764", "heart")):
        svg = f'<svg id="emoji" width="72" height="72" viewBox="0 0 8 8" xmlns="http://www.w3.org/2000/svg">{body(name)}</svg>'
        write(home / f"openmoji/package/color/svg/{code}.svg", svg)
    write(home / "openmoji/package/color/svg/1F415.svg", "<svg broken")
    assets = home / "@lobehub/fluent-emoji-3d/package/assets"
    assets.mkdir(parents=True)
    Image.new("RGBA", (256, 256), (255, 0, 0, 0)).save(assets / "2764-fe0f.webp", lossless=True)
    return home


def test_packages_are_joined_on_code_points_and_rendered_over_white(packages: Path) -> None:
    told: list[tuple[str, int, int]] = []
    found = emoji.emoji(16, progress=lambda *step: told.append(step))
    assert [concept.hexcode for concept in found.concepts] == ["1F1E9-1F1EA", "1F408", "1F415", "2764"]
    assert found.classes == ("flag: Germany", "cat", "dog", "red heart")
    drawn = {
        artist: [s["label"] for s in map(found.__getitem__, range(len(found))) if s["artist"] == artist]
        for artist in ARTISTS
    }
    three = {key: [0, 1, 3] for key in ("fluent-emoji", "emojione", "fxemoji")}
    four = {key: [0, 1, 2, 3] for key in ("twemoji", "noto", "fluent-emoji-flat")}
    assert drawn == {**three, **four, "openmoji": [1, 3], "fluent-emoji-3d": [3]}  # what cannot be drawn is left out
    by_key = {s["key"]: s for s in map(found.__getitem__, range(len(found)))}
    dog, heart, flag = by_key["noto/1F415"], by_key["openmoji/2764"], by_key["twemoji/1F1E9-1F1EA"]
    assert (dog["text"], dog["group"], dog["subgroup"]) == (("dog", "pet"), "animals", "animal-mammal")
    assert dog["image"].shape == (16, 16, 3)
    assert dog["image"].reshape(-1, 3).tolist() == [[0, 255, 0]] * 256
    assert heart["image"].reshape(-1, 3).tolist() == [[0, 0, 255]] * 256  # its own size does not matter
    assert flag["image"][8, :, 0].tolist() == [0] * 8 + [255] * 8  # twice as wide as high: 4 rows above are white
    assert by_key["fluent-emoji-3d/2764"]["image"].min() == 255  # transparent
    assert told[-1] == ("fxemoji", 3, 3)
    assert emoji.is_ready(16)


def test_rendered_once_and_each_artist_whole(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(emoji, "ARTISTS", ARTISTS[:2])
        first = emoji.emoji(16)
    assert not emoji.is_ready(16)
    asked: list[str] = []
    again = emoji.emoji(16, progress=lambda artist, *_: asked.append(artist))
    assert set(asked) == set(ARTISTS[2:])  # the first two are not drawn again
    assert again.rows[: len(first)] == first.rows
    monkeypatch.setattr(emoji, "render_svg", lambda *_: pytest.fail("drawn again"))
    assert len(emoji.emoji(16)) == len(again)


def test_a_damaged_array_says_what_to_do(packages: Path) -> None:
    found = emoji.emoji(16)
    file = emoji.folder(16) / "noto.npy"
    file.write_bytes(file.read_bytes()[:50])
    emoji._pixels.cache_clear()  # pyright: ignore
    with pytest.raises(Unreadable, match=r"noto.npy: no array of pictures .*: delete it"):
        found[len(found.only(artists=["twemoji"]))]


def test_without_the_renderer(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)
    with pytest.raises(SensoriumError, match=r"pip install 'sensorium\[train\]'"):
        emoji.emoji(16)


def test_splits_share_neither_style_nor_concept(packages: Path) -> None:
    found = emoji.emoji(16)
    parts = splits(found, artist="noto", share=0.25)
    rows = [set(part.rows) for part in (parts.train, parts.unseen_artist, parts.unseen_concepts, parts.unseen_both)]
    assert set.union(*rows) == set(found.rows)
    assert sum(map(len, rows)) == len(found)
    assert {row[0] for row in rows[1]} == {"noto"}
    assert not {row[2] for row in rows[0]} & {row[2] for row in rows[2] | rows[3]}
    assert "noto" not in parts.train.artists
    assert all(part.classes == found.classes for part in (parts.train, parts.unseen_concepts))
    with pytest.raises(SensoriumError, match="no artist is called 'nato'; there are twemoji"):
        splits(found, artist="nato")


def test_held_out_concepts_are_a_share_of_every_subgroup() -> None:
    concepts = [Concept(f"{i:X}", ("x",), "g", f"sub{i % 7}") for i in range(700)]
    held = held_out(concepts, 0.1)
    assert held == held_out(concepts, 0.1)
    assert np.bincount([i % 7 for i in held]).tolist() == [10] * 7
    assert held < held_out(concepts, 0.2)
    lone = [Concept(f"{i:X}", ("x",), "g", f"sub{i}") for i in range(100)]
    assert len(held_out(lone, 0.1)) == 10  # subgroups of one
