"""Pictures with sounds: Tux Paint's photographs, what they sound like, and what they are called in thirteen languages.

All of it is as the package has it: crows that caw, and voices that say "Un corbeau." A sound is paired with its
picture. The English caption is there for measuring, and stands beside no sound in training.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from sensorium.data.emoji import Progress
from sensorium.data.errors import SensoriumError
from sensorium.data.media import clip_times
from sensorium.data.sets import Pictures, stamps
from sensorium.data.sources.clips import Clips, Sense

SECONDS = 2.0
CUT, LEAST = 0.6, 1.0  # where a thing's own sound is cut, and the seconds that it must have
OWN = "own"  # the voice of the thing itself
UNSEEN, ELSEWHERE = 8, 6  # of so many captions one is never heard; of so many recordings one is kept for the test
FEWEST = 3  # other recordings that a thing must keep for training


def stamp_sounds(pictures: Pictures | None = None, progress: Progress | None = None) -> Clips:
    """Every recording with its picture, caption and split. Fetches the stamps where needed.

    train    pictures and sounds that are shown together
    test     what else the things of train say: a word in another voice, the later part of an animal's sound
    unseen   things of which training has no sound at all

    The same recording stands in the package under several names; it is taken once. Raises SensoriumError where not one
    picture has a sound.
    """
    source = pictures or stamps(everything=True)
    rows = tuple(_rows(source))
    if not rows:
        raise SensoriumError(f"{source.name}: no picture has a sound beside it")
    return Clips("stamp-sounds", "pictures with sounds and spoken names", rows, source.classes)


def voice(recording: Path) -> str:
    """Whose voice it is: a language, or `own`."""
    named = re.search(r"_desc(?:_(\w+))?$", recording.stem)
    return OWN if named is None else named[1] or "en"


def _rows(source: Pictures) -> Iterator[Sense]:
    heard: set[str] = set()
    of: dict[str, list[tuple[Path, Path, int]]] = {}
    for picture, (caption,), label in source.rows:
        for file in _recordings(picture):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            if content not in heard:
                heard.add(content)
                of.setdefault(caption, []).append((picture, file, label))
    for caption, found in sorted(of.items()):
        voices = sorted({voice(file) for _, file, _ in found} - {OWN})
        kept = [each for each in voices if _digit(f"{caption} {each}", ELSEWHERE) == 0]
        kept = kept[: max(0, len(voices) - FEWEST)]
        for picture, file, label in found:
            for begin, end, later in _spans(file):
                tested = later if voice(file) == OWN else voice(file) in kept
                split = "unseen" if _digit(caption, UNSEEN) == 0 else "test" if tested else "train"
                key = f"{file.parent.name}/{file.name}@{begin:g}"
                row = Sense(key=key, image=picture, audio=file, text=caption, label=label, split=split)
                row |= Sense(begin=begin, end=end)
                yield row


def _recordings(picture: Path) -> list[Path]:
    ours = re.compile(rf"{re.escape(picture.stem)}(?:_desc(?:_\w+)?)?\.(?:ogg|wav)")
    return sorted(file for file in picture.parent.iterdir() if ours.fullmatch(file.name))


def _spans(file: Path) -> list[tuple[float, float, bool]]:
    """Begin and end of what is heard of a recording, and whether it is kept for the test.

    Of a name its first two seconds. A thing's own sound is cut at three fifths: what comes before, two seconds at a
    time, is for training, the two seconds from there on for the test, where there is a second or more in all.
    """
    if voice(file) != OWN:
        return [(0.0, SECONDS, False)]
    try:
        import soundfile
    except ImportError:
        raise SensoriumError("sounds need two more packages: pip install 'sensorium[media]'") from None
    length = float(soundfile.info(str(file)).duration)
    cut = length if length < LEAST else CUT * length
    times = [(float(a), float(b)) for a, b in clip_times(cut, SECONDS, max(1, int(cut // SECONDS)))]
    spans = [(begin, min(end, cut), False) for begin, end in times]
    return spans if cut == length else [*spans, (cut, min(length, cut + SECONDS), True)]


def _digit(text: str, base: int) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % base
