"""The web page's server: questions in, ranked pictures out. Files go out by id, and only what the index holds."""

import re
from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import FastAPI, File, Form, HTTPException, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from PIL import Image
from pydantic import BaseModel, Field

from sensorium import __version__
from sensorium.app import expression
from sensorium.app.guard import Guard
from sensorium.app.inside import LOOKS, Inside, Look
from sensorium.app.note import note_on
from sensorium.app.pictures import Dropped, Thumbnails
from sensorium.app.searching import moment
from sensorium.data.errors import SensoriumError, Unreadable, printable
from sensorium.search.index import Answer, Filter, Hit, Index, Item, Term
from sensorium.search.query import Query as Question

LARGEST_UPLOAD = 32 << 20
LONGEST_QUESTION = 1000
MOST_TERMS = 16
UNREADABLE_LISTED = 1000
THUMBNAIL_SIZES = (320, 640, 1600)
STATIC = Path(__file__).parent / "static"

# What a browser shows as a picture and nothing else: never SVG or HTML, which run scripts.
MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
}

_EXAMPLE = re.compile(r"(-?)([0-9a-f]{16})(?::(\d(?:\.\d{1,3})?))?")


class TermOut(BaseModel):
    """One term as the server understood it. `name` is what to call a picture."""

    kind: str
    weight: float
    text: str | None = None
    id: str | None = None
    token: str | None = None
    name: str | None = None


class PictureOut(BaseModel):
    """One picture of the collection; the last three only as an answer to a question."""

    id: str
    name: str
    folder: str
    path: str
    width: int
    height: int
    bytes: int
    version: int
    taken: str | None = None
    score: float | None = None
    confidence: float | None = None
    match: bool | None = None


class AnswerOut(BaseModel):
    """A page of an answer."""

    terms: list[TermOut]
    hits: list[PictureOut]
    good: bool
    cutoff: float
    seconds: float
    more: bool


class StatusOut(BaseModel):
    """What the index holds, and what to know about the model that made it."""

    version: str
    model: str
    pictures: int
    unreadable: int
    roots: list[str]
    sees: str
    misses: str
    switch: str
    command: str


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
    """A question as it stands in an address: `like` and `picture` hold ids and tokens, `-` before one steers away."""

    q: str = ""
    like: list[str] = []
    picture: list[str] = []
    since: str = ""
    until: str = ""
    path: str = ""
    k: int = 60
    offset: int = 0


def create_page(index: Index, *, answers: Callable[[str], bool], inside: Inside | None = None) -> FastAPI:
    """The page over an open index. `answers` says which names in a Host header are this server's own; `inside` is what
    it looks into, which is the index's model where none is given."""
    page = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    page.add_middleware(Guard, answers=answers, largest_body=LARGEST_UPLOAD)
    page.add_exception_handler(SensoriumError, _explain)
    dropped = Dropped()
    _add_questions(page, index, dropped)
    _add_collection(page, index)
    _add_files(page, index, dropped)
    _add_looks(page, index, inside or Inside(index.embedder))
    page.mount("/", StaticFiles(directory=STATIC, html=True))
    return page


async def _explain(_: Request, error: Exception) -> Response:
    """A user's error as JSON: the message alone."""
    status = 422 if isinstance(error, Unreadable) else 400
    return JSONResponse({"error": printable(str(error))}, status)


