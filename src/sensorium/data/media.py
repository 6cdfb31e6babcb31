"""What loaders share: which seconds of a file are looked at, files that are safe to open, and facts beside them."""

import json
import os
import stat
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

from sensorium.data.errors import SensoriumError, Unreadable, system_reason


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


def is_cover(stream: Any) -> bool:
    """Whether a stream of PyAV's is the picture on a song's cover."""
    return "attached_pic" in str(stream.disposition)


def facts_beside(path: str | os.PathLike[str], name: str, known: Iterable[str]) -> dict[str, Any]:
    """What a JSON file called `name` in the file's folder says of all files there; nothing where there is none.

    Numbers of a sensor do not say what they count; this is where a folder says it. Raises SensoriumError for a file
    that is no JSON object, or that says what is not `known`.
    """
    file = Path(os.fsdecode(path)).absolute().parent / name
    if not file.is_file():
        return {}
    try:
        facts: Any = json.loads(file.read_bytes())
    except OSError as error:
        raise Unreadable(file, system_reason(error)) from error
    except ValueError as error:
        raise Unreadable(file, f"not JSON ({str(error)[:60]})") from error
    names = ", ".join(sorted(known))
    if not isinstance(facts, dict):
        raise Unreadable(file, f"not a JSON object with {names}")
    if strange := sorted(set(facts) - set(known)):
        raise SensoriumError(f"{file}: {strange[0]} is unknown; known are {names}")
    return facts
