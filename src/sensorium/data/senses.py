"""What a sample holds, sense by sense, in words: every loader says what it got, or why it cannot read it."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from sensorium.data import kind_names
from sensorium.data.audio_segments import sound_segments
from sensorium.data.depth import read_depth
from sensorium.data.errors import about
from sensorium.data.image import read_image
from sensorium.data.motion import read_motion
from sensorium.data.sources.kept import stamp
from sensorium.data.stream import Sample
from sensorium.data.thermal import read_thermal
from sensorium.data.video import video_segments

SENSES = tuple(sense for sense in kind_names.SENSES if sense != "text")  # those that have files
FEW = 0.5  # seconds of a sound or film that are read to know that it can be


def describe(sample: Sample) -> dict[str, str]:
    """For each sense of a sample, what its file was taken for: "640x480", "2 channels at 44,100 Hz", ...

    Of sounds and films the beginning is read, the others whole. Raises Unreadable, naming the file.
    """
    said: dict[str, str] = {}
    for sense in SENSES:
        if sense in sample:
            with about(sample[sense]):
                said[sense] = _said(sense, sample)
    return said


def _said(sense: str, sample: Sample) -> str:
    source: Any = sample[sense]
    if sense == "image":
        width, height = read_image(source).info["size"]
        return f"{width}x{height}"
    path = Path(source)
    if sense == "video":
        height, width = next(video_segments(path, seconds=FEW)).frames.shape[-2:]
        return f"{width}x{height}"
    if sense == "audio":
        first = next(sound_segments(path, seconds=FEW))
        return f"{len(first.waveform)} channel{'s' * (len(first.waveform) > 1)} at {first.rate:,} Hz"
    if sense == "depth":
        told = {key: sample.get(key) for key in ("unit", "focal", "baseline")}
        return read_depth(path, **told).got
    return read_thermal(path).got if sense == "thermal" else _motion(path, stamp(path))


@lru_cache(maxsize=1)
def _motion(path: Path, state: tuple[int, int, int]) -> str:
    """Of one long recording there may be hundreds of samples."""
    return read_motion(path).got
