"""`sensorium demo`: the main job on real photographs and films, end to end: index, ask, draw, and open the page."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sensorium.app.collection import DEFAULT_MODEL, load_model
from sensorium.app.console import count, duration, short, stderr, stdout
from sensorium.app.expression import parse, spell
from sensorium.app.indexing import print_report, progress_bar
from sensorium.app.moments import tally
from sensorium.app.note import note_on
from sensorium.app.photographs import collect
from sensorium.app.searching import print_answer, strip
from sensorium.app.sheet import Strip, write_sheet
from sensorium.data.errors import SensoriumError

if TYPE_CHECKING:
    from sensorium.search.index import Index
    from sensorium.search.query import Term

SHOWN = 5


@dataclass(frozen=True)
class Step:
    """One question of the demo, as it would be typed, what it shows, and the kind of files that may answer."""

    shows: str
    words: tuple[str, ...]
    kind: str | None = None


QUESTIONS = (
    Step("words", ("a cat",)),
    Step("words", ("a man in a suit",)),
    Step("words", ("a cup of coffee",)),
    Step("words", ("a motorcycle",)),
    Step("the moment of a film", ("a bicycle",)),
    Step("films alone", ("a street with cars",), kind="video"),
    Step("sounds alone", ("a saxophone",), kind="sound"),
    Step("words", ("fruit",)),
    Step("by example", ("cheetah1.jpg",)),
    Step("words and a picture together: cats, but not such a one", ("2*cat", "-", "chelsea.png")),
    Step("not there to be found", ("a sailing boat at sea",)),
)

ANYONES = (
    Step("words", ("people",)),
    Step("words", ("food on a plate",)),
    Step("words", ("a dog or a cat",)),
    Step("words", ("a building in a city",)),
    Step("combined", ("landscape", "-", "people")),
)


def run_demo(folder: Path | None, *, into: Path, serve: bool | None, port: int) -> None:
    """Run it. Raises SensoriumError when there is nothing to show."""
    began = time.perf_counter()
    console = stdout()
    model = load_model(DEFAULT_MODEL)
    if folder is None:
        found, missing = collect(into / "photos", model.kinds)
        for sentence in missing:
            stderr().print(sentence, markup=False)
        if not found:
            raise SensoriumError("no photographs found: name a folder of yours, as in: sensorium demo ~/Pictures")
        console.print(f"[mark]{count(len(found), 'file')}[/] that Python packages carry, in {short(into / 'photos')}")
        folder = into / "photos"
    questions = QUESTIONS if folder == into / "photos" else ANYONES

    from sensorium.search.index import Index

    place = into / "index"
    with Index.open(place, model) as index:
        with progress_bar() as advance:
            report = index.update(folder, progress=advance)
        print_report(report, model)
        stats = index.stats()
        if not stats.items:
            raise SensoriumError(f"there is nothing below {short(folder)} to search: name another folder")
        console.print(f"[quiet]The index holds {tally(stats.kinds, stats.moments)}")
        sheet = into / "contact-sheet.png"
        write_sheet(sheet, ask_all(index, questions, folder))
    note = note_on(DEFAULT_MODEL)
    console.print(f"\n{note.sees} {note.misses} {note.switch}\n  {note.command}", markup=False)
    console.print(f"\n[mark]Contact sheet[/]  {short(sheet)}")
    console.print(f"[mark]Index[/]          {short(place)}")
    console.print(f'[mark]Ask yourself[/]   sensorium search "a motorcycle" --index {short(place)}')
    console.print(f"[mark]The page[/]       sensorium serve --open --index {short(place)}")
    console.print(f"[quiet]{duration(time.perf_counter() - began)} in all")
    if serve is None:
        serve = sys.stdin.isatty() and sys.stdout.isatty()
    if serve:
        from sensorium.app.serving import serve_index

        console.print()
        serve_index(place, host="127.0.0.1", port=port, browse=True)


def ask_all(index: "Index", questions: Sequence[Step], folder: Path) -> list[Strip]:
    """Ask, print and draw every question whose files, and kinds of files, are there."""
    from sensorium.search.query import Query
    from sensorium.search.store import Filter

    strips: list[Strip] = []
    console, kinds = stdout(), {kind for kind, number in index.stats().kinds.items() if number}
    for step in questions:
        terms = terms_of(step, folder)
        if terms is None or (step.kind is not None and step.kind not in kinds):
            continue
        answer = index.search(Query(terms), SHOWN, where=Filter(kind=step.kind) if step.kind else None)
        console.print()
        console.print(spell(terms), style="mark", markup=False, end="")
        console.print(f"  [quiet]{step.shows}")
        print_answer(console, spell(terms), answer)
        strips.append(strip(spell(terms), answer))
    return strips


def terms_of(step: Step, folder: Path) -> "list[Term] | None":
    """The step's terms with files found in `folder`; None where one of them was not to be had."""
    words = [str(folder / word) if word.endswith((".jpg", ".png")) else word for word in step.words]
    wanted = [Path(word) for word in words if word.endswith((".jpg", ".png"))]
    return parse(words) if all(path.is_file() for path in wanted) else None
