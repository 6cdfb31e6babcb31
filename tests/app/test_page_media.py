"""The page in a real browser over files of every kind: sounds play, films seek to the moment, and all else is shown."""

import base64
import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Page, Route, expect, sync_playwright

from sensorium.app.guard import names_of
from sensorium.app.serving import listen
from sensorium.app.web import create_page
from sensorium.data import preprocess
from sensorium.search import joining
from sensorium.search.index import Index
from sensorium.tasks.loading import in_memory
from tests import tiny
from tests.app.everything import COLOURS_OF_FILM, KINDS, write_everything, write_film, write_tones
from tests.app.test_page import DROP, FLAGS, ask, browser_path, watched
from tests.search.fake import COLOURS

AUTOPLAY = "--autoplay-policy=no-user-gesture-required"
STATE = (
    "(id) => { const m = document.getElementById(id); return [m.currentTime, m.paused, m.readyState, m.currentSrc]; }"
)
PIXEL = """(id) => {
    const shown = document.getElementById(id);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [shown.videoWidth || shown.naturalWidth, shown.videoHeight || shown.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(shown, 0, 0);
    return [...context.getImageData(canvas.width >> 1, canvas.height >> 1, 1, 1).data].slice(0, 3);
}"""


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film that no browser plays, in the folder that is indexed."""
    return write_film(tmp_path_factory.mktemp("everything") / "old.avi", codec="mpeg4")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, spoilt: Path) -> Iterator[str]:
    folder = spoilt.parent
    write_everything(folder)
    config = replace(tiny.IMAGEBIND, text=replace(tiny.TEXT, words=49408, context=77))
    index = Index.open(
        tmp_path_factory.mktemp("index"), in_memory(tiny.build(config), preprocess.clip(32), name="tiny")
    )
    index.update(folder)
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_page(index, answers=names_of("127.0.0.1")), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining, "TOUCH", -10.0)  # such a model takes all for matches: a file would be a single moment
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
    listener.close()


@pytest.fixture(scope="module")
def opened(address: str) -> Iterator[Page]:
    path = browser_path()
    with sync_playwright() as play, tempfile.TemporaryDirectory() as profile:
        browser = play.chromium.launch(
            executable_path=path, headless=True, args=[*FLAGS, AUTOPLAY], downloads_path=profile
        )
        desk = browser.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce", base_url=address)
        yield desk.new_page()
        browser.close()


@pytest.fixture
def page(opened: Page) -> Iterator[Page]:
    yield from watched(opened, tiles=8)


def asked(page: Page, words: str) -> None:
    """Ask, and wait for the answer: the tiles that were there before have no moments."""
    ask(page, words)
    expect(page.locator("#said")).to_contain_text(re.compile("match"))


def view(page: Page, name: str) -> None:
    page.locator(f'.tile .open[aria-label^="{name}"]').click()
    expect(page.locator("#viewer")).to_be_visible()
    expect(page.locator("#viewer-name")).to_have_text(name)


def until(page: Page, element: str, condition: str) -> list[Any]:
    """The state of a playing element in the moment when a condition on it holds."""
    holds = f"() => {{ const m = document.getElementById('{element}'); return {condition} ? ({STATE})(m.id) : null; }}"
    return page.wait_for_function(holds, timeout=15000).json_value()


def played(page: Page, element: str, until: float) -> float:
    """Where the stretch began that was last played, once it was played until there: told also of what is over by now,
    since on a busy machine seconds may pass between two looks."""
    seen = f"""() => {{
        const {{ played }} = document.getElementById("{element}"), last = played.length - 1;
        return last >= 0 && played.end(last) > {until} ? [played.start(last)] : null;
    }}"""
    return page.wait_for_function(seen, timeout=30000).json_value()[0]


def begin_of(page: Page, moment: int) -> float:
    said = page.locator("#viewer-moments button").nth(moment).text_content() or ""
    minutes, seconds = map(int, re.findall(r"\d+", said)[:2])
    return 60.0 * minutes + seconds


def test_a_film_begins_at_its_moment_and_jumps_to_others(page: Page):
    asked(page, "a bicycle")
    view(page, "walk.mp4")
    first = begin_of(page, 0)
    time, paused, _, source = until(page, "viewer-film", "m.readyState >= 2 && !m.seeking")
    assert (time, paused) == (pytest.approx(first, abs=0.1), True)
    assert "/file/" in source
    shown = page.evaluate(PIXEL, "viewer-film")
    assert max(abs(a - b) for a, b in zip(shown, COLOURS[COLOURS_OF_FILM[int(first) // 2]], strict=True)) < 24
    moments = page.locator("#viewer-moments button")
    other = next(i for i in range(moments.count()) if begin_of(page, i) != first)
    moments.nth(other).click()
    begin = begin_of(page, other)
    assert played(page, "viewer-film", begin + 0.2) == pytest.approx(begin, abs=0.1)
    expect(moments.nth(other)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).not_to_be_visible()
    assert page.evaluate(STATE, "viewer-film")[1], "it is quiet when it is shut"


@pytest.mark.parametrize(("sure", "listed"), [((0.9, 0.6, 0.4, 0.1), 2), ((0.4, 0.3, 0.2, 0.1), 3)])
def test_moments_that_answer_are_listed_and_else_the_nearest(page: Page, sure: tuple[float, ...], listed: int):
    def judged(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        for each in told["hits"]:
            each["moments"] = [moment | {"confidence": c} for moment, c in zip(each["moments"], sure, strict=False)]
        route.fulfill(response=answer, json=told)

    page.route("**/api/search*", judged)
    asked(page, "a bicycle")
    view(page, "tones.wav")
    expect(page.locator("#viewer-moments button")).to_have_count(listed)
    page.unroute("**/api/search*")


def test_a_sound_plays_from_its_moment(page: Page):
    asked(page, "a bicycle")
    view(page, "tones.wav")
    expect(page.locator("#viewer-picture")).to_be_visible()
    page.locator("#viewer-moments button").nth(1).click()
    begin = begin_of(page, 1)
    assert played(page, "viewer-sound", begin + 0.2) == pytest.approx(begin, abs=0.1)
    assert played(page, "viewer-sound", begin + 0.6) == pytest.approx(begin, abs=0.1), "it goes on"


def test_a_film_that_no_browser_plays_is_encoded_in_stretches(page: Page):
    asked(page, "a bicycle")
    view(page, "old.avi")
    first = begin_of(page, 0)
    time, _, _, source = until(page, "viewer-film", "m.readyState >= 2 && !m.seeking")
    offset = float(re.search(r"begin=([\d.]+)", source)[1])
    assert time + offset == pytest.approx(first, abs=0.1)
    assert page.evaluate("document.getElementById('viewer-film').videoWidth") == 160
    expect(page.locator("#viewer-cannot")).to_contain_text("encoded anew")


def test_encoded_stretches_go_on_into_one_another(page: Page):
    page.route("**/player.js", short_stretches)
    page.reload()
    expect(page.locator(".tile")).to_have_count(8)
    view(page, "old.avi")
    until(page, "viewer-film", "m.readyState >= 2")
    page.evaluate("document.getElementById('viewer-film').play()")
    until(page, "viewer-film", "m.currentSrc.includes('begin=1.5') && !m.paused && m.currentTime > 0.6")
    page.unroute("**/player.js")


def short_stretches(route: Route) -> None:
    """The page's player with stretches of two seconds, so that nobody waits for half a minute."""
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace("const STRETCH = 30;", "const STRETCH = 2;"))


