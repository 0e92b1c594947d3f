"""Who may come in: names, origins, sizes, paths; accounts, and no start without them; arguments of another kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

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
from explorer import middleware
from explorer.accounts import Entrance
from explorer.alerts import UNFORESEEN, guard_handler, guard_server_function
from explorer.middleware import BODY_BYTES, Door, is_shared, uploaded_file
from pipeline.errors import ImageError, SettingsError
from pipeline.store.store import Store


async def _size(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def house(host: str = "127.0.0.1") -> TestClient:
    """A server behind the door that answers how much was sent."""
    methods = ["GET", "POST"]
    paths = ("/", "/gradio_api/upload", "/gradio_api/call/{name}", "/gradio_api/file={path:path}", "/{rest:path}")
    routes = [Route(path, _size, methods=methods) for path in paths]
    served = Starlette(routes=routes, middleware=[Middleware(Door, host=host, pages=["/", "/curate"])])
    return TestClient(served, base_url="http://127.0.0.1:7860" if host == "127.0.0.1" else "http://lab.example")


@pytest.mark.parametrize(
    ("listens", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("127.0.0.1", {"origin": "http://127.0.0.1:7860"}, 200),
        ("127.0.0.1", {"origin": "http://127.0.0.1:3000"}, 403),
        ("127.0.0.1", {"host": "localhost:7860", "origin": "http://localhost:7860"}, 200),
        ("127.0.0.1", {"host": "[::1]:7860", "origin": "http://[::1]:7860"}, 200),
        ("127.0.0.1", {"host": "192.168.1.5:7860"}, 403),
        ("127.0.0.1", {"host": "evil.example", "origin": "http://evil.example"}, 403),
        ("127.0.0.1", {"host": "evil.example"}, 403),
        ("lab.example", {"origin": "http://lab.example"}, 200),
        ("lab.example", {"origin": "https://lab.example"}, 200),
        ("lab.example", {"host": "127.0.0.1:7860"}, 200),
        ("lab.example", {"origin": "https://evil.example"}, 403),
        ("lab.example", {"origin": "https://lab.example.evil.example"}, 403),
        ("lab.example", {"host": "evil.example", "origin": "http://evil.example"}, 403),
        ("lab.example", {"origin": "null"}, 403),
        ("lab.example", {"origin": ""}, 403),
        ("lab.example", {"host": "inner:80", "x-forwarded-host": "lab.example"}, 403),
        ("lab.example", {"x-forwarded-host": "evil.example", "origin": "https://evil.example"}, 403),
        # Wherever it listens, a page whose own name was made to lead here is refused: that is DNS rebinding.
        ("0.0.0.0", {"host": "evil.example:7860", "origin": "http://evil.example:7860"}, 403),
        ("0.0.0.0", {"host": "evil.example:7860"}, 403),
        ("::", {"host": "evil.example:7860", "origin": "http://evil.example:7860"}, 403),
        ("0.0.0.0", {"host": "192.168.1.5:7860", "origin": "http://192.168.1.5:7860"}, 200),
        ("0.0.0.0", {"host": "[fd00::5]:7860", "origin": "http://[fd00::5]:7860"}, 200),
        ("0.0.0.0", {"host": "localhost:7860", "origin": "http://localhost:7860"}, 200),
        ("0.0.0.0", {"host": "[", "origin": "http://["}, 403),
        ("0.0.0.0", {"host": ""}, 403),
    ],
)
def test_names_and_pages_of_others_are_refused(listens: str, headers: dict[str, str], status: int) -> None:
    told = house(listens).post("/gradio_api/call/x", content=b"12345", headers=headers)
    assert told.status_code == status
    assert told.headers["x-content-type-options"] == "nosniff"
    assert told.headers["x-frame-options"] == "SAMEORIGIN"
    assert told.headers["content-security-policy"].startswith("frame-ancestors 'self';")
    assert told.text == "5" if status == 200 else "open its address directly" in told.json()["detail"]


def test_further_addresses_are_named_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORER_ORIGINS", "https://lab.example, other.example:8000")
    monkeypatch.setenv("SPACE_HOST", "me-explorer.hf.space")
    for name in ("https://lab.example", "http://other.example:8000", "https://me-explorer.hf.space"):
        for headers in ({"host": "127.0.0.1:7860", "origin": name}, {"host": name.partition("//")[2]}):
            told = house("0.0.0.0").post("/gradio_api/call/x", headers=headers)
            assert told.status_code == 200
            assert "x-frame-options" not in told.headers
            assert "frame-ancestors 'self' https://huggingface.co;" in told.headers["content-security-policy"]
    assert house().get("/", headers={"host": "lab.example"}).status_code == 200
    assert house("0.0.0.0").post("/", headers={"host": "inner:80"}).status_code == 403


def test_who_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_HOST", raising=False)
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.2"):
        assert not is_shared(host)
    for host in ("0.0.0.0", "::", "192.168.1.5", "lab.example", ""):
        assert is_shared(host)
    monkeypatch.setenv("EXPLORER_ORIGINS", "http://localhost:8000")
    assert not is_shared("127.0.0.1")
    monkeypatch.setenv("EXPLORER_ORIGINS", "https://lab.example")
    assert is_shared("127.0.0.1"), "a proxy leads others here"


def test_a_request_is_of_a_sensible_size(monkeypatch: pytest.MonkeyPatch) -> None:
    uploads = 2 * BODY_BYTES
    monkeypatch.setattr(middleware, "UPLOAD_BYTES", uploads)

    def pieces(size: int) -> Iterator[bytes]:
        yield from (b"x" * 100_000 for _ in range(size // 100_000))

    for path, most in (
        ("/gradio_api/call/x", BODY_BYTES),
        ("/login", BODY_BYTES),
        ("/gradio_api/upload", uploads),
    ):
        assert house().post(path, content=b"x" * most).text == str(most)
        for content in (b"x" * (most + 1), pieces(most + 100_000)):
            told = house().post(path, content=content)
            assert told.status_code == 413
            assert "send less at once" in told.json()["detail"]


SHUT = (
    "/gradio_api/process_recording", "/gradio_api/proxy=http://127.0.0.1:9/", "/gradio_api/dev/reload", "/monitoring",
    "/gradio_api/runs", "/gradio_api/vibe-code/", "/gradio_api/stream/x", "/gradio_api/custom_component/a/b/c/d",
    "/gradio_api/deep_link", "/svelte/x", "/gradio_api/file/etc/passwd", "/anything", "/gradio_api/",
)  # fmt: skip


@pytest.mark.parametrize("path", SHUT)
def test_what_nobody_needs_of_gradio_is_not_there(path: str) -> None:
    told = house().get(path)
    assert told.status_code == 404
    assert told.json()["detail"] == "There is nothing at this address."


def test_no_request_names_a_file_that_was_not_uploaded(tmp_path: Path) -> None:
    folder = Path(get_upload_folder()) / "here"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.png").write_bytes(b"x")
    (tmp_path / "b.png").write_bytes(b"x")
    (folder / "out.png").unlink(missing_ok=True)
    (folder / "out.png").symlink_to(tmp_path / "b.png")
    mine = {"path": str(folder / "a.png"), "meta": {"_type": "gradio.FileData"}}
    assert house().post("/gradio_api/call/x", json={"data": [mine, {"photo": "x"}]}).status_code == 200
    assert house().get(f"/gradio_api/file={folder / 'a.png'}").status_code == 200
    others: tuple[object, ...] = (
        str(tmp_path / "b.png"), str(folder / "out.png"), str(folder), f"{folder}/../..{tmp_path}/b.png",
        "http://example.org/a.png", "file:///etc/passwd", "/proc/self/environ", "a\0b", "", None, 7, ["/etc/passwd"],
        "a.png", "x" * 10_000,
    )  # fmt: skip
    for path in others:
        for body in ({"data": [{"path": path}]}, {"event_data": {"a": [{"b": {"path": path, "url": "x"}}]}}):
            told = house().post("/gradio_api/call/x", json=body)
            assert (told.status_code, "was not uploaded here" in told.text) == (403, True), path
        if isinstance(path, str):
            assert house().get(f"/gradio_api/file={quote(path)}").status_code == 404, path


def test_only_what_was_uploaded_is_a_file(tmp_path: Path) -> None:
    folder = Path(get_upload_folder()) / "here"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.png").write_bytes(b"x")
    (tmp_path / "b.png").write_bytes(b"x")
    assert uploaded_file({"path": str(folder / "a.png")}) == (folder / "a.png").resolve()
    (folder / "link.png").unlink(missing_ok=True)
    (folder / "link.png").symlink_to(tmp_path / "b.png")
    for path in (tmp_path / "b.png", folder / "link.png", folder, folder / ".." / ".." / "b.png", "", None, 7, "a\0b"):
        with pytest.raises(ImageError, match="was not uploaded here"):
            uploaded_file({"path": path if path is None or isinstance(path, int) else str(path)})


def test_arguments_of_another_kind_are_told() -> None:
    @guard_handler
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
    @guard_handler
    def handler(number: float) -> float:
        return 1 / number

    with pytest.raises(gr.Error) as caught:
        handler(0)
    assert caught.value.message == UNFORESEEN
    assert "ZeroDivisionError" in caplog.text


def test_the_page_names_a_file_and_the_log_says_where_it_lies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def open_store(folder: str) -> None:
        Store(tmp_path / folder)

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "explorer.db").write_text("no records, but enough text to be taken for a database" * 20)
    said = "The database explorer.db cannot be opened: it is damaged; restore it from a copy or choose another folder."
    with pytest.raises(gr.Error) as caught:
        guard_handler(open_store)("data")
    assert caught.value.message == said
    assert guard_server_function(open_store)("data") == {"error": said}
    assert caplog.messages == [f"StoreError: {said} ({tmp_path / 'data' / 'explorer.db'})"] * 2


FILE = "# the lab\nada:lovelace\n\n  grace : hopper:1906 \n"


@pytest.mark.parametrize(
    ("host", "given", "accounts"),
    [
        ("127.0.0.1", {}, []),
        ("127.0.0.1", {"line": "ada:love:lace"}, [("ada", "love:lace")]),
        ("127.0.0.1", {"environment": "ada:x\ngrace:y"}, [("ada", "x"), ("grace", "y")]),
        ("0.0.0.0", {"file": FILE}, [("ada", "lovelace"), ("grace", " hopper:1906")]),
        ("0.0.0.0", {"is_open": True}, []),
        ("::", {"environment": "ada:x", "is_open": True}, [("ada", "x")]),
    ],
)
def test_accounts_come_from_a_file_or_the_environment(
    host: str, given: dict[str, object], accounts: list[tuple[str, str]], tmp_path: Path
) -> None:
    if "file" in given:
        (tmp_path / "accounts").write_text(str(given["file"]))
        given = {**given, "file": str(tmp_path / "accounts")}
    assert list(Entrance(host=host, **given).accounts()) == accounts  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "given", "words"),
    [
        ("0.0.0.0", {}, "nobody would be asked who they are; give accounts with --auth-file FILE or EXPLORER_AUTH"),
        ("::", {}, "or let everybody in with --open"),
        ("192.168.1.5", {}, "Others can reach 192.168.1.5"),
        ("0.0.0.0", {"line": "ada:secret"}, "can be read by everybody on this computer"),
        ("0.0.0.0", {"line": "ada:secret", "is_open": True}, "can be read by everybody on this computer"),
        ("127.0.0.1", {"line": "secret"}, "Line 1 of --auth is no account"),
        ("127.0.0.1", {"environment": "ada:x\n:secret"}, "Line 2 of EXPLORER_AUTH is no account"),
        ("127.0.0.1", {"environment": "ada:secret\nada:y"}, "Two accounts have the same name"),
        ("127.0.0.1", {"file": "/nowhere/accounts"}, "cannot be read"),
        ("127.0.0.1", {"file": ""}, "holds no account"),
    ],
)
def test_a_server_that_would_be_open_unasked_does_not_start(
    host: str, given: dict[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EXPLORER_ORIGINS", raising=False)
    if given.get("file") == "":
        (tmp_path / "accounts").write_text("# nobody\n")
        given = {"file": str(tmp_path / "accounts")}
    with pytest.raises(SettingsError, match=words) as caught:
        Entrance(host=host, **given).accounts()  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "words"),
    [
        ([], {}, 0, ""),
        (["--host", "0.0.0.0"], {}, 2, "nobody would be asked who they are"),
        ([], {"GRADIO_SERVER_NAME": "0.0.0.0"}, 2, "nobody would be asked who they are"),
        ([], {"EXPLORER_ORIGINS": "https://lab.example"}, 2, "a name that leads here"),
        (["--host", "0.0.0.0", "--auth", "ada:lovelace"], {}, 2, "can be read by everybody"),
        (["--auth", "ada:lovelace"], {}, 0, "can be read by everybody"),
        (["--host", "0.0.0.0"], {"EXPLORER_AUTH": "ada:lovelace"}, 0, ""),
        (["--host", "0.0.0.0", "--open"], {}, 0, "Everybody who reaches this address"),
        (["--host", "0.0.0.0"], {"EXPLORER_OPEN": "1"}, 0, "Everybody who reaches this address"),
        (["--host", "0.0.0.0"], {"EXPLORER_OPEN": "0"}, 2, "nobody would be asked"),
        ([], {"GRADIO_SERVER_NAME": "0.0.0.0", "SPACE_ID": "me/x", "SPACE_HOST": "me-x.hf.space"}, 0, "Everybody"),
        (["--models", "/nowhere"], {}, 2, "There is no folder 'nowhere'; give --models one that is there. (/nowhere)"),
    ],
)
def test_the_program_refuses_in_one_sentence(
    arguments: list[str], environment: dict[str, str], status: int, words: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in ("GRADIO_SERVER_NAME", "EXPLORER_AUTH", "EXPLORER_OPEN", "EXPLORER_ORIGINS", "SPACE_ID", "SPACE_HOST"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    served: list[object] = []
    monkeypatch.setattr("sys.argv", ["app.py", *arguments])
    monkeypatch.setattr(program, "serve", lambda options, accounts: served.append(accounts))
    assert program.main() == status
    told = capsys.readouterr().err
    assert len(served) == (status == 0)
    assert words in told
    assert len(told.splitlines()) == bool(words)
    assert "lovelace" not in told
