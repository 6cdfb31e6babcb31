"""A Filter as SQL: one condition on the table of items, with its parameters."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sensorium.search.store import EPOCH, Filter

LARGEST = 2**63 - 1


def condition(where: Filter | None) -> tuple[str, list[object]]:
    """SQL that is true for the items the filter lets through, and its parameters; "1" for no filter."""
    if where is None:
        return "1", []
    parts: list[str] = []
    values: list[object] = []
    if where.below is not None:
        paths = [where.below] if isinstance(where.below, str | os.PathLike) else where.below
        sql, values = _below(paths)
        parts.append(sql)
    if where.glob is not None:
        parts.append("CAST(path AS TEXT) GLOB CAST(? AS TEXT)")  # paths are bytes, and GLOB may refuse to match blobs
        values.append(os.fsencode(_pattern(where.glob)))
    for column, operator, value in (
        ("modified", ">=", _nanoseconds(where.modified_after)),
        ("modified", "<", _nanoseconds(where.modified_before)),
        ("taken", ">=", _nanoseconds(where.taken_after, camera=True)),
        ("taken", "<", _nanoseconds(where.taken_before, camera=True)),
        ("size", ">=", where.size_min),
        ("size", "<=", where.size_max),
    ):
        if value is not None:
            parts.append(f"{column} {operator} ?")
            values.append(max(-LARGEST, min(LARGEST, value)))
    if where.kind is not None:
        kinds = [where.kind] if isinstance(where.kind, str) else list(where.kind)
        parts.append(f"kind IN ({', '.join('?' * len(kinds))})")
        values += kinds
    return " AND ".join(parts) or "1", values


def _below(paths: Sequence[str | os.PathLike[str]]) -> tuple[str, list[object]]:
    """A range of paths is a range in the index on path: nothing is scanned."""
    separator = os.fsencode(os.sep)
    after = bytes([separator[0] + 1])
    parts: list[str] = []
    values: list[object] = []
    for path in paths:
        top = os.fsencode(os.path.abspath(os.path.expanduser(path)))
        stem = top.rstrip(separator)
        parts.append("path = ? OR (path >= ? AND path < ?)")
        values += [top, stem + separator, stem + after]
    return "(" + " OR ".join(parts or ["0"]) + ")", values


def _pattern(glob: str) -> str:
    anywhere = glob if os.path.isabs(glob) or glob.startswith("*") else "*" + os.sep + glob
    return anywhere.replace("[!", "[^")  # SQLite's way to negate a set


def _nanoseconds(moment: datetime | None, *, camera: bool = False) -> int | None:
    """Since 1970, exactly. A moment without a zone is local time, except against a camera's clock, which has none."""
    if moment is None:
        return None
    aware = moment.replace(tzinfo=UTC) if camera else moment.astimezone(UTC)
    return (aware - EPOCH) // timedelta(microseconds=1) * 1000
