"""The front door: under which names the server answers, whose pages may talk to it, what of Gradio stays shut, how much
comes in at once, and that no request names a file that was not uploaded.

Gradio limits single files and, on localhost, foreign pages; the rest is here, as ASGI middleware before its routes.
docs/security.md lists every door with what guards it.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import ImageError

LOCAL = ("localhost", "127.0.0.1", "::1")
UPLOAD_BYTES = 512_000_000  # a request of uploads: files of at most `max_file_size` each, and their frame
BODY_BYTES = 2_000_000  # any other request: captions and settings, never pictures
FILE, UPLOAD, LOGIN = "/gradio_api/file=", "/gradio_api/upload", "/login"
# What is open beside the pages: what they and programs need of Gradio, whose tools for making, recording and watching
# applications stay shut.
ROUTES = (
    r"/((login|logout|config|theme\.css|favicon\.ico|robots\.txt|manifest\.json|pwa_icon(/\d+)?|static/.+|assets/.+)/?)?"
    r"|/gradio_api/(info|openapi\.json|app_id|user|token|login_check|startup-events|theme\.css|heartbeat/[^/]+|"
    r"queue/(join|data|status)|call/(v2/)?[^/]+(/[^/]+)?|run/[^/]+|api/[^/]+|cancel|reset|upload|upload_progress|"
    r"component_server|file=.+)/?"
)
FRAMES = "https://huggingface.co"  # whose page shows a Space in a frame
STRANGE_NAME = "This server does not answer to this name; open its address directly, or name it in EXPLORER_ORIGINS."
STRANGE_PAGE = "This server answers its own pages only; open its address directly."
STRANGE_FILE = "The request names a file that was not uploaded here; upload it first and name what the upload answered."
NOTHING = "There is nothing at this address."


def is_local(host: str) -> bool:
    """Return whether only this computer reaches the address."""
    return host in LOCAL or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_shared(host: str) -> bool:
    """Return whether others can reach the server: by the address it listens on, or by a name that leads to it."""
    return not is_local(host) or any(not is_local(_host_name(place) or "") for place in _trusted_hosts())


def open_routes(pages: Iterable[str]) -> re.Pattern[str]:
    """Return what matches every path that may be asked for, with or without a slash at its end."""
    return re.compile("|".join((ROUTES, *(f"{re.escape(page)}/?" for page in pages if page != "/"))))


def offer_download(file: Path) -> dict[str, object]:
    """Return a file of the data folder as an answer that browsers and programs may download.

    Gradio serves what lies in its own folder only, so that a copy is made there, wherever the data folder may be.
    """
    copy = save_file_to_cache(file, get_upload_folder())
    return {"path": copy, "orig_name": file.name, "meta": {"_type": "gradio.FileData"}}


def uploaded_file(file: object) -> Path:
    """Return the file that a program's request names. Raises `ImageError` when it was not uploaded."""
    path = file.get("path") if isinstance(file, dict) else None
    found = _among_uploads(path)
    if found is None:
        raise ImageError("This picture was not uploaded here; upload it first and name what the upload answered.")
    return found


class Door:
    """ASGI middleware that refuses foreign names, pages and files, overlarge bodies and what of Gradio nobody needs."""

    def __init__(self, app: ASGIApp, *, host: str, pages: Sequence[str]) -> None:
        """Set up the door of a server that listens on `host` and has these pages."""
        self._app = app
        self._known = _trusted_hosts()
        self._names = frozenset({*LOCAL, host, *filter(None, map(_host_name, self._known))})
        self._by_address = not is_local(host)
        self._headers = _headers()
        self._routes = open_routes(pages)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what may come in, answer the rest with a sentence."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # Gradio has no WebSockets
            await send({"type": "websocket.close", "code": 1008})
            return
        path = str(scope["path"])
        most = UPLOAD_BYTES if path.rstrip("/") == UPLOAD else BODY_BYTES
        counted = _Counted(self._app, most, receive, send, self._headers)
        if refused := self._refusal(path, Headers(scope=scope), most):
            await _send_sentence(counted.write, *refused)
        elif scope["method"] == "POST" and path.rstrip("/") not in (UPLOAD, LOGIN):
            await counted.run_checked(scope)
        else:
            await counted.run(scope)

    def _refusal(self, path: str, headers: Headers, most: int) -> tuple[int, str] | None:
        """Return status and sentence for what may not come in; None for what may."""
        if not self._answers_to(headers.get("host", "")):
            return 403, STRANGE_NAME
        if not self._is_own(headers):
            return 403, STRANGE_PAGE
        if not self._routes.fullmatch(path) or (
            path.startswith(FILE) and _among_uploads(path.removeprefix(FILE)) is None
        ):
            return 404, NOTHING
        return (413, _too_large_sentence(most)) if _content_length(headers) > most else None

    def _answers_to(self, host: str) -> bool:
        """Return whether the server has this name; somebody's name made to lead here (DNS rebinding) is none.

        That attack needs a name, no bare address.
        """
        name = _host_name(host)
        return name is not None and (name in self._names or (self._by_address and _is_address(name)))

    def _is_own(self, headers: Headers) -> bool:
        """Return whether the request comes from a page of this server, or from a program.

        Programs send no Origin; browsers send one with everything that could change something.
        """
        origin = headers.get("origin")
        return origin is None or urlsplit(origin).netloc in {headers.get("host", ""), *self._known} - {""}


