import io
import itertools
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from sensorium.data.errors import Unreadable
from sensorium.data.image import PIXEL_LIMIT, from_array, read_image, thumbnail
from tests.hostile import encoded, picture, png, samples, tiff


def pixels(image):
    return np.asarray(image, dtype=int)


def difference(a, b):
    assert a.size == b.size
    return abs(pixels(a) - pixels(b)).max()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "CMYK"])
def test_every_exif_orientation_comes_out_upright(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    if format == "CMYK":
        data = encoded("JPEG", picture(mode="CMYK"), exif=exif)
        expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    else:
        data = encoded(format, picture(), exif=exif, **options)
        expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    image = read_image(data)
    assert difference(image, expected) <= 1
    assert image.size == ((56, 40) if orientation < 5 else (40, 56))
    assert image.info["size"] == image.size
    assert difference(read_image(image), image) == 0, "a picture that was turned upright is not turned again"


def test_orientation_in_xmp_alone_is_obeyed():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert read_image(encoded("JPEG", xmp=xmp)).size == (40, 56)


def test_jpegs_equal_pillows_within_a_level():
    kinds = itertools.product(("L", "RGB"), (0, 1, 2), (True, False), (30, 90))
    for mode, subsampling, progressive, quality in kinds:
        options = {"progressive": progressive, "quality": quality}
        options |= {} if mode == "L" else {"subsampling": subsampling}
        data = encoded("JPEG", picture(131, 97, mode), **options)
        assert difference(read_image(data), Image.open(io.BytesIO(data)).convert("RGB")) <= 1


@pytest.mark.parametrize("inverted", [False, True])
def test_cmyk_jpegs_keep_their_colours(inverted):
    data = encoded("JPEG", picture(mode="CMYK"), quality=95)  # Pillow writes Adobe's inverted form
    if not inverted:
        adobe = data.index(b"Adobe") - 4
        assert difference(read_image(data), picture(mode="CMYK").convert("RGB")) < 40
        data = data[:adobe] + data[adobe + 16 :]
    assert difference(read_image(data), Image.open(io.BytesIO(data)).convert("RGB")) == 0


def test_scaled_decoding_keeps_the_short_side():
    data = encoded("JPEG", picture(1024, 768), quality=90)
    for least in (1, 96, 100, 224, 500, 767, 768, 5000):
        image = read_image(data, at_least=least)
        assert min(image.size) >= min(least, 768)
        assert max(image.size) <= 1024
        assert image.info["size"] == (1024, 768)
    assert read_image(data, at_least=96).size == (128, 96)
    whole = read_image(data).resize((128, 96), Image.Resampling.BOX)
    assert abs(pixels(whole) - pixels(read_image(data, at_least=96))).mean() < 1


def test_sixteen_bits_are_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    for format in ("PNG", "TIFF", "PPM", "JPEG2000"):
        image = read_image(encoded(format, Image.fromarray(ramp)))
        assert abs(pixels(image)[0, :, 0] - np.arange(256)).max() <= 1, format


def test_twelve_bits_are_scaled_by_the_depth_the_file_states():
    values = np.array([0, 1000, 2048, 4095])
    packed = bytearray()
    for first, second in values.reshape(-1, 2):
        packed += bytes([first >> 4, (first & 15) << 4 | second >> 8, second & 255])
    head = tiff(*[(tag, 3, 1, value) for tag, value in _gray_tags(4, 1, 12, 122, len(packed))])
    image = read_image(head.ljust(122, b"\0") + bytes(packed))
    assert pixels(image)[0, :, 0].tolist() == [0, 62, 128, 255]


def test_white_is_zero_in_sixteen_bits_too():
    tags = dict(_gray_tags(2, 1, 16, 122, 4)) | {262: 0}
    data = tiff(*[(tag, 3, 1, value) for tag, value in tags.items()]).ljust(122, b"\0") + b"\0\0\xff\xff"
    assert pixels(read_image(data))[0, :, 0].tolist() == [255, 0]


def _gray_tags(width, height, bits, offset, length):
    values = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: offset, 277: 1, 278: height, 279: length}
    return list(values.items())


def test_floats_and_wide_integers_are_stretched():
    floats = np.array([[0, 0.5, 1.0]], np.float32)
    assert pixels(read_image(encoded("TIFF", Image.fromarray(floats))))[0, :, 0].tolist() == [0, 128, 255]
    wide = np.array([[-10.0, np.nan, 90.0]], np.float32)
    assert pixels(read_image(encoded("TIFF", Image.fromarray(wide))))[0, :, 0].tolist() == [0, 26, 255]
    whole = np.array([[100_000, 150_000, 200_000]], np.int32)
    assert pixels(read_image(encoded("TIFF", Image.fromarray(whole))))[0, :, 0].tolist() == [0, 128, 255]


def test_transparency_shows_the_background():
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    for format in ("PNG", "TIFF", "WEBP"):
        assert read_image(encoded(format, clear)).getpixel((0, 0)) == (255, 255, 255), format
    assert read_image(encoded("PNG", half)).getpixel((0, 0)) == (127, 127, 127)
    assert read_image(encoded("PNG", clear), background=(255, 0, 0)).getpixel((0, 0)) == (255, 0, 0)
    assert read_image(encoded("PNG", clear), background=None).getpixel((0, 0)) == (10, 20, 30)
    gray = Image.new("LA", (4, 4), (50, 0))
    assert read_image(encoded("PNG", gray)).getpixel((0, 0)) == (255, 255, 255)


