"""Damaged and hostile pictures, the same ones every time: what a folder collected over twenty years may hold."""

import io
import os
import random
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass
class Hostile:
    """Where everything lies. All files carry an image's suffix; those in neither set may go either way."""

    files: list[Path] = field(default_factory=list)
    readable: set[Path] = field(default_factory=set)
    unreadable: set[Path] = field(default_factory=set)
    deep: Path | None = None  # a folder above files whose paths are too long to be opened

    def add(self, path: Path, data: bytes | None, readable: bool | None) -> None:
        if data is not None:
            path.write_bytes(data)
        self.files.append(path)
        if readable is not None:
            (self.readable if readable else self.unreadable).add(path)


def make_hostile(folder: Path) -> Hostile:
    """Fill `folder` with more than 200 files, deterministically."""
    made = Hostile()
    steps = (_valid, _truncated, _flipped, _headers, _bombs, _disguised, _metadata, _names, _special, _too_deep)
    for step in steps:
        room = folder / step.__name__.strip("_")
        room.mkdir(parents=True)
        step(room, made)
    return made


def picture(width: int = 56, height: int = 40, mode: str = "RGB") -> Image.Image:
    """A smooth picture with an edge, so that compressed formats have something to say."""
    y, x = np.mgrid[:height, :width]
    red, green = 255 * x / (width - 1), 255 * y / (height - 1)
    blue = np.where((x - width / 2) ** 2 + (y - height / 2) ** 2 < height * width / 12, 230, 30)
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8)).convert(mode)


def encoded(format: str, image: Image.Image | None = None, **options: object) -> bytes:
    """The bytes of `image` (or of `picture()`) in one of Pillow's formats."""
    out = io.BytesIO()
    (image or picture()).save(out, format, **options)
    return out.getvalue()


@cache
def samples() -> dict[str, bytes]:
    """One small valid file of every kind, by file name."""
    frames = [picture(), picture().rotate(90), picture().rotate(180)]
    return {
        "baseline.jpg": encoded("JPEG"),
        "progressive.jpg": encoded("JPEG", progressive=True),
        "gray.jpg": encoded("JPEG", picture(mode="L")),
        "cmyk.jpg": encoded("JPEG", picture(mode="CMYK")),
        "true.png": encoded("PNG"),
        "palette.png": encoded("PNG", picture(mode="P")),
        "moving.png": encoded("PNG", save_all=True, append_images=frames[1:]),
        "still.gif": encoded("GIF"),
        "moving.gif": encoded("GIF", save_all=True, append_images=frames[1:]),
        "lossy.webp": encoded("WEBP"),
        "lossless.webp": encoded("WEBP", lossless=True),
        "moving.webp": encoded("WEBP", save_all=True, append_images=frames[1:]),
        "still.avif": encoded("AVIF", speed=9),
        "raw.tif": encoded("TIFF"),
        "packed.tif": encoded("TIFF", compression="tiff_lzw"),
        "plain.bmp": encoded("BMP"),
        "wavelet.jp2": encoded("JPEG2000"),
        "plain.ppm": encoded("PPM"),
        "favicon.ico": encoded("ICO", sizes=[(32, 32)]),
    }


def _valid(room: Path, made: Hostile) -> None:
    for name, data in samples().items():
        made.add(room / name, data, True)


