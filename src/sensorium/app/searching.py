"""`sensorium search`: ask the index, print ranked files and moments, and say so plainly when nothing matches."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.app.collection import open_index
from sensorium.app.console import count, short, stderr, stdout, write_json
from sensorium.app.expression import spell
from sensorium.app.lacking import check_examples
from sensorium.app.moments import spell_moment
from sensorium.app.sheet import Frame, Strip, write_sheet
from sensorium.data.errors import SensoriumError
from sensorium.data.kind_names import WAYS, Kind, Sense

if TYPE_CHECKING:
    from rich.console import Console

    from sensorium.search.index import Answer, Hit
    from sensorium.search.query import Moment, Term
    from sensorium.search.store import Filter

ALSO = 3  # further moments of a file that a line names
BLOCKS = "▏▎▍▌▋▊▉█"
DATES = ("%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")


def search_collection(
    terms: Sequence["Term"], *, folder: Path | None, k: int, where: "Filter", sheet: Path | None, as_json: bool
) -> bool:
    """Print the answer to a question; returns whether anything matched."""
    from sensorium.search.query import Query

    with open_index(folder, needed(terms)) as index:
        if index.embedder is not None:
            check_examples(terms, index.embedder)
        answer = index.search(Query(list(terms)), k, where=where)
    question = spell(terms)
    if sheet is not None:
        write_sheet(sheet, [strip(question, answer)])
    if as_json:
        write_json(as_dict(terms, answer))
    else:
        print_answer(stdout(), question, answer)
        if sheet is not None:
            stderr().print(f"[quiet]contact sheet:[/] {short(sheet)}")
    return answer.good


def needed(terms: Sequence["Term"]) -> set[Sense]:
    """The senses that a question takes: words always, since answers are judged by them; others for files."""
    from sensorium.data.kinds import kind_of

    kinds: list[Kind | None] = [kind_of(term.file) for term in terms if term.file is not None]
    return {"text", *(sense for kind in kinds if kind is not None for sense in WAYS[kind])}


def print_answer(console: "Console", question: str, answer: "Answer") -> None:
    """Files in their order; those under the cut-off dimmed, and below a line once no match follows."""
    if not answer.hits:
        console.print("Nothing in the index to search, or the filters leave nothing.")
        return
    last = max((rank for rank, hit in enumerate(answer.hits, 1) if hit.match), default=0)
    if not last:
        console.print(f"No good match for {_escaped(question)}. The closest guesses:")
    for rank, hit in enumerate(answer.hits, 1):
        if 0 < last == rank - 1:
            console.print("[quiet]below the cut-off:")
        _line(console, rank, hit, dim=not hit.match)


def strip(question: str, answer: "Answer") -> Strip:
    """The answer as a strip of the contact sheet."""
    matched = sum(hit.match for hit in answer.hits)
    remark = count(matched, "match").replace("matchs", "matches") if matched else "no good match: closest guesses"
    frames = [
        Frame(
            path=hit.path,
            kind=hit.kind,
            moment=hit.moments[0] if hit.moments else None,
            confidence=hit.confidence,
            faint=not hit.match,
        )
        for hit in answer.hits
    ]
    return Strip(question=question, frames=frames, remark=remark)


def as_dict(terms: Sequence["Term"], answer: "Answer") -> dict[str, Any]:
    """Question and answer for machines."""
    return {
        "query": [{**_source(each), "weight": each.weight} for each in terms],
        "good": answer.good,
        "cutoff": answer.cutoff,
        "seconds": answer.seconds,
        "hits": [
            {
                "path": hit.path,
                "score": hit.score,
                "confidence": hit.confidence,
                "match": hit.match,
                "id": hit.id,
                "kind": hit.kind,
                "width": hit.width,
                "height": hit.height,
                "bytes": hit.size,
                "modified": hit.modified,
                "taken": hit.taken,
                "seconds": hit.seconds,
                "pages": hit.pages,
                "moments": [_moment(each) for each in hit.moments],
            }
            for hit in answer.hits
        ],
    }


def _source(term: "Term") -> dict[str, Any]:
    if term.text is not None:
        return {"text": term.text}
    if term.item is not None:
        return {"item": str(term.item)} if term.moment is None else {"item": str(term.item), "moment": term.moment}
    return {"file": str(term.image if term.file is None else term.file)}


def _moment(moment: "Moment") -> dict[str, Any]:
    return {
        "number": moment.number,
        "sense": moment.sense,
        "begin": moment.begin,
        "end": moment.end,
        "page": moment.page,
        "score": moment.score,
        "confidence": moment.confidence,
    }


def moment(text: str, *, end: bool = False) -> datetime:
    """A point in time from `2024`, `2024-05`, `2024-05-17` or `2024-05-17T08:30`.

    With `end`, the first moment after the whole year, month or day, so that `--until 2024` includes December.
    Raises SensoriumError when it is none of these.
    """
    for form in DATES:
        try:
            start = datetime.strptime(text, form)
        except ValueError:
            continue
        if end and form == "%Y":
            start = start.replace(year=start.year + 1)
        elif end and form == "%Y-%m":
            start = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
        elif end and form == "%Y-%m-%d":
            start = datetime.fromordinal(start.toordinal() + 1)
        return start.astimezone()
    raise SensoriumError(f"{text!r} is no date: write 2024, 2024-05 or 2024-05-17")


def bar(share: float, width: int = 6, *, blocks: str = BLOCKS) -> str:
    """A bar `width` characters wide, filled to `share` in eighths of a character."""
    eighths = round(min(max(share, 0.0), 1.0) * width * len(blocks))
    whole, rest = divmod(eighths, len(blocks))
    return (blocks[-1] * whole + (blocks[rest - 1] if rest else "")).ljust(width)


def _line(console: "Console", rank: int, hit: "Hit", *, dim: bool) -> None:
    style = "quiet" if dim else "default"
    plain = console.encoding.lower().replace("-", "") != "utf8"
    drawn = bar(hit.confidence, blocks="#") if plain else bar(hit.confidence)
    tint = "quiet" if dim else "good"
    when = spell_moment(hit.moments[0], hit.kind) if hit.moments else ""
    said = f"  [mark]{when}[/]" if when and not dim else f"  {when}" if when else ""
    later = [spell_moment(each, hit.kind) for each in hit.moments[1:] if each.confidence >= 0.5]
    if more := list(dict.fromkeys(each for each in later if each != when))[:ALSO]:
        said += f"  [quiet]also {', '.join(more)}[/]"
    console.print(
        f"[{style}]{rank:3}  [{tint}]{drawn}[/] {hit.confidence:4.0%}  {hit.score:+.3f}  "
        f"{_escaped(short(hit.path))}{said}"
    )


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
