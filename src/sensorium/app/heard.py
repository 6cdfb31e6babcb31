"""A stretch of a sound or a film, wherever it lies, without reading what comes before: for a spectrogram and to play.

Times are a film's: they count from its first picture, as the index counts them.
"""

import io
import os
import wave
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.audio_stream import channels_of, origin
from sensorium.data.errors import Unreadable
from sensorium.data.media import is_cover, regular_file

EARLY = 1.0  # seconds before a stretch that are decoded with it: codecs need a run-up
LONGER_SIDE = 854  # pixels of a film that is encoded anew
MOST_RATE = 30  # frames a second of it


@dataclass(frozen=True, eq=False)
class Heard:
    """Samples in [-1, 1] from `begin` seconds on, and how many there are a second."""

    begin: float
    waveform: Float[Tensor, "channels n"]
    rate: int


def heard(path: str | os.PathLike[str], begin: float, end: float) -> Heard:
    """The sound of a file from `begin` to `end` seconds, or to where it ends. Raises Unreadable, also beyond."""
    with _opened(path) as (name, container):
        if not container.streams.audio:
            raise Unreadable(name, "holds no sound")
        rate = int(container.streams.audio[0].rate)
        pieces = [samples for _, samples in _samples(container, begin, end)]
        if not pieces:
            raise Unreadable(name, f"has no sound from {begin:.1f} to {end:.1f} s")
        return Heard(begin, torch.from_numpy(np.concatenate(pieces, axis=1)), rate)


def as_wav(path: str | os.PathLike[str], begin: float, end: float) -> bytes:
    """The stretch as a WAV of 16 bits, its first two channels: what every browser plays. Raises Unreadable."""
    sound = heard(path, begin, end)
    levels = (sound.waveform[:2].clamp(-1, 1) * 32767).round().to(torch.int16).T.contiguous()
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(levels.shape[1])
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(levels.numpy().astype("<i2").tobytes())
    return buffer.getvalue()


def as_mp4(path: str | os.PathLike[str], begin: float, end: float) -> bytes:
    """The stretch of a film encoded anew, as H.264 and AAC with at most 854 pixels a side. Raises Unreadable."""
    import av

    buffer = io.BytesIO()
    with _opened(path) as (name, source), av.open(buffer, "w", format="mp4") as target:
        film: Any = next((each for each in source.streams.video if not is_cover(each)), None)
        if film is None:
            raise Unreadable(name, "holds no pictures")
        pictures: Any = None
        rate = Fraction(min(film.average_rate or film.guessed_rate or 25, MOST_RATE)).limit_denominator(1001)
        sound: Any = target.add_stream("aac", rate=48000, layout="stereo") if source.streams.audio else None
        last = -1
        for at, frame in _frames(source, film, begin, end):
            number = round(float(max(at - begin, 0.0)) * rate)
            if number <= last:  # more frames a second than are kept
                continue
            last = number
            turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
            if pictures is None:
                scale = min(1.0, LONGER_SIDE / max(turned.shape[:2]))
                height, width = (max(2, round(side * scale / 2) * 2) for side in turned.shape[:2])
                pictures = target.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "26"})
                pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
            fitted = av.VideoFrame.from_ndarray(np.ascontiguousarray(turned), format="rgb24")
            fitted = fitted.reformat(width=pictures.width, height=pictures.height, format="yuv420p")
            fitted.pts, fitted.time_base = number, 1 / rate
            target.mux(pictures.encode(fitted))
        if pictures is None:
            raise Unreadable(name, f"shows nothing from {begin:.1f} to {end:.1f} s")
        target.mux(pictures.encode())
        if sound is not None:
            _encode_sound(source, sound, target, begin, end)
    return buffer.getvalue()


def _encode_sound(source: Any, stream: Any, target: Any, begin: float, end: float) -> None:
    import av

    fit: Any = av.AudioResampler(format="fltp", layout="stereo", rate=48000, frame_size=1024)
    given, rate = 0, int(source.streams.audio[0].rate)
    for at, samples in _samples(source, begin, end):
        late = round((at - begin) * rate) - given
        if late > 0:  # the sound begins later than the pictures
            samples = np.pad(samples, ((0, 0), (late, 0)))
        stereo = samples[:2] if len(samples) > 1 else np.repeat(samples, 2, axis=0)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(stereo, np.float32), format="fltp", layout="stereo")
        frame.rate, frame.pts, frame.time_base = rate, given, Fraction(1, rate)
        given += samples.shape[1]
        for piece in fit.resample(frame):
            target.mux(stream.encode(piece))
    for piece in fit.resample(None):
        target.mux(stream.encode(piece))
    target.mux(stream.encode())


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Generator[tuple[str, Any]]:
    """A file's name and container; what FFmpeg raises meanwhile becomes Unreadable."""
    name = regular_file(path)
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        raise Unreadable(name, "playing needs one more package: pip install 'sensorium[media]'") from None
    try:
        with av.open(name) as container:
            yield name, container
    except (FFmpegError, ValueError) as error:
        raise Unreadable(name, f"cannot be played ({error})") from error


def _decoded(container: Any, stream: Any, begin: float) -> Iterator[tuple[float, Any]]:
    """Frames from a little before `begin` on, each with its time; damaged packets are passed over."""
    from av.error import FFmpegError, InvalidDataError

    zero = origin(container)
    with suppress(FFmpegError):  # a format without a way to seek is read from where it stands
        container.seek(max(0, int((max(begin - EARLY, 0.0) + zero) / float(stream.time_base))), stream=stream)
    damaged = 0
    decoder = container.decode(stream)
    while damaged < 100:
        try:
            frame = next(decoder, None)
        except InvalidDataError:
            damaged += 1
            decoder = container.decode(stream)
            continue
        if frame is None:
            return
        damaged = 0
        if frame.pts is not None:
            yield float(frame.pts * frame.time_base) - zero, frame


def _frames(container: Any, stream: Any, begin: float, end: float) -> Iterator[tuple[float, Any]]:
    """The pictures of [begin, end): the first is the one that is seen at `begin`."""
    before: tuple[float, Any] | None = None
    for at, frame in _decoded(container, stream, begin):
        if at < begin:
            before = (at, frame)
            continue
        if before is not None:
            if at > begin + 1e-3:
                yield before
            before = None
        if at >= end:
            return
        yield at, frame
    if before is not None:
        yield before


def _samples(container: Any, begin: float, end: float) -> Iterator[tuple[float, np.ndarray[Any, Any]]]:
    """(time, (channels, n) samples) of [begin, end), cut to it."""
    import av

    stream: Any = container.streams.audio[0]
    rate = int(stream.rate)
    packed: Any = av.AudioResampler(format="flt")
    for at, frame in _decoded(container, stream, begin):
        if at >= end:
            return
        frame.pts = None  # the resampler would fill what it takes for gaps
        for piece in packed.resample(frame):
            samples = channels_of(piece)
            skip = max(0, round((begin - at) * rate))
            keep = round((end - at) * rate)
            if skip < samples.shape[1] and keep > 0:
                yield max(at, begin), samples[:, skip:keep]
