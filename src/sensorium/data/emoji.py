"""Emoji of eight artists as labelled, captioned pictures: one concept drawn in several styles.

Names, tags and groups are those of Unicode's CLDR as emojibase carries them; the drawings stand in npm packages. They
are joined on the code points without the variation selector, rendered once over white and kept in the user's cache.
Two splits do not leak: an artist that training never sees, and concepts that it never sees. A random split leaks, since
the artists draw after one another; so do the three `fluent` sets among themselves, which are one design in three
finishes, and which one held-out artist should therefore not be taken from.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.image import read_image
from sensorium.data.packages import cache_folder
from sensorium.data.parcels import Parcel, unpacked
from sensorium.data.stream import Sample

Progress = Callable[[str, int, int], None]
"""Told what is worked on, how many of it are done, and how many there are."""

NAMES = Parcel(
    registry="npm",
    package="emojibase-data",
    version="17.0.0",
    sha256="d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    licence="MIT",
    megabytes=7,
)
FLUENT_3D = Parcel(
    registry="npm",
    package="@lobehub/fluent-emoji-3d",
    version="1.1.0",
    sha256="c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    licence="MIT",
    megabytes=16,
)
OPENMOJI = Parcel(
    registry="npm",
    package="openmoji",
    version="17.0.0",
    sha256="55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68",
    licence="CC-BY-SA-4.0",
    megabytes=5,
)
ICONIFY = {
    name: Parcel(
        registry="npm",
        package=f"@iconify-json/{name}",
        version=version,
        sha256=sha256,
        licence=licence,
        megabytes=megabytes,
    )
    for name, version, licence, megabytes, sha256 in (
        ("twemoji", "1.2.5", "CC-BY-4.0", 2, "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
        ("noto", "1.2.9", "Apache-2.0", 3, "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
        ("fluent-emoji-flat", "1.2.6", "MIT", 2, "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175"),
        ("fluent-emoji", "1.2.7", "MIT", 15, "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b"),
        ("emojione", "1.2.3", "CC-BY-4.0", 1, "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"),
        ("fxemoji", "1.2.2", "Apache-2.0", 2, "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef"),
    )
}
PARCELS = (NAMES, *ICONIFY.values(), OPENMOJI, FLUENT_3D)
ARTISTS = ("twemoji", "noto", "openmoji", "fluent-emoji-flat", "fluent-emoji", "fluent-emoji-3d", "emojione", "fxemoji")
RENDERING = 1  # counts up when the same drawings would come out as other pixels, or other drawings would be joined
SIZE = 64

SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box}">{body}</svg>'


@dataclass(frozen=True)
class Concept:
    """What an emoji stands for; `text` is its name, then its tags."""

    hexcode: str
    text: tuple[str, ...]
    group: str
    subgroup: str


@dataclass(frozen=True)
class Emoji:
    """A source of rendered emoji. `rows` says which picture of which artist shows which concept.

    Samples hold the picture (uint8, size x size x 3), text (name, then tags), label (index in `concepts`), artist,
    group, subgroup and key.
    """

    folder: Path
    concepts: tuple[Concept, ...]
    rows: tuple[tuple[str, int, int], ...]  # artist, picture in the artist's array, concept
    name: str = "emoji"
    problems: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """In words."""
        return f"emoji of {len(self.artists)} artists"

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each concept, by label."""
        return self._names

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(concept.text[0] for concept in self.concepts)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Sample:
        artist, picture, label = self.rows[index]
        concept = self.concepts[label]
        return {
            "image": _pixels(self.folder / f"{artist}.npy")[picture],
            "text": concept.text,
            "label": label,
            "artist": artist,
            "group": concept.group,
            "subgroup": concept.subgroup,
            "key": f"{artist}/{concept.hexcode}",
        }

    @property
    def artists(self) -> tuple[str, ...]:
        """Whose drawings these are."""
        return tuple(artist for artist in ARTISTS if any(row[0] == artist for row in self.rows))

    def only(self, *, artists: Collection[str] | None = None, concepts: Collection[int] | None = None) -> "Emoji":
        """The pictures of these artists and of these concepts; None is all. Labels keep their meaning."""
        for artist in artists or ():
            if artist not in ARTISTS:
                raise SensoriumError(f"no artist is called {artist!r}; there are {', '.join(ARTISTS)}")
        rows = (row for row in self.rows if artists is None or row[0] in artists)
        return replace(self, rows=tuple(row for row in rows if concepts is None or row[2] in concepts))


@dataclass(frozen=True)
class Splits:
    """Emoji that training sees, and two kinds that it does not.

    train            every other artist's drawings of the seen concepts
    unseen_artist    the held-out artist's drawings of the seen concepts: known things in an unknown style
    unseen_concepts  every other artist's drawings of the held-out concepts: true zero-shot
    unseen_both      the held-out artist's drawings of the held-out concepts
    """

    train: Emoji
    unseen_artist: Emoji
    unseen_concepts: Emoji
    unseen_both: Emoji


