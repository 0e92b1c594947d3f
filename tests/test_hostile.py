"""Everything in tests/hostile.py and tests/hostile_archives.py against the launched application and the command line.

One server for all, in a process of its own, on the shipped models. After every input the server still lives and no
answer shows a trace or a path; at the end the store holds what was accepted, and the memory is back.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from explorer.middleware import UPLOAD_BYTES
from pipeline.__main__ import app
from pipeline.store.store import Store
from tests import hostile
from tests.hostile import Hostile
from tests.hostile_archives import PICTURE, SPRUNG, archives
from tests.served import PATIENCE, ROOT, VISITOR, Server, served

pytestmark = pytest.mark.slow

GROWTH = 600_000_000  # bytes that a server may have grown: allocators keep what the largest picture took
LEAK = 100_000_000  # and bytes more when the heaviest pictures come once more
GOOD = hostile.saved(hostile.picture(96, 96, seed=7))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("served")) as made:
        yield made


@pytest.fixture(scope="module")
def before(server: Server) -> int:
    """Bytes that the server takes after a normal request."""
    ordinary(server)
    return int(server.process.memory_info().rss)


def ordinary(server: Server) -> str:
    """A normal request is answered rightly; the photo's place."""
    accepted, told = server.classify(GOOD, "good.png")
    assert accepted, told
    ((place, top),) = json.loads(told)
    assert len(top) == 5
    return str(place)


PICTURES = list(hostile.pictures())


@pytest.mark.parametrize("kind", dict.fromkeys(picture.kind for picture in PICTURES))
def test_pictures(kind: str, server: Server, before: int) -> None:
    for picture in PICTURES:
        if picture.kind == kind:
            answer = server.classify(picture.content, picture.file)
            server.note(kind, picture.name, answer, picture.accepted)
            assert answer[0] or "error" not in answer[1] or json.loads(answer[1])["error"], picture.name
    ordinary(server)


def test_archives(server: Server, before: int) -> None:
    """Each through the page's upload; what is taken of them is the one good picture, and nothing lies elsewhere."""
    assert server.classify(PICTURE, "a.png")[0]
    around = set(server.data.parent.iterdir())
    for content in archives(str(server.data.parent)):
        answer = server.receive(content.content, content.file)
        server.note(content.kind, content.name, answer, content.accepted)
        assert "unexpectedly" not in answer[1], content.name
    assert set(server.data.parent.iterdir()) == around
    assert not [path for path in (server.data.parent / "tmp").iterdir() if path.name.startswith("explorer-")]
    for place in (server.data.parent.parent, ROOT, Path("/tmp"), Path("/")):
        assert not (place / SPRUNG).exists()
    assert not list(server.data.parent.rglob(SPRUNG))
    ordinary(server)


def test_texts_for_a_caption(server: Server) -> None:
    place = ordinary(server)
    for name, text in hostile.TEXTS.items():
        answer = server.call("caption", place, text)
        server.note("caption", name, answer, None)
        if answer[0] and text:
            assert seen(json.loads(answer[1])[0]) == seen(text), name
    ordinary(server)


def seen(text: str) -> list[str]:
    """Its words as they are read: what is invisible goes."""
    return "".join(part for part in text if part.isspace() or unicodedata.category(part)[0] != "C").split()


def test_texts_elsewhere(server: Server) -> None:
    place = ordinary(server)
    for name, text in hostile.TEXTS.items():
        if text:
            server.note("name of a photo", name, server.call("caption", text, "a dog"))
            server.note("name of a classifier", name, server.call("classify", None, text, ""))
            server.note("name of a set", name, server.call("freeze", text))
            server.note("name of an edit", name, server.call("decide", text, "keep", text, ""))
            server.note("label", name, server.call("perturb", place, ["background"], text))
    ordinary(server)


