"""`sensorium index`: bring the index in line with folders of pictures, and say what that took."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.app.collection import index_for
from sensorium.app.console import count, duration, short, stderr, stdout, tell_unread, write_json
from sensorium.data.errors import printable

if TYPE_CHECKING:
    from sensorium.search.index import Progress, Report
    from sensorium.tasks import features as tasks

STAGES = {"looking": "looking for pictures", "embedding": "understanding", "linking": "linking"}


def index_folders(
    folders: Sequence[Path], *, model: str | None, folder: Path | None, retry: bool, as_json: bool
) -> "Report":
    """Index what lies below `folders` and print the summary."""
    from sensorium.search.index import Stopped

    with index_for(folder, model) as index:
        try:
            with progress_bar() as advance:
                report = index.update(folders, progress=advance, retry_unreadable=retry)
        except Stopped as stopped:
            print_report(stopped.report, interrupted=True)
            raise
        stats = index.stats()
    if as_json:
        write_json({**as_dict(report), "index": stats.folder, "model": stats.model, "items": stats.items})
    else:
        print_report(report)
        holds = f"The index holds {count(stats.items, 'picture')}, made with {stats.model}, in"
        stdout().print(f"[quiet]{holds}[/] {short(stats.folder)}")
    return report


def list_unreadable(folder: Path | None, *, as_json: bool) -> None:
    """Print every file that the index could not read, with its reason."""
    from sensorium.search.index import Index

    with Index.open(folder, create=False) as index:
        rows = index.unreadable()
    if as_json:
        write_json({"unreadable": [{"path": path, "reason": reason} for path, reason in rows]})
        return
    console = stdout()
    for path, reason in rows:
        console.print(f"{short(path)}: {printable(reason)}", markup=False)
    stderr().print(f"[quiet]{count(len(rows), 'unreadable file')}")


def as_dict(report: "Report") -> dict[str, Any]:
    """The report for machines: everything, the unreadable files included."""
    return {
        "added": report.added,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "removed": report.removed,
        "renamed": report.renamed,
        "embedded": report.embedded,
        "remaining": report.remaining,
        "seconds": round(report.seconds, 3),
        "images_per_second": round(rate(report), 2),
        "unreadable": [{"path": each.path, "reason": each.reason} for each in report.unreadable],
    }


def rate(report: "Report") -> float:
    """Images embedded per second of the whole run."""
    return report.embedded / report.seconds if report.seconds > 0 else 0.0


def print_report(report: "Report", *, interrupted: bool = False) -> None:
    """One line of what changed, one of what it took, and the first few files that could not be read."""
    console = stdout()
    parts = [("added", report.added), ("updated", report.updated), ("renamed", report.renamed)]
    parts += [("removed", report.removed), ("unchanged", report.unchanged)]
    said = [f"{number:,} {word}" for word, number in parts if number]
    line = ", ".join(said) or "nothing to do: no pictures there"
    console.print(f"[mark]{'Stopped' if interrupted else 'Indexed'}[/]: {line}")
    if report.embedded:
        took = f"{duration(report.seconds)}, {rate(report):.1f} images per second"
        console.print(f"[quiet]{count(report.embedded, 'picture')} understood in {took}")
    said = f"{count(len(report.unreadable), 'file')} could not be read"
    tell_unread(console, report.unreadable, said, "sensorium index --unreadable")


@contextmanager
def progress_bar() -> Generator[Callable[["Progress | tasks.Progress"], None]]:
    """A bar with rate and time left on a terminal; silence elsewhere."""
    console = stderr()
    if not console.is_terminal:
        yield lambda progress: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[quiet]{task.fields[pace]}"),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("looking for pictures", total=None, pace="")

        def advance(progress: "Progress | tasks.Progress") -> None:
            pace = f"{progress.rate:.1f}/s" if progress.rate else ""
            if progress.seconds_left is not None:
                pace += f", {duration(progress.seconds_left)} left"
            bar.update(
                task,
                description=STAGES.get(progress.stage, progress.stage),
                completed=progress.done,
                total=progress.total or None,
                pace=pace,
            )

        yield advance