def _truncated(room: Path, made: Hostile) -> None:
    for name, data in samples().items():
        for percent in (1, 10, 30, 50, 80, 95):
            certain = False if percent <= 50 else None
            if name.startswith("moving") and percent > 10:
                certain = None  # the first frame may be there
            made.add(room / f"{percent:02}-{name}", data[: max(len(data) * percent // 100, 1)], certain)


def _flipped(room: Path, made: Hostile) -> None:
    draw = random.Random(0)
    for name, data in samples().items():
        for attempt, (begin, end) in enumerate(((0, 64), (8, 200), (0, len(data)))):
            broken = bytearray(data)
            for _ in range(4):
                broken[draw.randrange(begin, min(end, len(data)))] ^= 1 << draw.randrange(8)
            made.add(room / f"{attempt}-{name}", bytes(broken), None)


def _headers(room: Path, made: Hostile) -> None:
    """Nothing but the first bytes, or those and noise."""
    draw = random.Random(1)
    for name, data in samples().items():
        made.add(room / f"magic-{name}", data[:12], False)
    for suffix in ("jpg", "png", "gif", "webp", "tif", "bmp", "avif", "heic"):
        made.add(room / f"empty.{suffix}", b"", False)
        made.add(room / f"zeros.{suffix}", bytes(5000), False)
        made.add(room / f"noise.{suffix}", draw.randbytes(5000), False)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2, pixels: bytes = b"\0") -> bytes:
    """A PNG with whatever size it is told to claim."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = (_chunk(b"IHDR", head), *chunks, _chunk(b"IDAT", zlib.compress(pixels, 9)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def tiff(*entries: tuple[int, int, int, int], after: int = 0) -> bytes:
    """A little-endian TIFF whose first directory holds (tag, type, count, value) as given."""
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + struct.pack("<I", after)


def _bombs(room: Path, made: Hostile) -> None:
    """Small files that ask for very much memory or time."""
    long = zlib.compress(bytes(80_000_000), 9)
    jpeg, webp, avif = bytearray(encoded("JPEG")), encoded("WEBP"), bytearray(encoded("AVIF", speed=9))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65500, 65500)
    at = avif.index(b"ispe") + 8
    avif[at : at + 8] = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff" * 6
    huge = png(60_000, 60_000)
    icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(huge), 22) + huge
    tags = ((257, 4, 1, 100_000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (279, 4, 1, 100))
    flat = encoded("JPEG", Image.new("L", (4000, 4000), 90), progressive=True)
    scan = flat[flat.rindex(b"\xff\xda") : -2]
    for name, data in {
        "size.png": huge,
        "size-overflow.png": png(2**31 - 1, 2**31 - 1),
        "text.png": png(4, 4, _chunk(b"zTXt", b"Comment\0\0" + long)),
        "international.png": png(4, 4, _chunk(b"iTXt", b"Comment\0\1\0\0\0" + long)),
        "size.jpg": bytes(jpeg),
        "scans.jpg": flat[:-2] + scan * 400 + flat[-2:],
        "size.gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + encoded("GIF")[13:],
        "canvas.webp": b"RIFF" + struct.pack("<I", len(webp) + 10) + b"WEBP" + canvas + webp[12:],
        "size.avif": bytes(avif),
        "size.tif": tiff((256, 4, 1, 100_000), *tags),
        "count.tif": tiff((256, 4, 4_000_000_000, 8), *tags),
        "strips.tif": tiff((256, 4, 1, 8), *tags[:-2], (273, 4, 0xFFFFFFFF, 8), (279, 4, 0xFFFFFFFF, 8)),
        "itself.tif": tiff((256, 4, 1, 8), (34665, 4, 1, 8), after=8),
        "nowhere.tif": b"II*\0" + struct.pack("<I", 0xFFFFFFF0),
        "size.bmp": b"BM" + struct.pack("<IIIIiiHH", 100, 0, 54, 40, 2**30, 2**30, 1, 24) + bytes(60),
        "negative.bmp": b"BM" + struct.pack("<IIIIiiHH", 100, 0, 54, 40, -5, -(2**31), 1, 24) + bytes(60),
        "size.ppm": b"P6 999999 999999 255\n" + bytes(100),
        "digits.ppm": b"P3 " + b"9" * 100_000,
        "comment.pgm": b"P5 #" + b"x" * 100_000,
        "size.qoi": b"qoif" + struct.pack(">IIBB", 2**31 - 1, 2**31 - 1, 3, 0) + bytes(100),
        "inner.ico": icon,
    }.items():
        made.add(room / name, data, False)
    # large, but within the limit: a picture of 64 million pixels from 8 kB
    made.add(room / "allowed.png", png(8000, 8000, depth=1, colour=0, pixels=bytes(8000 * 1001)), True)


def _disguised(room: Path, made: Hostile) -> None:
    """Content of another kind than the name says."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.txt", "x" * 100_000)
    laughs = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">'
    laughs += "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    for name, data in {
        "archive.jpg": archive.getvalue(),
        "laughs.png": (laughs + "]><svg xmlns='http://www.w3.org/2000/svg'><text>&i;</text></svg>").encode(),
        "page.webp": b"<!doctype html><img src=x onerror=alert(1)>",
        "film.avif": struct.pack(">I", 24) + b"ftypisom" + bytes(12) + bytes(2000),
        "document.tif": b"%PDF-1.7\n" + bytes(500),
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{ } loop\n",
        "program.gif": b"\x7fELF" + bytes(500),
        "words.bmp": b"BMW is a maker of cars",
        "prose.ppm": b"P6 is how some files begin",
        "picture.jxl.png": b"\xff\x0a" + bytes(100),
    }.items():
        made.add(room / name, data, False)
    for name, format in (("jpeg.png", "JPEG"), ("png.jpg", "PNG"), ("webp.gif", "WEBP"), ("tiff.bmp", "TIFF")):
        made.add(room / name, encoded(format), True)
    made.add(room / "polyglot.jpg", encoded("JPEG") + archive.getvalue(), True)


