"""`sensorium data`: sets that can be fetched by name, and what stands at a path."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.progress import Progress, ProgressColumn, Task, TaskID

from sensorium.app.console import count, stderr, stdout, write_json
from sensorium.app.truths import show_truths
from sensorium.data.augment import texts_of
from sensorium.data.errors import Unreadable, printable
from sensorium.data.senses import describe
from sensorium.data.sets import SETS, fetch
from sensorium.data.sources import Opened, open_source
from sensorium.data.standins import STANDINS
from sensorium.data.stream import Sample, named

CHECKED = 100  # samples that `show` decodes, spread over the whole
FIRST = 3  # samples that `show` prints


class _Rate(ProgressColumn):
    def render(self, task: Task) -> str:
        return f"{task.speed:,.0f} pictures/s" if task.speed else ""


def list_sets(*, as_json: bool) -> None:
    """Print every set: how many samples, how much to download, under which licence, and whether it is here."""
    rows = [
        {
            "name": each.name,
            "about": each.about,
            "samples": each.samples,
            "megabytes": each.megabytes,
            "licence": each.licence,
            "fetched": each.ready(),
        }
        for each in (*SETS.values(), *STANDINS.values())
    ]
    if as_json:
        write_json(rows)
        return
    console = stdout()
    for row in rows:
        state = "[good]here[/]" if row["fetched"] else f"[quiet]{row['megabytes']} MB[/]"
        console.print(f"[mark]{row['name']:<12}[/] {row['samples']:>7,}  {state:<22} ", end="")
        console.print(f"{row['about']}; licence {row['licence']}", markup=False)


def fetch_set(name: str) -> None:
    """Fetch one set, saying its licence first, and showing how far the drawing of pictures has come."""
    console = stderr()
    known = SETS.get(name) or STANDINS.get(name)
    if known and not known.ready():
        console.print(f"{name}: {known.megabytes} MB to fetch, licence {known.licence}", markup=False)
    bar = Progress(*Progress.get_default_columns(), _Rate(), console=console, transient=True)
    with bar:
        tasks: dict[str, TaskID] = {}

        def progress(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(f"drawing {what}", total=of)
            bar.update(tasks[what], completed=done)

        if name in STANDINS:
            STANDINS[name].fetch(progress)
            kinds = ", ".join(kind.kind for kind in STANDINS[name].kinds)
            stdout().print(f"{name}: {count(STANDINS[name].samples, 'sample')}, {kinds}", markup=False)
            return
        source = fetch(name, progress=progress)
    stdout().print(f"{name}: {count(len(source), 'sample')}, {source.kind}", markup=False)


def show_source(place: str, *, as_json: bool) -> bool:
    """Print what stands at a path; returns whether all that was looked at can be read."""
    if (fits := show_truths(place, as_json=as_json)) is not None:
        return fits
    source = open_source(place)
    problems = [*source.problems]
    total = len(source)
    looked = sorted({i * total // CHECKED for i in range(CHECKED)} | set(range(min(FIRST, total)))) if total else []
    first: list[dict[str, Any]] = []
    damaged = 0
    for index in looked:
        sample: Sample = {}
        try:
            sample = source[index]
            held = describe(sample)
        except Unreadable as error:
            damaged += 1
            problems.append(str(named(error, sample)))
        else:
            if len(first) < FIRST:
                first.append(_plain(sample, held, source))
    if as_json:
        known = {"name": source.name, "kind": source.kind, "samples": total, "classes": len(source.classes)}
        write_json({**known, "first": first, "checked": len(looked), "damaged": damaged, "problems": problems})
        return not damaged
    console = stdout()
    classes = f", {len(source.classes):,} classes" if source.classes else ""
    console.print(f"{source.name}: {source.kind}, {count(total, 'sample')}{classes}", markup=False)
    for sample in first:
        console.print("  " + "  ".join(f"{key}={value}" for key, value in sample.items()), markup=False)
    console.print(f"{len(looked) - damaged} of {count(len(looked), 'sample')} looked at can be read", markup=False)
    for problem in problems:
        console.print("[bold red]![/] ", end="")
        console.print(problem, markup=False)
    return not damaged


def _plain(sample: Sample, held: Mapping[str, str], source: Opened) -> dict[str, Any]:
    """A sample as people read it: its files, and what was found in each."""
    shown: dict[str, Any] = {}
    for sense, said in held.items():
        file = sample[sense]
        name = printable(str(file) if isinstance(file, str | Path) else sample["key"])
        shown |= {sense: name, "size": said} if sense == "image" else {sense: f"{name} ({said})"}
    if "begin" in sample:
        shown["seconds"] = f"{sample['begin']:.2f}-{sample['end']:.2f}"
    texts = texts_of(sample)
    if texts:
        first, *rest = texts
        shown["text"] = repr(first[:80]) + (f" (+{len(rest)})" if rest else "")
    if "label" in sample:
        label = sample["label"]
        named = source.classes[label] if 0 <= label < len(source.classes) else ""
        shown["label"] = f"{label} ({named})" if named else label
    return shown
