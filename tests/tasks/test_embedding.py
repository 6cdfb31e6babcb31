"""The Embedder: equal to the loop one would write by hand, lazy, ordered, and plain about what it cannot read."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import sensorium
from sensorium.checkpoints.load import load_model, save_model
from sensorium.data.errors import SensoriumError, Unreadable
from sensorium.data.tokenizer import ClipTokenizer
from sensorium.models.clip import CLIP
from sensorium.tasks import embedding
from sensorium.tasks.embedding import Embedder, choose
from tests import tiny

TEXTS = ["a cat", "a dog on a sofa, photographed from very far away " * 12, "", "日本語"]


def test_equals_the_loop_by_hand(embedder: Embedder, folder: Path, photographs: list[Path]) -> None:
    loaded = load_model(folder)
    model = loaded.model
    assert isinstance(model, CLIP)
    with torch.no_grad():
        rows = [model.vision(loaded.preprocess(Image.open(path).convert("RGB"))[None]) for path in photographs]
        texts = [model.text(ClipTokenizer()([text])) for text in TEXTS]
    vectors = embedder.embed(images=photographs, text=TEXTS)
    torch.testing.assert_close(vectors["images"], F.normalize(torch.cat(rows), dim=-1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(vectors["text"], F.normalize(torch.cat(texts), dim=-1), atol=1e-5, rtol=1e-5)
    assert {v.dtype for v in vectors.values()} == {torch.float32}
    assert embedder.dim == vectors["images"].shape[1]
    assert embedder.logit_scale == pytest.approx(float(model.log_scale.exp()))


def test_every_kind_of_picture(embedder: Embedder, photographs: list[Path]) -> None:
    path = photographs[0]
    image = Image.open(path).convert("RGB")
    kinds = [path, str(path), path.read_bytes(), image, np.array(image)]
    vectors = embedder.embed(images=kinds)["images"]
    for row in vectors[1:]:
        torch.testing.assert_close(row, vectors[0])


def test_a_batch_of_arrays(embedder: Embedder) -> None:
    arrays = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    assert embedder.embed(images=list(arrays))["images"].shape == (3, embedder.dim)


def test_more_than_one_batch_keeps_the_order(embedder: Embedder, photographs: list[Path]) -> None:
    many = (photographs * 6)[: 2 * embedding.IMAGE_BATCH + 3]
    vectors = embedder.embed(images=many, text=[f"number {i}" for i in range(embedding.TEXT_BATCH + 5)])
    once = embedder.embed(images=photographs)["images"]
    for i, row in enumerate(vectors["images"]):
        torch.testing.assert_close(row, once[i % len(photographs)], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(vectors["text"][7], embedder.embed(text="number 7")["text"][0], atol=1e-5, rtol=1e-5)


def test_nothing_in_nothing_out(embedder: Embedder) -> None:
    vectors = embedder.embed(images=[], text=[])
    assert vectors["images"].shape == vectors["text"].shape == (0, embedder.dim)
    assert embedder.embed() == {}
    assert list(embedder.stream([])) == []


def test_one_picture_instead_of_a_list(embedder: Embedder, photographs: list[Path]) -> None:
    with pytest.raises(SensoriumError, match=r"images takes a list; for one picture write images=\[picture\]"):
        embedder.embed(images=str(photographs[0]))


@pytest.fixture
def mixed(photographs: list[Path], tmp_path: Path) -> list[Path]:
    """Good files with bad ones between: not an image, cut short, not there."""
    (tmp_path / "notes.jpg").write_text("hello")
    (tmp_path / "cut.png").write_bytes(photographs[0].read_bytes()[:5000])
    return [photographs[0], tmp_path / "notes.jpg", photographs[1], tmp_path / "cut.png", tmp_path / "gone.jpg"]


def test_unreadable_files_are_all_named(embedder: Embedder, mixed: list[Path]) -> None:
    with pytest.raises(Unreadable) as caught:
        embedder.embed(images=mixed)
    for name in ("notes.jpg", "cut.png", "gone.jpg"):
        assert name in str(caught.value)
    assert caught.value.path == str(mixed[1])
    with pytest.raises(Unreadable, match=r"images\[1\]: not an image"):
        embedder.embed(images=[mixed[0], b"rubbish"])


def test_unreadable_files_can_be_masked(embedder: Embedder, mixed: list[Path]) -> None:
    vectors = embedder.embed(images=mixed, unreadable="mask")
    assert vectors["readable"].tolist() == [True, False, True, False, False]
    assert vectors["images"][~vectors["readable"]].abs().max() == 0
    torch.testing.assert_close(
        vectors["images"][vectors["readable"]], embedder.embed(images=[mixed[0], mixed[2]])["images"]
    )


def test_a_vit_embeds_pictures_only(tmp_path: Path, photographs: list[Path]) -> None:
    save_model(tiny.build(tiny.VIT), tmp_path, naming="timm")
    model = sensorium.load(tmp_path, device="cpu")
    assert model.embed(images=photographs[:2])["images"].shape == (2, 192)
    with pytest.raises(SensoriumError, match="has no text tower: it embeds pictures only"):
        model.embed(text=["a cat"])


def test_loading_from_a_folder_as_the_readme_says(folder: Path, photographs: list[Path]) -> None:
    model = sensorium.load(folder)
    z = model.embed(images=[photographs[0]], text=["a photo of a cat", "a photo of an astronaut"])
    assert (z["images"] @ z["text"].T).shape == (1, 2)
    assert model.fingerprint == sensorium.load(str(folder)).fingerprint
    assert model.name == str(folder)


# -- stream -----------------------------------------------------------------------------------------------------------


def test_stream_keeps_order_and_lists_what_it_cannot_read(embedder: Embedder, mixed: list[Path]) -> None:
    batches = list(embedder.stream(mixed * 3, batch=4))
    assert [path for batch in batches for path in batch.paths] == [mixed[0], mixed[2]] * 3
    assert [error.path for batch in batches for error in batch.unreadable] == [str(mixed[i]) for i in (1, 3, 4)] * 3
    assert [len(batch.paths) + len(batch.unreadable) for batch in batches] == [4, 4, 4, 3]
    for batch in batches:
        assert batch.vectors.shape == (len(batch.paths), embedder.dim)
        assert batch.vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(batch.vectors, axis=1), 1, atol=1e-5)


def test_stream_gives_the_full_size_of_pictures(embedder: Embedder, photographs: list[Path], tmp_path: Path) -> None:
    """Also of JPEGs, which are decoded smaller, and upright."""
    image = Image.open(photographs[0]).convert("RGB").resize((640, 480))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "sideways.jpg", exif=exif)
    image.save(tmp_path / "wide.jpg")
    (batch,) = embedder.stream([tmp_path / "wide.jpg", tmp_path / "sideways.jpg", photographs[1]])
    assert batch.sizes == [(640, 480), (480, 640), (512, 512)]


def test_stream_is_close_to_embed_on_photographs(embedder: Embedder, photographs: list[Path], tmp_path: Path) -> None:
    jpegs = []
    for path in photographs:
        jpegs.append(tmp_path / f"{path.stem}.jpg")
        Image.open(path).convert("RGB").save(jpegs[-1], quality=90)
    exact = embedder.embed(images=jpegs)["images"].numpy()
    fast = np.concatenate([batch.vectors for batch in embedder.stream(jpegs)])
    cosines = (exact * fast).sum(1)
    assert cosines.min() > 0.995, dict(zip([p.stem for p in photographs], cosines.round(4), strict=True))


def test_stream_reads_lazily_and_ends_its_threads(embedder: Embedder, photographs: list[Path]) -> None:
    taken = 0

    def ten_thousand() -> Iterator[Path]:
        nonlocal taken
        for _ in range(10_000):
            taken += 1
            yield photographs[1]

    before = threading.active_count()
    stream = embedder.stream(ten_thousand(), batch=4)
    first = next(stream)
    assert len(first.paths) == 4
    assert taken <= 12
    next(stream)
    assert taken <= 16
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert taken <= 16


def test_an_error_of_the_caller_ends_the_threads_too(embedder: Embedder, photographs: list[Path]) -> None:
    def broken() -> Iterator[Path]:
        yield photographs[1]
        raise RuntimeError("the walk failed")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="the walk failed"):
        list(embedder.stream(broken()))
    assert threading.active_count() == before
    with pytest.raises(SensoriumError, match="batch=0: must be 1 or more"):
        list(embedder.stream(photographs, batch=0))


# -- device and precision ---------------------------------------------------------------------------------------------


def test_precision_is_asked_of_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("cpu", "fp32") == (torch.device("cpu"), "fp32")
    assert choose("cpu", "bf16") == (torch.device("cpu"), "bf16")
    for capability, bf16, expected in (
        ("AVX2", True, "fp32"),
        ("AVX512", False, "fp32"),
        ("AVX512", True, "bf16"),
    ):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda bf16=bf16: bf16, raising=False)
        assert choose("cpu", "auto")[1] == expected
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert choose("auto", "auto") == (torch.device("cuda"), "fp32")  # emulated bf16 is not bf16


def test_bf16_is_close_and_comes_back_as_fp32(folder: Path, embedder: Embedder, photographs: list[Path]) -> None:
    half = sensorium.load(folder, device="cpu", precision="bf16")
    ours, exact = (e.embed(images=photographs[:3], text=["a cat"]) for e in (half, embedder))
    for key, vectors in ours.items():
        assert vectors.dtype == torch.float32
        assert not torch.equal(vectors, exact[key])
        assert F.cosine_similarity(vectors, exact[key]).min() > 0.99
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}  # type: ignore[union-attr]