@pytest.mark.parametrize("endpoint", ["classify", "caption", "edit"])
def test_bodies(endpoint: str, server: Server) -> None:
    for name, body in hostile.JSON_BODIES.items():
        server.note("JSON", f"{endpoint} {name}", server.raw(endpoint, body))
    ordinary(server)


def test_files_that_nobody_uploaded(server: Server) -> None:
    here = str(next((ROOT / "assets" / "examples").rglob("*.png")))
    for value in hostile.FILES:
        text = json.dumps(value).replace("{here}", here).replace("{uploads}", str(server.data.parent / "uploads"))
        file = json.loads(text)
        server.note("foreign file", text[:60], server.call("classify", file, "", ""))
        server.note("foreign file on the page", text[:60], server.page(server.function("receive"), [[file]]))
    ordinary(server)


def test_functions_of_the_page(server: Server) -> None:
    place = ordinary(server)
    wrong: tuple[object, ...] = (None, 7, "x", ["x"], {"example": "99"}, {"example": "-99"}, {"photo": "../x"}, {})
    for name in ("open_example", "open_known"):
        for event in wrong:
            server.note("event", f"{name} {event}", server.page(server.function(name), [], event))
    many: tuple[tuple[str, list[object]], ...] = (
        ("rewrite", [place, "\ud83d"]),
        ("rewrite", [["x"], {}]),
        ("reclassify", [place, "../../etc"]),
        ("relabel", [place, "", "<script>", "", "mallory"]),
        ("suggest", [place, "a dog", ["__class__"]]),
        ("run", [place, "none", [0.5], 10]),
        ("run", [place, "pnp", [1e9], 10]),
        ("run", [place, "pnp", [0.5], 10**9]),
        ("start", ["../..", "resnet", 5, []]),
        ("start", ["Everything kept", "../../x", 5, []]),
        ("start", ["Everything kept", "resnet", -1, []]),
    )
    for name, data in many:
        server.note("function of the page", f"{name} {data}"[:60], server.page(server.function(name), data), None)
    server.note("function of the page", "one that is not there", server.page(9999, []))
    ordinary(server)


def test_addresses(server: Server) -> None:
    here = str(next((ROOT / "assets" / "examples").rglob("*.png")))
    for address in hostile.ADDRESSES:
        asked = address.replace("{here}", here).replace("{data}", str(server.data))
        try:
            told = server.client.get(asked)
        except httpx.RemoteProtocolError:  # a stream that ends at once
            server.note("address", address, (False, ""))
            continue
        accepted = told.status_code == 200
        assert not accepted or told.headers["content-type"].startswith(("text/html", "text/event-stream")), address
        assert "root:" not in told.text
        assert "PNG" not in told.text[:9]
        said = told.text.replace(asked.partition("=")[2], "") if asked.startswith("/gradio_api/file=") else told.text
        server.note("address", address, (accepted, said), None)
    ordinary(server)


def test_pages_of_others(server: Server) -> None:
    body = json.dumps({"data": ["x", ""]}).encode()
    for origin in hostile.ORIGINS:
        answer = server.raw("caption", body, origin=origin)
        assert "own pages only" in answer[1]
        server.note("foreign page", origin, answer)
    answer = server.raw("caption", body, host="evil.example", origin="http://evil.example")
    server.note("foreign name", "rebound", answer)
    own = str(server.client.base_url).rstrip("/")
    assert "not in the store" in server.raw("caption", body, origin=own)[1]


def test_who_has_not_signed_in(server: Server) -> None:
    body = json.dumps({"data": ["x", ""]}).encode()
    with httpx.Client(base_url=server.client.base_url, timeout=PATIENCE) as client:
        for path in ("/gradio_api/call/caption", "/gradio_api/upload", "/gradio_api/queue/join"):
            told = client.post(path, content=body)
            assert told.status_code == 401, path
            server.note("not signed in", path, (False, told.text))
        for path, status in (("/config", 401), ("/gradio_api/info", 401), ("/gradio_api/file=/etc/passwd", 404)):
            told = client.get(path)
            assert told.status_code == status, path
            server.note("not signed in", path, (False, told.text))
        told = client.post("/login", data={**VISITOR, "password": "babbage"})
        server.note("not signed in", "another password", (told.status_code == 200, told.text))
        assert client.get("/").status_code == 200  # the page to sign in on, which the container's health check sees


