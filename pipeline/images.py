"""The one gate where bytes become pixels, and the one form in which pixels are named and stored.

Knows no model. A picture that passes `open_image` is plain RGB without metadata; `encode` writes it as PNG without
anything but pixels, and the sha256 of those bytes (`key_of`) is its name everywhere else.
"""

from __future__ import annotations

import hashlib
import io
import logging
import struct
import zlib
from pathlib import Path

import PIL.Image
from PIL import ImageOps
from PIL.Image import Image, Resampling

from pipeline.errors import ImageError

MAX_BYTES = 20_000_000
MAX_PIXELS = 25_000_000
MAX_SIDE = 8192
FORMATS = ("PNG", "JPEG", "WEBP")
BACKGROUND = (255, 255, 255)  # what transparent pixels are laid upon

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_MARKS = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"8BPS\0")
_KINDS = (b"WEBP", b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis")  # of RIFF and of ISO's base media format

logger = logging.getLogger(__name__)

# What Pillow's readers raise on damaged or hostile bytes; anything else is a defect of ours and may surface.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)


def open_image(source: Path | bytes, name: str = "") -> Image:
    """Open the upright RGB picture in a PNG, JPEG or WebP of at most 20 MB, 25 megapixels and 8192 pixels a side.

    Of an animation the first frame is taken. `name` is what the message calls the picture; a path's own file name
    when empty. Raises `ImageError`.
    """
    if not isinstance(source, Path):
        return _decoded(source, _shown(name or "the picture"))
    shown = _shown(name or source.name)
    try:
        return _decoded(_read(source, shown), shown)
    except ImageError as error:
        error.path = source
        raise


def _decoded(data: bytes, shown: str) -> Image:
    _refuse_size(data, shown)
    data = _without_texts(data)
    header = _header(data, shown)
    _refuse_extent(header.size, shown)
    if header.format != "MPO" and getattr(header, "n_frames", 1) > 1:  # cameras write a preview behind the picture
        logger.warning("%s is an animation; its first frame is used", shown)
    try:
        header.verify()  # checksums of every PNG chunk, which loading alone does not look at
        with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.load()
            _refuse_dark(image, shown)
            return _plain(ImageOps.exif_transpose(image))
    except _DAMAGE as error:
        raise ImageError(f"{shown} is damaged or cut short and cannot be read; save it again as PNG.") from error


def is_picture(head: bytes) -> bool:
    """Return whether a file that begins with these 32 bytes is a picture, of a kind that is read or refused."""
    kind = head[8:12] if head[:4] == b"RIFF" or head[4:8] == b"ftyp" else b""
    return head.startswith(_MARKS) or kind in _KINDS


def encode(image: Image) -> bytes:
    """Return PNG bytes of the pixels alone: the same pixels give the same bytes."""
    buffer = io.BytesIO()
    _plain(image).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def key_of(image: Image) -> str:
    """Return the sha256 (hex) of `encode(image)`."""
    return hashlib.sha256(encode(image)).hexdigest()


def fit(image: Image, size: int) -> Image:
    """Return the centred square of the picture at size x size pixels; a picture of that size is left as it is."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return square if side == size else square.resize((size, size), Resampling.LANCZOS)


def _read(path: Path, shown: str) -> bytes:
    try:
        if not path.is_file():
            raise ImageError(f"There is no file {shown}; check the name.")
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ImageError(f"{shown} cannot be read; check its name and permissions.") from error


def _refuse_size(data: bytes, shown: str) -> None:
    if not data:
        raise ImageError(f"{shown} is empty; give a PNG, JPEG or WebP picture.")
    if len(data) > MAX_BYTES:
        raise ImageError(f"{shown} is larger than {MAX_BYTES // 1_000_000} MB; give a smaller file.")


def _header(data: bytes, shown: str) -> Image:
    try:
        return PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ImageError(_too_large("", shown)) from error
    except _DAMAGE as error:
        raise ImageError(f"{shown} is not a PNG, JPEG or WebP picture; convert it to one of these.") from error


def _without_texts(data: bytes) -> bytes:
    """Return a PNG without texts and profile, whose length says nothing of the picture; anything else as it is."""
    if not data.startswith(_SIGNATURE):
        return data
    parts, place = [_SIGNATURE], len(_SIGNATURE)
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] not in _TEXTS:
            parts.append(data[place:end])
        place = end
    return b"".join((*parts, data[place:]))


def _refuse_dark(image: Image, shown: str) -> None:
    """Refuse values of 12 bits or fewer in 16, which would be read as nearly black."""
    if image.mode.startswith("I;16"):
        most = image.getextrema()[1]
        if isinstance(most, int | float) and 0 < most < 2**12:
            raise ImageError(
                f"{shown} holds values up to {most:.0f} in 16 bits, 12 or fewer of which are used, and would be nearly "
                "black; stretch them to the full range first."
            )


def _refuse_extent(size: tuple[int, int], shown: str) -> None:
    if max(size) > MAX_SIDE or size[0] * size[1] > MAX_PIXELS:
        raise ImageError(_too_large(f" {size[0]} x {size[1]} pixels", shown))


def _too_large(extent: str, shown: str) -> str:
    limit = f"{MAX_PIXELS // 1_000_000} megapixels and {MAX_SIDE} pixels a side"
    return f"{shown} is too large{' with' + extent if extent else ''}; give at most {limit}."


def _plain(image: Image) -> Image:
    """Return RGB pixels on a fresh canvas, so that no metadata travels along."""
    canvas = PIL.Image.new("RGB", image.size, BACKGROUND)
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits a grey: conversion alone would clip at 255
        image = image.convert("I").point(lambda grey: grey * (1 / 257)).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        canvas.paste(image, mask=image.getchannel("A"))
    else:
        canvas.paste(image.convert("RGB"))
    return canvas


def _shown(name: str) -> str:
    """Return a file name fit for a message: one line, no folders, no control characters, at most 80 characters."""
    last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    clean = "".join(character if character.isprintable() else "?" for character in last)
    return f"'{clean if len(clean) <= 80 else clean[:77] + '...'}'"
