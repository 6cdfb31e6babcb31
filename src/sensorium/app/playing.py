"""Sound and film for a browser: whole where it plays the format, with ranges, else a stretch that is encoded anew."""

import re
import threading
from pathlib import Path

from fastapi import HTTPException, Request, Response

from sensorium.app.heard import as_mp4, as_wav
from sensorium.app.kept import Made

LONGEST = 60.0  # seconds of a stretch
LATEST = 1e6

# What a browser shows or plays and nothing else: never SVG or HTML, which run scripts.
PICTURES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
}
SOUNDS = {
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mp4": "audio/mp4",
    ".webm": "audio/webm",
    ".aac": "audio/aac",
}
FILMS = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".webm": "video/webm",
    ".ogv": "video/ogg",
    ".ogg": "video/ogg",
    ".mov": "video/quicktime",
}


def media_type(path: Path, kind: str) -> str | None:
    """What a browser is told that a file is, where it may show or play it; None where it is only handed out."""
    known = {"video": FILMS, "sound": SOUNDS}.get(kind, PICTURES)
    return known.get(path.suffix.lower())


def stretch(path: Path, kind: str, begin: float, end: float, made: Made, encoding: threading.Lock) -> tuple[bytes, str]:
    """A stretch of a sound as WAV, of a film as MP4, and its media type. Raises Unreadable, HTTPException."""
    if kind not in ("video", "sound"):
        raise HTTPException(404, "only sounds and films play")
    if not (0 <= begin < end <= LATEST and end - begin <= LONGEST):
        raise HTTPException(400, f"a stretch begins at 0 s or later and lasts at most {LONGEST:g} s")
    make = as_mp4 if kind == "video" else as_wav
    try:
        tag = made.tag(path, kind, begin, end)
    except OSError:
        raise HTTPException(404, "the file has moved since it was indexed") from None
    with encoding:  # one at a time: a film takes both cores
        data = made.get(tag, lambda: make(path, begin, end))
    return data, "video/mp4" if kind == "video" else "audio/wav"


def ranged(data: bytes, media: str, request: Request) -> Response:
    """The bytes, or the range of them that is asked for: players jump by asking for ranges (RFC 9110, section 14)."""
    headers = {"accept-ranges": "bytes", "cache-control": "private, max-age=3600"}
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", "").strip())
    if not asked or not (asked[1] or asked[2]):
        return Response(data, media_type=media, headers=headers)
    first = int(asked[1]) if asked[1] else max(0, len(data) - int(asked[2]))
    last = min(int(asked[2]), len(data) - 1) if asked[1] and asked[2] else len(data) - 1
    if first > last:
        return Response(status_code=416, headers={**headers, "content-range": f"bytes */{len(data)}"})
    headers["content-range"] = f"bytes {first}-{last}/{len(data)}"
    return Response(data[first : last + 1], 206, media_type=media, headers=headers)
