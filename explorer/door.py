"""The front door: which pages may talk to the server, how much at once, and which of Gradio's side doors stay shut.

Gradio limits single files and, on localhost, foreign pages; the rest is here, as ASGI middleware before its routes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import ImageError

LOCAL = ("localhost", "127.0.0.1", "::1")
UPLOAD_BYTES = 64_000_000  # a request of uploads: several files of at most `max_file_size` each, and their frame
BODY_BYTES = 2_000_000  # any other request: captions and settings, never pictures
SHUT = ("/process_recording", "/proxy=", "/vibe-", "/dev/")  # tools for making Gradio applications
HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"))


def is_local(host: str) -> bool:
    """True for an address that only this computer reaches."""
    return host in LOCAL


def offered(file: Path) -> dict[str, object]:
    """A file of the data folder as an answer that browsers and programs may download.

    Gradio serves what lies in its own folder only, so that a copy is made there, wherever the data folder may be.
    """
    copy = save_file_to_cache(file, get_upload_folder())
    return {"path": copy, "orig_name": file.name, "meta": {"_type": "gradio.FileData"}}


class Door:
    """ASGI middleware. Refuses foreign origins, overlarge bodies and Gradio's developer tools."""

    def __init__(self, app: ASGIApp, *, local: bool) -> None:
        """`local`: only this computer is listened to, so nobody comes under another name."""
        self._app = app
        self._local = local
        self._known = _known()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands on what may come in, answers the rest with a sentence."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), str(scope["path"])
        most = UPLOAD_BYTES if path.rstrip("/").endswith("/upload") else BODY_BYTES
        if any(part in path for part in SHUT):
            await _answer(send, 404, "There is nothing at this address.")
        elif not self._may(headers):
            await _answer(send, 403, "This server answers its own pages only; open its address directly.")
        elif _announced(headers) > most:
            await _answer(send, 413, _too_much(most))
        else:
            await _Counted(self._app, most, receive, send).run(scope)

    def _may(self, headers: Headers) -> bool:
        """Programs send no Origin; browsers send one with everything that could change something."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._local and urlsplit(f"//{host}").hostname not in LOCAL and host not in self._known:
            return False  # somebody's name that was made to lead to this computer
        if origin is None:
            return True
        return urlsplit(origin).netloc in {host, headers.get("x-forwarded-host", host), *self._known} - {""}


class _Counted:
    """One request, cut off when more arrives than may."""

    def __init__(self, app: ASGIApp, most: int, receive: Receive, send: Send) -> None:
        self._app, self._most, self._receive, self._send = app, most, receive, send
        self._seen, self._started, self._refused = 0, False, False

    async def run(self, scope: Scope) -> None:
        try:
            await self._app(scope, self._read, self._write)
        except ClientDisconnect:
            if not self._refused:  # otherwise it was told so here
                raise

    async def _read(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen <= self._most:
            return message
        if not self._started:
            await _answer(self._send, 413, _too_much(self._most))
        self._refused = True
        return {"type": "http.disconnect"}

    async def _write(self, message: Message) -> None:
        self._started = True
        if self._refused:  # the answer has been given
            return
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await self._send(message)


def uploaded(file: object) -> Path:
    """The file that a program's request names, when it is one that was uploaded.

    Gradio looks only at values that claim to be files; here a mere path does not pass either. Raises `ImageError`.
    """
    path = file.get("path") if isinstance(file, dict) else None
    try:
        found = Path(str(path)).resolve() if path else None
        if found and found.is_relative_to(Path(get_upload_folder()).resolve()) and found.is_file():
            return found
    except (OSError, ValueError):
        pass
    raise ImageError("This picture was not uploaded here; upload it first and name what the upload answered.")


def _known() -> frozenset[str]:
    """Further addresses under which the server's own pages are seen: behind a proxy, or in a Space."""
    given = [os.environ.get("SPACE_HOST", ""), *os.environ.get("EXPLORER_ORIGINS", "").split(",")]
    names = (one.strip() for one in given)
    return frozenset(urlsplit(name).netloc if "//" in name else name for name in names if name)


def _announced(headers: Headers) -> int:
    """Bytes that the request says it has; what it does not say is counted on the way."""
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0


def _too_much(most: int) -> str:
    return f"The request is larger than {most // 1_000_000} MB; send less at once."


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