def test_too_much_at_once(server: Server) -> None:
    def drops() -> Iterator[bytes]:
        yield from (b"a" * 100_000 for _ in range(40))

    told = server.client.post("/gradio_api/call/caption", content=drops())
    server.note("body", "4 MB without saying so", (told.status_code == 200, told.text))
    place = server.client.base_url
    connection = HTTPConnection(place.host, place.port or 80, timeout=PATIENCE)
    connection.request("POST", "/gradio_api/upload", headers={"Content-Length": str(UPLOAD_BYTES + 1)})
    answer = connection.getresponse()
    server.note("body", "more than may be uploaded, announced", (answer.status == 200, answer.read().decode()))
    assert answer.status == 413
    connection.close()
    ordinary(server)


def test_what_is_left(server: Server, before: int) -> None:
    """Only what was accepted is stored, as pixels and nothing else; the memory is back."""
    ordinary(server)
    store = Store.existing(server.data)
    assert {study.key for study in store.studies()} == server.keys
    assert not store.sets()
    assert not store.decisions()
    store.close()
    for file in (server.data / "media").rglob("*.png"):
        content = file.read_bytes()
        assert file.stem == hashlib.sha256(content).hexdigest()
        assert set(_chunks(content)) == {b"IHDR", b"IDAT", b"IEND"}
    assert not Path("/tmp/sprung").exists()
    once = server.process.memory_info().rss
    assert once < before + GROWTH
    for picture in PICTURES:
        if picture.kind == "bomb":
            server.classify(picture.content, picture.file)
    ordinary(server)
    assert server.process.memory_info().rss < once + LEAK
    assert sum(server.counts.values()) >= 120


def _chunks(content: bytes) -> Iterator[bytes]:
    place = 8
    while place < len(content):
        yield content[place + 4 : place + 8]
        place += 12 + int.from_bytes(content[place : place + 4], "big")


@pytest.mark.parametrize("kind", dict.fromkeys(picture.kind for picture in PICTURES))
def test_the_command_line_refuses_in_one_line(kind: str, tmp_path: Path) -> None:
    for number, picture in enumerate(PICTURES):
        if picture.kind == kind and picture.accepted is False and "\0" not in picture.file:
            file = tmp_path / f"{number}.png"
            file.write_bytes(picture.content)
            _refused(picture, "classify", str(file))


def test_the_command_line_takes_no_archive(tmp_path: Path) -> None:
    for number, content in enumerate(archives(str(tmp_path))):
        file = tmp_path / f"{number}.zip"
        file.write_bytes(content.content)
        if not content.content.startswith(PICTURE):  # a picture is opened, whatever it is called
            _refused(content, "classify", str(file))
        _refused(content, "stress", str(file), "--out", str(tmp_path / "run"))
        file.unlink()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", hostile.TEXTS)
def test_the_command_line_takes_texts(name: str) -> None:
    text = hostile.TEXTS[name]
    for arguments in (("classify", text), ("doctor", "--profile", text), ("weakness", text or " ")):
        _refused(Hostile(kind="text", name=name), *arguments)


def _refused(item: Hostile, *arguments: str) -> None:
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 2, f"{item.name}: {told.output[:300]} {told.exception!r}"
    is_usage = told.stderr.startswith("Usage: ")  # in the form of the library that reads the arguments
    assert is_usage or len(told.stderr.strip().splitlines()) == 1, f"{item.name}: {told.output[:300]}"
    assert "Traceback" not in told.output