def test_kinds_are_filtered_and_the_address_keeps_it(page: Page):
    kinds = page.locator("#kinds button")
    expect(kinds).to_have_count(8)
    expect(page.locator("#kinds")).to_contain_text("Films 2")
    page.locator("#kinds [data-kind=video]").click()
    expect(page.locator(".tile")).to_have_count(2)
    page.locator("#kinds [data-kind=sound]").click(modifiers=["Control"])
    expect(page.locator(".tile")).to_have_count(3)
    asked(page, "a bicycle")
    expect(page.locator(".tile")).to_have_count(3)
    assert "kind=video,sound" in page.url
    page.reload()
    expect(page.locator(".tile")).to_have_count(3)
    expect(page.locator("#kinds [data-kind=sound]")).to_have_attribute("aria-pressed", "true")
    page.locator("#home").click()
    expect(page.locator(".tile")).to_have_count(8)


@pytest.mark.parametrize(
    ("name", "said", "low", "high"),
    [
        ("room_depth.png", "focal length 120 px", "3.87 m", "1.00 m"),
        ("hand_thermal.tiff", "centikelvin", "20.0 °C", "35.0 °C"),
    ],
)
def test_depth_and_heat_are_coloured_with_a_legend(page: Page, name: str, said: str, low: str, high: str):
    view(page, name)
    expect(page.locator("#viewer-told")).to_contain_text(said)
    expect(page.locator("#viewer-low")).to_have_text(low)
    expect(page.locator("#viewer-high")).to_have_text(high)
    expect(page.locator("#inside-open")).not_to_be_visible()
    expect(page.locator("#viewer-picture")).not_to_have_js_property("naturalWidth", 0)
    red, green, blue = page.evaluate(PIXEL, "viewer-picture")
    assert max(red, green, blue) - min(red, green, blue) > 40, "it is in colours"


