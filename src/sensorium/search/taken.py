"""When a picture was taken, by the camera's own clock, from its EXIF data."""

import struct
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

from PIL import Image

from sensorium.search.store import EPOCH

EXIF, ORIGINAL, CHANGED = 0x8769, 0x9003, 0x0132


def taken(path: Path) -> int | None:
    """Nanoseconds since 1970 as if the camera's clock showed UTC; None where the file does not say.

    Only the header is read. A damaged header says nothing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damaged EXIF data, and of sizes it does not decode here
            with Image.open(path) as image:
                if image.format == "PNG" and "exif" not in image.info:
                    return None  # Pillow would decode the whole picture to look behind its pixels
                exif = image.getexif()
                said = exif.get_ifd(EXIF).get(ORIGINAL) or exif.get(CHANGED)
        moment = datetime.strptime(str(said)[:19], "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except (
        OSError,
        ValueError,
        SyntaxError,
        TypeError,
        KeyError,
        EOFError,
        struct.error,
        Image.DecompressionBombError,
    ):
        return None
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000
