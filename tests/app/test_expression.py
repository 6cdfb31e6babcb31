from pathlib import Path

import pytest
from PIL import Image

from sensorium.app.expression import example, parse, spell, term
from sensorium.data.errors import SensoriumError


def said(*words: str, files: bool = False) -> list[tuple[str, float]]:
    return [(each.text or Path(each.file or each.item or "").name, each.weight) for each in parse(words, files=files)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("cat.jpg", "Rome - day 1.jpg", "2*x.png"):
        Image.new("RGB", (4, 4)).save(name)
    for name in ("waves.wav", "Walk.MP4", "manual.pdf", "imu.csv", "strange.name"):
        Path(name).write_bytes(b"what it holds is for others to say")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a cat on a sofa"], [("a cat on a sofa", 1)]),
        (["a", "cat", "on", "a", "sofa"], [("a cat on a sofa", 1)]),
        (["beach + sunset - people"], [("beach", 1), ("sunset", 1), ("people", -1)]),
        (["beach", "+", "sunset", "−", "people"], [("beach", 1), ("sunset", 1), ("people", -1)]),
        (["- people"], [("people", -1)]),
        (["a t-shirt in black-and-white, 3+4"], [("a t-shirt in black-and-white, 3+4", 1)]),
        (["0.5*people"], [("people", 0.5)]),
        (["2 × sunset - people:0.5"], [("sunset", 2), ("people", -0.5)]),
        (["a meeting at 10:30"], [("a meeting at 10:30", 1)]),
        (['"black - white" photograph'], [("black - white photograph", 1)]),
        (['beach - "two * stars:3"'], [("beach", 1), ("two * stars:3", -1)]),
        ([""], []),
    ],
)
def test_words_signs_and_weights_read_as_people_mean_them(words: list[str], expected: list[tuple[str, float]]):
    assert said(*words) == expected


@pytest.mark.usefixtures("here")
def test_names_of_files_stand_for_the_files():
    assert said("beach", "+", "cat.jpg", "-", "people", files=True) == [("beach", 1), ("cat.jpg", 1), ("people", -1)]
    assert said("beach + 2*cat.jpg - cat.jpg:0.5", files=True) == [("beach", 1), ("cat.jpg", 2), ("cat.jpg", -0.5)]
    assert said("cat.jpg", "at", "night", files=True) == [("cat.jpg", 1), ("at night", 1)]
    assert said("Rome - day 1.jpg", files=True) == [("Rome - day 1.jpg", 1)]
    assert said("2*x.png", files=True) == [("2*x.png", 1)]
    assert said("cat.jpg + waves.wav - people", files=True) == [("cat.jpg", 1), ("waves.wav", 1), ("people", -1)]
    assert said("Walk.MP4 - 0.5*manual.pdf + imu.csv", files=True) == [
        ("Walk.MP4", 1),
        ("manual.pdf", -0.5),
        ("imu.csv", 1),
    ]
    assert said("strange.name", files=True) == [("strange.name", 1)], "words"
    assert parse(["strange.name"])[0].text
    assert (example("strange.name", -1).file, example("cat.jpg:2", -1).weight) == (Path("strange.name"), -2)


@pytest.mark.usefixtures("here")
def test_a_moment_of_a_file_by_its_number():
    (term,) = parse(["2*Walk.MP4@7"])
    assert (term.item, term.moment, term.weight) == (Path("Walk.MP4"), 7, 2)
    assert spell([term]) == "2 × Walk.MP4, moment 7"
    assert example("Walk.MP4@12").moment == 12
    assert parse(["me@7"])[0].text == "me@7"


@pytest.mark.usefixtures("here")
def test_a_page_cannot_name_files():
    assert all(each.text for each in parse(["cat.jpg + /etc/passwd - Walk.MP4@7"], files=False))


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["beach +"], "write a word"),
        (["beach", "-"], "write a word"),
        (["a + - b"], "two signs"),
        (["dog.jpg"], "no file dog.jpg"),
        (["waves.mp3"], "no file waves.mp3"),
        (["0*people"], "out of range"),
        (["11*people"], "out of range"),
        (['beach - ""'], "no words"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_makes_no_sense_is_explained(words: list[str], remedy: str):
    with pytest.raises(SensoriumError, match=remedy):
        parse(words)


@pytest.mark.usefixtures("here")
def test_a_question_is_spelt_as_it_was_meant():
    assert spell(parse(["beach + cat.jpg - 0.5*people"])) == "“beach” + cat.jpg − 0.5 × “people”"
    assert term("people", -1.0, files=False).weight == -1
