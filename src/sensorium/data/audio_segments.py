"""Sounds of any length, stretch by stretch: an hour takes no more memory than a minute.

A stretch goes into the model by `AudioSteps(clips=1)(segment.waveform, segment.rate)`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.audio import CHUNK, FRAME
from sensorium.data.errors import Unreadable
from sensorium.data.media import regular_file

APART = 0.02  # seconds by which time stamps and samples may disagree before one is taken for a gap


@dataclass(frozen=True)
class SoundSegment:
    """A stretch of a sound: begin and end in seconds, its samples in [-1, 1] and how many there are a second."""

    begin: float
    end: float
    waveform: Float[Tensor, "channels n"]
    rate: int


def sound_segments(path: str | os.PathLike[str], *, seconds: float = 2.0) -> Iterator[SoundSegment]:
    """The sound of a file, or of a film, in stretches of `seconds`, one after the other.

    The last one begins earlier where less is left, so that all are equally long; a sound shorter than one stretch is
    one. Times are those of the film's pictures: what its time stamps leave out is silent.

    Raises Unreadable: at once where there is no sound, and after the last whole stretch where the file is damaged.
    """
    name = regular_file(path)
    rate, chunks = _soundfile(name) or _av(name)
    length, kept, seen, passed = max(1, round(rate * seconds)), torch.zeros(0, 0), 0, 0

    def cut(at: int, end: int) -> SoundSegment:
        waveform = kept[:, at:end].clone()
        return SoundSegment((passed + at) / rate, (passed + at + waveform.shape[1]) / rate, waveform, rate)

    for chunk in chunks:
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
        raise Unreadable(name, "holds no sound")


def _soundfile(name: str) -> tuple[int, Iterator[Tensor]] | None:
    try:
        import soundfile
    except ImportError:
        return None
    try:
        file: Any = soundfile.SoundFile(name)
    except soundfile.LibsndfileError:  # not one of its formats
        return None

    def chunks() -> Iterator[Tensor]:
        with file:
            given = 0
            try:
                while len(samples := file.read(CHUNK, dtype="float32", always_2d=True)):
                    given += len(samples)
                    yield torch.from_numpy(samples.T.copy())
            except soundfile.LibsndfileError as error:
                raise Unreadable(name, f"damaged after {given / file.samplerate:.1f} s ({error})") from error

    return int(file.samplerate), chunks()


def _av(name: str) -> tuple[int, Iterator[Tensor]]:
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        raise Unreadable(name, "sound needs two more packages: pip install 'sensorium[media]'") from None
    try:
        with av.open(name) as container:
            if not container.streams.audio:
                raise Unreadable(name, "holds no sound")
            rate = int(container.streams.audio[0].rate)
    except (FFmpegError, ValueError) as error:
        raise Unreadable(name, f"no sound that can be decoded ({error})") from error

    def chunks() -> Iterator[Tensor]:
        given = 0
        try:
            with av.open(name) as container:
                film: list[Any] = [each for each in container.streams.video if each.start_time is not None]
                stream: Any = (film or container.streams.audio)[0]
                zero = float((stream.start_time or 0) * stream.time_base)
                limit = int(((container.duration or 0) / 1e6 + 1) * rate)
                planar: Any = av.AudioResampler(format="fltp")
                for frame in container.decode(audio=0):
                    for piece in planar.resample(frame):
                        samples = torch.from_numpy(piece.to_ndarray())
                        if piece.pts is not None:
                            late = round((float(piece.pts * piece.time_base) - zero) * rate) - given
                            if APART * rate < late < limit - given:
                                for begin in range(0, late, CHUNK):
                                    yield torch.zeros(len(samples), min(CHUNK, late - begin))
                                given += late
                            elif late < -APART * rate:
                                samples = samples[:, -late:]
                        given += samples.shape[1]
                        yield samples
        except (FFmpegError, ValueError) as error:
            raise Unreadable(name, f"damaged after {given / rate:.1f} s ({error})") from error

    return rate, chunks()
