"""What kind of thing a file holds, for a folder of everything: by its content, and where content cannot tell, its name.

A gray PNG may be a depth map, a thermal picture or a photograph. It is what its own name or a folder's says (depth,
disparity, thermal, infrared, ...) or the depth.json or thermal.json beside it, else a picture; in colours it always is.
"""

import os
import re
import zipfile
from pathlib import Path

import numpy as np

from sensorium.data.errors import SensoriumError, Unreadable, system_reason
from sensorium.data.image import image_format, read_image
from sensorium.data.kind_names import KINDS, SENSES, Kind, Sense
from sensorium.data.media import is_cover, regular_file
from sensorium.data.motion_table import header, layout
from sensorium.data.rasters import COLOURED, EXR, NO_ARRAY, NPY, NPZ

__all__ = ["KINDS", "SENSES", "Kind", "Sense", "kind_of"]

NAMES: dict[Kind, frozenset[str]] = {
    "depth": frozenset({"depth", "depths", "disparity", "disparities", "depthmap", "depthmaps"}),
    "thermal": frozenset({"thermal", "infrared", "lwir", "flir", "radiometric", "thermography"}),
    "motion": frozenset({"imu", "motion", "inertial", "accelerometer", "gyroscope"}),
}
UP = 2  # folders above a file whose names may say what it is
MEASURED = frozenset({"PNG", "TIFF", "JPEG", "PPM", "JPEG2000", "WEBP", "BMP"})
ALONE = frozenset({".mp3", ".m4a", ".m4b", ".oga", ".ogg", ".opus", ".aac", ".wma", ".mka", ".spx"})  # names of sounds


def kind_of(path: str | os.PathLike[str]) -> Kind | None:
    """The kind of a file; None where it is none that is known. A few kilobytes are read, of films the table of streams.

    Raises Unreadable where the file cannot be opened.
    """
    name = regular_file(path)
    try:
        with open(name, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise Unreadable(name, system_reason(error)) from error
    file, suffix = Path(name), Path(name).suffix.lower()
    if format := image_format(head[:64]):
        named = _named(file) if format in MEASURED else None
        return named if named in ("depth", "thermal") and _is_gray(file) else "picture"
    if head.startswith(EXR):
        return "depth"
    if head.startswith((NPY, NPZ)):
        return _array(file, npz=head.startswith(NPZ))
    if b"%PDF-" in head:
        return "document"
    if head.startswith(b"PAR1") or suffix in (".csv", ".tsv"):
        return _table(file, parquet=head.startswith(b"PAR1"))
    return _medium(name, head, suffix)


def _is_gray(file: Path) -> bool:
    try:
        pixels = np.asarray(read_image(file, at_least=64)).astype(np.float32)
    except Unreadable:
        return True  # whoever measures it says best why it cannot be read
    return float(np.abs(pixels[..., :2] - pixels[..., 1:]).mean()) <= COLOURED


def _medium(name: str, head: bytes, suffix: str) -> Kind | None:
    """Sound, or a film: containers of films are opened, since they may hold sound alone."""
    wave = head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"
    if wave or head.startswith((b"fLaC", b"FORM", b"caff", b".snd", b"ID3", b"#!AMR")):
        return "sound"
    frames = len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0  # MPEG audio without a tag
    if frames and suffix in (".mp3", ".mp2", ".aac", ".mpga"):
        return "sound"
    box = head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
    packets = head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G"
    starts = (b"\x1aE\xdf\xa3", b"OggS", b"FLV\1", b"\0\0\1\xba", b"\0\0\1\xb3", b"0&\xb2u\x8ef\xcf\x11")
    if not (box or packets or head.startswith(starts) or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")):
        return None
    return "sound" if suffix in ALONE else _streams(name)


def _streams(name: str) -> Kind | None:
    try:
        import av
        from av.error import FFmpegError
    except ImportError:
        return "video"
    try:
        with av.open(name) as container:
            if not all(is_cover(stream) for stream in container.streams.video):
                return "video"
            return "sound" if container.streams.audio else None
    except (FFmpegError, ValueError):
        return "video"  # a damaged one: whoever decodes it says best why it cannot be read


def _array(file: Path, *, npz: bool) -> Kind | None:
    """An array is what its name says; else six or seven columns are motion, and a picture of floats is depth."""
    try:
        if npz:
            with zipfile.ZipFile(file) as parts:
                names = [Path(part).stem.lower() for part in parts.namelist()]
            if _axes(names) or {"accelerometer", "gyroscope"} <= set(names):
                return "motion"
            return _named(file) or next((kind for kind, known in NAMES.items() if known & set(names)), None)
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (*NO_ARRAY, zipfile.BadZipFile):
        return _named(file)
    if array.dtype.names:
        return "motion" if _axes(array.dtype.names) else None
    named = _named(file)
    if named or array.ndim != 2:
        return named
    if min(array.shape) in (6, 7):
        return "motion"
    return "depth" if array.dtype.kind == "f" and min(array.shape) >= 16 else None


def _table(file: Path, *, parquet: bool) -> Kind | None:
    """A table is motion where its columns are six axes, or where its name says so: its loader says what is missing."""
    if _named(file) == "motion":
        return "motion"
    try:
        if not parquet:
            return "motion" if _axes(header(file)) else None
        import pyarrow as pa
        import pyarrow.parquet as pq
    except (OSError, UnicodeDecodeError, ImportError):
        return None
    try:
        return "motion" if _axes(pq.read_schema(file).names) else None
    except (OSError, pa.ArrowException):
        return None


def _axes(names: list[str] | tuple[str, ...]) -> bool:
    try:
        layout(list(names), "")
    except SensoriumError:
        return False
    return True


def _named(file: Path) -> Kind | None:
    """What the file's name says, or the nearest folder's, or the facts beside it."""
    for name in (file.stem, *(folder.name for folder in list(file.absolute().parents)[:UP])):
        words = set(re.split(r"[^a-z]+", name.lower()))
        for kind, known in NAMES.items():
            if known & words:
                return kind
        if name == file.stem:
            for kind in ("depth", "thermal", "motion"):
                if (file.parent / f"{kind}.json").is_file():
                    return kind
    return None
