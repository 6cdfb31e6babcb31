"""Pictures in, RGB pixels out: whatever a folder holds is either decoded rightly or named with the reason it cannot be.

A file is judged by its content, never by its name, and nothing in it is trusted: sizes are checked before pixels are
decoded, only regular files are opened, only the formats below have a decoder at all, and whatever a decoder raises
becomes one exception, `Unreadable`.
"""

import io
import os
import re
import stat
import sys
import threading
import warnings
from contextlib import AbstractContextManager
from typing import Any, Literal

import numpy as np
import simplejpeg
from PIL import Image, ImageFile

from sensorium.data.errors import Unreadable, system_reason
from sensorium.data.folder import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from sensorium.data.folder import find_images as find_images

Source = str | os.PathLike[str] | bytes | Image.Image | np.ndarray[Any, Any]
Colour = tuple[int, int, int]

PIXEL_LIMIT = 201_000_000  # the largest phone cameras make JPEGs of 16320 x 12240; Pillow stops at 179 million
FILE_LIMIT = 1 << 30  # bytes: files are read into memory
SCAN_LIMIT = 20 * PIXEL_LIMIT  # pixels times scans of a progressive JPEG, which may hold thousands of empty scans

WHITE: Colour = (255, 255, 255)
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)
BITS, PHOTOMETRIC = 258, 262  # TIFF tags: bits per sample; 0 where white is zero


def read_image(source: Source, *, at_least: int | None = None, background: Colour | None = WHITE) -> Image.Image:
    """The picture in a file, in the bytes of one, in a PIL image or in an array: upright, RGB, 8 bits a channel.

    at_least    lets a JPEG be decoded at one to four eighths of its size, as long as its short side keeps this many
                pixels; other formats are decoded whole
    background  the colour behind transparent pixels; None drops the alpha channel, as PIL's convert does

    Animations give their first frame. Gray of 16 bits is scaled by the depth the file states (12 bits: 4095 is white);
    32-bit integers, and floats beyond [0, 1], state no white and are stretched from their minimum to their maximum.
    RGB of 16 bits keeps the high byte of each sample, as Pillow does. Colour profiles are not applied, as in the
    references. Pixels beyond PIXEL_LIMIT and files beyond FILE_LIMIT are refused. `info["size"]` of the result is the
    upright (width, height) the file holds, also where less was decoded.

    Raises Unreadable with the file's name and the reason.
    """
    if isinstance(source, np.ndarray):
        return _upright_rgb(from_array(source), 1, background, "array")
    if isinstance(source, Image.Image):
        name = str(getattr(source, "filename", "") or "image")
    else:
        name = "bytes" if isinstance(source, bytes) else os.fsdecode(source)
    data = b""
    with quiet():
        try:
            if isinstance(source, Image.Image):
                return _upright_rgb(source.copy(), _orientation(source), background, name)
            data = source if isinstance(source, bytes) else _read_file(name)
            return _decode(data, name, at_least, background)
        except Unreadable:
            raise
        except Exception as error:  # decoders raise nearly every kind: SyntaxError, struct.error, OverflowError, ...
            raise Unreadable(name, _reason(error, data)) from error


def read_pixels(source: Source, *, at_least: int | None = None) -> np.ndarray[Any, Any]:
    """The same picture as an array of its own, (height, width, 3); a quarter sooner for an upright JPEG.

    Raises Unreadable.
    """
    if isinstance(source, np.ndarray | Image.Image):
        return np.array(read_image(source))
    name, data = "bytes" if isinstance(source, bytes) else os.fsdecode(source), b""
    with quiet():
        try:
            data = source if isinstance(source, bytes) else _read_file(name)
            if image_format(data[:64]) == "JPEG" and _jpeg_orientation(data) == 1:
                decoded = _decode_jpeg(data, name, at_least)
                if decoded is not None:
                    return decoded[0]
            return np.array(_decode(data, name, at_least, WHITE))
        except Unreadable:
            raise
        except Exception as error:  # as above
            raise Unreadable(name, _reason(error, data)) from error


def from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    """A picture from uint8 or bool values, or floats in [0, 1]; (height, width) or (height, width, 1 to 4 channels).

    Two channels are gray and alpha, four are RGB and alpha. Raises Unreadable, naming what is wrong and the remedy.
    """
    name = f"array {array.dtype} {array.shape}"
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (2, 3, 4)):
        raise Unreadable(name, "must be (height, width) or (height, width, channels) with 1 to 4 channels")
    if array.size == 0:
        raise Unreadable(name, "holds no pixels")
    if array.dtype == np.bool_:
        array = array * np.uint8(255)
    elif np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):  # written so that NaN fails too
            raise Unreadable(name, "floats must lie in [0, 1]: divide by the largest possible value")
        array = (array * 255).round().astype(np.uint8)
    elif array.dtype != np.uint8:
        raise Unreadable(name, "must be uint8, bool or floats in [0, 1]")
    return Image.fromarray(np.ascontiguousarray(array))


def thumbnail(source: Source, size: int = 320, *, quality: int = 82) -> bytes:
    """A JPEG of the picture whose long side is at most `size` (16 to 2048) pixels. Raises Unreadable."""
    size = min(max(size, 16), 2048)
    image = read_image(source, at_least=size)
    image.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


