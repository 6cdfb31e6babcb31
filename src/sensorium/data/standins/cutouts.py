"""Photographed things that stand alone (Tux Paint's stamps), grounds to put them on, and putting them there exactly.

Coordinates are continuous: x to the right, y down, the centre of the first pixel at (0.5, 0.5). An affine map is a
2 x 3 matrix from the cut-out's own pixels to the canvas, and holds for pixels, masks and points alike.
"""

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.sets import STAMP_FOLDERS, Pictures, stamps

Pixels = NDArray[np.uint8]
Map = NDArray[np.float64]
Random = np.random.Generator

FEW = ("medical", "military")  # folders of too few photographs to be measured on
CLASSES = ("ground", *(name for name in STAMP_FOLDERS if name not in FEW))
HELD_OUT = 4  # of so many captions one is kept for validation
TEXTURES = ("brick", "grass", "gravel")
"""Photographs of surfaces in scikit-image, 512 x 512, gray (CC0, as its data/README says)."""
SMALLEST, OPAQUE = 64, 0.08  # a cut-out's long side in pixels; the share of its box that it must fill


@dataclass(frozen=True)
class Cutout:
    """One thing: its file, the number of its folder in CLASSES, and what it is called."""

    path: Path
    label: int
    caption: str


def cutouts(pictures: Pictures | None = None) -> dict[str, list[Cutout]]:
    """The usable stamps, in two parts that share no caption: "train" and "validation". Fetches them where needed."""
    parts: dict[str, list[Cutout]] = {"train": [], "validation": []}
    order = {name: number for number, name in enumerate(CLASSES)}
    source = pictures or stamps()
    seen: dict[str, str] = {}
    for path, (caption,), _ in source.rows:
        folder = next((each for each in reversed(path.parts[:-1]) if each in order), None)
        if folder is None:
            continue
        if caption not in seen:
            seen[caption] = "validation" if len(seen) % HELD_OUT == 0 else "train"
        shape = cut(path)[..., 3] > 127
        if max(shape.shape) >= SMALLEST and shape.mean() >= OPAQUE:
            parts[seen[caption]].append(Cutout(path, order[folder], caption))
    return parts


@lru_cache(maxsize=512)
def cut(path: Path) -> Pixels:
    """RGBA of what is not transparent, trimmed to it: height x width x 4."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            pixels = np.asarray(image.convert("RGBA"))
    except (OSError, SyntaxError, ValueError) as error:
        raise Unreadable(path, "damaged") from error
    rows, columns = (np.flatnonzero((pixels[..., 3] > 127).any(axis)) for axis in (1, 0))
    if not len(rows):
        return pixels[:1, :1]
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def placed(shape: tuple[int, ...], centre: tuple[float, float], scale: float, turn: float = 0, shear: float = 0) -> Map:
    """The map that puts the middle of height x width pixels at `centre`, turned by radians, scaled, sheared along x."""
    cos, sin = np.cos(turn), np.sin(turn)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, shear], [0, 1]]) * scale
    middle = np.array([shape[1], shape[0]]) / 2
    return np.column_stack([linear, np.asarray(centre) - linear @ middle])


def moved(points: NDArray[Any], by: Map) -> NDArray[np.float64]:
    """n x 2 points through a map."""
    return points @ by[:, :2].T + by[:, 2]


def on_canvas(pixels: Pixels, by: Map, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The cut-out's colours (size x size x 3) and its opacity (size x size, 0 to 1) where the map puts it.

    It is first made smaller with an antialiasing filter, then mapped bicubically, the colours weighted by opacity.
    """
    height, width = pixels.shape[:2]
    shrink = min(1.0, float(np.sqrt(abs(np.linalg.det(by[:, :2])))))
    inner = max(1, round(width * shrink)), max(1, round(height * shrink))
    flat = pixels.astype(np.float32)
    flat[..., :3] *= flat[..., 3:] / 255
    to_inner = np.array([inner[0] / width, inner[1] / height])
    whole = np.vstack([by, [0, 0, 1]])
    back = np.linalg.inv(whole)[:2] * to_inner[:, None]
    layers: list[NDArray[np.float32]] = []
    for channel in range(4):
        layer = Image.fromarray(flat[..., channel]).resize(inner, Image.Resampling.LANCZOS)
        # a clear border, so that bicubic edges fade instead of ending
        framed = Image.new("F", (inner[0] + 4, inner[1] + 4))
        framed.paste(layer, (2, 2))
        data = (*back[0, :2], back[0, 2] + 2, *back[1, :2], back[1, 2] + 2)
        mapped = framed.transform((size, size), Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)
        layers.append(np.clip(np.asarray(mapped), 0, 255))
    alpha = layers[3] / np.float32(255)
    colours = np.stack(layers[:3], axis=-1)
    return np.minimum(colours, 255 * alpha[..., None]), alpha


def paint(canvas: NDArray[np.float32], pixels: Pixels, by: Map, light: float = 1.0) -> NDArray[np.bool_]:
    """Draw a cut-out with a soft shadow onto size x size x 3 in place; returns where it is more than half opaque."""
    size = canvas.shape[0]
    colours, alpha = on_canvas(pixels, by, size)
    below = size // 50
    dark = np.pad(alpha, ((below, 0), (0, 0)))[:size]
    shadow = Image.fromarray((dark * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(size / 40))
    drop = np.asarray(shadow, dtype=np.float32) / 255
    canvas *= 1 - 0.45 * drop[..., None] * (1 - alpha[..., None])
    canvas *= 1 - alpha[..., None]
    canvas += colours * light
    return alpha > 0.5


def ground(random: Random, size: int) -> NDArray[np.float32]:
    """A surface without things, size x size x 3: half are tinted crops of photographed TEXTURES, half are noise."""
    kind = int(random.integers(6))
    if kind < 3:
        texture = _texture(TEXTURES[kind])
        side = int(random.integers(200, 513))
        top, left = (int(random.integers(0, 513 - side)) for _ in range(2))
        crop = Image.fromarray(texture[top : top + side, left : left + side])
        values = np.asarray(crop.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32) / 255
        values = np.rot90(values, int(random.integers(4)))
    else:
        values = _noise(random, size)
    tones = np.sort(random.uniform(25, 225, 2))[:, None] + random.normal(0, 22, (2, 3))
    dark, bright = np.clip(tones, 5, 250)
    return (dark + (bright - dark) * np.clip(values, 0, 1)[..., None]).astype(np.float32)


def _noise(random: Random, size: int) -> NDArray[np.float32]:
    """Clouds: noise of several sizes summed, coarser parts stronger; sometimes stretched to grain like wood's."""
    stretch = float(random.choice([1.0, 1.0, 6.0]))
    total = np.zeros((size, size), np.float32)
    for octave in range(1, 7):
        cells = 2**octave + 1
        coarse = random.random((max(2, round(cells / stretch)), cells), dtype=np.float32)
        total += np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)) / octave
    low, high = np.percentile(total, [1, 99])
    return (total - np.float32(low)) / np.float32(max(high - low, 1e-6))


@lru_cache(maxsize=3)
def _texture(name: str) -> Pixels:
    spec = importlib.util.find_spec("skimage")  # finds a package without running it
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder) / "data" / f"{name}.png").is_file():
            with Image.open(file) as image:
                return np.asarray(image.convert("L"))
    raise SensoriumError(f"the photograph of {name} stands in scikit-image: pip install scikit-image")