def splits(emoji: Emoji, *, artist: str = "noto", share: float = 0.1) -> Splits:
    """The splits that hold out one artist and a share of the concepts."""
    held = held_out(emoji.concepts, share)
    seen = frozenset(range(len(emoji.concepts))) - held
    rest = [each for each in ARTISTS if each != artist]
    return Splits(
        train=emoji.only(artists=rest, concepts=seen),
        unseen_artist=emoji.only(artists=[artist], concepts=seen),
        unseen_concepts=emoji.only(artists=rest, concepts=held),
        unseen_both=emoji.only(artists=[artist], concepts=held),
    )


def held_out(concepts: Iterable[Concept], share: float = 0.1) -> frozenset[int]:
    """A share of the concepts, of every subgroup alike as far as its size allows; always the same ones.

    Within a subgroup those with the lowest hash of their code are taken.
    """
    of: dict[str, list[tuple[str, int]]] = {}
    for index, concept in enumerate(concepts):
        digest = hashlib.sha256(concept.hexcode.encode()).hexdigest()
        of.setdefault(concept.subgroup, []).append((digest, index))
    held: set[int] = set()
    passed = 0
    for _, members in sorted(of.items()):
        passed += len(members)
        held |= {index for _, index in sorted(members)[: round(share * passed) - len(held)]}
    return frozenset(held)


@cache
def _pixels(file: Path) -> np.ndarray[Any, Any]:
    """An artist's pictures, mapped into memory; a source that travels to a worker carries the name only."""
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise Unreadable(file, f"no array of pictures ({error}): delete it, and it is made anew") from error


# -- making it --------------------------------------------------------------------------------------------------------


def folder(size: int = SIZE) -> Path:
    """Where the rendered pictures lie, or will: other packages or another rendering make another folder."""
    digest = hashlib.sha256("".join(parcel.sha256 for parcel in PARCELS).encode()).hexdigest()[:8]
    return cache_folder() / "sets" / f"emoji-{size}-{RENDERING}-{digest}"


def is_ready(size: int = SIZE) -> bool:
    """Whether every picture has been rendered."""
    return all((folder(size) / f"{artist}.npy").is_file() for artist in ARTISTS)