# -- files ------------------------------------------------------------------------------------------------------------


def _read_file(path: str) -> bytes:
    """The bytes of a regular file that begins like an image. Never waits on a FIFO, never reads a device."""
    try:
        _check_regular(path, os.stat(path))  # before opening: to open a device can do things
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            _check_regular(path, os.fstat(file.fileno()))
            head = file.read(64)
            if head and image_format(head) is None:
                raise Unreadable(path, "not an image")  # before a film of many gigabytes is read
            return head + file.read(FILE_LIMIT)
    except OSError as error:
        raise Unreadable(path, system_reason(error)) from error
    except ValueError as error:  # a name with a zero byte
        raise Unreadable(path, "not a possible file name") from error


def _check_regular(path: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise Unreadable(path, "a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable(path, "not a regular file")
    if status.st_size > FILE_LIMIT:
        raise Unreadable(path, f"larger than {FILE_LIMIT >> 20} MiB")


# -- formats ----------------------------------------------------------------------------------------------------------


def image_format(head: bytes) -> str | None:
    """Pillow's name of the format that content beginning with `head` (64 bytes) has; None where it is no image."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head[4:8] == b"ftyp":
        return _box_format(head)
    if head.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
        return "JPEG2000"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JPEG XL"
    if head.startswith(b"BM"):
        return "BMP"
    if head.startswith(b"qoif"):
        return "QOI"
    if head.startswith(b"\0\0\1\0"):
        return "ICO"
    return "PPM" if re.match(rb"P[1-6]\s", head) else None


def _box_format(head: bytes) -> str | None:
    """AVIF or HEIF by the brands that an ISO media file lists; None where it is a film."""
    length = min(max(int.from_bytes(head[:4], "big"), 12), 64)
    brands = {head[8:12], *(head[i : i + 4] for i in range(16, length, 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    still = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
    return "HEIF" if brands & still else None


def _decode(data: bytes, name: str, at_least: int | None, background: Colour | None) -> Image.Image:
    if not data:
        raise Unreadable(name, "empty file")
    kind = image_format(data[:64])
    if kind is None:
        raise Unreadable(name, "not an image")
    if kind == "JPEG XL":
        raise Unreadable(name, "JPEG XL has no decoder here: convert it to JPEG, PNG or AVIF")
    if kind == "JPEG":
        decoded = _decode_jpeg(data, name, at_least)
        if decoded is not None:
            image = Image.fromarray(decoded[0])
            return _upright_rgb(image, _jpeg_orientation(data), background, name, size=decoded[1])
    image = _open_heif(data, name) if kind == "HEIF" else Image.open(io.BytesIO(data), formats=(kind,))
    _check_pixels(name, image.width, image.height)
    image.load()
    _check_pixels(name, image.width, image.height)  # an icon learns its size while it loads
    return _upright_rgb(image, _orientation(image), background, name)


def _check_pixels(name: str, width: int, height: int) -> None:
    if width * height > PIXEL_LIMIT:
        raise Unreadable(name, f"too many pixels: {width} x {height}, the limit is {PIXEL_LIMIT // 1_000_000} million")


def _decode_jpeg(data: bytes, name: str, at_least: int | None) -> tuple[np.ndarray[Any, Any], tuple[int, int]] | None:
    """Gray and colour JPEGs by simplejpeg, to the same pixels as Pillow, with their full (width, height).

    None for what is left to Pillow.
    """
    try:
        height, width, colour, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except ValueError:
        return None
    height, width = int(height), int(width)
    _check_pixels(name, width, height)
    if data.count(b"\xff\xda") * width * height > SCAN_LIMIT:
        raise Unreadable(name, "holds more scans than any camera or editor writes")
    if colour not in ("YCbCr", "RGB", "Gray"):
        return None
    keep = min(at_least or 0, width, height)
    try:
        # five to seven eighths take longer than the whole
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=keep, min_width=keep, min_factor=2 if at_least else 1)
    except ValueError:  # cut off, or only odd: Pillow knows the difference
        return None
    return pixels, (width, height)


def _open_heif(data: bytes, name: str) -> Image.Image:
    try:
        import pillow_heif  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise Unreadable(name, "HEIC needs one more package: pip install 'sensorium[heif]'") from None
    file = pillow_heif.open_heif(io.BytesIO(data))
    _check_pixels(name, *file.size)
    return file.to_pillow()


def _reason(error: Exception, data: bytes) -> str:
    """What a decoder complained of, in a few stable words with its own in brackets."""
    text = re.sub(r"\s+", " ", str(error)).strip()
    if isinstance(error, Image.DecompressionBombError):
        return "too many pixels for this format"
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if "too large" in text or "MAX_TEXT" in text:
        return "a compressed text inside expands without measure"
    if isinstance(error, EOFError) or "truncated" in text.lower() or _ends_early(data):
        return "truncated"
    if isinstance(error, Image.UnidentifiedImageError):
        return "damaged (its header makes no sense)"
    return f"damaged ({text[:80]})" if re.search("[a-z]{3}", text) else "damaged"


def _ends_early(data: bytes) -> bool:
    """Whether what the format puts last is missing; asked only where decoding failed."""
    kind = image_format(data[:64])
    if kind in ("JPEG", "PNG", "GIF", "JPEG2000"):
        return {"JPEG": b"\xff\xd9", "PNG": b"IEND", "GIF": b";", "JPEG2000": b"\xff\xd9"}[kind] not in data[-64:]
    if kind == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if kind == "TIFF":
        return int.from_bytes(data[4:8], "little" if data.startswith(b"I") else "big") > len(data)
    at = 0
    while kind in ("AVIF", "HEIF") and at + 8 <= len(data):  # boxes: length, name, content
        at += int.from_bytes(data[at : at + 4], "big") or len(data)
    return at > len(data)


# -- orientation ------------------------------------------------------------------------------------------------------


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of an opened image, 1 where there is none or the EXIF block is broken."""
    try:
        return _valid(image.getexif().get(ORIENTATION))
    except Exception:  # a picture whose EXIF block is broken is still a picture
        return 1


def _jpeg_orientation(data: bytes) -> int:
    """The same from the segments before a JPEG's first scan, without opening it; XMP speaks where EXIF does not."""
    at, found = 2, 1
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data) and data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : at + 2 + length] if data[at + 1] == 0xE1 else b""
        if segment.startswith(b"Exif\0\0"):
            exif = Image.Exif()
            try:
                exif.load(segment)
                if ORIENTATION in exif:
                    return _valid(exif[ORIENTATION])
            except Exception:  # as above
                return 1
        elif segment.startswith(b"http://ns.adobe.com/xap/"):
            match = re.search(rb'tiff:Orientation(?:="|>)([1-8])', segment)
            found = int(match[1]) if match else found
        at += 2 + max(length, 2)
    return found


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and orientation in TURNS else 1


