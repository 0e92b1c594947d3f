"""Hostile archives, made by code: what could write elsewhere, fill the disk, or hide what it is."""

from __future__ import annotations

import io
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping

from pipeline.importing.archives import MAX_MEMBERS
from tests.hostile import NAMES, TEXTS, Hostile, picture, png, saved

PICTURE = saved(picture())
SPRUNG = "sprung.png"  # no file of this name may be anywhere afterwards
OUTSIDE = (
    f"../{SPRUNG}", f"../../../{SPRUNG}", f"a/../../{SPRUNG}", f"..\\..\\{SPRUNG}", f"/{SPRUNG}", f"/tmp/{SPRUNG}",
    f"C:\\{SPRUNG}", f"C:/{SPRUNG}", f"//server/share/{SPRUNG}", f"./../{SPRUNG}", "{here}/" + SPRUNG,
)  # fmt: skip
LINKS = {"link": stat.S_IFLNK, "character device": stat.S_IFCHR, "block device": stat.S_IFBLK,
         "pipe": stat.S_IFIFO, "socket": stat.S_IFSOCK, "folder that is a file": stat.S_IFDIR}  # fmt: skip
ODD = {
    "newline": "a\nb.png", "NUL": "a\0b.png", "escape": "a\x1b[31mb.png", "bell": "\x07.png",
    "right-to-left": "gnp.\u202etxt.png", "zero width": "a\u200bb.png", "300 characters": "a" * 300 + ".png",
    "250 letters of three bytes": "\u96ea" * 250 + ".png", "100 letters of three bytes": "\u96ea" * 100 + ".png",
    "20 folders": "a/" * 20 + "b.png", "a stream": "a.png:b.png", "half a character": "a\ud83d.png",
}  # fmt: skip


