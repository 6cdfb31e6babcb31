"""Pages of PDFs: as pictures and as words, one at a time; those that cannot be read are named with the reason."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.data.errors import Unreadable
from sensorium.data.pdf import PIXELS, pdf_extent, pdf_pages
from tests.tiny_senses import pdf

pypdfium2: Any = pytest.importorskip("pypdfium2")


def test_pages_as_pictures_and_words(tmp_path: Path) -> None:
    path = pdf(tmp_path / "a.pdf", ["Hello  (at last) \\\\ world", "", "end"])
    first, second, third = pdf_pages(path, short=150)
    assert [page.number for page in (first, second, third)] == [1, 2, 3]
    assert first.size == (300, 400)
    assert first.words == "Hello (at last) \\ world"
    assert second.words == ""
    assert first.picture is not None
    assert second.picture is not None
    assert first.picture.size == (150, 200)
    assert first.picture.mode == "RGB"
    ink = np.asarray(first.picture)[..., 0] < 128
    assert ink[90:110].any(), "the line stands in the middle"
    assert not ink[120:].any()
    box = np.asarray(second.picture)[175 - 25 : 175, 25:75]  # 50 to 150 points from the left and the bottom
    assert abs(box.mean() - 128) < 10
    assert pdf_extent(path) == (3, (300, 400))
    (last,) = pdf_pages(path, short=None, begin=3)
    assert (last.number, last.picture, last.words) == (3, None, "end")
    assert [page.words for page in pdf_pages(path, words=False)] == ["", "", ""]


def test_a_giant_page_takes_no_more_memory(tmp_path: Path) -> None:
    for size in ((14400.0, 14400.0), (20.0, 14400.0), (3.0, 4.0)):
        (page,) = pdf_pages(pdf(tmp_path / "a.pdf", ["poster"], size), short=448)
        assert page.picture is not None
        width, height = page.picture.size
        assert width * height <= PIXELS * 1.01
        assert min(width, height) <= 449


def test_words_divided_at_the_end_of_a_line(tmp_path: Path) -> None:
    path = pdf(tmp_path / "a.pdf", ["two) Tj 0 -30 Td (lines"])
    (page,) = pdf_pages(path)
    assert page.words == "two lines"


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    whole = pdf(tmp_path / "a.pdf", ["one", "two"])
    (tmp_path / "cut.pdf").write_bytes(whole.read_bytes()[:60])
    (tmp_path / "none.pdf").write_bytes(b"%PDF-1.7\n")
    pdf(tmp_path / "empty.pdf", [])
    data = whole.read_bytes()
    encrypt = b"/Encrypt << /Filter /Standard /V 1 /R 2 /O (%s) /U (%s) /P -4 >> /ID [(a) (a)] /Root" % (
        b"o" * 32,
        b"u" * 32,
    )
    (tmp_path / "locked.pdf").write_bytes(data.replace(b"/Root", encrypt))
    for name, reason in (
        ("cut.pdf", "damaged, or cut off"),
        ("none.pdf", "damaged, or cut off"),
        ("empty.pdf", "holds no pages"),
        ("locked.pdf", "locked with a password"),
        ("gone.pdf", "no such file"),
        (".", "a folder, not a file"),
    ):
        for read in (lambda path: list(pdf_pages(path)), pdf_extent):
            with pytest.raises(Unreadable, match=reason):
                read(tmp_path / name)


def test_a_page_that_cannot_be_drawn_is_passed_over(tmp_path: Path) -> None:
    path = pdf(tmp_path / "a.pdf", ["one", "two", "three"])
    path.write_bytes(path.read_bytes().replace(b"[4 0 R 6 0 R 8 0 R]", b"[4 0 R 99 0 R 8 0 R]"))
    for begin, left in ((1, [1, 3]), (3, [3])):
        seen: list[int] = []
        pages = pdf_pages(path, begin=begin)
        with pytest.raises(Unreadable, match="page 2 of 3 cannot be drawn: damaged"):
            seen.extend(page.number for page in pages)
        assert seen == left
    assert pdf_extent(path) == (3, (300, 400))
    path.write_bytes(path.read_bytes().replace(b"[4 0 R 99 0 R 8 0 R]", b"[99 0 R 6 0 R 8 0 R]"))
    assert pdf_extent(path) == (3, (0, 0))


def test_letting_go_of_a_document_frees_it_for_others(tmp_path: Path) -> None:
    path = pdf(tmp_path / "a.pdf", ["one", "two"])
    pages = pdf_pages(path)
    next(pages)
    assert pdf_extent(path)[0] == 2, "another reader is not kept waiting"
    pages.close()
    assert len(list(pdf_pages(path))) == 2
