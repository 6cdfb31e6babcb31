"""What sound and film share: which seconds of a file are looked at, and files that are safe to open."""

import os
import stat
from fractions import Fraction

from sensorium.data.errors import Unreadable, system_reason


def clip_times(duration: float, seconds: float, clips: int) -> list[tuple[Fraction, Fraction]]:
    """Begin and end, in seconds, of `clips` windows spread evenly over a file, the first at 0, the last at its end.

    A file no longer than a window gives the same window `clips` times (the sampler that ImageBind takes from
    PyTorchVideo).
    """
    step = max(Fraction(duration) - Fraction(seconds), Fraction(0)) / max(clips - 1, 1)
    return [(i * step, i * step + Fraction(seconds)) for i in range(clips)]


def regular_file(path: str | os.PathLike[str]) -> str:
    """The name of a file that can be opened without waiting on a pipe or reading a device; raises Unreadable."""
    name = os.fsdecode(path)
    try:
        mode = os.stat(name).st_mode
    except OSError as error:
        raise Unreadable(name, system_reason(error)) from error
    except ValueError as error:
        raise Unreadable(name, "not a possible file name") from error
    if not stat.S_ISREG(mode):
        raise Unreadable(name, "a folder, not a file" if stat.S_ISDIR(mode) else "not a regular file")
    return name