class _Counted:
    """One request, cut off when more arrives than may."""

    def __init__(
        self, app: ASGIApp, most: int, receive: Receive, send: Send, headers: tuple[tuple[str, str], ...]
    ) -> None:
        self._app, self._most, self._receive, self._send, self._headers = app, most, receive, send, headers
        self._seen, self._started, self._refused = 0, False, False

    async def run(self, scope: Scope) -> None:
        """Hand the request on as it comes."""
        await self._run(scope, self._read)

    async def run_checked(self, scope: Scope) -> None:
        """Hand the request on once all of it is here and names no foreign file."""
        parts, more = [], True
        while more:
            message = await self._read()
            if message["type"] != "http.request":  # too much, which was answered, or nobody there any more
                return
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        body = b"".join(parts)
        if _names_foreign_file(body):
            await _send_sentence(self.write, 403, STRANGE_FILE)
            return
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return messages.pop() if messages else await self._receive()

        await self._run(scope, again)

    async def _run(self, scope: Scope, read: Receive) -> None:
        try:
            await self._app(scope, read, self.write)
        except ClientDisconnect:
            if not self._refused:  # otherwise it was told so here
                raise

    async def _read(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen <= self._most:
            return message
        if not self._started:
            await _send_sentence(self.write, 413, _too_large_sentence(self._most))
        self._refused = True
        return {"type": "http.disconnect"}

    async def write(self, message: Message) -> None:
        """Hand an answer on, with the headers of the house."""
        self._started = True
        if self._refused:  # the answer has been given
            return
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message.get("headers", ())))
            for name, value in self._headers:
                headers[name] = value
            message = {**message, "headers": headers.raw}
        await self._send(message)


def _among_uploads(path: object) -> Path | None:
    """Return the file that a path leads to, links and all, when it lies among uploads and downloads."""
    if not isinstance(path, str) or not Path(path).is_absolute():
        return None
    try:
        found = Path(path).resolve(strict=True)
        return found if found.is_relative_to(Path(get_upload_folder()).resolve()) and found.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long, with a NUL, a circle of links
        return None


def _names_foreign_file(body: bytes) -> bool:
    """Return whether a JSON body claims a file that was not uploaded: Gradio would fetch addresses."""
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):  # no JSON, which Gradio refuses
        return False
    return any("path" in file and _among_uploads(file["path"]) is None for file in _objects(sent))


def _objects(value: object) -> Iterator[dict[str, object]]:
    """Yield every object of a JSON value, however deep."""
    left = [value]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            yield node
            left.extend(node.values())
        elif isinstance(node, list):
            left.extend(node)


def _trusted_hosts() -> frozenset[str]:
    """Return further addresses under which the server's own pages are seen: behind a proxy, or in a Space."""
    given = [os.environ.get("SPACE_HOST", ""), *os.environ.get("EXPLORER_ORIGINS", "").split(",")]
    names = (name.strip() for name in given)
    return frozenset(urlsplit(name).netloc if "//" in name else name for name in names if name)


def _host_name(host: str) -> str | None:
    """Return the name of a host with or without a port; None for what is no host."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _headers() -> tuple[tuple[str, str], ...]:
    """Return what every answer says to a browser; a Space is shown in a frame of the hub's page."""
    in_space = bool(os.environ.get("SPACE_HOST", ""))
    frames = f"'self' {FRAMES}" if in_space else "'self'"
    policy = f"frame-ancestors {frames}; object-src 'none'; base-uri 'self'; form-action 'self'"
    return (
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        *(() if in_space else (("x-frame-options", "SAMEORIGIN"),)),
    )


def _content_length(headers: Headers) -> int:
    """Return the bytes that the request says it has; what it does not say is counted on the way."""
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0


def _too_large_sentence(most: int) -> str:
    return f"The request is larger than {most // 1_000_000} MB; send less at once."


async def _send_sentence(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
