"""Where words go: results to standard output, everything about the work to standard error, on any terminal or none."""

import json
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.theme import Theme

from sensorium.data.errors import Unreadable, printable

THEME = Theme({"path": "default", "quiet": "bright_black", "good": "green", "mark": "bold", "bar.complete": "green"})
LISTED = 5  # unreadable files that a terminal is told of


class _Console(Console):
    """Rich's console, but for a reader that went away: rich would exit by itself, with the code of a failure."""

    def on_broken_pipe(self) -> None:
        raise  # the BrokenPipeError that is being handled: main() knows what to do with it


def stdout() -> Console:
    """Results. Lines are neither cut nor wrapped when they go to a file or another program."""
    return _Console(theme=THEME, highlight=False, soft_wrap=not sys.stdout.isatty())


def stderr() -> Console:
    """Progress, warnings and errors."""
    return _Console(theme=THEME, highlight=False, stderr=True, soft_wrap=not sys.stderr.isatty())


def tolerate_any_text() -> None:
    """Let both streams print every string: what their encoding lacks comes out as an escape, not as a crash."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # absent where a test or a notebook took the stream over
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def write_json(value: Any) -> None:
    """One JSON value and nothing else on standard output; names that are not UTF-8 survive as lone surrogates."""
    sys.stdout.write(json.dumps(value, indent=2, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def short(path: str | os.PathLike[str]) -> str:
    """A path as people like to read it: below the working directory or the home folder without their names."""
    plain = Path(path)
    for root, mark in ((Path.cwd(), Path()), (Path.home(), Path("~"))):
        if plain.is_relative_to(root) and plain != root:
            return printable(str(mark / plain.relative_to(root)))
    return printable(str(plain))


def count(number: int, noun: str) -> str:
    """`1 picture`, `1,204 pictures`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def tell_unread(console: Console, problems: Sequence[Unreadable], said: str, where: str) -> None:
    """What is said of files that could not be read, the first few of them with reasons, and where all are listed."""
    if not problems:
        return
    console.print(f"[mark]{said}:")
    for each in problems[:LISTED]:
        console.print(f"  {short(each.path)}: {printable(each.reason)}", markup=False)
    if len(problems) > LISTED:
        console.print(f"  [quiet]… all {len(problems):,}: {where}")


def duration(seconds: float) -> str:
    """`0.8 s`, `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@contextmanager
def waiting(message: str) -> Generator[None]:
    """Say that something slow is going on, where somebody watches; leave no trace of it afterwards."""
    console = stderr()
    if console.is_terminal:
        with console.status(f"[quiet]{message}"):
            yield
    else:
        yield
