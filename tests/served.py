"""The launched application in a process of its own, and what a program can ask of it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 180  # seconds, on a busy machine
OWN = "|".join(re.escape(str(path)) for path in (ROOT, Path.home(), Path(sys.prefix)))
SHOWS = re.compile(rf"Traceback|site-packages|File \"|{OWN}|/opt/|/home/|/usr/|/proc/|\.py\b")
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
    numbers: dict[str, int] = field(default_factory=dict)  # of the pages' functions
    visitor: threading.local = field(default_factory=threading.local)  # the page that a thread has open

    @property
    def session(self) -> str:
        """The page's own, one for every thread: opening another takes the server longer than most answers."""
        if not hasattr(self.visitor, "session"):
            self.visitor.session = uuid.uuid4().hex
        return str(self.visitor.session)

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

    def page(self, function: int, data: list[object], event: object = None, query: str = "") -> Answer:
        """A function of the page, as the page calls it; `query` is of the page's own address."""
        session = self.session
        asked = {"data": data, "event_data": event, "fn_index": function, "trigger_id": None, "session_hash": session}
        body, headers = json.dumps(asked).encode(), {"content-type": "application/json"}
        told = self.client.post(f"/gradio_api/queue/join?{query}", content=body, headers=headers)
        if told.status_code != 200:
            return False, told.text
        answer = (False, "the stream ended")
        with self.client.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
            for line in stream.iter_lines():  # to its end, which is the page's sign that it may ask again
                if '"process_completed"' in line:
                    answer = (bool(json.loads(line.removeprefix("data: "))["success"]), line)
        return answer

    def function(self, name: str) -> int:
        """The number of a function of the page."""
        if not self.numbers:
            found = self.client.get("/config").json()["dependencies"]
            self.numbers = {item["api_name"]: item["id"] for item in reversed(found)}  # the first of a name counts
        return self.numbers[name]

    def receive(self, content: bytes, name: str) -> Answer:
        """Upload, and have the page take in what is in it."""
        there, said = self.upload(content, name)
        file = {"path": said, "meta": {"_type": "gradio.FileData"}}
        return self.page(self.function("receive"), [[file]]) if there else (False, said)

    def classify(self, content: bytes, name: str) -> Answer:
        """Upload and classify."""
        there, said = self.upload(content, name)
        if not there:
            return False, said
        accepted, told = self.call("classify", {"path": said, "meta": {"_type": "gradio.FileData"}}, "", "")
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


@contextmanager
def served(folder: Path, **environment: str) -> Iterator[Server]:
    """The application on folder/data, uploads and temporary files beside it; prints the counts at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--data", str(folder / "data"), "--port", str(port), "--device", "cpu"]
    command += ["--empty"]
    with (folder / "log").open("w") as log:
        limits = httpx.Limits(max_keepalive_connections=0)
        (folder / "tmp").mkdir()
        places = {"GRADIO_TEMP_DIR": str(folder / "uploads"), "TMPDIR": str(folder / "tmp")}
        given = {**os.environ, **places, "EXPLORER_AUTH": ":".join(VISITOR.values()), **environment}
        started = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=given)
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
