"""Pages of PDFs, as pictures and as words, one at a time (`pip install 'sensorium[documents]'`).

PDFium, which reads them, may be used by one thread at a time: a lock sees to it.
"""

import math
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image

from sensorium.data.errors import Unreadable
from sensorium.data.media import regular_file

PIXELS = 1 << 22  # a picture of a page has no more, whatever its shape
LETTERS = 20_000  # of a page's words no more are kept
_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False)
class Page:
    """A page: its number from 1, (width, height) in points of 1/72 inch, and what was asked for of it.

    `words` are in the order in which the file has them, on one line; nothing where there are none, as on a scan.
    """

    number: int
    size: tuple[float, float]
    picture: Image.Image | None
    words: str


def pdf_pages(
    path: str | os.PathLike[str], *, short: int | None = 448, words: bool = True, begin: int = 1
) -> Iterator[Page]:
    """The pages of a PDF from number `begin` on; of each a picture whose short side has `short` pixels.

    With `short` None no pictures are made. One page is in memory at a time; long or huge ones are drawn smaller, so
    that none takes more than 4 million pixels. Pages that cannot be drawn are passed over.

    Raises Unreadable: at once where it is no PDF, is locked or empty; after the last page where some were passed over.
    """
    name = regular_file(path)
    document = _opened(name)
    try:
        with _LOCK:
            pages = len(document)
        lost: list[int] = []
        for number in range(1, pages + 1):
            given = number >= begin
            with _LOCK:
                page = _page(document, number, short if given else None, given and words)
            if page is None:
                lost.append(number)
            elif given:
                yield page
        if lost:
            some = ", ".join(map(str, lost[:5])) + (", ..." if len(lost) > 5 else "")
            raise Unreadable(name, f"page{'s' * (len(lost) > 1)} {some} of {pages} cannot be drawn: damaged?")
    finally:
        with _LOCK:
            document.close()


def pdf_extent(path: str | os.PathLike[str]) -> tuple[int, tuple[int, int]]:
    """How many pages a PDF has, and (width, height) of the first in points, (0, 0) if it is damaged.

    Raises Unreadable.
    """
    document = _opened(regular_file(path))
    with _LOCK:
        pages, width, height = len(document), 0.0, 0.0
        with suppress(RuntimeError):
            width, height = document.get_page_size(0)
        document.close()
    return pages, (round(width), round(height))


def _opened(name: str) -> Any:
    try:
        import pypdfium2
        import pypdfium2.raw as raw
    except ImportError:
        raise Unreadable(name, "PDFs need one more package: pip install 'sensorium[documents]'") from None
    with _LOCK:
        opened = raw.FPDF_LoadDocument(os.fsencode(name) + b"\0", None)
        if not opened:
            locked = raw.FPDF_GetLastError() in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY)
            raise Unreadable(name, "locked with a password" if locked else "damaged, or cut off")
        document: Any = pypdfium2.PdfDocument(opened)
        if not len(document):
            document.close()
            raise Unreadable(name, "holds no pages")
        if document.get_formtype():
            document.init_forms()  # or what was filled in is not drawn
        return document


def _page(document: Any, number: int, short: int | None, words: bool) -> Page | None:
    from pypdfium2 import PdfiumError

    try:
        page = document[number - 1]
        try:
            width, height = page.get_size()
            if not (width > 0 and height > 0):
                return None
            picture = None
            if short is not None:
                scale = min(short / min(width, height), math.sqrt(PIXELS / (width * height)))
                picture = page.render(scale=scale).to_pil().convert("RGB")
            return Page(number, (width, height), picture, _words(page) if words else "")
        finally:
            page.close()
    except PdfiumError:
        return None


def _words(page: Any) -> str:
    text = page.get_textpage()
    try:
        said: str = text.get_text_bounded()
    finally:
        text.close()
    said = re.sub(r"\ufffe\s*|\xad\s*\n", "", said)  # a word that was divided at the end of a line
    return re.sub(r"[\s\x00-\x1f\ufffd\ufffe\uffff]+", " ", said).strip()[:LETTERS]
