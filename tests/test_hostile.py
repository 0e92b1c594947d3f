"""Everything in tests/hostile.py against the launched application and the command line.

One server for all, in a process of its own, on the shipped models. After every input the server still lives and no
answer shows a trace or a path; at the end the store holds what was accepted, and the memory is back.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
from typer.testing import CliRunner

from pipeline.__main__ import app
from pipeline.store import Store
from tests import hostile
from tests.hostile import Hostile

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 180  # seconds, on a busy machine
GROWTH = 600_000_000  # bytes that a server may have grown: allocators keep what the largest picture took
LEAK = 100_000_000  # and bytes more when the heaviest pictures come once more
OWN = "|".join(re.escape(str(path)) for path in (ROOT, Path.home(), Path(sys.prefix)))
SHOWS = re.compile(rf"Traceback|site-packages|File \"|{OWN}|/opt/|/home/|/usr/|/proc/|\.py\b")
GOOD = hostile.saved(hostile.picture(96, 96, seed=7))
VISITOR = {"username": "ada", "password": "lovelace"}
Answer = tuple[bool, str]  # whether it was accepted, and what was said


@dataclass
class Server:
    """The application, and what a program can ask of it."""

    process: psutil.Process
    client: httpx.Client
    data: Path
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    keys: set[str] = field(default_factory=set)  # photos that were accepted

    def upload(self, content: bytes, name: str) -> Answer:
        """(True, path on the server) or (False, what was said)."""
        told = self.client.post("/gradio_api/upload", files={"files": (name, content)})
        return told.status_code == 200, told.json()[0] if told.status_code == 200 else told.text

    def call(self, name: str, *values: object) -> Answer:
        """A named endpoint."""
        return self.raw(name, json.dumps({"data": values}).encode())

    def raw(self, name: str, body: bytes, **headers: str) -> Answer:
        """The same with any body."""
        sent = {"content-type": "application/json", **headers}
        told = self.client.post(f"/gradio_api/call/{name}", content=body, headers=sent)
        if told.status_code != 200:
            return False, told.text
        stream = self.client.get(f"/gradio_api/call/{name}/{told.json()['event_id']}").text
        kind, _, rest = stream.removeprefix("event: ").rpartition("event: ")[2].partition("\ndata: ")
        return kind == "complete", rest.strip()

    def page(self, function: int, data: list[object], event: object = None) -> Answer:
        """A function of the page, as the page calls it."""
        session = f"s{time.monotonic_ns()}"
        asked = {"data": data, "event_data": event, "fn_index": function, "trigger_id": None, "session_hash": session}
        body, headers = json.dumps(asked).encode(), {"content-type": "application/json"}
        told = self.client.post("/gradio_api/queue/join", content=body, headers=headers)
        if told.status_code != 200:
            return False, told.text
        with self.client.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
            for line in stream.iter_lines():
                if '"process_completed"' in line:
                    return bool(json.loads(line.removeprefix("data: "))["success"]), line
        return False, "the stream ended"

    def classify(self, content: bytes, name: str) -> Answer:
        """Upload and classify."""
        there, said = self.upload(content, name)
        if not there:
            return False, said
        accepted, told = self.call("classify", {"path": said, "meta": {"_type": "gradio.FileData"}}, "")
        if accepted:
            self.keys.add(json.loads(told)[0][0].partition("@")[0])
        return accepted, told

    def note(self, kind: str, name: str, answer: Answer, expected: bool | None = False) -> None:
        """Counts the input, after it did no harm."""
        accepted, said = answer
        assert self.process.is_running(), name
        assert expected in (None, accepted), f"{kind}: {name}: {said[:300]}"
        assert accepted or not SHOWS.search(said), f"{kind}: {name}: {said[:300]}"
        self.counts[kind, "answered" if accepted else "refused"] += 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--data", str(folder / "data"), "--port", str(port), "--device", "cpu"]
    command += ["--auth", ":".join(VISITOR.values())]
    with (folder / "log").open("w") as log:
        limits = httpx.Limits(max_keepalive_connections=0)
        environment = {**os.environ, "GRADIO_TEMP_DIR": str(folder / "uploads")}
        started = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=environment)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, limits=limits) as client:
            made = Server(psutil.Process(started.pid), client, folder / "data")
            _wait(made, folder / "log")
            assert client.post("/login", data=VISITOR).status_code == 200
            yield made
        started.terminate()
        started.wait()
    lines = sorted(f"{kind}: {count} {what}" for (kind, what), count in made.counts.items())
    sys.stdout.write(f"{sum(made.counts.values())} hostile inputs\n" + "\n".join(lines) + "\n")


def _wait(server: Server, log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and server.process.is_running():
        try:
            server.client.get("/config")
            return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(log.read_text())


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


@pytest.mark.parametrize("kind", dict.fromkeys(one.kind for one in PICTURES))
def test_pictures(kind: str, server: Server, before: int) -> None:
    for one in PICTURES:
        if one.kind == kind:
            answer = server.classify(one.content, one.file)
            server.note(kind, one.name, answer, one.accepted)
            assert answer[0] or "error" not in answer[1] or json.loads(answer[1])["error"], one.name
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
    return "".join(one for one in text if one.isspace() or unicodedata.category(one)[0] != "C").split()


def test_texts_elsewhere(server: Server) -> None:
    place = ordinary(server)
    for name, text in hostile.TEXTS.items():
        if text:
            server.note("name of a photo", name, server.call("caption", text, "a dog"))
            server.note("name of a classifier", name, server.call("classify", None, text))
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
        server.note("foreign file", text[:60], server.call("classify", file, ""))
        server.note("foreign file on the page", text[:60], server.page(_function(server, "receive"), [[file]]))
    ordinary(server)


def _function(server: Server, name: str) -> int:
    found = server.client.get("/config").json()["dependencies"]
    return next(one["id"] for one in found if one["api_name"] == name)


def test_functions_of_the_page(server: Server) -> None:
    place = ordinary(server)
    wrong: tuple[object, ...] = (None, 7, "x", ["x"], {"example": "99"}, {"example": "-99"}, {"photo": "../x"}, {})
    for name in ("open_example", "open_known"):
        for event in wrong:
            server.note("event", f"{name} {event}", server.page(_function(server, name), [], event))
    many: tuple[tuple[str, list[object]], ...] = (
        ("rewrite", [place, "\ud83d"]),
        ("rewrite", [["x"], {}]),
        ("reclassify", [place, "../../etc"]),
        ("relabel", [place, "", "<script>"]),
        ("suggest", [place, "a dog", ["__class__"]]),
        ("run", [place, "none", [0.5], 10]),
        ("run", [place, "pnp", [1e9], 10]),
        ("run", [place, "pnp", [0.5], 10**9]),
        ("start", ["../..", "resnet", 5, []]),
        ("start", ["Everything kept", "../../x", 5, []]),
        ("start", ["Everything kept", "resnet", -1, []]),
    )
    for name, data in many:
        server.note("function of the page", f"{name} {data}"[:60], server.page(_function(server, name), data), None)
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
        for path in ("/config", "/gradio_api/info", "/gradio_api/file=/etc/passwd"):
            told = client.get(path)
            assert told.status_code == 401, path
            server.note("not signed in", path, (False, told.text))
        told = client.post("/login", data={**VISITOR, "password": "babbage"})
        server.note("not signed in", "another password", (told.status_code == 200, told.text))
        assert client.get("/").status_code == 200  # the page to sign in on, which the container's health check sees


def test_too_much_at_once(server: Server) -> None:
    def drops() -> Iterator[bytes]:
        yield from (b"a" * 100_000 for _ in range(40))

    told = server.client.post("/gradio_api/call/caption", content=drops())
    server.note("body", "4 MB without saying so", (told.status_code == 200, told.text))
    many = [("files", (f"{number}.png", b"\0" * 15_000_000)) for number in range(5)]
    told = server.client.post("/gradio_api/upload", files=many)
    server.note("body", "75 MB in five files", (told.status_code == 200, told.text))
    assert told.status_code == 413
    ordinary(server)


def test_what_is_left(server: Server, before: int) -> None:
    """Only what was accepted is stored, as pixels and nothing else; the memory is back."""
    ordinary(server)
    store = Store.existing(server.data)
    assert {one.key for one in store.studies()} == server.keys
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
    for one in PICTURES:
        if one.kind == "bomb":
            server.classify(one.content, one.file)
    ordinary(server)
    assert server.process.memory_info().rss < once + LEAK
    assert sum(server.counts.values()) >= 120


def _chunks(content: bytes) -> Iterator[bytes]:
    place = 8
    while place < len(content):
        yield content[place + 4 : place + 8]
        place += 12 + int.from_bytes(content[place : place + 4], "big")


@pytest.mark.parametrize("kind", dict.fromkeys(one.kind for one in PICTURES))
def test_the_command_line_refuses_in_one_line(kind: str, tmp_path: Path) -> None:
    for number, one in enumerate(PICTURES):
        if one.kind == kind and one.accepted is False and "\0" not in one.file:
            file = tmp_path / f"{number}.png"
            file.write_bytes(one.content)
            _refused(one, "classify", str(file))


@pytest.mark.parametrize("name", hostile.TEXTS)
def test_the_command_line_takes_texts(name: str) -> None:
    text = hostile.TEXTS[name]
    for arguments in (("classify", text), ("doctor", "--profile", text), ("weakness", text or " ")):
        _refused(Hostile(kind="text", name=name), *arguments)


def _refused(one: Hostile, *arguments: str) -> None:
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 2, f"{one.name}: {told.output[:300]} {told.exception!r}"
    is_usage = told.stderr.startswith("Usage: ")  # in the form of the library that reads the arguments
    assert is_usage or len(told.stderr.strip().splitlines()) == 1, f"{one.name}: {told.output[:300]}"
    assert "Traceback" not in told.output
