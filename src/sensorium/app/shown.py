"""A file of any kind, at a moment, as a picture: what thumbnails, the large view and the contact sheet show.

A film shows the frame of the moment, a sound its spectrogram, depth and heat their colours, motion a plot of its six
axes, a document the page. Drawn with Pillow alone: the page does without matplotlib.
"""

import io
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sensorium.app.heard import heard
from sensorium.app.moments import clock
from sensorium.data.audio import LOWEST, filter_bank, resample
from sensorium.data.depth import read_depth
from sensorium.data.errors import Unreadable, about
from sensorium.data.image import read_image
from sensorium.data.kinds import Kind
from sensorium.data.motion import Motion, read_motion
from sensorium.data.pdf import pdf_extent, pdf_pages
from sensorium.data.thermal import read_thermal
from sensorium.data.video import frame_at
from sensorium.insight.drawing import ACCENT, INK, LINE, PAPER, QUIET

AXES = ((176, 58, 46), (33, 110, 88), (44, 95, 158))  # x, y, z
# viridis (van der Walt & Smith 2015) for what is near, inferno for what is warm, at even steps
NEAR = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
WARM = ((0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164))
SOUND = ((250, 249, 246), (188, 220, 206), (86, 158, 132), (24, 82, 66), (8, 32, 28))
AROUND = 10.0  # seconds of a sound that are shown
MOMENT = 2.0  # seconds of a moment whose end is not told
BINS, RATE = 96, 16000
QUANTILES = (0.01, 0.99)


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture, what it shows in words, and where its colours measure something, the colours of the lowest and the
    highest number and how these are written ("0.52 m")."""

    picture: Image.Image
    said: str = ""
    low: str | None = None
    high: str | None = None


def show(
    path: str | os.PathLike[str],
    kind: Kind,
    size: int,
    *,
    at: float | None = None,
    until: float | None = None,
    page: int | None = None,
) -> Shown:
    """A file as a picture whose longer side has at most `size` pixels, from `at` to `until` seconds, or its `page`.

    Raises Unreadable, also where a file does not reach so far.
    """
    with about(path):
        if kind == "document":
            return _document(path, size, page or 1)
        if kind in ("sound", "motion"):
            return (_sound if kind == "sound" else _motion)(path, size, at, until)
        still: dict[str, Callable[[], Shown]] = {
            "picture": lambda: Shown(read_image(path, at_least=size)),
            "video": lambda: Shown(Image.fromarray(frame_at(path, at).permute(1, 2, 0).contiguous().numpy())),
            "depth": lambda: _depth(path),
            "thermal": lambda: _thermal(path),
        }
        shown = still[kind]()
    shown.picture.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return shown


def _depth(path: str | os.PathLike[str]) -> Shown:
    """Near is yellow. Colours follow disparity, as the model sees it; the ends are written in metres if known."""
    depth = read_depth(path)
    low, high = _ends(depth.disparity)
    picture = _coloured(depth.disparity, low, high, NEAR)
    if depth.metres is None:
        return Shown(picture, f"depth: {depth.got}", "far", "near")
    known = depth.metres[depth.metres.isfinite()]
    far, near = (float(x) for x in np.quantile(known.numpy(), [QUANTILES[1], QUANTILES[0]]))
    return Shown(picture, f"depth: {depth.got}", f"{far:.2f} m", f"{near:.2f} m")


def _thermal(path: str | os.PathLike[str]) -> Shown:
    heat = read_thermal(path)
    if heat.celsius is None:
        return Shown(_coloured(heat.warmth, 0.0, 1.0, WARM), f"heat: {heat.got}", "cold", "warm")
    low, high = _ends(heat.celsius)
    return Shown(_coloured(heat.celsius, low, high, WARM), f"heat: {heat.got}", f"{low:.1f} °C", f"{high:.1f} °C")


def _document(path: str | os.PathLike[str], size: int, page: int) -> Shown:
    pages, _ = pdf_extent(path)
    if not 1 <= page <= pages:
        raise Unreadable(path, f"has no page {page}: it has {pages}")
    found = next(pdf_pages(path, short=size, words=False, begin=page), None)
    if found is None or found.picture is None or found.number != page:
        raise Unreadable(path, f"page {page} cannot be drawn: damaged?")
    found.picture.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return Shown(found.picture, f"page {page} of {pages}")


def _sound(path: str | os.PathLike[str], size: int, at: float | None, until: float | None) -> Shown:
    """The spectrogram of ten seconds around a moment, low notes below; a bar under it marks the moment."""
    begin = 0.0 if at is None else max(0.0, at - (AROUND - MOMENT) / 2)
    sound = heard(path, begin, begin + AROUND)
    wave = resample(sound.waveform.mean(0, keepdim=True), sound.rate, RATE)[0]
    wave = torch.nn.functional.pad(wave, (0, max(0, RATE // 20 - len(wave))))
    energies = filter_bank(wave - wave.mean(), RATE, BINS).T.flip(0)
    top = float(energies.max())
    length = len(wave) / RATE
    width, height = size, max(48, round(size * 0.5))
    spectrum = _coloured(energies, top - 12, top, SOUND).resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(spectrum)
    if at is not None:
        _mark(pen, (at - begin) / length, ((until or at + MOMENT) - begin) / length, width, height)
    if size >= 480:
        font = ImageFont.load_default(max(13, size // 64))
        for number in range(math.ceil(begin), math.floor(begin + length) + 1, 2):
            x = (number - begin) / length * width
            pen.text((x + 3, 4), clock(number), fill=INK, font=font)
            pen.line([(x, 0), (x, 10)], fill=INK)
    said = f"{clock(begin)} to {clock(begin + length)}: {LOWEST:g} Hz below, {RATE // 2:,} Hz above"
    return Shown(spectrum, said)


def _motion(path: str | os.PathLike[str], size: int, at: float | None, until: float | None) -> Shown:
    """Acceleration above, rotation below, x red, y green, z blue; the moment is shaded."""
    motion = read_motion(path)
    width, height = size, round(size * 0.6)
    picture = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(picture)
    span = max(motion.end - motion.begin, 1e-9)
    left, right = (at or 0.0) / span, ((at or 0.0) + MOMENT if until is None else until) / span
    if at is not None:
        pen.rectangle([left * width, 0, right * width, height], fill=(219, 236, 229))
    half = height // 2
    _lines(pen, motion, slice(0, 3), "m/s/s", 0, half, width)
    _lines(pen, motion, slice(3, 6), "rad/s", half, height, width)
    pen.line([(0, half), (width, half)], fill=LINE)
    if at is not None:
        _mark(pen, left, right, width, height)
    return Shown(picture, f"{motion.got}; x red, y green, z blue")


def _lines(pen: ImageDraw.ImageDraw, motion: Motion, axes: slice, unit: str, top: int, bottom: int, width: int) -> None:
    """Three axes as lines from `top` to `bottom`; where readings are denser than pixels, from least to most of each."""
    readings = motion.readings[:, axes]
    low, high = float(readings.min()), float(readings.max())
    low, high = (low - 1, high + 1) if high - low < 1e-9 else (low, high)
    pad = max(3, (bottom - top) // 12)
    columns = np.clip(((motion.times - motion.begin) / max(motion.end - motion.begin, 1e-9) * width), 0, width - 1)
    heights = bottom - pad - (readings - low) / (high - low) * (bottom - top - 2 * pad)
    if low < 0 < high:
        zero = bottom - pad + low / (high - low) * (bottom - top - 2 * pad)
        pen.line([(0, zero), (width, zero)], fill=LINE)
    for axis, colour in zip(heights.T, AXES, strict=True):
        for part in _parts(motion):
            xs, ys = columns[part], axis[part]
            if len(xs) > 2 * width:
                at = np.flatnonzero(np.diff(xs.astype(int), prepend=-1))
                xs = np.repeat(xs[at], 2)
                ys = np.stack([np.minimum.reduceat(ys, at), np.maximum.reduceat(ys, at)], 1).ravel()
            pen.line(
                [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)], fill=colour, width=max(1, width // 640)
            )
    if width >= 480:
        font = ImageFont.load_default(max(13, width // 64))
        pen.text((8, top + 6), f"{high:.3g} {unit}", fill=QUIET, font=font)
        pen.text((8, bottom - 6), f"{low:.3g} {unit}", fill=QUIET, font=font, anchor="ls")


def _parts(motion: Motion) -> list[slice]:
    """The readings between the gaps: no line is drawn across one."""
    ends = [int(np.searchsorted(motion.times, begin, side="right")) for begin, _ in motion.gaps]
    return [slice(a, b) for a, b in zip([0, *ends], [*ends, len(motion.times)], strict=True) if b - a > 1]


def _mark(pen: ImageDraw.ImageDraw, left: float, right: float, width: int, height: int) -> None:
    thick = max(3, height // 40)
    pen.rectangle([left * width, height - thick, min(right, 1.0) * width, height], fill=ACCENT)


def _ends(values: Tensor) -> tuple[float, float]:
    low, high = (float(x) for x in np.quantile(values.numpy(), QUANTILES))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _coloured(values: Tensor, low: float, high: float, colours: tuple[tuple[int, int, int], ...]) -> Image.Image:
    """(height, width) numbers as colours, those beyond the ends as the ends."""
    at = ((values.numpy() - low) / max(high - low, 1e-12)).clip(0, 1) * (len(colours) - 1)
    table: Any = np.array(colours, np.float32)
    rows = [np.interp(at, np.arange(len(colours)), table[:, channel]) for channel in range(3)]
    return Image.fromarray(np.stack(rows, axis=-1).round().astype(np.uint8))


def thumbnail(
    path: Path, kind: Kind, size: int, *, at: float | None = None, until: float | None = None, page: int | None = None
) -> bytes:
    """The same as a JPEG. Raises Unreadable."""
    buffer = io.BytesIO()
    show(path, kind, size, at=at, until=until, page=page).picture.convert("RGB").save(buffer, "JPEG", quality=82)
    return buffer.getvalue()