def emoji(size: int = SIZE, *, progress: Progress | None = None) -> Emoji:
    """All emoji but skin tones, of all artists; fetched and rendered on the first call.

    What an artist drew is rendered whole and then kept: an interrupted run goes on with the next artist. Raises
    PackageError where a package cannot be had, SensoriumError where resvg_py is missing or the cache is full.
    """
    home = folder(size)
    concepts = _concepts(unpacked(NAMES) / "package")
    rows: list[tuple[str, int, int]] = []
    for artist in ARTISTS:
        codes = home / f"{artist}.json"
        if not (home / f"{artist}.npy").is_file():
            _render(artist, concepts, size, home, progress or _nothing)
        try:
            places = json.loads(codes.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SensoriumError(f"{home} is damaged ({error}): delete it, and it is made anew") from error
        rows += [(artist, picture, concept) for picture, concept in enumerate(places)]
    return Emoji(home, concepts, tuple(rows))


def _nothing(what: str, done: int, of: int) -> None:
    return None


def _concepts(package: Path) -> tuple[Concept, ...]:
    """Every emoji that shows something: neither letters of flags, nor skin and hair by themselves."""
    meta = json.loads((package / "meta/groups.json").read_text(encoding="utf-8"))
    found: list[Concept] = []
    for row in json.loads((package / "en/data.json").read_text(encoding="utf-8")):
        group = meta["groups"].get(str(row.get("group")))
        if group is None or group == "component":
            continue
        text = dict.fromkeys([row["label"], *row.get("tags", ())])
        found.append(Concept(_code(row["hexcode"]), tuple(text), group, meta["subgroups"][str(row["subgroup"])]))
    return tuple(sorted(found, key=lambda concept: concept.hexcode))


def _code(hexcode: str) -> str:
    """Code points without the variation selector, which packages write or leave out as they please."""
    return "-".join(part for part in hexcode.upper().split("-") if part != "FE0F")


def _render(artist: str, concepts: tuple[Concept, ...], size: int, home: Path, progress: Progress) -> None:
    drawings = _drawings(artist)
    wanted = [
        (index, drawings[concept.hexcode]) for index, concept in enumerate(concepts) if concept.hexcode in drawings
    ]
    pixels = np.empty((len(wanted), size, size, 3), dtype=np.uint8)
    places: list[int] = []
    for done, (index, drawing) in enumerate(wanted):
        progress(artist, done, len(wanted))
        try:
            pixels[len(places)] = np.asarray(_picture(drawing, size))
        except Unreadable:  # what the renderer cannot draw is left out; the others go on
            continue
        places.append(index)
    progress(artist, len(wanted), len(wanted))
    part = home / f".{artist}.{os.getpid()}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(places), encoding="utf-8")
        part.replace(home / f"{artist}.json")
        with part.open("wb") as file:
            np.save(file, pixels[: len(places)], allow_pickle=False)
        part.replace(home / f"{artist}.npy")  # last: with it, the artist counts as done
    except OSError as error:
        part.unlink(missing_ok=True)
        reason = f"cannot keep pictures in {home}: {error.strerror}"
        raise SensoriumError(f"{reason}. Set SENSORIUM_CACHE to a folder with room") from error


def _picture(drawing: Path | str, size: int) -> Image.Image:
    """A picture file, or SVG text, as a square over white."""
    if isinstance(drawing, str):
        return read_image(render_svg(drawing, size))
    image = read_image(drawing)
    return image.resize((size, size), Image.Resampling.LANCZOS) if image.size != (size, size) else image


def render_svg(text: str, size: int) -> bytes:
    """The PNG of a drawing, `size` pixels wide and high, transparent where it is. No font of this machine is used."""
    try:
        import resvg_py
    except ImportError:
        raise SensoriumError("drawings need one more package: pip install 'sensorium[train]'") from None
    text = re.sub("<svg ", f'<svg width="{size}" height="{size}" ', text, count=1)
    try:
        return bytes(resvg_py.svg_to_bytes(svg_string=text, skip_system_fonts=True))
    except ValueError as error:
        raise Unreadable("drawing", f"not an SVG that can be drawn ({str(error)[:80]})") from error


def _drawings(artist: str) -> Mapping[str, Path | str]:
    """What an artist drew, by code: a file, or SVG text."""
    if artist == "fluent-emoji-3d":
        return {_code(file.stem): file for file in (unpacked(FLUENT_3D) / "package/assets").glob("*.webp")}
    if artist == "openmoji":
        files = (unpacked(OPENMOJI) / "package/color/svg").glob("*.svg")
        return {_code(file.stem): _sized(file.read_text(encoding="utf-8")) for file in files}
    icons, chars = _icons(artist)
    drawn = {name: _svg(icons, name) for name in [*icons["icons"], *icons.get("aliases", {})]}
    codes = {name: _code(code) for code, name in chars.items()} if chars else _guessed(drawn)
    found: dict[str, str] = {}
    for name, svg in drawn.items():
        if svg is not None and name in codes:
            found.setdefault(codes[name], svg)
    return found


def _icons(artist: str) -> tuple[Any, Mapping[str, str]]:
    """An icon set of Iconify (https://iconify.design/docs/types/iconify-json.html), and its names by code."""
    package = unpacked(ICONIFY[artist]) / "package"
    icons, chars = (json.loads((package / f"{name}.json").read_text(encoding="utf-8")) for name in ("icons", "chars"))
    return icons, chars


def _svg(icons: Any, name: str) -> str | None:
    """An icon as SVG; None for another name that would turn or flip it."""
    alias = icons.get("aliases", {}).get(name)
    if alias is not None and set(alias) - {"parent", "hidden"}:
        return None
    icon = icons["icons"].get(alias["parent"] if alias else name)
    if icon is None:
        return None
    sides = [icon.get(key, icons.get(key, default)) for key, default in _BOX]
    return SVG.format(box=" ".join(map(str, sides)), body=icon["body"])


_BOX = (("left", 0), ("top", 0), ("width", 16), ("height", 16))


def _sized(svg: str) -> str:
    """An SVG file's text without the size that it states, so that it fills the picture."""
    head, tag, rest = svg.partition("<svg ")
    inside, end, body = rest.partition(">")
    return head + tag + re.sub(r'\s(?:width|height)="[^"]*"', " ", " " + inside).lstrip() + end + body


def _guessed(names: Iterable[str]) -> dict[str, str]:
    """Codes of icons that are known by name only: where other sets, CLDR or Unicode say it is one emoji's name."""
    tables = [*_name_tables()]
    codes: dict[str, str] = {}
    for name in names:
        plain = _letters(name.replace("flag-for-flag-", "flag-").replace("flag-for-", "flag-"))
        code = next((table[plain] for table in tables if plain in table), None)
        if code is not None:
            codes[name] = code
    return codes


def _name_tables() -> Iterator[dict[str, str]]:
    """Names as letters only, to codes, surest table first; a name of several emoji is in none."""
    package = unpacked(NAMES) / "package"

    def read(file: str) -> Any:
        return json.loads((package / file).read_text(encoding="utf-8"))

    yield _unique((name, code) for artist in ICONIFY for code, name in _icons(artist)[1].items())
    yield _unique((row["label"], row["hexcode"]) for row in read("en/data.json"))
    yield _unique((name, code) for code, name in read("meta/unicode-names.json").items())
    for file in ("cldr", "joypixels"):
        codes = read(f"en/shortcodes/{file}.json").items()
        yield _unique((name, code) for code, names in codes for name in ([names] if isinstance(names, str) else names))


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    table: dict[str, set[str]] = {}
    for name, code in pairs:
        table.setdefault(_letters(name), set()).add(_code(code))
    return {name: next(iter(codes)) for name, codes in table.items() if len(codes) == 1}


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
