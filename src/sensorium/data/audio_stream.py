"""The sound of any file as it comes, piece by piece.

wav, flac, ogg and mp3 are read by soundfile, the sound of films and what else there is by PyAV, where these are
installed (`pip install 'sensorium[media]'`).
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.errors import Unreadable
from sensorium.data.media import regular_file

CHUNK = 1 << 16  # samples that are read at once
FASTEST = 1_000_000  # samples a second that any recorder takes: beyond, a header is damaged
STORED = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
SILENT = "holds no sound"
APART = 0.02  # seconds by which time stamps and samples may disagree before one is taken for a gap


@dataclass(frozen=True)
class Sound:
    """An opened sound: samples a second, and how long it says that it is (0 where it does not)."""

    name: str
    rate: int
    seconds: float
    begin: Callable[[int], Iterator[Float[Tensor, "channels n"]]]  # its samples but for so many first ones

    @property
    def chunks(self) -> Iterator[Float[Tensor, "channels n"]]:
        """All its samples."""
        return self.begin(0)


def open_sound(path: str | os.PathLike[str]) -> Sound:
    """The sound of a file, in [-1, 1]. A film's begins with its first picture; what time stamps leave out is silent.

    Raises Unreadable, also while the samples come, where the file is damaged further on.
    """
    name = regular_file(path)
    sound = _soundfile(name) or _av(name)
    if sound.rate > FASTEST:
        raise Unreadable(name, f"states {sound.rate:,} samples a second: damaged?")
    return sound


def _soundfile(name: str) -> Sound | None:
    try:
        import soundfile
    except ImportError:
        return None
    try:
        file: Any = soundfile.SoundFile(name)
    except soundfile.LibsndfileError:  # not one of its formats
        return None

    def chunks(passed: int) -> Iterator[Tensor]:
        with file:
            given = 0
            try:
                # Where every sample is stored by itself, seeking gives the same ones as reading does. In others a
                # decoder that was moved stumbles; soundfile moves it after each reading, unless it thinks it cannot.
                if not file.subtype.startswith(STORED):
                    file.seekable = lambda: False
                elif passed < file.frames:
                    given = int(file.seek(passed))
                while given < passed and (read := len(file.read(min(CHUNK, passed - given), dtype="float32"))):
                    given += read
                while len(samples := file.read(CHUNK, dtype="float32", always_2d=True)):
                    given += len(samples)
                    yield torch.from_numpy(samples.T.copy())
            except soundfile.LibsndfileError as error:
                raise Unreadable(name, f"damaged after {given / file.samplerate:.1f} s ({error})") from error

    return Sound(name, int(file.samplerate), file.frames / file.samplerate, chunks)


def channels_of(packed: Any) -> np.ndarray[Any, Any]:
    """(channels, n) samples of a frame of PyAV that is packed: of planar ones with eight channels or more it reads what
    is not there, and the process ends."""
    return np.ascontiguousarray(packed.to_ndarray().reshape(-1, packed.layout.nb_channels).T)


def origin(container: Any) -> float:
    """When a file's own clock stands at our 0: at its first picture, else at its first sample."""
    film: list[Any] = [each for each in container.streams.video if each.start_time is not None]
    streams: list[Any] = film or list(container.streams.audio)
    return float((streams[0].start_time or 0) * streams[0].time_base) if streams else 0.0


def _av(name: str) -> Sound:
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        raise Unreadable(name, "sound needs two more packages: pip install 'sensorium[media]'") from None
    try:
        with av.open(name) as container:
            if not container.streams.audio:
                raise Unreadable(name, SILENT)
            heard: Any = container.streams.audio[0]
            if heard.codec_context is None or not heard.rate:
                raise Unreadable(name, "its sound is coded in a way that is not known")
            rate = int(heard.rate)
            seconds = float(heard.duration * heard.time_base if heard.duration else (container.duration or 0) / 1e6)
    except (FFmpegError, ValueError) as error:
        raise Unreadable(name, f"no sound that can be decoded ({error})") from error

    def chunks() -> Iterator[Tensor]:
        given = 0
        try:
            with av.open(name) as container:
                zero = origin(container)
                limit = int(((container.duration or 0) / 1e6 + 1) * rate)
                packed: Any = av.AudioResampler(format="flt")
                for frame in container.decode(audio=0):
                    for piece in packed.resample(frame):
                        samples = torch.from_numpy(channels_of(piece))
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

    return Sound(name, rate, seconds, lambda passed: _without(chunks(), passed))


def _without(chunks: Iterator[Tensor], passed: int) -> Iterator[Tensor]:
    for chunk in chunks:
        left = chunk[:, passed:]
        passed = max(0, passed - chunk.shape[1])
        if left.shape[1]:
            yield left
