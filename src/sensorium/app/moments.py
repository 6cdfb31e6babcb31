"""Kinds of files and moments in them, in words: for the terminal, the page and the contact sheet."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sensorium.data.errors import SensoriumError

if TYPE_CHECKING:
    from sensorium.data.kind_names import Spot
    from sensorium.data.kinds import Kind
    from sensorium.search.query import Moment

# The word for one, and for several; KIND_NAMES is what people choose from, in the order of the index
NOUNS: "dict[Kind, tuple[str, str]]" = {
    "picture": ("picture", "pictures"),
    "video": ("film", "films"),
    "sound": ("sound", "sounds"),
    "depth": ("depth map", "depth maps"),
    "thermal": ("thermal picture", "thermal pictures"),
    "motion": ("motion recording", "motion recordings"),
    "document": ("document", "documents"),
}
KIND_NAMES = tuple(NOUNS)
ALSO: "dict[str, Kind]" = {
    "image": "picture",
    "photo": "picture",
    "film": "video",
    "movie": "video",
    "audio": "sound",
    "heat": "thermal",
    "infrared": "thermal",
    "imu": "motion",
    "pdf": "document",
}
SPELT: "dict[str, Kind]" = {**{kind: kind for kind in NOUNS}, **ALSO}
SENSED = {"video": "seen", "audio": "heard", "text": "said"}


def amount(number: int, kind: "Kind") -> str:
    """`1 film`, `3 films`."""
    return f"{number:,} {NOUNS[kind][number != 1]}"


def tally(kinds: "Mapping[Kind, int]", moments: int | None = None) -> str:
    """`12 pictures, 3 films, 2 sounds (48 moments)`; "nothing" for none. The order is that of the kinds."""
    said = ", ".join(amount(kinds[kind], kind) for kind in NOUNS if kinds.get(kind))
    if not said:
        return "nothing"
    return said if moments is None or moments == sum(kinds.values()) else f"{said} ({moments:,} moments)"


def chosen_kinds(text: str) -> "list[Kind]":
    """The kinds that `--kind video,sound` means; plurals and everyday words too. Raises SensoriumError."""
    found: list[Kind] = []
    for word in text.lower().replace(" ", "").split(","):
        plain = word if word in SPELT else word.removesuffix("s")
        kind = SPELT.get(plain)
        if kind is None:
            raise SensoriumError(f"{word!r} is no kind of file: choose among {', '.join(KIND_NAMES)}")
        found.append(kind)
    return list(dict.fromkeys(found))


def clock(seconds: float) -> str:
    """`0:07`, `12:05`, `1:02:03`: seconds as players write them, rounded down."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def spell_moment(moment: "Moment | Spot", kind: str) -> str:
    """`0:12-0:14 heard` of a film, `0:12-0:14` of a sound, `0:12-0:14 said` of both, `page 3` of a document; empty for
    what is one piece."""
    if moment.page is not None:
        return f"page {moment.page}"
    if moment.begin is None:
        return ""
    said, end = clock(moment.begin), "" if moment.end is None else clock(moment.end)
    said += f"-{end}" if end not in ("", said) else ""
    return f"{said} {SENSED[moment.sense]}" if kind == "video" or moment.sense == "text" else said
