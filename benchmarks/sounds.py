"""How well pocket tells what is heard: Tux Paint's stamps that have a sound of their own, which nobody trained on.

    python benchmarks/sounds.py [MODEL]          # pocket unless named
    python benchmarks/sounds.py --chosen         # the sounds of GCompris, on which the ear's constants were chosen

Debian's tuxpaint-stamps-default 2022.06.04-1 (GPL-2, 161 MB) is fetched once into the user's cache and unpacked. Every
sound with a caption counts, outside `symbols` (letters and numbers read aloud) and four sides of one spinning top. Some
sounds do not tell what they are of (an apple dropped, a hat); they count too. Captions spoken in English are the second
test: single words, without anything around them. With --chosen, gcompris-qt-data 3.1-2 (GPL-3+) takes its place.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F

import sensorium
from sensorium.data.errors import SensoriumError
from sensorium.data.parcels import unpacked
from sensorium.data.sets import STAMPS

sys.path.insert(0, str(Path(__file__).parent))
from photographs import GCOMPRIS, read_resources
from stamps import Ranks, rank

# What the activities' file names do not say.
NAMES = {
    "flute_traversiere": "a flute",
    "horn": "a french horn",
    "chickens": "chickens",
    "sheep": "a sheep",
    "castanets": "castanets",
    "maracas": "maracas",
    "timpani": "timpani",
    "LRRain_in_garden_01_LA_cut": "rain in a garden",
    "LRFrogsInPondDuringStormLACut": "frogs in a pond",
    "LRHeart_beat_01_LA": "a heartbeat",
    "LRApplauses_1_LA_cut": "applause",
    "LRBark_1_LA_cut": "a dog",
    "LRBark_3_LA_cut": "a dog",
    "guitar_melody": "a guitar",
    "LRTrain_slowing_down_01_LA_cut": "a train",
    "LRDoor_Open_2_LA": "a door",
    "LRRing_01_LA": "a telephone ringing",
    "LRBuddhist_gong_05_LA": "a gong",
    "LRFactory_noise_01_LA": "factory machines",
    "LRFactory_noise_03_LA": "factory machines",
    "LRStartAndStopCarEngine1LACut": "a car engine",
    "helicopter": "a helicopter",
    "train": "a train",
    "car": "a car",
    "water_fill": "water filling a basin",
    "door_close": "a door",
    "bubble": "bubbles",
    "drip": "dripping water",
    "knock": "knocking on a door",
    "eat": "somebody eating",
    "money1": "coins",
    "crash": "a crash",
    "xylofon_son1": "a xylophone",
    "harbor1": "a harbor with ships",
    "icy_walk": "walking on ice",
}
OTHERS = (
    *("memory-sound", "guessnumber", "railroad", "traffic", "canal_lock", "clickgame", "melody"),
    *("gnumch-equality", "money", "core", "watercycle", "reversecount"),
)


def stamps_heard() -> list[tuple[Path, str, Path | None]]:
    """Sound, caption and picture of every stamp that has a sound."""
    root = unpacked(STAMPS) / "usr/share/tuxpaint/stamps"
    found: list[tuple[Path, str, Path | None]] = []
    for sound in sorted(root.rglob("*.ogg")):
        text, picture = sound.with_suffix(".txt"), sound.with_suffix(".png")
        place = sound.relative_to(root).as_posix()
        if text.is_file() and not place.startswith("symbols/") and "dreydl" not in place:
            found.append((sound, _caption(text), picture if picture.is_file() else None))
    return found


def stamps_said() -> list[tuple[Path, str, Path]]:
    """Spoken caption, its words and the picture, where somebody spoke English."""
    root = unpacked(STAMPS) / "usr/share/tuxpaint/stamps"
    found: list[tuple[Path, str, Path]] = []
    for sound in sorted(root.rglob("*_desc.ogg")):
        picture = sound.with_name(sound.name.replace("_desc.ogg", ".png"))
        if picture.is_file() and not sound.relative_to(root).as_posix().startswith("symbols/"):
            found.append((sound, _caption(picture.with_suffix(".txt")), picture))
    return found


def _caption(file: Path) -> str:
    return file.read_text(encoding="utf-8").splitlines()[0].strip()


def gcompris(folder: Path) -> list[tuple[Path, str, Path | None]]:
    """Sounds of instruments, farm animals and things, written into a folder, with captions."""
    found: list[tuple[Path, str, Path | None]] = []
    for activity in ("instruments", "explore_farm_animals", *OTHERS):
        inside = read_resources(unpacked(GCOMPRIS) / f"usr/share/gcompris-qt/rcc/{activity}.rcc")
        for name in sorted(name for name in inside if name.endswith((".ogg", ".wav"))):
            plain = Path(name).stem.replace("_", " ")
            said = NAMES.get(Path(name).stem) or (None if activity in OTHERS else f"a {plain}")
            if said:
                file = folder / f"{activity}-{Path(name).name}"
                file.write_bytes(inside[name])
                found.append((file, re.sub(r"^a (?=[aeiou])", "an ", said), None))
    return found


def say(title: str, found: tuple[Ranks, Ranks], among: tuple[int, int]) -> None:
    for way, ranks, n in zip(title.split(" and "), found, among, strict=True):
        print(f"{way:<18}{ranks}   (chance: R@1 {1 / n:.3f}, R@10 {min(1, 10 / n):.3f})")


def main() -> None:
    """Print retrieval both ways, of texts and of pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("model", nargs="?", default="pocket")
    parser.add_argument("--chosen", action="store_true", help="GCompris, on which constants were chosen")
    arguments = parser.parse_args()
    try:
        model = sensorium.load(arguments.model)
        with tempfile.TemporaryDirectory() as folder:
            found = gcompris(Path(folder)) if arguments.chosen else stamps_heard()
            sounds = model.embed(audio=[sound for sound, _, _ in found])["audio"]
        captions = sorted({caption for _, caption, _ in found})
        index = torch.tensor([captions.index(caption) for _, caption, _ in found])
        print(f"{model.name}: {len(found)} sounds, {len(captions)} captions")
        ranks = rank(sounds @ model.embed(text=captions)["text"].T, index)
        say("sound to text and text to sound", ranks, (len(captions), len(found)))
        if arguments.chosen:
            return
        seen = [i for i, (_, _, picture) in enumerate(found) if picture]
        pictures = model.embed(images=[picture for _, _, picture in found if picture])["images"]
        print(f"{len(seen)} sounds with pictures")
        ranks = rank(sounds[seen] @ pictures.T, torch.arange(len(seen)))
        say("sound to picture and picture to sound", ranks, (len(seen), len(seen)))
        spoken(model)
    except SensoriumError as error:
        raise SystemExit(str(error)) from None


def spoken(model: sensorium.Embedder) -> None:
    """Spoken captions: their words' vector, or the sound's where no word was understood."""
    said = stamps_said()
    rows: list[torch.Tensor] = []
    understood = 0
    for sound, _, _ in said:
        pieces = list(model.senses["audio"].pieces(sound, 0))
        words = [piece.input for piece in pieces if isinstance(piece.input, str)]
        understood += bool(words)
        rows.append(model.embed(text=words or ["a person speaking"])["text"].mean(0))
    vectors, own = F.normalize(torch.stack(rows), dim=-1), torch.arange(len(said))
    print(f"{len(said)} spoken captions, words understood in {understood}")
    ranks = rank(vectors @ model.embed(text=[caption for _, caption, _ in said])["text"].T, own)
    say("speech to text and text to speech", ranks, (len(said), len(said)))
    ranks = rank(vectors @ model.embed(images=[picture for _, _, picture in said])["images"].T, own)
    say("speech to picture and picture to speech", ranks, (len(said), len(said)))


if __name__ == "__main__":
    main()