def test_palettes_bits_and_transparent_indices():
    two = Image.new("P", (2, 1))
    two.putpalette([200, 0, 0, 0, 0, 200])
    two.putpixel((1, 0), 1)
    assert read_image(encoded("PNG", two)).getpixel((1, 0)) == (0, 0, 200)
    for transparency in (1, bytes([255, 0])):
        image = read_image(encoded("PNG", two, transparency=transparency))
        assert [image.getpixel((x, 0)) for x in (0, 1)] == [(200, 0, 0), (255, 255, 255)]
    bits = Image.new("1", (2, 1))
    bits.putpixel((1, 0), 1)
    for format in ("PNG", "TIFF", "BMP", "PPM"):
        assert [read_image(encoded(format, bits)).getpixel((x, 0)) for x in (0, 1)] == [(0, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_animations_give_their_first_frame(format):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    red, green, blue = read_image(encoded(format, frames[0], save_all=True, append_images=frames[1:])).getpixel((9, 9))
    assert red > 240
    assert max(green, blue) < 15


def test_content_decides_not_the_name(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded("PNG"))
    assert difference(read_image(tmp_path / "a.jpg"), picture()) == 0
    assert difference(read_image(str(tmp_path / "a.jpg")), picture()) == 0


@pytest.mark.parametrize("name", samples())
def test_a_file_cut_in_half_is_called_truncated(name):
    data = samples()[name]
    try:
        read_image(data[: len(data) // 2])
    except Unreadable as error:
        reason = error.reason
    else:
        reason = "truncated" if name.startswith("moving") else "decoded"  # a first frame may be whole
    assert reason == "truncated"


def test_reasons_are_stable(tmp_path):
    jpeg = bytearray(encoded("JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = (60000).to_bytes(2, "big") * 2
    path = tmp_path / "x.png"
    for reason, data in {
        "empty file": b"",
        "not an image": b"hello",
        f"too many pixels: 60000 x 60000, the limit is {PIXEL_LIMIT // 10**6} million": jpeg,
    }.items():
        path.write_bytes(data)
        with pytest.raises(Unreadable) as caught:
            read_image(path)
        assert (caught.value.path, caught.value.reason) == (str(path), reason)
    for name, reason in (("gone.jpg", "no such file"), ("", "a folder, not a file"), ("n" * 300, "its name or path")):
        with pytest.raises(Unreadable, match=reason):
            read_image(tmp_path / name)
    with pytest.raises(Unreadable, match="not a possible file name"):
        read_image("nul\0.jpg")


def test_heic_without_its_decoder_names_the_remedy(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(Unreadable, match=r"pip install 'sensorium\[heif\]'"):
        read_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))


def test_heic_with_its_decoder():
    heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    heif.from_pillow(picture(128, 96)).save(out, quality=95)
    assert abs(pixels(read_image(out.getvalue())) - pixels(picture(128, 96))).mean() < 4
    with pytest.raises(Unreadable):
        read_image(out.getvalue()[:400])


def test_arrays():
    rgb = pixels(picture()).astype(np.uint8)
    assert difference(read_image(rgb), picture()) == 0
    assert difference(read_image(rgb / 255.0), picture()) == 0
    assert read_image(rgb[:, :, 0]).getpixel((3, 3)) == (rgb[3, 3, 0],) * 3
    assert read_image(rgb[:, :, :1]).size == (56, 40)
    assert read_image(np.dstack([rgb, np.zeros((40, 56), np.uint8)])).getpixel((0, 0)) == (255, 255, 255)
    assert read_image(np.eye(2, dtype=bool)).getpixel((0, 0)) == (255, 255, 255)
    for bad, words in (
        (rgb.astype(np.int64), "uint8"),
        (rgb.astype(np.float32), "divide"),
        (np.full((3, 3), np.nan), "divide"),
        (rgb.transpose(2, 0, 1)[:, :, :9], "channels"),
        (rgb[None], "channels"),
        (rgb[:0], "no pixels"),
    ):
        with pytest.raises(Unreadable, match=words):
            from_array(bad)


def test_a_picture_passed_in_is_left_as_it_was():
    exif = Image.Exif()
    exif[0x0112] = 6
    given = Image.open(io.BytesIO(encoded("PNG", exif=exif)))
    assert read_image(given).size == (40, 56)
    assert given.getexif()[0x0112] == 6
    plain = picture()
    assert read_image(plain) is not plain
    assert plain.info == {}


def test_a_thumbnail_is_a_small_jpeg():
    data = thumbnail(encoded("PNG", picture(900, 300)), 200)
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    assert (width, height) == (200, 67)
    assert len(data) < 20_000
    assert simplejpeg.decode_jpeg_header(thumbnail(picture(900, 300), 10**9))[:2] == (300, 900)


def test_pillows_warnings_stay_inside_even_with_threads():
    broken = encoded("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0")
    two = Image.new("P", (2, 1))
    two.putpalette([200, 0, 0, 0, 0, 200])
    palette = encoded("PNG", two, transparency=bytes([255, 0]))
    large = png(10_000, 9_500, depth=1, colour=0, pixels=bytes(9_500 * 1251))  # above Pillow's own warning
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(lambda data: read_image(data, background=None).size, [broken, palette] * 40 + [large]))
    assert sizes[:2] == [(56, 40), (2, 1)]
    assert list(warnings.filters) == before
