"""What the page's server sends of sounds and films, what it keeps of dropped files, and what it refuses."""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import av
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from sensorium.app.guard import names_of
from sensorium.app.kept import Dropped, Made
from sensorium.app.web import create_page
from sensorium.data import preprocess
from sensorium.data.errors import Unreadable
from sensorium.search.index import Index
from sensorium.tasks.loading import in_memory
from tests import tiny
from tests.app.everything import KINDS, write_everything, write_tones
from tests.search.fake import paint


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("everything")
    files = write_everything(folder)
    (folder / "evil.mp4").write_bytes(b"<script>alert(1)</script>")
    return files


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, files: dict[str, Path]) -> Iterator[Index]:
    config = replace(tiny.IMAGEBIND, text=replace(tiny.TEXT, words=49408, context=77))
    model = in_memory(tiny.build(config), preprocess.clip(32), name="tiny")
    with Index.open(tmp_path_factory.mktemp("index"), model) as opened:
        opened.update(files["walk.mp4"].parent)
        yield opened


@pytest.fixture
def client(index: Index) -> Iterator[TestClient]:
    with TestClient(create_page(index, answers=names_of("127.0.0.1")), base_url="http://127.0.0.1:7860") as opened:
        yield opened


@pytest.fixture
def ids(index: Index) -> dict[str, str]:
    return {item.path.name: item.id for item in index.items()}


def test_files_go_out_in_ranges_and_only_what_a_browser_plays_is_inline(
    client: TestClient, ids: dict[str, str], files: dict[str, Path]
):
    inline = {"red.png": "image/png", "walk.mp4": "video/mp4", "tones.wav": "audio/wav", "room_depth.png": "image/png"}
    for name in KINDS:
        sent = client.get(f"/file/{ids[name]}")
        kind = inline.get(name, "application/octet-stream")
        assert sent.headers["content-type"] == kind, name
        assert sent.headers["content-disposition"].startswith("inline" if name in inline else "attachment"), name
        part = client.get(f"/file/{ids[name]}", headers={"range": "bytes=10-29"})
        assert (part.status_code, part.content) == (206, files[name].read_bytes()[10:30])
    policy = client.get("/").headers["content-security-policy"]
    assert "media-src 'self';" in policy
    assert "default-src 'none'" in policy


def test_stretches_are_encoded_kept_and_sent_in_ranges(client: TestClient, ids: dict[str, str]):
    whole = client.get(f"/stretch/{ids['tones.wav']}", params={"begin": 2, "end": 5})
    assert (whole.status_code, whole.headers["content-type"]) == (200, "audio/wav")
    with av.open(BytesIO(whole.content)) as sound:
        assert sound.duration / 1e6 == pytest.approx(3, abs=0.01)
    for asked, expected in (
        ("bytes=44-143", whole.content[44:144]),
        ("bytes=-10", whole.content[-10:]),
        ("bytes=100-", whole.content[100:]),
    ):
        part = client.get(f"/stretch/{ids['tones.wav']}", params={"begin": 2, "end": 5}, headers={"range": asked})
        assert (part.status_code, part.content) == (206, expected)
        assert part.headers["content-range"].endswith(f"/{len(whole.content)}")
    beyond = {"range": "bytes=99999999-"}
    assert client.get(f"/stretch/{ids['tones.wav']}?begin=2&end=5", headers=beyond).status_code == 416
    film = client.get(f"/stretch/{ids['walk.mp4']}?begin=1&end=3")
    assert film.headers["content-type"] == "video/mp4"


@pytest.mark.parametrize(
    ("name", "asked", "status"),
    [
        ("tones.wav", "begin=0&end=61", 400),
        ("tones.wav", "begin=-1&end=3", 400),
        ("tones.wav", "begin=3&end=3", 400),
        ("tones.wav", "begin=nan&end=3", 400),
        ("tones.wav", "begin=0", 422),
        ("tones.wav", "begin=100&end=110", 422),
        ("red.png", "begin=0&end=1", 404),
        ("manual.pdf", "begin=0&end=1", 404),
    ],
)
def test_stretches_that_there_are_not(client: TestClient, ids: dict[str, str], name: str, asked: str, status: int):
    assert client.get(f"/stretch/{ids[name]}?{asked}").status_code == status


def test_thumbnails_are_of_the_moment(client: TestClient, ids: dict[str, str]):
    def colour(at: float) -> tuple[int, ...]:
        sent = client.get(f"/thumb/{ids['walk.mp4']}", params={"s": 320, "at": at})
        return Image.open(BytesIO(sent.content)).getpixel((80, 48))

    assert colour(0.5)[0] > 200
    assert colour(4.5)[2] > 200
    pages = {client.get(f"/thumb/{ids['manual.pdf']}?page={page}").content for page in (1, 2, 3)}
    assert len(pages) == 3
    assert client.get(f"/thumb/{ids['manual.pdf']}?page=9").status_code == 404
    assert client.get(f"/thumb/{ids['walk.mp4']}?at=-1").status_code == 422
    told = client.get(f"/api/shown/{ids['room_depth.png']}").json()
    assert (told["low"], told["high"]) == ("3.87 m", "1.00 m")


