"""What the page's server says, as values: questions as they were understood, files, moments, the index."""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from sensorium.app.inside import Look
from sensorium.app.moments import spell_moment
from sensorium.app.playing import media_type
from sensorium.data.errors import printable
from sensorium.search.index import Hit, Item
from sensorium.search.query import Moment


class TermOut(BaseModel):
    """One term as the server understood it: text, item or dropped. `name` is what to call a file, `at` its moment."""

    kind: str
    weight: float
    text: str | None = None
    id: str | None = None
    moment: int | None = None
    at: str | None = None
    begin: float | None = None
    end: float | None = None
    page: int | None = None
    token: str | None = None
    name: str | None = None


class MomentOut(BaseModel):
    """A part of a file that answers: a stretch of it in seconds, or a page; `said` is what to call it."""

    number: int
    said: str
    sense: str
    begin: float | None
    end: float | None
    page: int | None
    score: float
    confidence: float


class FileOut(BaseModel):
    """One file of the collection; scores and moments only as an answer to a question.

    `plays` says whether a browser may play the file itself; `said` why it was read only in part.
    """

    id: str
    kind: str
    name: str
    folder: str
    path: str
    width: int
    height: int
    bytes: int
    version: int
    seconds: float | None = None
    pages: int | None = None
    said: str | None = None
    plays: bool = False
    looks: bool = False
    taken: str | None = None
    score: float | None = None
    confidence: float | None = None
    match: bool | None = None
    moments: list[MomentOut] = []


class AnswerOut(BaseModel):
    """A page of an answer."""

    terms: list[TermOut]
    hits: list[FileOut]
    good: bool
    cutoff: float
    seconds: float
    more: bool


class StatusOut(BaseModel):
    """What the index holds, kind by kind, and what to know about the model that made it."""

    version: str
    model: str
    files: int
    moments: int
    kinds: dict[str, int]
    tally: str
    unreadable: int
    roots: list[str]
    sees: str
    misses: str
    lacks: list[str]
    switch: str
    command: str


class ShownOut(BaseModel):
    """What a file's picture shows, in words, and what its colours measure from the lowest to the highest."""

    said: str
    low: str | None
    high: str | None


class LooksOut(BaseModel):
    """Which model the page looks into, what it can show of it, and why not the rest."""

    model: str
    can: list[Look]
    cannot: dict[Look, str]


class LookAsked(BaseModel):
    """A look at a picture; x and y are where the cosine's place is, as fractions of its sides."""

    what: Look = "cosine"
    x: float = Field(0.5, ge=0, le=1)
    y: float = Field(0.5, ge=0, le=1)


class LookOut(BaseModel):
    """A map over a picture as a PNG in a data address, a pixel for each place, and what it says."""

    picture: str
    rows: int
    columns: int
    said: str
    low: float | None
    high: float | None
    place: tuple[int, int] | None


class Asked(BaseModel):
    """A question as it stands in an address: `like` and `dropped` hold ids and tokens, `-` before one steers away, `@7`
    behind an id means its moment 7. `kind` names kinds of files, separated by commas."""

    q: str = ""
    like: list[str] = []
    dropped: list[str] = []
    kind: str = ""
    since: str = ""
    until: str = ""
    path: str = ""
    k: int = 60
    offset: int = 0


def file_out(found: Hit | Item) -> FileOut:
    """A file as the page sees it."""
    hit = found if isinstance(found, Hit) else None
    return FileOut(
        id=found.id,
        kind=found.kind,
        name=printable(found.path.name),
        folder=printable(str(found.path.parent)),
        path=printable(str(found.path)),
        width=found.width,
        height=found.height,
        bytes=found.size,
        version=int(found.modified.timestamp() if isinstance(found, Hit) else found.modified // 10**9),
        seconds=found.seconds,
        pages=found.pages,
        said=printable(found.said) if found.said else None,
        plays=found.kind in ("video", "sound") and media_type(found.path, found.kind) is not None,
        looks=found.kind == "picture",
        taken=hit.taken.strftime("%Y-%m-%d %H:%M") if hit and hit.taken else None,
        score=hit.score if hit else None,
        confidence=hit.confidence if hit else None,
        match=hit.match if hit else None,
        moments=moments_out(hit.moments, hit.kind) if hit else [],
    )


def moments_out(moments: Sequence[Moment], kind: str) -> list[MomentOut]:
    """The parts of a file that answer, best first; none where the file is one piece."""
    told = [(each, spell_moment(each, kind)) for each in moments]
    return [
        MomentOut(
            number=each.number,
            said=said,
            sense=each.sense,
            begin=each.begin,
            end=each.end,
            page=each.page,
            score=each.score,
            confidence=each.confidence,
        )
        for each, said in told
        if said
    ]
