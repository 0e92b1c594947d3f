"""A hub on this computer: what huggingface_hub asks a server for, answered from folders.

`python -m tests.hub FOLDER` serves FOLDER/owner/name and prints its address. Names decide what goes wrong: "gated" is
gated unless the token is "good", "slow" breaks off the first large download in the middle, "silent" stops sending
in the middle, and "lying" tells a thousandth of each size.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "a" * 40
BROKEN_OFF: set[str] = set()
SILENT = "is-silent"  # a file beside the models, once the silent one has sent all that it sends
ROOT = Path(__file__).resolve().parents[1]


class Hub(BaseHTTPRequestHandler):
    """One request."""

    root: Path

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+)(/.*)?)?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        repo, revision = (api[1], api[3] or "main") if api else (file[1], file[2]) if file else ("", "")
        if not (self.root / repo).is_dir() or not repo:
            self.refuse(404 if repo else 400, "RepoNotFound")
        elif repo.endswith("/gated") and self.headers.get("Authorization") != "Bearer good":
            self.refuse(401, "GatedRepo")
        elif revision not in ("main", COMMIT):
            self.refuse(404, "RevisionNotFound")
        elif api:
            self.list(self.root / repo, repo, is_tree=api[2] == "tree")
        elif file:
            self.send(self.root / repo / file[3], body=body)

    def list(self, folder: Path, repo: str, *, is_tree: bool) -> None:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        entries = [
            {
                "type": "file",
                "path": path.relative_to(folder).as_posix(),
                "size": path.stat().st_size // (1000 if folder.name == "lying" else 1),
                "oid": digest(path),
            }
            for path in files
        ]
        siblings = [{"rfilename": entry["path"]} for entry in entries]
        text = json.dumps(entries if is_tree else {"id": repo, "sha": COMMIT, "siblings": siblings, "tags": []})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def send(self, path: Path, *, body: bool) -> None:
        if not path.is_file():
            return self.refuse(404, "EntryNotFound")
        content = path.read_bytes()
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        sys.stdout.write(f"{self.command} {path.name} from {start}\n")
        sys.stdout.flush()
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{digest(path)}"')
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not body:
            return None
        if path.parent.name == "slow" and len(content) > 2**20 and path.name not in BROKEN_OFF:
            BROKEN_OFF.add(path.name)
            content = content[: start + len(content) // 2]
        if path.parent.name == "silent" and len(content) > 2**16:
            return self.fall_silent(content[start:], path.parents[1] / SILENT)
        self.wfile.write(content[start:])
        return None

    def fall_silent(self, content: bytes, told: Path) -> None:
        """Send one half, and nothing more; the file tells when."""
        try:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            told.touch()
            time.sleep(3600)
        except OSError:
            pass

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def digest(path: Path) -> str:
    """What git calls the file."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def hub(root: Path) -> Iterator[str]:
    """The hub in a process of its own; its address."""
    served = subprocess.Popen(
        [sys.executable, "-m", "tests.hub", str(root)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert served.stdout
    yield served.stdout.readline().strip()
    served.kill()
    served.wait()
    served.stdout.close()


if __name__ == "__main__":
    Hub.root = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
