"""Who may come in: origins, names, sizes, paths; the warning when nobody has to sign in; arguments of another kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import gradio as gr
import pytest
from gradio.utils import get_upload_folder
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

import app as program
from explorer.alerts import UNFORESEEN, shown
from explorer.components.markup import without_folders
from explorer.door import BODY_BYTES, UPLOAD_BYTES, Door, uploaded
from pipeline.errors import ImageError


async def _size(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def house(*, local: bool) -> TestClient:
    """A server behind the door that answers how much was sent."""
    methods = ["GET", "POST"]
    routes = [Route("/", _size, methods=methods), Route("/gradio_api/upload", _size, methods=methods)]
    served = Starlette(routes=routes, middleware=[Middleware(Door, local=local)])
    return TestClient(served, base_url="http://127.0.0.1:7860" if local else "http://lab.example")


@pytest.mark.parametrize(
    ("local", "headers", "status"),
    [
        (True, {}, 200),
        (True, {"origin": "http://127.0.0.1:7860"}, 200),
        (True, {"origin": "http://127.0.0.1:3000"}, 403),
        (True, {"host": "localhost:7860", "origin": "http://localhost:7860"}, 200),
        (True, {"host": "evil.example", "origin": "http://evil.example"}, 403),
        (True, {"host": "evil.example"}, 403),
        (False, {"origin": "http://lab.example"}, 200),
        (False, {"origin": "https://lab.example"}, 200),
        (False, {"origin": "https://evil.example"}, 403),
        (False, {"origin": "https://lab.example.evil.example"}, 403),
        (False, {"origin": "null"}, 403),
        (False, {"origin": ""}, 403),
        (False, {"host": "inner:80", "x-forwarded-host": "lab.example", "origin": "https://lab.example"}, 200),
        (False, {"host": "inner:80", "origin": "https://lab.example"}, 403),
    ],
)
def test_pages_of_others_are_refused(local: bool, headers: dict[str, str], status: int) -> None:
    told = house(local=local).post("/", content=b"12345", headers=headers)
    assert told.status_code == status
    assert told.headers["x-content-type-options"] == "nosniff"
    assert told.text == "5" if status == 200 else "own pages only" in told.json()["detail"]


def test_further_addresses_are_named_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORER_ORIGINS", "https://lab.example, other.example:8000")
    monkeypatch.setenv("SPACE_HOST", "me-explorer.hf.space")
    for origin in ("https://lab.example", "http://other.example:8000", "https://me-explorer.hf.space"):
        headers = {"host": "inner:80", "origin": origin}
        assert house(local=False).post("/", headers=headers).status_code == 200
    assert house(local=True).get("/", headers={"host": "lab.example"}).status_code == 200


def test_a_request_is_of_a_sensible_size() -> None:
    def pieces(size: int) -> Iterator[bytes]:
        yield from (b"x" * 100_000 for _ in range(size // 100_000))

    for path, most in (("/", BODY_BYTES), ("/gradio_api/upload", UPLOAD_BYTES)):
        assert house(local=True).post(path, content=b"x" * most).text == str(most)
        for content in (b"x" * (most + 1), pieces(most + 100_000)):
            told = house(local=True).post(path, content=content)
            assert told.status_code == 413
            assert "send less at once" in told.json()["detail"]
    for path in ("/gradio_api/process_recording", "/gradio_api/proxy=http://127.0.0.1:9/"):
        assert house(local=True).get(path).status_code == 404


def test_only_what_was_uploaded_is_a_file(tmp_path: Path) -> None:
    folder = Path(get_upload_folder()) / "here"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.png").write_bytes(b"x")
    (tmp_path / "b.png").write_bytes(b"x")
    assert uploaded({"path": str(folder / "a.png")}) == (folder / "a.png").resolve()
    (folder / "link.png").unlink(missing_ok=True)
    (folder / "link.png").symlink_to(tmp_path / "b.png")
    for path in (tmp_path / "b.png", folder / "link.png", folder, folder / ".." / ".." / "b.png", "", None, 7, "a\0b"):
        with pytest.raises(ImageError, match="was not uploaded here"):
            uploaded({"path": path if path is None or isinstance(path, int) else str(path)})


def test_arguments_of_another_kind_are_told() -> None:
    @shown
    def handler(text: str, number: float = 0.0, many: Sequence[str] = (), event: gr.EventData | None = None) -> str:
        return f"{text} {1 / number if number else 0}"

    assert handler("a dog") == "a dog 0"
    for values, words in (
        ((7,), "'text' is of another kind than expected; give a text"),
        (("x" * 20_001,), "'text' has 20,001 characters"),
        (("a\0b",), "a NUL character"),
        (("\ud83d",), "half a character"),
        (("a", float("nan")), "not finite"),
        (("a", "b"), "give a number"),
        (("a", 1.0, "abc"), "give a list"),
        (("a", 1.0, ["b", "\ud83d"]), "'many' holds half a character"),
        (("a", 1.0, ["b"] * 1001), "1,001 entries"),
    ):
        with pytest.raises(gr.Error, match=words):
            handler(*values)  # type: ignore[arg-type]


def test_an_unforeseen_fault_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    @shown
    def handler(number: float) -> float:
        return 1 / number

    with pytest.raises(gr.Error) as caught:
        handler(0)
    assert caught.value.message == UNFORESEEN
    assert "ZeroDivisionError" in caplog.text


def test_folders_of_the_server_stay_on_the_server() -> None:
    told = "The classifier '/home/ada/models/mine' is not in /srv/data/a.png; see https://example.org/a/b or 3/4."
    assert without_folders(told) == "The classifier 'mine' is not in a.png; see https://example.org/a/b or 3/4."
    assert without_folders("open local-dir:/srv/models/mine") == "open local-dir:mine"
    assert without_folders("width/height and reinforced/first") == "width/height and reinforced/first"


@pytest.mark.parametrize(
    ("arguments", "warned"),
    [
        ([], False),
        (["--host", "0.0.0.0"], True),
        (["--host", "::"], True),
        (["--host", "0.0.0.0", "--auth", "ada:lovelace"], False),
    ],
)
def test_an_open_address_is_told_loudly(
    arguments: list[str], warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["app.py", *arguments])
    monkeypatch.setattr(program, "serve", lambda options: None)
    assert program.main() == 0
    assert (program.OPEN in capsys.readouterr().err) == warned