def packed(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(_plain(name), content)
    return buffer.getvalue().replace(*_swapped(members))


def _plain(name: str) -> str:
    """What `zipfile` would write otherwise: it ends names at NUL, and cannot encode half a character."""
    return name.replace("\0", "~").replace("\ud83d", "~~~")


def _swapped(members: Mapping[str, bytes]) -> tuple[bytes, bytes]:
    """(as it was written, as it should be), of the same length."""
    odd = next((name for name in members if _plain(name) != name), "")
    return _plain(odd).encode() or b"\0\0\0\0\0\0\0\0PK", odd.encode("utf-8", "surrogatepass") or b"\0\0\0\0\0\0\0\0PK"


def archives(here: str) -> Iterator[Hostile]:
    """Every archive; `here` is a folder into which nothing may be written. Accepted: some picture in it is taken."""
    for kind, found in (
        ("archive: outside", _outside(here)),
        ("archive: link", _links()),
        ("archive: bomb", _bombs()),
        ("archive: damaged", _damaged()),
        ("archive: names", _names()),
        ("archive: other", _others()),
        ("archive: lists", _lists()),
    ):
        for name, content, accepted in found:
            yield Hostile(kind=kind, name=name, content=content, file="pictures.zip", accepted=accepted)


def _outside(here: str) -> Iterator[tuple[str, bytes, bool]]:
    for name in (outside.replace("{here}", here) for outside in OUTSIDE):
        yield name, packed({name: PICTURE}), False
    yield "beside a good one", packed({f"../{SPRUNG}": PICTURE, "good.png": PICTURE}), True


def _links() -> Iterator[tuple[str, bytes, bool]]:
    for name, mode in LINKS.items():
        member = zipfile.ZipInfo(SPRUNG)
        member.create_system, member.external_attr = 3, (mode | 0o777) << 16
        yield name, _written([(member, b"/etc/passwd")]), False
    folder = zipfile.ZipInfo("out")
    folder.create_system, folder.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    yield "link to a folder, then a file in it", _written([(folder, b"/tmp"), (f"out/{SPRUNG}", b"no picture")]), False


def _bombs() -> Iterator[tuple[str, bytes, bool]]:
    deflated = zipfile.ZIP_DEFLATED
    bomb = packed({"bomb.png": bytes(21_000_000)}, deflated)
    yield "21 MB of nothing", bomb, False
    yield "beside a good one", packed({"bomb.png": bytes(21_000_000), "good.png": PICTURE}, deflated), True
    yield "one member too many", packed({f"{n}.png": b"" for n in range(MAX_MEMBERS + 1)}), False
    yield "the same bytes 200 times", overlapping(bomb, 200), False
    for name, text in (
        ("list of 3 MB", b"path,label\n" + b"x" * 3_000_000),
        ("list of 400,000 lines", b"path,label\n" + b"a.png,a\n" * 400_000),
    ):
        yield name, packed({"labels.csv": text, "a.png": PICTURE}, deflated), True
    yield "list of a million columns", packed({"metadata.csv": b"," * 1_000_000, "a.png": PICTURE}, deflated), True
    place = bomb.rfind(b"PK\1\2") + 24
    yield "21 MB that claim to be 1 KB", bomb[:place] + (1000).to_bytes(4, "little") + bomb[place + 4 :], False
    yield "a bomb that is a picture", packed({"a.png": png(14_000, 14_000, pixels=b"\0" * 64)}), False


def overlapping(archive: bytes, times: int) -> bytes:
    """An archive of one member that lists it so many times."""
    start = archive.rfind(b"PK\1\2")
    end = archive.rfind(b"PK\5\6")
    entry = archive[start:end]
    count, size = times.to_bytes(2, "little"), (times * len(entry)).to_bytes(4, "little")
    return archive[:start] + entry * times + archive[end : end + 8] + count + count + size + archive[end + 16 :]


def _damaged() -> Iterator[tuple[str, bytes, bool]]:
    whole = packed({"a.png": PICTURE})
    yield from (("empty", b"", False), ("signature", b"PK\3\4", False), ("end only", whole[-22:], False))
    yield from ((f"cut at {share:.0%}", whole[: int(len(whole) * share)], False) for share in (0.25, 0.5, 0.99))
    start, listed = whole.find(b"PK\3\4"), whole.rfind(b"PK\1\2")
    for name, place, value in (
        ("wrong CRC", listed + 16, b"\0\0\0\0"),
        ("encrypted", listed + 8, b"\1\0"),
        ("strongly encrypted", listed + 8, b"\x41\0"),
        ("unknown method", listed + 10, b"\x63\0"),
        ("version 99", listed + 6, b"\xff\0"),
        ("offset beyond the end", listed + 42, b"\xff\xff\xff\x7f"),
        ("another name before the data", start + 30, b"b"),
        ("size of 4 GB", listed + 20, b"\xfe\xff\xff\xff\xfe\xff\xff\xff"),
        ("name that is no UTF-8", listed + 8, b"\0\x08"),
    ):
        broken = bytearray(whole)
        broken[place : place + len(value)] = value
        if name == "name that is no UTF-8":
            broken[listed + 46] = 0xFF
        yield name, bytes(broken), False
    yield "200 MB before the list", whole[:-6] + b"\0\0\0\x0b\0\0", False


def _names() -> Iterator[tuple[str, bytes, bool]]:
    # Without the mark of UTF-8 the bytes of half a character are three others.
    yield from ((name, packed({file: PICTURE}), name == "half a character") for name, file in ODD.items())
    for file in NAMES:
        if not file.endswith(".png"):
            yield f"in a folder {file[:20]}", packed({f"{file}/a.png": PICTURE}), False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the duplicate
        yield "the same name twice", _written([("a.png", PICTURE), ("a.png", b"other")]), True
    yield "a file that is a folder too", packed({"a.png": PICTURE, "a.png/b.png": PICTURE}), True


def _others() -> Iterator[tuple[str, bytes, bool]]:
    inner = packed({"a.png": PICTURE})
    yield "in an archive", packed({"inner.zip": inner}), False
    yield "in an archive, beside a picture", packed({"inner.zip": inner, "a.png": PICTURE}), True
    yield "behind a picture", PICTURE + inner, True
    yield "behind a page", b"<html><script>alert(1)</script></html>" + inner, True
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(f"../{SPRUNG}")
        member.size = len(PICTURE)
        tar.addfile(member, io.BytesIO(PICTURE))
    yield "a tar", buffer.getvalue(), False
    yield "a picture", PICTURE, False
    yield "7z", b"7z\xbc\xaf\x27\x1c" + bytes(100), False
    yield "a program in it", packed({"setup.exe": b"MZ", "run.sh": b"#!/bin/sh"}), False
    yield "a page as a picture", packed({"a.png": b"<script>alert(1)</script>"}), False
    yield (
        "a pickle as metadata",
        packed({"metadata.jsonl": b"\x80\x04cos\nsystem\n(S'true'\ntR.", "a.png": PICTURE}),
        True,
    )
    yield "metadata in parquet", packed({"metadata.parquet": b"PAR1" + bytes(100), "a.png": PICTURE}), True


def _lists() -> Iterator[tuple[str, bytes, bool]]:
    formulas = ('=HYPERLINK("http://127.0.0.1:9","x")', "+1+1", "-1", "@SUM(1)", "=cmd|' /C calc'!A0", "\t=1+1")
    for label in (*formulas, TEXTS["markup"], TEXTS["SQL"]):
        cell = label.replace('"', '""')
        yield (
            f"label {label[:20]}",
            packed({"labels.csv": f'path,label\na.png,"{cell}"\n'.encode(), "a.png": PICTURE}),
            False,
        )
    for name in (f"../{SPRUNG}", "/etc/passwd", "a\0b.png", "no.png"):
        yield f"path {name!r}", packed({"labels.csv": f"path,label\n{name},sled\n".encode(), "a.png": PICTURE}), True
    for name, text in (
        ("deep JSON", b'{"file_name": ' + b"[" * 100_000),
        ("file outside", b'{"file_name": "../../etc/passwd", "label": "sled"}'),
        ("NaN", b'{"file_name": NaN}'),
        ("huge number", b'{"file_name": "a.png", "label": 1e999}'),
    ):
        yield name, packed({"metadata.jsonl": text, "a.png": PICTURE}), True


def _written(members: list[tuple[zipfile.ZipInfo | str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, content in members:
            archive.writestr(member, content)
    return buffer.getvalue()