def test_motion_is_plotted_and_a_page_turned(page: Page):
    asked(page, "a bicycle")
    view(page, "imu.csv")
    expect(page.locator("#viewer-told")).to_contain_text("x red, y green, z blue")
    assert page.locator("#viewer-moments button").count() >= 2
    before = page.locator("#viewer-picture").get_attribute("src")
    page.locator("#viewer-moments button").nth(1).click()
    expect(page.locator("#viewer-picture")).not_to_have_attribute("src", before or "")
    page.keyboard.press("Escape")
    view(page, "manual.pdf")
    number = int((page.locator("#viewer-page").text_content() or "").split()[1])
    turn = page.locator("#viewer-page-back" if number > 1 else "#viewer-page-on")
    turn.click()
    expect(page.locator("#viewer-page")).to_have_text(f"Page {number - 1 if number > 1 else 2} of 3")
    expect(page.locator("#viewer-facts")).to_contain_text("Pages")


def test_more_like_a_moment_is_a_question_of_its_own(page: Page):
    asked(page, "a bicycle")
    view(page, "walk.mp4")
    label = page.locator("#viewer-moments button").nth(2).text_content() or ""
    page.locator("#viewer-moments button").nth(2).click()
    page.locator("#viewer-like-moment").click()
    expect(page.locator("#viewer")).not_to_be_visible()
    assert re.search(r"like=[0-9a-f]{16}@\d+", page.url)
    expect(page.locator(".chip .label")).to_contain_text(f"walk.mp4, {label[:9]}")
    expect(page.locator(".tile")).to_have_count(7)


def test_a_dropped_sound_is_the_question(page: Page, tmp_path: Path):
    data = base64.b64encode(write_tones(tmp_path / "mine.wav", 3.0).read_bytes()).decode()
    page.evaluate(DROP, ["main", "mine.wav", data])
    expect(page.locator(".chip .label")).to_have_text("mine.wav")
    expect(page.locator(".tile")).to_have_count(8)
    page.reload()
    expect(page.locator(".chip .label")).to_have_text("mine.wav")
    page.evaluate(DROP, ["main", "notes.txt", base64.b64encode(b"no kind of file").decode()])
    expect(page.locator(".said .bad")).to_contain_text("Notes.txt: of no kind that is known")


def test_a_depth_map_is_dropped_with_what_its_numbers_mean(page: Page, tmp_path: Path):
    files = write_everything(tmp_path)
    depth = {"name": "room_depth.png", "mimeType": "image/png", "buffer": files["room_depth.png"].read_bytes()}
    page.locator("#file").set_input_files([depth])
    expect(page.locator(".said .bad")).to_contain_text("states no unit")
    facts = {"name": "depth.json", "mimeType": "application/json", "buffer": b'{"unit": "mm", "focal": 120}'}
    page.locator("#file").set_input_files([depth, facts])
    expect(page.locator(".chip .label")).to_have_text("room_depth.png")


def test_what_is_here_is_told_by_kind(page: Page):
    expect(page.locator("#count")).to_have_text("8 files · tiny")
    page.locator("#about-open").click()
    expect(page.locator("#about-index")).to_contain_text("1 picture, 2 films, 1 sound")
    page.keyboard.press("Escape")
    assert set(KINDS.values()) == {each.get_attribute("data-kind") for each in page.locator(".tile").all()}


def test_what_cannot_be_played_is_said(page: Page, spoilt: Path):
    asked(page, "a bicycle")
    whole = spoilt.read_bytes()
    spoilt.write_bytes(b"damaged meanwhile")
    try:
        view(page, "old.avi")
        expect(page.locator("#viewer-cannot")).to_contain_text("It cannot be played: ")
        expect(page.locator("#viewer-cannot")).to_contain_text("old.avi: cannot be played (")
    finally:
        spoilt.write_bytes(whole)
