"""The decode gate: what it lets through is plain RGB, what it refuses gets one sentence without a path."""

import contextlib
import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from pipeline import images
from pipeline.errors import ImageError
from pipeline.images import encode, fit, key_of, open_image


def picture(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    """Noise, so that compression cannot hide a lost byte."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def data_of(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, extra: bytes = b"", depth: int = 1, colour: int = 0) -> bytes:
    """A well-formed PNG header with hardly any pixels behind it."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def refusal(source: Path | bytes, name: str = "x.png") -> str:
    with pytest.raises(ImageError) as caught:
        open_image(source, name)
    message = str(caught.value)
    assert "\n" not in message
    assert "/" not in message
    assert message.endswith(".")
    return message


GOOD_PNG = data_of(picture())
GOOD_JPEG = data_of(picture(), "JPEG")
GOOD_WEBP = data_of(picture(), "WEBP")
TWO = [picture(seed=1), picture(seed=2)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x89", "not a PNG"),
        (b"\x89PNG\r\n\x1a\n", "not a PNG"),
        (b"hello, this is text", "not a PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "not a PNG"),
        (b"%PDF-1.7\n%%EOF", "not a PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a PNG"),
        (b"8BPS\0\1" + b"\0" * 40, "not a PNG"),
        (data_of(picture(), "GIF"), "not a PNG"),
        (data_of(picture(), "TIFF"), "not a PNG"),
        (data_of(picture(), "BMP"), "not a PNG"),
        (data_of(Image.new("F", (4, 4)), "TIFF"), "not a PNG"),
        (png(14_000, 14_000), "too large"),
        (png(2**31 - 1, 2**31 - 1), "too large"),
        (png(1, 100_000_000), "too large"),
        (png(5001, 5000), "too large"),
        (png(8193, 1), "8193 x 1"),
        (png(4000, 4000), "damaged"),
        (GOOD_PNG[: len(GOOD_PNG) - 12], "damaged"),
        (b"x" * (images.MAX_BYTES + 1), "larger than 20 MB"),
    ],
)
def test_refuses_what_is_not_a_picture(content: bytes, words: str) -> None:
    assert words in refusal(content)


@pytest.mark.parametrize("good", [GOOD_PNG, GOOD_JPEG, GOOD_WEBP], ids=["png", "jpeg", "webp"])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 0.99])
def test_refuses_truncated(good: bytes, share: float) -> None:
    refusal(good[: int(len(good) * share)])


def test_refuses_a_wrong_checksum() -> None:
    flipped = bytearray(GOOD_PNG)
    flipped[-16] ^= 0xFF  # the last checksum of the pixel data
    assert "damaged" in refusal(bytes(flipped))


def test_refuses_decompression_bombs_in_text_and_profile() -> None:
    bomb = zlib.compress(b"\0" * 100_000_000, 9)
    text = chunk(b"zTXt", b"k\0\0" + bomb)
    profile = chunk(b"iCCP", b"k\0\0" + bomb)
    for extra in (text, profile):
        tracemalloc.start()
        with contextlib.suppress(ImageError):  # a picture without the bomb is as good as a refusal
            assert open_image(png(8, 8, extra)).size == (8, 8)
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
        tracemalloc.stop()


def test_message_names_the_file_only() -> None:
    assert "'passwd'" in refusal(b"x", "../../etc/passwd")
    shown = refusal(b"x", "a\u202eb\nc" + "d" * 300 + ".png")
    assert "\u202e" not in shown
    assert len(shown) < 200


def test_path_without_a_file(tmp_path: Path) -> None:
    for source in (tmp_path / "none.png", tmp_path, Path("bad\0name.png"), Path("/dev/zero")):
        assert str(tmp_path) not in refusal(source, "")


def test_reads_from_a_path(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(GOOD_PNG)
    assert key_of(open_image(tmp_path / "a.png")) == key_of(picture())


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 100, (100, 100, 100)),
        ("P", 0, (0, 0, 0)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("LA", (10, 0), (255, 255, 255)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 25700, (100, 100, 100)),
    ],
)
def test_every_mode_becomes_rgb(mode: str, value: int, expected: tuple[int, int, int]) -> None:
    image = open_image(data_of(Image.new(mode, (6, 5), value)))
    assert image.mode == "RGB"
    assert image.size == (6, 5)
    assert image.getpixel((2, 2)) == expected


