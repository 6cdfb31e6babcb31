"""How well a model tells real photographs of animals and things apart: the set on which pocket's constants were chosen.

    python benchmarks/photographs.py [MODEL]

GCompris (Debian's gcompris-qt-data 3.1-2, GPL-3+ with CC-BY-SA pictures, 44 MB, fetched once) carries real photographs
in three of its activities. Their file names are the captions; landmarks are left out, and names that only a programmer
would use are spelled out below. Not trained on. Few pictures: a difference of 0.03 is chance.
"""

import argparse
import re
import struct
import sys
import zlib
from pathlib import Path

import torch

import sensorium
from sensorium.data.errors import SensoriumError
from sensorium.data.parcels import Parcel, unpacked

sys.path.insert(0, str(Path(__file__).parent))
from stamps import rank

GCOMPRIS = Parcel(
    registry="debian",
    package="gcompris-qt-data",
    version="3.1-2",
    sha256="e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
    licence="GPL-3+ and CC-BY-SA",
    megabytes=44,
)
ACTIVITIES = ("categorization", "erase", "explore_farm_animals", "explore_world_animals")
CAPTIONS = {
    "buffetset": "a set of dishes",
    "solar": "a solar panel",
    "blackslate": "a blackboard",
    "numbers": "numbers",
    "alphabets": "letters of the alphabet",
    "bulb": "a light bulb",
    "weighingMachine": "a scale",
    "erasers": "erasers",
    "spray": "a spray bottle",
    "plier": "pliers",
    "tweezer": "tweezers",
    "screwDriver": "a screwdriver",
    "sideCutter": "a side cutter",
    "nailCutter": "nail clippers",
    "cuttingTool": "a cutting tool",
    "measuringTape": "a measuring tape",
    "dragon": "a komodo dragon",
    "scissors": "scissors",
    "spoons": "spoons",
    "camels": "camels",
    "swans": "swans",
    "meerkats": "meerkats",
    "spoonbills": "spoonbills",
    "chamaeleon": "a chameleon",
}
LANDMARKS = (
    *("IndiaGate", "arcDeTriomphe", "bayterek", "brandenburgGate", "burj", "christTheRedeemer", "colosseum"),
    *("eiffelTower", "empireState", "geothermal", "greatPyramid", "greatWall", "jucheTower", "kutubMinar", "leMusee"),
    *("leaningTowerOfPisa", "monument", "mountRushmore", "operaHouse", "parthenon", "statueOfLiberty", "tajMahal"),
    *("usCapitol", "victoriaMemorial", "zimniPalace"),
)


def read_resources(file: Path) -> dict[str, bytes]:
    """The files inside a Qt resource collection (rcc), by path."""
    data = file.read_bytes()
    version, tree, start, names = struct.unpack(">IIII", data[4:20])
    size = 14 if version == 1 else 22
    found: dict[str, bytes] = {}
    left = [(0, "")]
    while left:
        index, above = left.pop()
        entry = tree + index * size
        name_at, flags = struct.unpack(">IH", data[entry : entry + 6])
        length = struct.unpack(">H", data[names + name_at : names + name_at + 2])[0] if index else 0
        name = data[names + name_at + 6 : names + name_at + 6 + 2 * length].decode("utf-16-be") if index else ""
        if flags & 2:
            count, first = struct.unpack(">II", data[entry + 6 : entry + 14])
            left += [(first + i, f"{above}/{name}") for i in range(count)]
        elif not flags & 4:  # compressed with zstd: none of the pictures is
            offset = start + struct.unpack(">I", data[entry + 10 : entry + 14])[0]
            content = data[offset + 4 : offset + 4 + struct.unpack(">I", data[offset : offset + 4])[0]]
            found[f"{above}/{name}"] = zlib.decompress(content[4:]) if flags & 1 else content
    return found


def photographs() -> list[tuple[bytes, str]]:
    """Pictures with captions, in a fixed order."""
    found: list[tuple[bytes, str]] = []
    for activity in ACTIVITIES:
        inside = read_resources(unpacked(GCOMPRIS) / f"usr/share/gcompris-qt/rcc/{activity}.rcc")
        names = {Path(path).name: content for path, content in inside.items() if path.endswith(".webp")}
        for name, content in sorted(names.items()):
            word = re.sub(r"\d+$", "", Path(name).stem)
            if word in LANDMARKS:
                continue
            plain = word.replace("_", " ")
            article = "an" if plain[0] in "aeiou" else "a"
            found.append((content, CAPTIONS.get(word, f"{article} {plain}")))
    return found


def main() -> None:
    """Print retrieval both ways."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("model", nargs="?", default="pocket")
    arguments = parser.parse_args()
    try:
        found = photographs()
        model = sensorium.load(arguments.model)
    except SensoriumError as error:
        raise SystemExit(str(error)) from None
    captions = sorted({caption for _, caption in found})
    index = torch.tensor([captions.index(caption) for _, caption in found])
    images = torch.cat([model.embed(images=[content])["images"] for content, _ in found])
    to_text, to_image = rank(images @ model.embed(text=captions)["text"].T, index)
    print(f"{model.name}: {len(found)} photographs, {len(captions)} captions")
    print(f"image to text   {to_text}\ntext to image   {to_image}")


if __name__ == "__main__":
    main()
