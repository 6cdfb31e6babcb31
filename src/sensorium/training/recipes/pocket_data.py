"""What pocket's binding learns from: WordNet, the classifiers' class names, and drawn pictures with captions.

Nothing here is a photograph with a caption: no package carries those, and the stamps that do are the yardstick. Fetched
packages stay in the user's cache; only sentence vectors and averages of features go on.
"""

import json
import math
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from sensorium.data.emoji import FLUENT_3D as EMOJI
from sensorium.data.emoji import NAMES as EMOJI_NAMES
from sensorium.data.errors import SensoriumError
from sensorium.data.packages import Wheel, locate
from sensorium.data.parcels import Parcel, unpacked
from sensorium.data.sets import CLIP_ART

SYNSETS = Wheel(
    package="timm",
    version="1.0.20",
    sha256="f6e62f780358476691996c47aa49de87b95cc507edf923c3042f74a07e45b7fe",
    licence="Apache-2.0",
    megabytes=3,
    files={
        (CLASSES := "timm/data/_info/imagenet_synsets.txt"): (
            "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15"
        ),
        (PICTURABLE := "timm/data/_info/imagenet22k_synsets.txt"): (
            "0ae24538751973797b29d8dec412b2bdc61bc4ec3ecd081eba0735804236bbd2"
        ),
    },
)
WORDNET = Parcel(
    registry="debian",
    package="wordnet-base",
    version="1:3.0-37",
    sha256="61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
    licence="WordNet (MIT-like)",
    megabytes=6,
)
WORD_CARDS = Parcel(
    registry="debian",
    package="pysiogame",
    version="4.20.01-1",
    sha256="6b22766dfd8ef3a046c2665fe2598ac8a1ecee3d331bda38accf53de65bc59bf",
    licence="GPL-3+",
    megabytes=16,
)
THINGS = ("animals-nature", "food-drink", "travel-places", "activities", "objects")  # emoji that show a thing
PEOPLE = ("person", "person-role", "person-activity", "person-sport", "family")
ART_FOLDERS = (
    *("animals", "buildings", "electronics", "food", "office"),
    *("plants", "recreation", "tools", "transportation"),
)
ART_SIGNS = ("recreation/games/cards", "transportation/roadsigns", "transportation/aiga", "transportation/boating")


@dataclass(frozen=True)
class Synset:
    """A concept of WordNet: its names, its gloss up to the first semicolon, and what it is a kind of."""

    names: tuple[str, ...]
    gloss: str
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Drawing:
    """A drawn picture and what it shows, in a few words."""

    path: Path
    caption: str


def read_wordnet(file: Path) -> dict[str, Synset]:
    """Every noun of WordNet's data.noun by its offset (wndb(5)); raises SensoriumError on another file."""
    synsets: dict[str, Synset] = {}
    for line in file.read_text(encoding="latin-1").splitlines():
        if line.startswith("  "):  # the licence
            continue
        try:
            fields, gloss = line.split("|", 1)
            parts = fields.split()
            count = int(parts[3], 16)
            start = 4 + 2 * count
            pointers = [parts[start + 1 + 4 * i : start + 5 + 4 * i] for i in range(int(parts[start]))]
        except (ValueError, IndexError):
            raise SensoriumError(f"{file} is not WordNet's data.noun: {line[:60]!r}") from None
        synsets[parts[0]] = Synset(
            names=tuple(parts[4 + 2 * i].replace("_", " ") for i in range(count)),
            gloss=gloss.strip().split(";")[0].strip(),
            kinds=tuple(offset for symbol, offset, part, _ in pointers if symbol in ("@", "@i") and part == "n"),
        )
    return synsets


class Hierarchy:
    """How close any concept stands to each of the classes, measured on WordNet's tree."""

    def __init__(self, synsets: dict[str, Synset], classes: list[str]) -> None:
        self.synsets, self.classes = synsets, classes
        below: defaultdict[str, set[int]] = defaultdict(set)
        for index, offset in enumerate(classes):
            for kind in self.ancestors(offset):
                below[kind].add(index)
        self.below = {kind: sorted(found) for kind, found in below.items()}
        self.top = math.log(len(classes))

    def ancestors(self, offset: str) -> set[str]:
        """The concept itself and everything it is a kind of."""
        found, left = {offset}, [offset]
        while left:
            new = set(self.synsets[left.pop()].kinds) - found
            found |= new
            left += new
        return found

    def closeness(self, offset: str) -> list[float]:
        """For each class the information content, in nats, of the nearest concept above both (Resnik 1995).

        A concept that is a class, or above classes, is as close as can be to these: log(number of classes).
        """
        near = [0.0] * len(self.classes)
        for kind in self.ancestors(offset):
            content = self.top - math.log(len(self.below[kind])) if kind in self.below else 0.0
            if content > 0:
                for index in self.below[kind]:
                    near[index] = max(near[index], content)
        for index in self.below.get(offset, ()):
            near[index] = self.top
        return near