def test_the_collection_and_answers_by_kind(client: TestClient, ids: dict[str, str]):
    listed = client.get("/api/files?kind=video,sound").json()
    assert {(each["name"], each["kind"], each["plays"]) for each in listed} == {
        ("walk.mp4", "video", True),
        ("tones.wav", "sound", True),
    }
    answer = client.get("/api/search?q=a bicycle&kind=document").json()
    (hit,) = answer["hits"]
    assert (hit["kind"], hit["pages"], hit["moments"][0]["said"][:5]) == ("document", 3, "page ")
    assert client.get("/api/files?kind=smell").status_code == 400
    status = client.get("/api/status").json()
    assert status["kinds"] == dict.fromkeys(sorted(KINDS.values()), 1)
    assert status["lacks"] == []


def test_a_moment_is_a_term(client: TestClient, ids: dict[str, str]):
    answer = client.get(f"/api/search?like=-{ids['tones.wav']}@2:0.5&q=a bicycle").json()
    term = answer["terms"][1]
    assert (term["id"], term["moment"], term["at"], term["weight"]) == (ids["tones.wav"], 2, "0:04-0:06", -0.5)
    assert (term["begin"], term["end"]) == (4, 6)
    assert client.get(f"/api/search?like={ids['tones.wav']}@999").status_code == 400


def test_any_file_may_be_sent_and_is_gone_with_the_server(
    index: Index, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    page = create_page(index, answers=names_of("127.0.0.1"))
    with TestClient(page, base_url="http://127.0.0.1:7860") as client:
        for name in KINDS:
            facts = {"room_depth.png": "depth.json", "hand_thermal.tiff": "thermal.json"}.get(name)
            sent = [("file", (name, files[name].read_bytes()))]
            if facts:
                sent.append(("beside", (facts, (files[name].parent / facts).read_bytes())))
            answer = client.post("/api/search", files=sent, data={"k": 9}).json()
            assert {hit["name"] for hit in answer["hits"]} == KINDS.keys(), "what was sent is none of the collection"
            token = answer["terms"][0]["token"]
            assert client.get(f"/dropped/{token}").headers["content-type"] == "image/jpeg"
            assert client.get("/api/search", params={"dropped": token, "k": 9}).json()["hits"] == answer["hits"]
        (folder,) = tmp_path.iterdir()
        assert {path.name for path in folder.rglob("*.*")} == {
            *("walk.mp4", "tones.wav", "room_depth.png", "depth.json", "hand_thermal.tiff", "thermal.json"),
            *("imu.csv", "manual.pdf"),
        }
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../evil.wav", "/etc/evil.wav", "..\\evil.wav", "a\nb\0c.wav", "x" * 300 + ".wav"])
def test_names_of_dropped_files_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dropped = Dropped()
    token = dropped.add(
        write_tones(tmp_path / "x", 1.0).read_bytes(), name, [("../depth.json", b"{}"), ("depth.json", b"{}")]
    )
    question = dropped.get(token)
    assert question is not None
    assert isinstance(question.source, Path)
    assert question.source.parent.name == token
    assert question.source.suffix == ".wav"
    assert {path.name for path in question.source.parent.iterdir()} == {question.source.name, "depth.json"}
    dropped.close()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert dropped.get(token) is None


def test_dropped_files_are_bounded_by_number_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "kept"))
    (tmp_path / "kept").mkdir()
    sounds = [write_tones(tmp_path / "x", 1 + number / 10).read_bytes() for number in range(4)]
    for dropped in (Dropped(limit=2), Dropped(largest=len(sounds[2]) + len(sounds[3]))):
        tokens = [dropped.add(sound, "a.wav") for sound in sounds]
        assert [dropped.get(token) is not None for token in tokens] == [False, False, True, True]
        assert len(list((tmp_path / "kept").rglob("*.wav"))) == 2
        dropped.close()


def test_what_is_no_known_file_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dropped = Dropped()
    with pytest.raises(Unreadable, match=r"notes\.txt: of no kind that is known: picture, video"):
        dropped.add(b"some words", "notes.txt")
    with pytest.raises(Unreadable, match=r"my\.png: "):
        dropped.add(b"\x89PNG\r\n\x1a\n broken", "my.png")
    token = dropped.add(paint(tmp_path / "red.png", "red").read_bytes(), "red.png")
    question = dropped.get(token)
    assert question is not None
    assert isinstance(question.source, Image.Image)
    assert list(tmp_path.rglob("sensorium-*/*")) == []
    dropped.close()


def test_what_was_made_is_kept_within_bounds(tmp_path: Path):
    made, calls = Made(limit=250), []

    def make(name: str) -> bytes:
        return made.get(name, lambda: (calls.append(name), b"x" * 100)[1])

    for name in ("a", "b", "a", "c", "b"):
        make(name)
    assert calls == ["a", "b", "c", "b"], "b was the longest unused when c came"
    path = paint(tmp_path / "a.png", "red")
    before = made.tag(path, 320, None)
    assert made.tag(path, 320, 1.0) != before
    path.write_bytes(b"other")
    assert made.tag(path, 320, None) != before
