"""The web page's server: questions in, ranked files out. Files go out by id, and only what the index holds."""

import re
import threading
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import FastAPI, File, Form, HTTPException, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from PIL import Image

from sensorium import __version__
from sensorium.app import expression
from sensorium.app.answers import (
    AnswerOut,
    Asked,
    FileOut,
    LookAsked,
    LookOut,
    LooksOut,
    ShownOut,
    StatusOut,
    TermOut,
    file_out,
)
from sensorium.app.guard import Guard
from sensorium.app.inside import LOOKS, Inside, Look
from sensorium.app.kept import Dropped, Made
from sensorium.app.lacking import called, check_examples, lacking
from sensorium.app.moments import chosen_kinds, spell_moment, tally
from sensorium.app.note import note_on
from sensorium.app.playing import media_type, ranged, stretch
from sensorium.app.searching import moment
from sensorium.app.shown import show, thumbnail
from sensorium.data.errors import SensoriumError, Unreadable, printable
from sensorium.search.index import Answer, Filter, Index, Item, Term
from sensorium.search.query import Query as Question

LARGEST_UPLOAD = 128 << 20
LONGEST_QUESTION = 1000
MOST_TERMS = 16
UNREADABLE_LISTED = 1000
THUMBNAIL_SIZES = (320, 640, 1600)
STATIC = Path(__file__).parent / "static"

_EXAMPLE = re.compile(r"(-?)([0-9a-f]{16})(?:@(\d{1,9}))?(?::(\d(?:\.\d{1,3})?))?")
Seconds = Annotated[float | None, Query(ge=0, le=1e6)]
PageNumber = Annotated[int | None, Query(ge=1, le=1_000_000)]


def create_page(index: Index, *, answers: Callable[[str], bool], inside: Inside | None = None) -> FastAPI:
    """The page over an open index. `answers` says which names in a Host header are this server's own; `inside` is what
    it looks into, which is the index's model where none is given."""
    dropped = Dropped()

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncGenerator[None]:
        yield
        dropped.close()

    page = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=life)
    page.add_middleware(Guard, answers=answers, largest_body=LARGEST_UPLOAD)
    page.add_exception_handler(SensoriumError, _explain)
    _add_questions(page, index, dropped)
    _add_collection(page, index)
    _add_pictures(page, index, dropped)
    _add_files(page, index)
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
    def search_with_file(
        file: Annotated[UploadFile, File()],
        beside: Annotated[list[UploadFile] | None, File()] = None,
        q: Annotated[str, Form()] = "",
        like: Annotated[list[str] | None, Form()] = None,
        kept: Annotated[list[str] | None, Form()] = None,
        kind: Annotated[str, Form()] = "",
        k: Annotated[int, Form()] = 60,
    ) -> AnswerOut:
        """Ask with a file that is sent along, besides files `kept` from before; `beside` it may lie its depth.json."""
        facts = [(each.filename or "", each.file.read(1 << 16)) for each in beside or []]
        token = dropped.add(file.file.read(), file.filename or "the file", facts)
        return _ask(index, dropped, Asked(q=q, like=like or [], dropped=[*(kept or []), token], kind=kind, k=k))

    @page.get("/api/like/{id}")
    def like(id: str, k: int = 60, offset: int = 0) -> AnswerOut:
        return _ask(index, dropped, Asked(like=[id], k=k, offset=offset))


def _add_collection(page: FastAPI, index: Index) -> None:
    @page.get("/api/files")
    def files(k: int = 60, offset: int = 0, kind: str = "") -> list[FileOut]:
        """The collection by path, for a page with no question."""
        _check_page(k, offset)
        where = Filter(kind=chosen_kinds(kind)) if kind else None
        return [file_out(item) for item in islice(index.items(where), offset, offset + k)]

    @page.get("/api/files/{id}")
    def one_file(id: str) -> FileOut:
        return file_out(_item(index, id))

    @page.get("/api/status")
    def status() -> StatusOut:
        stats = index.stats()
        note = note_on(stats.model)
        return StatusOut(
            version=__version__,
            model=called(stats.model),
            files=stats.items,
            moments=stats.moments,
            kinds={kind: number for kind, number in stats.kinds.items() if number},
            tally=tally(stats.kinds, stats.moments),
            unreadable=stats.unreadable,
            roots=[printable(str(root)) for root in stats.roots],
            sees=note.sees,
            misses=note.misses,
            lacks=[] if index.embedder is None else lacking(index.embedder),
            switch=note.switch,
            command=note.command,
        )

    @page.get("/api/unreadable")
    def unreadable() -> list[dict[str, str]]:
        rows = index.unreadable()[:UNREADABLE_LISTED]
        return [{"path": printable(str(path)), "reason": printable(reason)} for path, reason in rows]