def wordnet() -> tuple[Hierarchy, list[str]]:
    """The hierarchy over ImageNet's 1000 classes, and the offsets of all concepts that can be pictured."""
    synsets = read_wordnet(unpacked(WORDNET) / "usr/share/wordnet/data.noun")
    classes, picturable = (
        [line.strip().removeprefix("n") for line in locate(SYNSETS, member).read_text().splitlines() if line.strip()]
        for member in (CLASSES, PICTURABLE)
    )
    hierarchy = Hierarchy(synsets, classes)
    return hierarchy, sorted({*picturable, *classes, *hierarchy.below})


TEMPLATES = (
    *("a photo of a {}", "A {}.", "a {} in the background", "a picture of a {} and other things"),
    *("a close-up of a {}", "a {} on a white background", "two {}s", "a person with a {}", "a small {}"),
    "a {} outdoors",
)


def wordings(synset: Synset, dice: random.Random) -> list[str]:
    """Six ways to say a concept: name, second name, all names, gloss, name with gloss, name in a prompt."""
    name = synset.names[0]
    return [
        name,
        synset.names[min(1, len(synset.names) - 1)],
        ", ".join(synset.names),
        synset.gloss,
        f"{name}: {synset.gloss}",
        dice.choice(TEMPLATES).format(name),
    ]


def drawings(nouns: set[str]) -> list[Drawing]:
    """Emoji, word cards and clip art of things, with captions, in a fixed order. `nouns` tells words from authors."""
    return [*_emoji(), *_word_cards(), *_clip_art(nouns)]


def _emoji() -> list[Drawing]:
    names, pictures = unpacked(EMOJI_NAMES) / "package", unpacked(EMOJI) / "package/assets"
    groups = json.loads((names / "meta/groups.json").read_text(encoding="utf-8"))
    found: list[Drawing] = []
    for emoji in json.loads((names / "en/data.json").read_text(encoding="utf-8")):
        group = groups["groups"].get(str(emoji.get("group")))
        subgroup = groups["subgroups"].get(str(emoji.get("subgroup")))
        if group not in THINGS and not (group == "people-body" and subgroup in PEOPLE):
            continue
        code = emoji["hexcode"].lower()
        paths = [pictures / f"{name}.webp" for name in (code, code.replace("-fe0f", ""))]
        found += [Drawing(path, emoji["label"]) for path in paths if path.is_file()][:1]
    return found


def _word_cards() -> list[Drawing]:
    root = unpacked(WORD_CARDS) / "usr/share/games/pysiogame/res/images/art4apps"
    return [Drawing(path, path.stem.replace("_", " ")) for path in sorted(root.glob("*/*.jpg"))]


def _clip_art(nouns: set[str]) -> list[Drawing]:
    root = unpacked(CLIP_ART) / "usr/share/openclipart/png"
    found: list[Drawing] = []
    for path in sorted(root.rglob("*.png")):
        place = path.relative_to(root).as_posix()
        if place.startswith(ART_FOLDERS) and not place.startswith(ART_SIGNS) and (name := file_noun(path.stem, nouns)):
            found.append(Drawing(path, name))
    return found


def file_noun(stem: str, nouns: set[str]) -> str | None:
    """The longest noun of up to three words at the beginning of a file's name, or one word later, if there is one.

    Clip art is named like `rubber_duck2_ganson`: what it shows, a number, who drew it.
    """
    words = [word for word in re.split(r"[\W_\d]+", stem.lower()) if word]
    for length in (3, 2, 1):
        for start in (0, 1):
            phrase = " ".join(words[start : start + length])
            if len(words) >= start + length and len(phrase) > 2 and phrase in nouns:
                return phrase
    if words and words[0].endswith("s") and words[0][:-1] in nouns:
        return words[0]
    return None