def _add_questions(page: FastAPI, index: Index, dropped: Dropped) -> None:
    @page.get("/api/search")
    def search(asked: Annotated[Asked, Query()]) -> AnswerOut:
        return _ask(index, dropped, asked)

    @page.post("/api/search")
    def search_with_picture(
        picture: Annotated[UploadFile, File()],
        q: Annotated[str, Form()] = "",
        like: Annotated[list[str] | None, Form()] = None,
        kept: Annotated[list[str] | None, Form()] = None,
        k: Annotated[int, Form()] = 60,
    ) -> AnswerOut:
        """Ask with a picture that is sent along, besides pictures `kept` from before."""
        try:
            token = dropped.add(picture.file.read())
        except Unreadable as error:
            raise Unreadable(picture.filename or "the picture", error.reason) from None
        return _ask(index, dropped, Asked(q=q, like=like or [], picture=[*(kept or []), token], k=k))

    @page.get("/api/like/{id}")
    def like(id: str, k: int = 60, offset: int = 0) -> AnswerOut:
        return _ask(index, dropped, Asked(like=[id], k=k, offset=offset))


def _add_collection(page: FastAPI, index: Index) -> None:
    @page.get("/api/pictures")
    def pictures(k: int = 60, offset: int = 0) -> list[PictureOut]:
        """The collection by path, for a page with no question."""
        _check_page(k, offset)
        return [_picture(item) for item in islice(index.items(), offset, offset + k)]

    @page.get("/api/pictures/{id}")
    def one_picture(id: str) -> PictureOut:
        return _picture(_item(index, id))

    @page.get("/api/status")
    def status() -> StatusOut:
        stats = index.stats()
        note = note_on(stats.model)
        return StatusOut(
            version=__version__,
            model=stats.model,
            pictures=stats.items,
            unreadable=stats.unreadable,
            roots=[printable(str(root)) for root in stats.roots],
            sees=note.sees,
            misses=note.misses,
            switch=note.switch,
            command=note.command,
        )

    @page.get("/api/unreadable")
    def unreadable() -> list[dict[str, str]]:
        rows = index.unreadable()[:UNREADABLE_LISTED]
        return [{"path": printable(str(path)), "reason": printable(reason)} for path, reason in rows]


def _add_files(page: FastAPI, index: Index, dropped: Dropped) -> None:
    thumbnails = Thumbnails()

    @page.get("/thumb/{id}")
    def thumb(id: str, request: Request, s: int = 320) -> Response:
        if s not in THUMBNAIL_SIZES:
            raise HTTPException(404, f"thumbnails come in {', '.join(map(str, THUMBNAIL_SIZES))} pixels")
        path = _item(index, id).path
        try:
            tag = thumbnails.tag(path, s)
            headers = {"etag": f'"{tag}"', "cache-control": "private, max-age=86400"}
            if request.headers.get("if-none-match") == headers["etag"]:
                return Response(status_code=304, headers=headers)
            return Response(thumbnails.get(path, s, tag), media_type="image/jpeg", headers=headers)
        except (OSError, Unreadable):
            raise HTTPException(404, "the file has moved or changed since it was indexed") from None

    @page.get("/file/{id}")
    def file(id: str) -> Response:
        path = _item(index, id).path
        if not path.is_file():
            raise HTTPException(404, "the file has moved since it was indexed")
        media = MEDIA_TYPES.get(path.suffix.lower())
        name = quote(printable(path.name), safe="")
        disposition = f"{'inline' if media else 'attachment'}; filename*=UTF-8''{name}"
        headers = {"content-disposition": disposition, "cache-control": "private, no-cache"}
        return FileResponse(path, media_type=media or "application/octet-stream", headers=headers)

    @page.get("/dropped/{token}")
    def preview(token: str) -> Response:
        drawn = dropped.preview(token)
        if drawn is None:
            raise HTTPException(404, "that picture is no longer kept")
        return Response(drawn, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def _add_looks(page: FastAPI, index: Index, inside: Inside) -> None:
    @page.get("/api/looks")
    def looks() -> LooksOut:
        can: list[Look] = [look for look in LOOKS if look not in inside.cannot]
        return LooksOut(model=inside.name, can=can, cannot=inside.cannot)

    @page.get("/api/looks/{id}")
    def look(id: str, asked: Annotated[LookAsked, Query()]) -> LookOut:
        found = inside.look(_item(index, id).path, asked.what, asked.x, asked.y)
        buffer = BytesIO()
        Image.fromarray(found.colours.permute(1, 2, 0).contiguous().numpy()).save(buffer, "PNG")
        return LookOut(
            picture=f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}",
            rows=found.colours.shape[1],
            columns=found.colours.shape[2],
            said=found.said,
            low=found.low,
            high=found.high,
            place=found.place,
        )