def _add_pictures(page: FastAPI, index: Index, dropped: Dropped) -> None:
    drawn = Made()

    @page.get("/thumb/{id}")
    def thumb(
        id: str, request: Request, s: int = 320, at: Seconds = None, until: Seconds = None, page: PageNumber = None
    ) -> Response:
        """A file as a JPEG, at a moment of it."""
        if s not in THUMBNAIL_SIZES:
            raise HTTPException(404, f"thumbnails come in {', '.join(map(str, THUMBNAIL_SIZES))} pixels")
        item = _item(index, id)
        try:
            tag = drawn.tag(item.path, item.kind, s, at, until, page)
            headers = {"etag": f'"{tag}"', "cache-control": "private, max-age=86400"}
            if request.headers.get("if-none-match") == headers["etag"]:
                return Response(status_code=304, headers=headers)
            make = partial(thumbnail, item.path, item.kind, s, at=at, until=until, page=page)
            return Response(drawn.get(tag, make), media_type="image/jpeg", headers=headers)
        except (OSError, Unreadable):
            raise HTTPException(404, "the file has moved or changed since it was indexed") from None

    @page.get("/api/shown/{id}")
    def shown(id: str, at: Seconds = None, until: Seconds = None, page: PageNumber = None) -> ShownOut:
        item = _item(index, id)
        told = show(item.path, item.kind, min(THUMBNAIL_SIZES), at=at, until=until, page=page)
        return ShownOut(said=printable(told.said), low=told.low, high=told.high)

    @page.get("/dropped/{token}")
    def preview(token: str) -> Response:
        small = dropped.preview(token)
        if small is None:
            raise HTTPException(404, "that file is no longer kept")
        return Response(small, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def _add_files(page: FastAPI, index: Index) -> None:
    encoded, encoding = Made(), threading.Lock()

    @page.get("/file/{id}")
    def file(id: str) -> Response:
        item = _item(index, id)
        if not item.path.is_file():
            raise HTTPException(404, "the file has moved since it was indexed")
        media = media_type(item.path, item.kind)
        name = quote(printable(item.path.name), safe="")
        disposition = f"{'inline' if media else 'attachment'}; filename*=UTF-8''{name}"
        headers = {"content-disposition": disposition, "cache-control": "private, no-cache"}
        return FileResponse(item.path, media_type=media or "application/octet-stream", headers=headers)

    @page.get("/stretch/{id}")
    def one_stretch(id: str, request: Request, begin: float, end: float) -> Response:
        """A part of a sound or film in a format that every browser plays."""
        item = _item(index, id)
        data, media = stretch(item.path, item.kind, begin, end, encoded, encoding)
        return ranged(data, media, request)


def _add_looks(page: FastAPI, index: Index, inside: Inside) -> None:
    @page.get("/api/looks")
    def looks() -> LooksOut:
        can: list[Look] = [look for look in LOOKS if look not in inside.cannot]
        return LooksOut(model=inside.name, can=can, cannot=inside.cannot)

    @page.get("/api/looks/{id}")
    def look(id: str, asked: Annotated[LookAsked, Query()]) -> LookOut:
        item = _item(index, id)
        if item.kind != "picture":
            raise SensoriumError("only pictures are looked into on the page")
        found = inside.look(item.path, asked.what, asked.x, asked.y)
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
    if index.embedder is not None:
        check_examples(terms, index.embedder)
    where = Filter(
        below=asked.path or None,
        modified_after=moment(asked.since) if asked.since else None,
        modified_before=moment(asked.until, end=True) if asked.until else None,
        kind=chosen_kinds(asked.kind) if asked.kind else None,
    )
    answer: Answer = index.search(Question(terms), asked.k + 1, offset=asked.offset, where=where)
    return AnswerOut(
        terms=said,
        hits=[file_out(hit) for hit in answer.hits[: asked.k]],
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
    terms = expression.parse([asked.q], files=False)
    said = [TermOut(kind="text", text=each.text, weight=each.weight) for each in terms]
    for example in asked.like:
        id, number, weight = _example(example)
        item = _item(index, id)
        terms.append(Term(item=id, moment=number, weight=weight))
        said.append(_item_out(index, item, number, weight))
    for example in asked.dropped:
        token, _, weight = _example(example)
        question = dropped.get(token)
        if question is None:
            raise SensoriumError("that file is no longer kept here: drop it on the page again")
        if isinstance(question.source, Path):
            terms.append(Term(file=question.source, weight=weight))
        else:
            terms.append(Term(image=question.source, weight=weight))
        said.append(TermOut(kind="dropped", token=token, name=printable(question.name), weight=weight))
    if not terms:
        raise SensoriumError("ask for something: words, or a file")
    if len(terms) > MOST_TERMS:
        raise SensoriumError(f"too many terms: at most {MOST_TERMS}")
    return terms, said


def _item_out(index: Index, item: Item, number: int | None, weight: float) -> TermOut:
    """A file of the collection as a term, or its moment of that number."""
    out = TermOut(kind="item", id=item.id, moment=number, name=printable(item.path.name), weight=weight)
    if number is not None:
        spot = next((each for each in index.store.spots(item.digest).values() if each.number == number), None)
        if spot is not None:
            out.at = spell_moment(spot, item.kind)
            out.begin, out.end, out.page = spot.begin, spot.end, spot.page
    return out


def _example(text: str) -> tuple[str, int | None, float]:
    """An id or token, a moment of it and its weight: `0123456789abcdef`, `-0123456789abcdef`, with `@7` and `:0.5`."""
    found = _EXAMPLE.fullmatch(text)
    if not found:
        raise HTTPException(404, "no such file")
    return found[2], int(found[3]) if found[3] else None, float(found[4] or 1) * (-1 if found[1] else 1)


def _item(index: Index, id: str) -> Item:
    """The readable item with this id; ids are the only names that files have here."""
    item = index.get(id) if re.fullmatch(r"[0-9a-f]{16}", id) else None
    if item is None or item.reason is not None:
        raise HTTPException(404, "no such file in the index")
    return item
