"""A file of any kind as a picture that people can read: for contact sheets, pages and drawings.

A film is a frame, a sound its spectrogram, a recording of motion six curves, a document a page; depth is coloured from
blue (far) to red (near), heat from black (cold) to yellow (warm), each over the picture's own range.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sensorium.data.audio import AudioSteps, filter_bank, resample
from sensorium.data.audio_stream import open_sound
from sensorium.data.depth import read_depth
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.image import read_image
from sensorium.data.kinds import Kind
from sensorium.data.media import regular_file
from sensorium.data.motion import Motion, read_motion
from sensorium.data.pdf import pdf_length, pdf_pages
from sensorium.data.thermal import read_thermal
from sensorium.data.video import frame_at

Array = NDArray[Any]
Ramp = Sequence[tuple[int, int, int]]
# Colours at even steps: turbo (Mikhailov 2019), inferno and viridis (van der Walt & Smith 2015)
TURBO: Ramp = (
    (48, 18, 59), (69, 89, 203), (62, 155, 254), (25, 213, 205), (70, 248, 132), (164, 252, 60),
    (225, 221, 55), (254, 164, 49), (240, 91, 18), (195, 37, 3), (122, 4, 3),
)  # fmt: skip
INFERNO: Ramp = (
    (0, 0, 4), (33, 12, 74), (87, 16, 110), (138, 34, 106), (188, 55, 84), (228, 90, 49), (249, 142, 9),
    (249, 203, 53), (252, 255, 164),
)  # fmt: skip
VIRIDIS: Ramp = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
# vermilion, orange, purple; blue, sky, green of Okabe and Ito's palette
AXES: Ramp = ((213, 94, 0), (230, 159, 0), (204, 121, 167), (0, 114, 178), (86, 180, 233), (0, 158, 115))
PAPER, FAINT = (250, 249, 246), (226, 222, 214)
EDGES = (0.02, 0.98)  # the part of a depth map's pixels that fills the colours
HEARD, BEFORE = 5.0, 1.5  # seconds of a sound around a moment, and how many of them lie before it
FIRST = 10.0  # seconds of a sound that stand for the whole
LOUD = 14.0  # how far below the loudest the darkest is, in natural logarithms of energy: 61 dB
MOVED = 5.0  # seconds of a recording of motion from a moment on
WIDE = 5 / 8  # height of a spectrogram and of curves, of their width


def picture_of(
    path: str | os.PathLike[str], kind: Kind, *, at: float | None = None, page: int | None = None, size: int = 320
) -> Image.Image:
    """A file of this kind in RGB, its longer side `size` (16 to 2048) pixels; a smaller picture stays as it is.

    at    the second where a moment of a film, sound or recording begins, from its first frame or reading on. Without
          it a film is what it shows after a third, a sound its first ten seconds, a recording is whole
    page  of a document, from 1: the first where none is said

    Raises Unreadable where it cannot be shown, naming the file.
    """
    name, size = regular_file(path), min(max(size, 16), 2048)
    try:
        if kind == "picture":
            image = read_image(name, at_least=size)
        elif kind == "video":
            image = Image.fromarray(frame_at(name, at).permute(1, 2, 0).contiguous().numpy())
        elif kind == "sound":
            image = _spectrogram(name, at, size)
        elif kind == "depth":  # over its own range, any lens gives the same colours
            disparity = read_depth(name, focal=1.0).disparity.numpy()
            low, high = np.quantile(disparity, EDGES)
            image = Image.fromarray(coloured((disparity - low) / max(high - low, 1e-12), TURBO))
        elif kind == "thermal":
            image = Image.fromarray(coloured(read_thermal(name).warmth.numpy(), INFERNO))
        elif kind == "motion":
            image = _curves(read_motion(name), at, size)
        else:
            image = _page(name, page or 1, size)
    except Unreadable:
        raise
    except SensoriumError as error:  # a unit that nobody stated, a sound of one sample
        raise Unreadable(name, str(error).removeprefix(f"{name}: ")) from error
    image.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return image


def coloured(values: Array, ramp: Ramp) -> NDArray[np.uint8]:
    """Numbers, 0 the first and 1 the last colour of a ramp, as colours: any shape, and one axis of three."""
    steps = np.linspace(0, 1, len(ramp))
    channels = [np.interp(values, steps, channel) for channel in np.array(ramp, np.float64).T]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _spectrogram(name: str, at: float | None, size: int) -> Image.Image:
    """Log-mel energies, low tones below; the darkest is what is 61 dB below the loudest."""
    begin, seconds = (0.0, FIRST) if at is None else (max(0.0, at - BEFORE), HEARD)
    waveform, rate = _heard(name, begin, seconds)
    steps = AudioSteps()
    waveform = resample(waveform.mean(0, keepdim=True), rate, steps.rate)[0]
    energies = filter_bank(waveform, steps.rate, steps.bins).T.flip(0).numpy()
    loudest = float(energies.max())
    image = Image.fromarray(coloured((energies - loudest) / LOUD + 1, INFERNO))
    return image.resize((size, round(size * WIDE)), Image.Resampling.BILINEAR)


def _heard(name: str, begin: float, seconds: float) -> tuple[torch.Tensor, int]:
    """(channels, n) samples of these seconds, the last ones where the sound ends before; and the rate.

    Where it is damaged it ends.
    """
    sound = open_sound(name)
    length = max(1, round(seconds * sound.rate))
    first = round(begin * sound.rate)
    if sound.seconds:
        first = min(first, max(0, round(sound.seconds * sound.rate) - length))
    pieces: list[torch.Tensor] = []
    try:
        for chunk in sound.begin(first):
            pieces.append(chunk)
            if sum(piece.shape[1] for piece in pieces) >= length:
                break
    except Unreadable:
        if not pieces:
            raise
    if not pieces:
        raise Unreadable(name, f"no sound from {begin:.1f} s on" if first else "holds no sound")
    return torch.cat(pieces, dim=1)[:, :length], sound.rate


def _curves(motion: Motion, at: float | None, size: int) -> Image.Image:
    """Acceleration above, turning below, each over its own range; where nothing was read there is no line."""
    begin, end = motion.begin, motion.end
    if at is not None:
        begin, end = begin + at, begin + at + MOVED
    first, last = np.searchsorted(motion.times, [begin, end])
    times, readings = motion.times[first:last], motion.readings[first:last]
    if len(times) < 2:
        raise Unreadable(motion.name, f"no readings from {at or 0:.1f} s on")
    over = 3  # drawn so many times larger, that lines are smooth
    width, height = size * over, round(size * WIDE) * over
    image = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(image)
    pen.line([(0, height // 2), (width, height // 2)], fill=FAINT, width=over)
    cuts = np.searchsorted(times, [out for out, _ in motion.gaps if begin <= out < end], side="right")
    for half, axes in enumerate((range(3), range(3, 6))):
        low, high = float(readings[:, list(axes)].min()), float(readings[:, list(axes)].max())
        room, top = 0.8 * height / 2, height / 2 * (half + 0.1)
        for axis in axes:
            for part in np.split(np.arange(len(times)), cuts):
                if not len(part):
                    continue
                x = (times[part] - begin) / (end - begin) * (width - 1)
                y = top + room * (1 - (readings[part, axis] - low) / max(high - low, 1e-9))
                pen.line(_thinned(x, y), fill=AXES[axis], width=max(2, round(over * size / 240)), joint="curve")
    return image.resize((size, round(size * WIDE)), Image.Resampling.LANCZOS)


def _thinned(x: Array, y: Array) -> list[tuple[float, float]]:
    """The points of a curve; where many share a pixel's column, its lowest and its highest."""
    starts = np.unique(np.floor(x), return_index=True)[1]
    if len(x) < 4 * len(starts):
        return list(zip(x.tolist(), y.tolist(), strict=True))
    low, high = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    return [
        (float(a), float(b))
        for at, *ends in zip(x[starts], low, high, strict=True)
        for a, b in zip((at, at), ends, strict=True)
    ]


def _page(name: str, number: int, size: int) -> Image.Image:
    found = next(pdf_pages(name, short=size, words=False, begin=number), None)
    if found is None or found.picture is None:
        raise Unreadable(name, f"has no page {number}: {pdf_length(name)} in all")
    return found.picture
