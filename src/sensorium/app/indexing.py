"""`sensorium index`: bring the index in line with folders of files, and say what that took and what was left out."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.app.collection import index_for
from sensorium.app.console import count, duration, short, stderr, stdout, tell_unread, write_json
from sensorium.app.lacking import Chooses, left_out
from sensorium.app.moments import tally
from sensorium.data.errors import printable

if TYPE_CHECKING:
    from sensorium.search.index import Progress, Report
    from sensorium.tasks import features as tasks

STAGES = {"looking": "looking for files", "embedding": "understanding", "linking": "linking"}


def index_folders(
    folders: Sequence[Path],
    *,
    model: str | None,
    senses: str | None,
    folder: Path | None,
    retry: bool,
    as_json: bool,
) -> "Report":
    """Index what lies below `folders` and print the summary."""
    from sensorium.search.index import Stopped

    with index_for(folder, model, senses) as index:
        try:
            with progress_bar() as advance:
                report = index.update(folders, progress=advance, retry_unreadable=retry)
        except Stopped as stopped:
            print_report(stopped.report, index.embedder, interrupted=True)
            raise
        stats = index.stats()
        if as_json:
            held = {"items": stats.items, "kinds": stats.kinds, "moments": stats.moments}
            write_json({**as_dict(report), "index": stats.folder, "model": stats.model, **held})
        else:
            print_report(report, index.embedder)
            holds = f"The index holds {tally(stats.kinds, stats.moments)}, made with {stats.model}, in"
            stdout().print(f"[quiet]{holds}[/] {short(stats.folder)}")
    return report


def list_unreadable(folder: Path | None, *, as_json: bool) -> None:
    """Print every file that the index could not read, and those that it read only in part, with the reason."""
    from sensorium.search.index import Index

    with Index.open(folder, create=False) as index:
        rows = index.unreadable()
        partly = [(item.path, item.said or "") for item in index.store.iterate(partly=True)]
    if as_json:
        told = {"unreadable": rows, "partly": partly}
        write_json({name: [{"path": path, "reason": why} for path, why in some] for name, some in told.items()})
        return
    console = stdout()
    for path, reason in rows:
        console.print(f"{short(path)}: {printable(reason)}", markup=False)
    for path, reason in partly:
        console.print(f"{short(path)}: read only in part: {printable(reason)}", markup=False)
    said = count(len(rows), "unreadable file")
    stderr().print(f"[quiet]{said}{f', {len(partly):,} read only in part' if partly else ''}")


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
        "files_per_second": round(rate(report), 2),
        "skipped": report.skipped,
        "unreadable": [{"path": each.path, "reason": each.reason} for each in report.unreadable],
        "partly": [{"path": each.path, "reason": each.reason} for each in report.partly],
    }


def rate(report: "Report") -> float:
    """Files embedded per second of the whole run."""
    return report.embedded / report.seconds if report.seconds > 0 else 0.0


def print_report(report: "Report", model: Chooses | None = None, *, interrupted: bool = False) -> None:
    """A line of what changed, one of what it took, what the model lacks, and the first files that cannot be read."""
    console = stdout()
    parts = [("added", report.added), ("updated", report.updated), ("renamed", report.renamed)]
    parts += [("removed", report.removed), ("unchanged", report.unchanged)]
    said = [f"{number:,} {word}" for word, number in parts if number]
    line = ", ".join(said) or "nothing to do: no files there that the model takes in"
    console.print(f"[mark]{'Stopped' if interrupted else 'Indexed'}[/]: {line}")
    if report.embedded:
        took = duration(report.seconds)
        took += f", {rate(report):.1f} files per second" if rate(report) >= 1 else ""  # films take their time
        console.print(f"[quiet]{count(report.embedded, 'file')} understood in {took}")
    for sentence in [] if model is None else left_out(report.skipped, model):
        console.print(sentence, markup=False)
    said = f"{count(len(report.unreadable), 'file')} could not be read"
    tell_unread(console, report.unreadable, said, "sensorium index --unreadable")
    said = f"{count(len(report.partly), 'file')} read only in part"
    tell_unread(console, report.partly, said, "sensorium index --unreadable")


@contextmanager
def progress_bar() -> Generator[Callable[["Progress | tasks.Progress"], None]]:
    """A bar with rate and time left on a terminal; silence elsewhere."""
    console = stderr()
    if not console.is_terminal:
        yield lambda progress: None
        return
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[quiet]{task.fields[pace]}"),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("looking for files", total=None, pace="")

        def advance(progress: "Progress | tasks.Progress") -> None:
            pace = f"{progress.rate:.1f}/s" if progress.rate else ""
            if progress.seconds_left is not None:
                pace += f", {duration(progress.seconds_left)} left"
            detail = getattr(progress, "detail", "")
            bar.update(
                task,
                description=STAGES.get(progress.stage, progress.stage) + (f" {escape(detail)}" if detail else ""),
                completed=progress.done,
                total=progress.total or None,
                pace=pace,
            )

        yield advance