def test_palette_with_transparency() -> None:
    image = picture().convert("P")
    assert open_image(data_of(image, transparency=image.getpixel((0, 0)))).getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_jpeg() -> None:
    red = Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK")
    pixel = open_image(data_of(red, "JPEG", quality=95)).getpixel((8, 8))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 180
    assert max(pixel[1:]) < 60


def upright() -> Image.Image:
    """Four flat quarters survive JPEG and tell all eight orientations apart."""
    image = Image.new("RGB", (64, 32), (255, 0, 0))
    image.paste((0, 255, 0), (32, 0, 64, 16))
    image.paste((0, 0, 255), (0, 16, 32, 32))
    image.paste((0, 0, 0), (32, 16, 64, 32))
    return image


TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
    99: None,
}


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a maker's name"
    turn = TURNS[orientation]
    stored = upright() if turn is None else upright().transpose(turn)
    image = open_image(data_of(stored, "JPEG", exif=exif, quality=95))
    difference = np.abs(np.asarray(image, dtype=int) - np.asarray(upright(), dtype=int))
    assert difference[4:12, 4:12].max() < 60
    assert difference[20:28, 52:60].max() < 60
    assert not image.info
    assert not image.getexif()


def test_metadata_is_dropped_and_the_key_ignores_it() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "<script>")
    tagged = open_image(data_of(picture(), pnginfo=text, dpi=(72, 72)))
    assert not tagged.info
    assert b"script" not in encode(tagged)
    labelled = picture()
    labelled.info["icc_profile"] = b"x" * 50
    assert encode(labelled) == encode(picture())
    assert key_of(labelled) == key_of(tagged)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_animation_gives_its_first_frame(form: str, caplog: pytest.LogCaptureFixture) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    data = data_of(TWO[0], form, save_all=True, append_images=[TWO[1]], **options)
    assert key_of(open_image(data, "film.png")) == key_of(TWO[0])
    assert "first frame" in caplog.text


def test_the_next_good_picture_works_after_a_bad_one() -> None:
    refusal(png(14_000, 14_000))
    assert open_image(GOOD_PNG).size == (40, 30)


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (96, 96), (1, 500), (97, 96)])
def test_fit_is_square_and_idempotent(size: tuple[int, int]) -> None:
    once = fit(picture(*size), 96)
    assert once.size == (96, 96)
    assert key_of(fit(once, 96)) == key_of(once)


def test_fit_keeps_the_centre() -> None:
    image = Image.new("RGB", (300, 100), (255, 0, 0))
    image.paste((0, 0, 255), (100, 0, 200, 100))
    assert np.asarray(fit(image, 50)).reshape(-1, 3).max(axis=0).tolist() == [0, 0, 255]


def test_metadata_of_any_length_is_dropped() -> None:
    long = b"x" * 2_000_000
    for extra in (
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + long),
        chunk(b"zTXt", b"a\0\0" + zlib.compress(long)),
        chunk(b"iCCP", b"a\0\0" + zlib.compress(long)),
        chunk(b"tEXt", b"a\0" + long),
    ):
        assert key_of(open_image(png(8, 8, extra))) == key_of(open_image(png(8, 8)))


def test_a_preview_behind_a_cameras_picture_is_no_animation(caplog: pytest.LogCaptureFixture) -> None:
    frames = {"save_all": True, "append_images": [Image.new("RGB", (4, 4), "red")]}
    for form, told in (("MPO", False), ("WEBP", True)):
        caplog.clear()
        stream = io.BytesIO()
        Image.new("RGB", (4, 4), "blue").save(stream, form, **frames)
        assert open_image(stream.getvalue()).getpixel((0, 0))[2] > 250  # type: ignore[index]
        assert ("animation" in caplog.text) == told


@pytest.mark.parametrize(("most", "dark"), [(4095, True), (255, True), (4096, False), (0, False)])
def test_twelve_bits_in_sixteen_are_said(most: int, dark: bool) -> None:
    data = data_of(Image.new("I;16", (4, 4), most))
    if dark:
        assert f"holds values up to {most} in 16 bits" in refusal(data)
    else:
        assert open_image(data).size == (4, 4)
