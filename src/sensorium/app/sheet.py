"""A contact sheet: one picture that shows a ranked answer, the way photographers proofed a roll of film.

Films show the frame of the moment that answers, sounds their spectrogram, documents the page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from sensorium.app.console import short
from sensorium.app.moments import spell_moment
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.insight.drawing import ACCENT, INK, LINE, PAPER, QUIET

if TYPE_CHECKING:
    from sensorium.data.kinds import Kind
    from sensorium.search.query import Moment

CELL, GAP, MARGIN, CAPTION, HEADING = 240, 24, 48, 44, 62


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One file on the sheet, at a moment of it. Faint ones are best guesses that fell below the cut-off."""

    path: Path
    confidence: float
    kind: "Kind" = "picture"
    moment: "Moment | None" = None
    faint: bool = False


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One question and the files that answered it; `remark` stands beside the question."""

    question: str
    frames: Sequence[Frame]
    remark: str = ""


def write_sheet(target: Path, strips: Sequence[Strip], *, columns: int = 5) -> None:
    """Draw the strips below one another and save them in the format that `target`'s ending names.

    Raises SensoriumError when the file cannot be written or its ending names no picture format.
    """
    sheet = draw_sheet(strips, columns=columns)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(target)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SensoriumError(
            f"cannot write the contact sheet {short(target)}: {reason}. Name a .png or .jpg file"
        ) from None


def draw_sheet(strips: Sequence[Strip], *, columns: int = 5) -> Image.Image:
    """The sheet as a picture, `columns` photographs wide."""
    rows = [max(1, -(-len(strip.frames) // columns)) for strip in strips]
    width = 2 * MARGIN + columns * CELL + (columns - 1) * GAP
    height = 2 * MARGIN + sum(HEADING + n * (CELL + CAPTION) + (n - 1) * GAP for n in rows) + GAP * 2 * (len(rows) - 1)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    top = MARGIN
    for strip, n in zip(strips, rows, strict=True):
        _heading(pen, strip, top, width)
        top += HEADING
        for position, frame in enumerate(strip.frames):
            left = MARGIN + position % columns * (CELL + GAP)
            _frame(sheet, pen, frame, left, top + position // columns * (CELL + CAPTION + GAP))
        top += n * (CELL + CAPTION) + (n - 1) * GAP + 2 * GAP
    return sheet


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _heading(pen: ImageDraw.ImageDraw, strip: Strip, top: int, width: int) -> None:
    question = _fitted(pen, _drawable(strip.question), _font(26), width - 2 * MARGIN - 260)
    pen.text((MARGIN, top), question, fill=INK, font=_font(26))
    if strip.remark:
        pen.text((width - MARGIN, top + 10), _drawable(strip.remark), fill=QUIET, font=_font(15), anchor="ra")
    pen.line([(MARGIN, top + 42), (width - MARGIN, top + 42)], fill=LINE, width=2)


def _frame(sheet: Image.Image, pen: ImageDraw.ImageDraw, frame: Frame, left: int, top: int) -> None:
    from sensorium.app.shown import show  # brings torch, which a sheet's caller has by now

    said = spell_moment(frame.moment, frame.kind) if frame.moment else ""
    place = frame.moment
    try:
        shown = show(
            frame.path,
            frame.kind,
            CELL * 2,
            at=place.begin if place else None,
            until=place.end if place else None,
            page=place.page if place else None,
        )
    except Unreadable:  # gone or changed since it was indexed: the sheet says so in its place
        pen.rectangle([left, top, left + CELL, top + CELL], outline=LINE, width=2)
        pen.text((left + CELL // 2, top + CELL // 2), "no longer readable", fill=QUIET, font=_font(14), anchor="mm")
    else:
        picture = shown.picture.convert("RGB")
        picture.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
        if frame.faint:
            picture = Image.blend(picture, Image.new("RGB", picture.size, PAPER), 0.55)
        sheet.paste(picture, (left + (CELL - picture.width) // 2, top + (CELL - picture.height) // 2))
        if shown.low is not None and shown.high is not None:  # what the colours of depth and heat measure
            said = f"{shown.low} to {shown.high}"
    base = top + CELL + 8
    score = f"{frame.confidence:.0%}"
    room = CELL - pen.textlength(score, font=_font(14)) - 12
    name = _fitted(pen, _drawable(short(frame.path.name)), _font(14), room)
    pen.text((left, base), name, fill=QUIET if frame.faint else INK, font=_font(14))
    pen.text((left + CELL, base), score, fill=QUIET if frame.faint else ACCENT, font=_font(14), anchor="ra")
    if said:
        pen.text((left, base + 18), _drawable(said), fill=QUIET, font=_font(13))


def _fitted(
    pen: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float
) -> str:
    """`text`, its middle left out where it is wider than `room` pixels: the ending of a file name tells the most."""
    if pen.textlength(text, font=font) <= room:
        return text
    for kept in range(len(text) - 1, 1, -1):
        shorter = f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"
        if pen.textlength(shorter, font=font) <= room:
            return shorter
    return "…"


def _drawable(text: str) -> str:
    """`text` without line breaks, and with other letters for signs that Pillow's own font lacks."""
    return " ".join(text.split()).translate({ord("−"): "-", ord("×"): "x"})