def _metadata(room: Path, made: Hostile) -> None:
    """Good pixels under broken metadata: the picture can be seen, so it must be."""
    draw = random.Random(2)
    blocks = {
        "noise": draw.randbytes(400),
        "short": b"II*\0",
        "far": b"II*\0" + struct.pack("<I", 0xFFFFFFF0),
        "loop": tiff((34665, 4, 1, 8), (0x0112, 3, 1, 6), after=8),
        "count": tiff((0x0112, 3, 0xFFFFFFFF, 6)),
        "orientation": tiff((0x0112, 3, 1, 99)),
        "text": tiff((0x0112, 2, 4, 0x41414141)),
        "float": tiff((0x0112, 12, 1, 8)),
    }
    for name, block in blocks.items():
        made.add(room / f"{name}.jpg", encoded("JPEG", exif=b"Exif\0\0" + block), True)
        made.add(room / f"{name}.png", png(2, 2, _chunk(b"eXIf", block), pixels=bytes(14)), True)
    made.add(room / "profile.jpg", encoded("JPEG", icc_profile=draw.randbytes(3000)), True)
    made.add(room / "profile.png", encoded("PNG", icc_profile=draw.randbytes(3000)), True)


def _names(room: Path, made: Hostile) -> None:
    """Good pictures under names that shells, terminals, databases and pages stumble over."""
    names: list[bytes] = [
        b"a" * 251 + b".jpg",
        "ü".encode() * 125 + b".jpg",
        b"-rf --help.jpg",
        b" leading and trailing .jpg",
        b"line\nbreak\ttab.jpg",
        b"\x1b[31mred\x07.jpg",
        b"quote'\"`$(reboot).jpg",
        b"%s%n{0}\\.jpg",
        b"<script>alert(1)</script".replace(b"/", b"_") + b">.jpg",
        "\u202egnp.exe.jpg".encode(),
        "смех 笑 😀.jpg".encode(),
        b"not-utf8-\xff\xfe\x80.jpg",
        b"latin-\xe9t\xe9.JPG",
        b"dots..jpg.jpg",
    ]
    for name in names:
        path = Path(os.fsdecode(os.path.join(os.fsencode(room), name)))
        try:
            made.add(path, encoded("JPEG"), True)
        except OSError:  # some file systems refuse some of them
            continue


def _special(room: Path, made: Hostile) -> None:
    """Links, loops, pipes, devices, folders and locked doors."""
    target = made.files[0]
    links: dict[str, tuple[str, bool]] = {
        "good-link.jpg": (str(target), True),
        "dangling.jpg": ("nowhere.jpg", False),
        "itself.jpg": ("itself.jpg", False),
        "there.png": ("back.png", False),
        "back.png": ("there.png", False),
        "zero.jpg": ("/dev/zero", False),
        "terminal.jpg": ("/dev/tty", False),
    }
    for name, (to, readable) in links.items():
        (room / name).symlink_to(to)
        made.add(room / name, None, readable)
    (room / "round").symlink_to(room)
    (room / "up").symlink_to(room.parent)
    (room / "folder.jpg").mkdir()
    made.add(room / "folder.jpg" / "inside.jpg", encoded("JPEG"), True)
    os.mkfifo(room / "pipe.jpg")
    made.add(room / "pipe.jpg", None, False)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(room / "socket.jpg"))
        made.add(room / "socket.jpg", None, False)
    except OSError:  # such names are limited to some 100 characters
        pass
    made.add(room / "locked.jpg", encoded("JPEG"), os.geteuid() == 0)  # nothing is locked for root
    (room / "locked.jpg").chmod(0)


def _too_deep(room: Path, made: Hostile) -> None:
    """A picture at a path of 10,000 characters: it can be made step by step, and not be opened by its whole name."""
    handle = os.open(room, os.O_RDONLY)
    for _ in range(40):
        os.mkdir("d" * 250, dir_fd=handle)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    file = os.open("deep.jpg", os.O_WRONLY | os.O_CREAT, dir_fd=handle)
    os.write(file, encoded("JPEG"))
    os.close(file)
    os.close(handle)
    made.deep = room


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Versions of `data` with bytes changed, removed, repeated or inserted."""
    draw = random.Random(seed)
    edits: tuple[Callable[[bytearray, int], None], ...] = (
        lambda b, i: b.__setitem__(i, draw.randrange(256)),
        lambda b, i: b.__delitem__(slice(i, i + draw.randrange(1, 9))),
        lambda b, i: b.__setitem__(slice(i, i), b[i : i + draw.randrange(1, 99)]),
        lambda b, i: b.__setitem__(slice(i, i + 4), b"\xff\xff\xff\xff"),
    )
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(draw.randrange(1, 5)):
            if changed:
                draw.choice(edits)(changed, draw.randrange(len(changed)))
        yield bytes(changed)
