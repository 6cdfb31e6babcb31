"""Sounds of any length, stretch by stretch: an hour takes no more memory than a minute.

A stretch goes into the model by `AudioSteps(clips=1)(segment.waveform, segment.rate)`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.audio import FRAME
from sensorium.data.audio_stream import SILENT, open_sound
from sensorium.data.errors import Unreadable


@dataclass(frozen=True)
class SoundSegment:
    """A stretch of a sound: begin and end in seconds, its samples in [-1, 1] and how many there are a second."""

    begin: float
    end: float
    waveform: Float[Tensor, "channels n"]
    rate: int


def sound_segments(path: str | os.PathLike[str], *, seconds: float = 2.0, skip: int = 0) -> Iterator[SoundSegment]:
    """The sound of a file, or of a film, in stretches of `seconds`, one after the other.

    The last one begins earlier where less is left, so that all are equally long; a sound shorter than one stretch is
    one. Times are those of the film's pictures: what its time stamps leave out is silent. The first `skip` stretches
    are passed over.

    Raises Unreadable: at once where there is no sound, and after the last whole stretch where the file is damaged.
    """
    sound = open_sound(path)
    name, rate = sound.name, sound.rate
    length = max(1, round(rate * seconds))
    # What comes last may reach back into the stretch before.
    passed = max(0, skip - 1) * length
    seen, kept = (length if skip else 0), torch.zeros(0, 0)

    def cut(at: int, end: int) -> SoundSegment:
        waveform = kept[:, at:end].clone()
        return SoundSegment((passed + at) / rate, (passed + at + waveform.shape[1]) / rate, waveform, rate)

    for chunk in sound.begin(passed):
        kept = torch.cat([kept, chunk], dim=1) if kept.numel() else chunk
        while kept.shape[1] - seen >= length:  # of what was given, the last stretch is kept
            yield cut(seen, seen + length)
            kept, passed, seen = kept[:, seen:], passed + seen, length
    if kept.shape[1] > seen and not (passed or seen):
        if kept.shape[1] < int(rate * FRAME):
            raise Unreadable(
                name, f"too short: {kept.shape[1]:,} samples of {rate:,} a second, and 25 ms are read at once"
            )
        yield cut(0, kept.shape[1])
    elif kept.shape[1] > seen:
        yield cut(kept.shape[1] - length, kept.shape[1])
    elif not seen:
        raise Unreadable(name, SILENT)