# -- colour -----------------------------------------------------------------------------------------------------------


def _upright_rgb(
    image: Image.Image,
    orientation: int,
    background: Colour | None,
    name: str,
    size: tuple[int, int] | None = None,
) -> Image.Image:
    """8-bit RGB over the background, turned upright, without the metadata that would turn it again."""
    width, height = size or image.size
    try:
        if image.mode.startswith("I;16") or image.mode in ("I", "F"):
            image = Image.fromarray(_eight_bits(image))
        elif background is not None and (image.mode.endswith(("A", "a")) or "transparency" in image.info):
            layer = image.convert("RGBA")
            image = Image.new("RGB", layer.size, background)
            image.paste(layer, mask=layer.getchannel("A"))
        if image.mode != "RGB" or isinstance(image, ImageFile.ImageFile):  # a file's image keeps the file in memory
            image = image.convert("RGB")
    except ValueError as error:
        if "conversion" not in str(error):
            raise
        raise Unreadable(name, f"colours of mode {image.mode} cannot be converted to RGB") from error
    if orientation in TURNS:
        image = image.transpose(TURNS[orientation])
    image.info = {"size": (height, width) if orientation in SIDEWAYS else (width, height)}
    return image


def _eight_bits(image: Image.Image) -> np.ndarray[Any, Any]:
    """Deep gray to 0..255, by the rules that `read_image` states."""
    values = np.asarray(image)
    tags: Any = getattr(image, "tag_v2", {})
    if image.mode.startswith("I;16") or image.format == "PPM":  # Pillow spreads any PPM depth over 16 bits
        stated = tags.get(BITS, (16,))
        white = 2 ** (stated[0] if isinstance(stated, tuple) else stated) - 1
        scaled = np.minimum((values.astype(np.uint32) * 255 + white // 2) // white, 255).astype(np.uint8)
        return 255 - scaled if tags.get(PHOTOMETRIC) == 0 else scaled
    values = values.astype(np.float64)
    values = np.where(np.isfinite(values), values, 0)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return ((values - low) * (255 / ((high - low) or 1))).round().astype(np.uint8)


# -- Pillow's warnings ------------------------------------------------------------------------------------------------


class _Quiet(AbstractContextManager[None]):
    """Silences the warnings of Pillow and its plugins while any thread decodes.

    `warnings.catch_warnings` swaps the filters of the whole process, so two threads that overlap would restore each
    other's. One filter is added by the first to come and taken away by the last to leave.
    """

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        self.filter: Any = None

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0 or self.filter not in warnings.filters:
                warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\b")
                self.filter = warnings.filters[0]
            self.inside += 1

    def __exit__(self, *_: object) -> Literal[False]:
        with self.lock:
            self.inside -= 1
            if self.inside == 0 and self.filter in warnings.filters:
                warnings.filters.remove(self.filter)  # type: ignore[attr-defined]
        return False


_SHARED = _Quiet()


def quiet() -> AbstractContextManager[None]:
    """While it is open, Pillow's warnings of what it decodes are not shown, in any thread."""
    if getattr(sys.flags, "context_aware_warnings", False):  # Python 3.14: filters can belong to the thread
        return warnings.catch_warnings(action="ignore")  # type: ignore[call-arg]
    return _SHARED
