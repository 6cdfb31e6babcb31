"""The page's server: what it answers, what it refuses, and that only indexed pictures leave it."""

import struct
import zlib
from base64 import b64decode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from sensorium.app.guard import names_of
from sensorium.app.inside import Inside
from sensorium.app.web import LARGEST_UPLOAD, create_page
from sensorium.data import preprocess
from sensorium.data.image import read_image
from sensorium.search.index import Index, Item
from sensorium.search.store import item_id
from sensorium.tasks.loading import in_memory
from tests import tiny_dino


@pytest.fixture
def client(index: Index) -> Iterator[TestClient]:
    page = create_page(index, answers=names_of("127.0.0.1"))
    with TestClient(page, base_url="http://127.0.0.1:7860") as opened:
        yield opened


@pytest.fixture
def items(index: Index) -> dict[str, Item]:
    return {item.path.name: item for item in index.items()}


def png(colour: tuple[int, int, int], size: tuple[int, int] = (64, 64)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def names(answer: dict) -> list[str]:
    return [hit["name"] for hit in answer["hits"]]


def test_words_are_answered_with_what_the_page_needs(client: TestClient, pictures: Path):
    answer = client.get("/api/search", params={"q": "red", "k": 2}).json()
    assert sorted(names(answer)) == ["red 0.png", "red 1.png"]
    assert (answer["good"], answer["more"]) == (True, True)
    hit = answer["hits"][0]
    assert (hit["width"], hit["height"], hit["folder"], hit["match"]) == (96, 64, str(pictures), True)
    assert 0.5 <= hit["confidence"] <= 1


def test_terms_come_back_as_they_were_understood(client: TestClient, items: dict[str, Item]):
    like = items["blue 0.png"].id
    asked = {"q": 'red - "dark + green":0.5', "like": [f"-{like}:2"]}
    terms = client.get("/api/search", params=asked).json()["terms"]
    assert [(each["kind"], each["text"], each["weight"]) for each in terms] == [
        ("text", "red", 1),
        ("text", "dark + green", -0.5),
        ("item", None, -2),
    ]
    assert terms[2]["name"] == "blue 0.png"


def test_more_like_one_leaves_it_out_itself(client: TestClient, items: dict[str, Item]):
    answer = client.get(f"/api/like/{items['cyan 0.png'].id}").json()
    assert names(answer)[0] == "cyan 1.png"
    assert "cyan 0.png" not in names(answer)


def test_a_picture_that_is_sent_can_be_asked_with_again(client: TestClient):
    sent = {"file": ("mine.png", png((0, 255, 255)), "image/png")}
    answer = client.post("/api/search", files=sent, data={"q": "", "k": 2}).json()
    assert sorted(names(answer)) == ["cyan 0.png", "cyan 1.png"]
    token = answer["terms"][0]["token"]
    again = client.get("/api/search", params={"dropped": [token], "k": 2}).json()
    assert names(again) == names(answer)
    assert Image.open(BytesIO(client.get(f"/dropped/{token}").content)).size == (64, 64)
    gone = client.get("/api/search", params={"dropped": "0" * 16})
    assert gone.status_code == 400
    assert "drop it on the page again" in gone.json()["error"]


def test_pages_follow_one_another(client: TestClient):
    whole = names(client.get("/api/search", params={"q": "red", "k": 12}).json())
    parts = [client.get("/api/search", params={"q": "red", "k": 5, "offset": at}).json() for at in (0, 5, 10)]
    assert [name for part in parts for name in names(part)] == whole
    listed = [each["name"] for each in client.get("/api/files", params={"k": 3, "offset": 2}).json()]
    assert listed == ["cyan 0.png", "cyan 1.png", "green 0.png"]


def test_filters_reach_the_index(client: TestClient, tmp_path: Path):
    nowhere = client.get("/api/search", params={"q": "red", "path": str(tmp_path / "none")}).json()
    assert (nowhere["hits"], nowhere["good"]) == ([], False)
    assert client.get("/api/search", params={"q": "red", "since": "2999"}).json()["hits"] == []


def test_status_tells_what_is_here_and_what_could_not_be_read(client: TestClient, pictures: Path):
    status = client.get("/api/status").json()
    assert (status["files"], status["unreadable"], status["roots"]) == (12, 1, [str(pictures)])
    assert status["misses"]
    assert client.get("/api/unreadable").json()[0]["path"] == str(pictures / "broken.jpg")


def test_thumbnails_are_small_and_cached(client: TestClient, items: dict[str, Item], pictures: Path):
    address = f"/thumb/{items['red 0.png'].id}?s=320"
    first = client.get(address)
    assert first.headers["content-type"] == "image/jpeg"
    assert max(Image.open(BytesIO(first.content)).size) <= 320
    assert client.get(address, headers={"if-none-match": first.headers["etag"]}).status_code == 304
    (pictures / "red 0.png").write_bytes(png((9, 9, 9)))
    changed = client.get(address, headers={"if-none-match": first.headers["etag"]})
    assert changed.status_code == 200
    assert client.get(f"/thumb/{items['red 0.png'].id}?s=5000").status_code == 404
    (pictures / "red 0.png").unlink()
    assert client.get(address).status_code == 404


def test_files_go_out_whole_as_pictures_and_nothing_else(client: TestClient, items: dict[str, Item], pictures: Path):
    sent = client.get(f"/file/{items['red 0.png'].id}")
    assert sent.content == (pictures / "red 0.png").read_bytes()
    assert sent.headers["content-type"] == "image/png"
    assert sent.headers["x-content-type-options"] == "nosniff"


def test_only_ids_of_readable_indexed_pictures_open_anything(client: TestClient, pictures: Path, tmp_path: Path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    broken = item_id(pictures / "broken.jpg")
    tries = [
        item_id(secret),
        broken,
        "..%2f..%2fsecret.txt",
        str(secret),
        "%2e%2e/%2e%2e/etc/passwd",
        "0" * 16,
        "A" * 16,
    ]
    for kind in ("file", "thumb", "dropped", "api/like", "api/files"):
        for each in tries:
            answer = client.get(f"/{kind}/{each}")
            assert answer.status_code in (404, 405), (kind, each)
            assert "secret" not in answer.text.replace("secret.txt", "")
    for each in ("/../web.py", "/%2e%2e/web.py", "/..%2fweb.py", "/static/page.js", "/api/search?like=../x"):
        assert client.get(each).status_code == 404, each
    assert client.get("/api/search", params={"q": str(pictures / "red 0.png")}).json()["terms"][0]["kind"] == "text"


@pytest.mark.parametrize(
    ("asked", "status", "message"),
    [
        ({"q": "  "}, 400, "ask for something"),
        ({"q": "red +"}, 400, "the question ends with"),
        ({"q": "x" * 1001}, 400, "too long"),
        ({"q": " + ".join("abcdefghijklmnopqrs")}, 400, "too many terms"),
        ({"q": "red", "k": 100000}, 400, "k lies in"),
        ({"q": "red", "since": "soon"}, 400, "no date"),
    ],
)
def test_questions_that_make_no_sense_are_explained(client: TestClient, asked: dict, status: int, message: str):
    answer = client.get("/api/search", params=asked)
    assert answer.status_code == status
    assert message in answer.text


def test_what_is_sent_is_bounded_and_must_be_a_picture(client: TestClient):
    def send(data: bytes) -> tuple[int, str]:
        answer = client.post("/api/search", files={"file": ("<b>.png", data, "image/png")})
        return answer.status_code, answer.json()["error"]

    assert send(b"GIF89a not really")[0] == 422
    assert send(b"<svg onload='alert(1)'/>")[0] == 422
    status, message = send(bomb())
    assert status == 422
    assert "pixel" in message
    assert send(b"\0" * (LARGEST_UPLOAD + 1))[0] == 413


def bomb() -> bytes:
    """A PNG of a few bytes that claims 60,000 × 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def test_a_body_that_hides_its_length_is_cut_off(client: TestClient):
    def endless() -> Iterator[bytes]:
        yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\n'
        for _ in range(LARGEST_UPLOAD // (1 << 20) + 8):
            yield b"\0" * (1 << 20)

    answer = client.post("/api/search", content=endless(), headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 413


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:7860", "", "localhost.", "192.168.0.7:7860"])
def test_other_names_are_not_answered(client: TestClient, host: str):
    assert client.get("/api/status", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1", "[::1]:7860", "LOCALHOST"])
def test_its_own_names_are_answered(client: TestClient, host: str):
    assert client.get("/api/status", headers={"host": host}).status_code == 200


def test_other_sites_are_not_answered_but_links_are(client: TestClient):
    cross = {"sec-fetch-site": "cross-site"}
    assert client.get("/api/status", headers={**cross, "sec-fetch-mode": "no-cors"}).status_code == 403
    assert client.get("/", headers={**cross, "sec-fetch-mode": "navigate"}).status_code == 200


def test_a_server_for_others_answers_to_addresses_and_its_own_name():
    answers = names_of("0.0.0.0")
    assert answers("192.168.0.7")
    assert answers("localhost")
    assert not answers("evil.example")


@pytest.mark.parametrize("address", ["/", "/page.js", "/api/status", "/nothing"])
def test_every_answer_carries_the_headers_that_bind_a_browser(client: TestClient, address: str):
    headers = client.get(address).headers
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_looks_are_told_and_refused_by_name(client: TestClient, items: dict[str, Item]):
    """The index's own model, of colours, does not show how it works."""
    looks = client.get("/api/looks").json()
    assert (looks["model"], looks["can"]) == ("colours", [])
    refused = client.get(f"/api/looks/{items['red 0.png'].id}", params={"what": "pca"})
    assert (refused.status_code, refused.json()["error"]) == (400, "colours does not show how it works")


def test_looks_into_another_model(index: Index, items: dict[str, Item], pictures: Path):
    inside = Inside(in_memory(tiny_dino.build(tiny_dino.CONVNEXT), preprocess.timm(64), name="a ConvNeXt"))
    page = create_page(index, answers=names_of("127.0.0.1"), inside=inside)
    with TestClient(page, base_url="http://127.0.0.1:7860") as client:
        looks = client.get("/api/looks").json()
        assert looks["can"] == ["cosine", "pca"]
        assert "a ConvNeXt is a convolutional network" in looks["cannot"]["norms"]
        address = f"/api/looks/{items['red 0.png'].id}"
        answer = client.get(address, params={"x": 0.9, "y": 0.1}).json()
        assert (answer["rows"], answer["columns"], answer["place"]) == (4, 6, [0, 5])
        _, _, data = answer["picture"].partition("base64,")
        with Image.open(BytesIO(b64decode(data))) as drawn:
            assert drawn.size == (6, 4)
            assert drawn.getpixel((5, 0)) == (253, 231, 37)
        assert client.get(address, params={"what": "norms"}).status_code == 400
        assert client.get(address, params={"what": "all"}).status_code == 422
        assert client.get(address, params={"x": 1.5}).status_code == 422
        assert client.get("/api/looks/0123456789abcdef").status_code == 404
        (pictures / "red 0.png").write_bytes(b"no picture any more")
        assert client.get(address).status_code == 422
        (pictures / "red 0.png").unlink()
        assert client.get(address).status_code == 422


def test_what_was_computed_is_kept_within_bounds(pictures: Path, monkeypatch: pytest.MonkeyPatch):
    inside = Inside(in_memory(tiny_dino.build(tiny_dino.V3), preprocess.timm(32)))
    read: list[Path] = []
    monkeypatch.setattr("sensorium.app.inside.read_image", lambda path: [read.append(path), read_image(path)][1])
    one = sum(x.nbytes for x in (torch.zeros(8, 12, 128), torch.zeros(3 * 64 * 96, dtype=torch.uint8)))
    monkeypatch.setattr("sensorium.app.inside.KEPT", 2 * one)
    first, second, third = [*sorted(pictures.glob("red*")), pictures / "blue 0.png"]
    for path, count in ((first, 1), (first, 1), (second, 2), (first, 2), (third, 3), (first, 3), (second, 4)):
        inside.look(path, "cosine")
        assert len(read) == count
