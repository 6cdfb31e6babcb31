"""The page in a real browser: ask, drop, click, walk by keyboard, go back; on a desk and on a phone."""

import base64
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from playwright.sync_api import Page, expect, sync_playwright

from sensorium.app.guard import names_of
from sensorium.app.inside import Inside, Look
from sensorium.app.serving import listen
from sensorium.app.web import create_page
from sensorium.data import preprocess
from sensorium.search.index import Index
from sensorium.tasks.loading import in_memory
from tests import tiny_dino
from tests.app.colours import Colours
from tests.search.fake import COLOURS, paint

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
DROP = """([target, name, data]) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type: "image/png" }));
    const box = document.querySelector(target);
    for (const kind of ["dragenter", "dragover", "drop"])
        box.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


DRAWN = """() => {
    const image = document.getElementById("inside-map");
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
    return [canvas.height, canvas.width, [...data].filter((_, i) => i % 4 < 3)];
}"""


def browser_path() -> str:
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if found is None:
        message = "no browser: install chromium (Debian: apt-get install chromium)"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    return found


@pytest.fixture(scope="module")
def inside() -> Inside:
    return Inside(in_memory(tiny_dino.build(tiny_dino.V3), preprocess.timm(48), name="tiny DINOv3"))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, inside: Inside) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("pictures")
    for number, colour in enumerate(COLOURS):
        for copy in range(3):
            size = ((96, 64), (64, 96), (150, 60))[copy]
            paint(folder / f"{colour} {copy}.png", colour, noise=3 * number + copy, size=size)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    index = Index.open(tmp_path_factory.mktemp("index"), Colours())
    index.update(folder)
    listener = listen("127.0.0.1", 0)
    page = create_page(index, answers=names_of("127.0.0.1"), inside=inside)
    server = uvicorn.Server(uvicorn.Config(page, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture(scope="module")
def pages(address: str) -> Iterator[dict[str, Page]]:
    """A page on a desk and one on a phone, in one browser."""
    path = browser_path()
    with sync_playwright() as play, tempfile.TemporaryDirectory() as profile:
        browser = play.chromium.launch(executable_path=path, headless=True, args=FLAGS, downloads_path=profile)
        desk = browser.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce", base_url=address)
        phone = browser.new_context(
            viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, base_url=address
        )
        yield {"desk": desk.new_page(), "phone": phone.new_page()}
        browser.close()


@pytest.fixture
def page(pages: dict[str, Page]) -> Iterator[Page]:
    """The desk's page at its start; fails if the page's code raised or its policy was broken."""
    yield from watched(pages["desk"])


@pytest.fixture
def phone(pages: dict[str, Page]) -> Iterator[Page]:
    yield from watched(pages["phone"])


def watched(page: Page, tiles: int = 18) -> Iterator[Page]:
    """The page at its start; fails if its code raised or its policy was broken."""
    problems: list[str] = []
    page.on("pageerror", problem := lambda error: problems.append(str(error)))
    page.on("console", said := lambda line: problems.append(line.text) if "Content Security" in line.text else None)
    page.goto("/")
    expect(page.locator(".tile")).to_have_count(tiles)
    yield page
    page.remove_listener("pageerror", problem)
    page.remove_listener("console", said)
    assert problems == []


def ask(page: Page, words: str) -> None:
    page.locator("#words").fill(words)
    page.locator("#words").press("Enter")


def first(page: Page) -> str:
    return page.locator(".tile .open").first.get_attribute("aria-label") or ""


def test_words_find_pictures_and_the_back_button_undoes(page: Page):
    ask(page, "red")
    expect(page.locator("#said")).to_contain_text("match")
    assert first(page).startswith("red ")
    assert "q=red" in page.url
    assert page.locator("#words").input_value() == "red"
    ask(page, "blue")
    expect(page.locator("#matches .open").first).to_have_attribute("aria-label", re.compile("^blue"))
    page.go_back()
    expect(page.locator("#words")).to_have_value("red")
    page.go_back()
    expect(page.locator(".tile")).to_have_count(18)


def test_terms_become_chips_that_turn_weigh_and_go(page: Page):
    ask(page, "magenta - blue")
    expect(page.locator(".chip")).to_have_count(2)
    expect(page.locator(".chip.minus")).to_have_text("−blue")
    assert first(page).startswith("red ")
    page.locator(".chip.minus .sign").click()
    expect(page.locator(".chip.minus")).to_have_count(0)
    page.locator(".chip .sign").last.press("ArrowDown")
    expect(page.locator(".chip .weight")).to_have_text("× 0.75")
    page.locator(".chip .drop-term").last.click()
    expect(page.locator("#words")).to_have_value("magenta")


def test_no_good_match_shows_guesses_and_what_the_model_sees(page: Page):
    ask(page, "a word it does not know")
    expect(page.locator("#said")).to_contain_text("No good match")
    expect(page.locator("#matches .tile")).to_have_count(0)
    assert page.locator("#guesses .tile").count() > 3
    page.get_by_text("What can it see?").click()
    expect(page.locator("#about")).to_contain_text("18 pictures")
    page.locator("#about summary").click()
    expect(page.locator("#about-unreadable")).to_contain_text("broken.jpg: ")
    page.keyboard.press("Escape")
    expect(page.locator("#about")).not_to_be_visible()


def test_a_dropped_picture_is_the_question_and_on_the_field_a_part_of_it(page: Page, tmp_path: Path):
    data = base64.b64encode(paint(tmp_path / "mine.png", "cyan", noise=77).read_bytes()).decode()
    page.evaluate(DROP, ["main", "mine.png", data])
    expect(page.locator(".chip img")).to_have_count(1)
    assert first(page).startswith("cyan ")
    shared = page.url
    ask(page, "- blue")
    expect(page.locator(".chip.minus")).to_have_text("−blue")
    assert first(page).startswith("green ")
    page.goto(shared)
    expect(page.locator(".chip img")).to_have_count(1)
    assert first(page).startswith("cyan ")
    page.goto("/?q=red")
    expect(page.locator("#words")).to_have_value("red")
    page.evaluate(DROP, ["#field", "mine.png", data])
    expect(page.locator(".chip")).to_have_count(2)
    page.locator("#file").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"})
    expect(page.locator(".said .bad")).to_contain_text("X.png")


def test_click_opens_large_and_more_like_this_follows(page: Page):
    ask(page, "green")
    page.locator("#matches .open").first.click()
    expect(page.locator("#viewer")).to_be_visible()
    expect(page.locator("#viewer-name")).to_contain_text("green")
    expect(page.locator("#viewer-facts")).to_contain_text("Cosine")
    assert "view=" in page.url
    name = page.locator("#viewer-name").text_content()
    page.locator("#viewer-like").click()
    expect(page.locator("#viewer")).not_to_be_visible()
    expect(page.locator(".chip .label")).to_have_text(name or "")
    assert first(page).startswith("green ")
    page.go_back()
    expect(page.locator("#viewer")).to_be_visible()
    page.locator("#viewer-unlike").click()
    expect(page.locator(".chip.minus .label")).to_have_text(name or "")


def test_the_keyboard_alone_is_enough(page: Page):
    page.keyboard.press("/")
    expect(page.locator("#words")).to_be_focused()
    page.keyboard.type("red")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("match")
    page.keyboard.press("ArrowDown")
    tiles = page.locator(".tile .open")
    expect(tiles.nth(0)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(tiles.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#viewer")).to_be_visible()
    before = page.locator("#viewer-name").text_content() or ""
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-name")).not_to_have_text(before)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#viewer-name")).to_have_text(before)
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).not_to_be_visible()
    expect(tiles.nth(1)).to_be_focused()
    page.keyboard.press("m")
    expect(page.locator(".chip .label")).to_have_text(before)


def test_a_phone_shows_everything_within_its_width(phone: Page):
    for address in ("/", "/?q=red", "/?q=red + blue - green + a rather long term that does not fit on one line"):
        phone.goto(address)
        expect(phone.locator(".tile").first).to_be_visible()
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    phone.goto("/?q=red")
    phone.locator("#matches .open").first.tap()
    expect(phone.locator("#viewer-like")).to_be_in_viewport()
    phone.locator("#viewer-shut").tap()
    expect(phone.locator("#viewer")).not_to_be_visible()


def drawn(page: Page) -> np.ndarray:
    """The colours of the map that the browser shows, (rows, columns, 3)."""
    rows, columns, values = page.evaluate(DRAWN)
    return np.array(values).reshape(rows, columns, 3)


def test_a_click_shows_what_is_like_the_place(page: Page, inside: Inside):
    page.goto("/?q=red")
    page.locator("#matches .open").first.click()
    path = Path(page.locator("#viewer-folder").text_content() or "") / (
        page.locator("#viewer-name").text_content() or ""
    )
    page.locator("#inside-open").click()
    expect(page.locator("#inside-model")).to_have_text("tiny DINOv3")
    field, said = page.locator("#inside-field"), page.locator("#inside-said")
    expect(field).to_be_visible()

    def computed(what: Look, x: float = 0.5, y: float = 0.5) -> np.ndarray:
        return inside.look(path, what, x, y).colours.permute(1, 2, 0).numpy()

    np.testing.assert_array_equal(drawn(page), computed("cosine"))
    box, picture = field.bounding_box(), page.locator("#viewer-picture").bounding_box()
    assert box is not None
    assert picture is not None
    sides = page.evaluate(
        "[document.getElementById('viewer-picture')].map((i) => [i.naturalWidth, i.naturalHeight])[0]"
    )
    assert box["width"] / box["height"] == pytest.approx(sides[0] / sides[1], rel=0.01), "it lies on the picture"
    assert min(picture["width"] - box["width"], picture["height"] - box["height"]) == pytest.approx(0, abs=1)
    before = drawn(page)
    field.click(position={"x": 0.2 * box["width"], "y": 0.85 * box["height"]})
    wanted = computed("cosine", 0.2, 0.85)
    row, column = int(0.85 * len(wanted)), int(0.2 * len(wanted[0]))
    expect(field).to_have_attribute("data-place", f"{row},{column}")
    np.testing.assert_array_equal(drawn(page), wanted)
    assert (drawn(page) != before).any()
    assert drawn(page)[row, column].tolist() == [253, 231, 37], "the place is most like itself"
    field.press("ArrowUp")
    expect(field).to_have_attribute("data-place", f"{row - 1},{column}")
    np.testing.assert_array_equal(drawn(page), computed("cosine", 0.2, 0.85 - 1 / len(wanted)))
    for what, words in (("pca", "off its ground"), ("norms", "outliers"), ("attention", "class token")):
        page.locator(f"[data-look={what}]").first.click()
        expect(said).to_contain_text(words)
        np.testing.assert_array_equal(drawn(page), computed(what))
    page.locator("#viewer-on").click()
    expect(field).to_have_attribute("aria-label", re.compile(page.locator("#viewer-name").text_content() or "?"))
    page.keyboard.press("Escape")
    page.locator("#matches .open").first.click()
    expect(field).not_to_be_visible()
