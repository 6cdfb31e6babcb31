import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.augment import ResizedCrop, SquareCrop, cutout, label_of, mixup, one_text
from sensorium.data.errors import Unreadable
from sensorium.data.image import read_image, read_pixels
from sensorium.data.preprocess import Preprocess


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slopes(width: int, height: int) -> np.ndarray:
    """A picture whose red tells how far right a pixel is, whose green how far down."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([x, y, np.zeros_like(x)], axis=-1).round().astype(np.uint8)


def noise(width: int, height: int, grain: int = 16) -> Image.Image:
    rough = np.random.default_rng(0).integers(0, 256, (height // grain, width // grain, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92, **options)
    return out.getvalue()


@pytest.mark.parametrize("size", [(288, 192), (192, 288), (96, 96)])
def test_without_chance_the_middle_is_seen_as_preprocessing_sees_it(size: tuple[int, int]) -> None:
    image = noise(*size)
    apart = Preprocess(96).pixels(image).float() - SquareCrop(96)(image).float()
    assert apart[:, 2:-2, 2:-2].abs().max() <= 2  # a crop before the resize differs at its edges


def test_clips_crop_moves_along_the_long_side_only() -> None:
    image = slopes(400, 100)
    crops = [SquareCrop(50)(image, seeded(i)).float() for i in range(200)]
    for crop in crops:
        assert crop.shape == (3, 50, 50)
        assert crop[1, 0].max() < 4  # the whole height is always seen
        assert crop[1, -1].min() > 251
        assert float(crop[0, 0, -1] - crop[0, 0, 0]) == pytest.approx(255 / 4, abs=4)  # a quarter of the width
    lefts = torch.stack([crop[0, 0, 0] for crop in crops])
    assert lefts.min() < 10
    assert lefts.max() > 180
    assert float(lefts.mean()) == pytest.approx(255 * 3 / 8, abs=12)
    square = slopes(64, 64)
    assert torch.equal(SquareCrop(64)(square, seeded(1)), torch.from_numpy(square).permute(2, 0, 1))


def test_zoom_takes_a_smaller_square() -> None:
    spans = []
    for i in range(100):
        crop = SquareCrop(64, zoom=1.5)(slopes(128, 128), seeded(i)).float()
        spans.append(float(crop[0, 0, -1] - crop[0, 0, 0]) / 255)
    assert 0.6 < min(spans) < 0.72  # one over the zoom
    assert 0.94 < max(spans) < 1.01


def test_vits_crop_covers_the_stated_areas_and_ratios() -> None:
    areas, ratios, flipped = [], [], 0
    for i in range(300):
        crop = ResizedCrop(64, scale=(0.25, 0.5))(slopes(300, 200), seeded(i)).float()
        across = float(crop[0, 32, -1] - crop[0, 32, 0]) / 255
        down = float(crop[1, -1, 32] - crop[1, 0, 32]) / 255
        flipped += across < 0
        areas.append(abs(across) * down)
        ratios.append(abs(across) * 300 / (down * 200))
    assert 0.23 < min(areas) < 0.29
    assert 0.45 < max(areas) < 0.53
    assert 0.71 < min(ratios) < 0.82
    assert 1.22 < max(ratios) < 1.40
    assert 110 < flipped < 190
    assert not any(
        ResizedCrop(64, flip=False)(slopes(300, 200), seeded(i)).float()[0, 32, [0, -1]].diff() < 0 for i in range(20)
    )


def test_a_picture_in_which_no_such_rectangle_fits_is_cut_to_the_nearest_ratio() -> None:
    crop = ResizedCrop(32, scale=(1.0, 1.0), flip=False)(slopes(400, 40), seeded(0)).float()
    assert float(crop[0, 0, -1] - crop[0, 0, 0]) / 255 == pytest.approx(40 * 4 / 3 / 400, abs=0.03)
    assert float(crop[1, -1, 0] - crop[1, 0, 0]) / 255 == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("augment", [SquareCrop(48, zoom=1.3), ResizedCrop(48)])
def test_the_generator_alone_decides(augment: SquareCrop | ResizedCrop, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(noise(320, 240)))
    torch.manual_seed(1)
    first = augment(tmp_path / "a.jpg", seeded(5))
    torch.manual_seed(2)
    assert torch.equal(first, augment(tmp_path / "a.jpg", seeded(5)))
    assert torch.equal(first, augment((tmp_path / "a.jpg").read_bytes(), seeded(5)))
    assert not torch.equal(first, augment(tmp_path / "a.jpg", seeded(6)))


@pytest.mark.parametrize("augment", [SquareCrop(48), ResizedCrop(48)])
def test_decoding_less_of_a_jpeg_changes_little(augment: SquareCrop | ResizedCrop) -> None:
    image = noise(800, 600, 50)
    data = encoded(image)
    for seed in range(5):
        small, whole = augment(data, seeded(seed)).float(), augment(np.array(read_image(data)), seeded(seed)).float()
        assert (small - whole).abs().mean() < 6  # a crop begins at a whole pixel of what was decoded


def test_pixels_are_those_of_the_picture(tmp_path: Path) -> None:
    image = noise(64, 48)
    exif = Image.Exif()
    exif[0x0112] = 6
    for data in (encoded(image), encoded(image, exif=exif), encoded(image.convert("L"))):
        (tmp_path / "a.jpg").write_bytes(data)
        for source in (data, tmp_path / "a.jpg"):
            assert np.array_equal(read_pixels(source), np.array(read_image(source)))
    (tmp_path / "a.jpg").write_bytes(encoded(image)[:400])
    with pytest.raises(Unreadable, match=r"a\.jpg: truncated"):
        read_pixels(tmp_path / "a.jpg")
    with pytest.raises(Unreadable, match=r"b\.jpg: no such file"):
        SquareCrop(8)(tmp_path / "b.jpg")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(Unreadable, match=r"b\.png: "):
        read_pixels(tmp_path / "b.png")


def test_one_text_of_several() -> None:
    sample = {"text": ("a", "b", "c"), "key": "row 3"}
    assert one_text(sample) == "a"
    assert {one_text(sample, seeded(i)) for i in range(30)} == {"a", "b", "c"}
    assert one_text({"text": "only"}, seeded(0)) == "only"
    with pytest.raises(Unreadable, match="row 3: has no text"):
        one_text({"key": "row 3"})
    assert label_of({"label": 4}) == 4
    with pytest.raises(Unreadable, match="row 3: has no label"):
        label_of({"key": "row 3"})


def test_mixup_blends_pairs() -> None:
    pixels = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, 4, 4)
    shares = []
    for seed in range(50):
        mixed = mixup(pixels, 0.4, seeded(seed))
        assert sorted(mixed.partner.tolist()) == list(range(8))
        expected = mixed.share * torch.arange(8.0) + (1 - mixed.share) * mixed.partner
        assert torch.allclose(mixed.pixels[:, 0, 0, 0], expected)
        shares += mixed.share.tolist()
    assert 0.5 <= min(shares) < 0.55
    # E max(x, 1 - x) for Beta(0.4, 0.4), by numerical integration
    x = np.random.default_rng(0).beta(0.4, 0.4, 200_000)
    assert sum(shares) / len(shares) == pytest.approx(np.maximum(x, 1 - x).mean(), abs=0.03)
    assert torch.equal(mixup(pixels, 0.4, seeded(1)).pixels, mixup(pixels, 0.4, seeded(1)).pixels)


def test_cutout_clears_one_square_of_each_picture() -> None:
    pixels = torch.ones(500, 3, 16, 16)
    cleared = cutout(pixels, 4, seeded(0)) == 0
    assert torch.equal(cleared[:, 0], cleared[:, 2])
    rows, columns = cleared[:, 0].any(2).sum(1), cleared[:, 0].any(1).sum(1)
    assert torch.equal(rows * columns, cleared[:, 0].sum((1, 2)))  # a rectangle
    assert int(rows.max()) == int(columns.max()) == 4
    assert int(rows.min()) == 2  # half of it may lie outside
    share = cleared[:, 0].float().mean(0)
    assert math.isclose(float(share[8, 8]), 16 / 256, abs_tol=0.04)