def _ask(index: Index, dropped: Dropped, asked: Asked) -> AnswerOut:
    _check_page(asked.k, asked.offset)
    terms, said = _terms(index, dropped, asked)
    where = Filter(
        below=asked.path or None,
        modified_after=moment(asked.since) if asked.since else None,
        modified_before=moment(asked.until, end=True) if asked.until else None,
    )
    answer: Answer = index.search(Question(terms), asked.k + 1, offset=asked.offset, where=where)
    return AnswerOut(
        terms=said,
        hits=[_picture(hit) for hit in answer.hits[: asked.k]],
        good=answer.good,
        cutoff=answer.cutoff,
        seconds=answer.seconds,
        more=len(answer.hits) > asked.k,
    )


def _check_page(k: int, offset: int) -> None:
    if not (1 <= k <= 200 and 0 <= offset <= 100_000):
        raise HTTPException(400, "k lies in 1..200 and offset in 0..100000")


def _terms(index: Index, dropped: Dropped, asked: Asked) -> tuple[list[Term], list[TermOut]]:
    """The question's terms, and the same for the page to show."""
    if len(asked.q) > LONGEST_QUESTION:
        raise SensoriumError(f"the question is too long: at most {LONGEST_QUESTION:,} characters")
    terms = expression.parse([asked.q], pictures=False)
    said = [TermOut(kind="text", text=each.text, weight=each.weight) for each in terms]
    for example in asked.like:
        id, weight = _example(example)
        item = _item(index, id)
        terms.append(Term(item=id, weight=weight))
        said.append(TermOut(kind="item", id=id, name=printable(item.path.name), weight=weight))
    for example in asked.picture:
        token, weight = _example(example)
        picture = dropped.get(token)
        if picture is None:
            raise SensoriumError("that picture is no longer kept here: drop it on the page again")
        terms.append(Term(image=picture, weight=weight))
        said.append(TermOut(kind="picture", token=token, name="your picture", weight=weight))
    if not terms:
        raise SensoriumError("ask for something: words, or a picture")
    if len(terms) > MOST_TERMS:
        raise SensoriumError(f"too many terms: at most {MOST_TERMS}")
    return terms, said


def _example(text: str) -> tuple[str, float]:
    """An id or token and its weight, from `0123456789abcdef`, `-0123456789abcdef` or `0123456789abcdef:0.5`."""
    found = _EXAMPLE.fullmatch(text)
    if not found:
        raise HTTPException(404, "no such picture")
    return found[2], float(found[3] or 1) * (-1 if found[1] else 1)


def _item(index: Index, id: str) -> Item:
    """The readable item with this id; ids are the only names that files have here."""
    item = index.get(id) if re.fullmatch(r"[0-9a-f]{16}", id) else None
    if item is None or item.reason is not None:
        raise HTTPException(404, "no such picture in the index")
    return item


def _picture(found: Hit | Item) -> PictureOut:
    hit = found if isinstance(found, Hit) else None
    return PictureOut(
        id=found.id,
        name=printable(found.path.name),
        folder=printable(str(found.path.parent)),
        path=printable(str(found.path)),
        width=found.width,
        height=found.height,
        bytes=found.size,
        version=int(found.modified.timestamp() if isinstance(found, Hit) else found.modified // 10**9),
        taken=hit.taken.strftime("%Y-%m-%d %H:%M") if hit and hit.taken else None,
        score=hit.score if hit else None,
        confidence=hit.confidence if hit else None,
        match=hit.match if hit else None,
    )
