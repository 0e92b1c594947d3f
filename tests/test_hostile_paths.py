"""Every text of tests/hostile_paths.py through every door: nothing of a file and no folder of the server comes back.

The doors of the pages are those that the running application tells of, so that a new one is tried too.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import httpx
import pytest

from pipeline.errors import DataError
from pipeline.store.store import Store
from pipeline.tasks.studying import FolderTask, folder_task, list_folders
from tests import hostile
from tests.hostile_paths import paths
from tests.seams import SeamModels
from tests.served import SHOWS, Answer, Server, served
from tests.test_hostile import ordinary

LINES = 12_347  # of the secret: a number that nothing else says
CANARY = "canary-of-the-secret-file"
KEYS = ("do", "photo", "classifier", "frame", "key", "job", "label", "factor", "caption", "text", "example", "revision")
SENT = (
    "order", "state", "by_label", "by_factor", "by_tag", "text", "analyst", "after", "before", "at", "key", "act",
    "verdict", "reason", "label", "tag",
)  # fmt: skip
# These take words, numbers and names of the records, and nothing that becomes a file's name.
QUIET = re.compile(
    r"(caption|others|answer|take_labels|start_photos|relabel|rewrite|suggest|write_own|run|study|cancel|pick|look|keep|"
    r"reject|take_back|preview|renewed|draw|redraw|tell_words|tell_scores|tell_cells|tell_values|poll|slide|open_cell|"
    r"deck|act|show)(_\d+)?\b|caption,|perturb|edit|decide"
)
SAMPLE = 5
FILE = {"meta": {"_type": "gradio.FileData"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("paths")
    (root / "private").mkdir()
    secret = root / "private" / "secret.txt"
    secret.write_text("".join(f"{CANARY}-{number}\n" for number in range(LINES)))
    (root / "private" / "link").symlink_to(secret)
    for place in ("models", "folders"):  # what whoever works on the server may have left there
        (root / "data" / place).mkdir(parents=True)
        (root / "data" / place / "out").symlink_to(root / "private")
    with served(root) as made:
        yield made


@pytest.fixture(scope="module")
def texts(server: Server) -> list[tuple[str, str]]:
    root = server.data.parent
    return list(paths(root / "private" / "secret.txt", root / "uploads"))


def refuse_leak(server: Server, door: str, name: str, text: str, answer: Answer) -> None:
    """Fails when the answer holds anything of a file or the server's; what the visitor wrote may come back."""
    accepted, said = answer
    written = {text, json.dumps(text)[1:-1], quote(text), text.rpartition("/")[2], PurePosixPath(text).as_posix()}
    cut = {caption[:most] for caption in written for most in (40, 60, 80, 200)}  # as messages shorten it
    cut |= {caption[:12] for caption in written if not str(server.data).startswith(caption[:12])}  # and a key
    for own in sorted(written | cut, key=len, reverse=True):
        said = said.replace(own, "") if own else said
    where = f"{door}, {name}: {said[:400]}"
    assert server.process.is_running(), where
    assert CANARY not in said, where
    assert "root:x:" not in said, where
    assert not re.search(rf"\b{LINES}\b|12,347", said), where
    assert accepted or not SHOWS.search(said), where
    assert accepted or str(server.data.parent) not in said, where


def every(server: Server, texts: Sequence[tuple[str, str]], doors: Mapping[str, Callable[[str], Answer]]) -> None:
    """Each text through each door, several at once; where a door does not look at texts at all, a sample of them."""

    def check(sent: tuple[str, Callable[[str], Answer], str, str]) -> None:
        door, ask, name, text = sent
        try:
            answer = ask(text)
        except (httpx.InvalidURL, httpx.RemoteProtocolError):  # no such request can be sent
            answer = (False, "")
        refuse_leak(server, door, name, text, answer)

    asked = [
        (door, ask, name, text)
        for number, (door, ask) in enumerate(doors.items())
        for name, text in (texts if not QUIET.match(door) else texts[number % SAMPLE :: SAMPLE])
    ]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(check, asked))
    server.counts["paths", f"through {len(doors)} doors of {next(iter(doors))}"] += len(asked)


def test_endpoints(server: Server, texts: list[tuple[str, str]]) -> None:
    place = ordinary(server)
    _, good = server.upload(hostile.saved(hostile.picture(64, 64)), "a.png")
    uploaded = {"path": good, **FILE}
    every(
        server,
        texts,
        {
            "classify, file": lambda text: server.call("classify", {"path": text, **FILE}, "", ""),
            "classify, file without its mark": lambda text: server.call("classify", {"path": text}, "", ""),
            "classify, address": lambda text: server.call("classify", {"path": "", "url": text, **FILE}, "", ""),
            "classify, classifier": lambda text: server.call("classify", uploaded, text, ""),
            "classify, label": lambda text: server.call("classify", uploaded, "", text),
            "caption, photo": lambda text: server.call("caption", text, "a dog"),
            "caption, photo's classifier": lambda text: server.call(
                "caption", f"{place.partition('@')[0]}@{text}", "x"
            ),
            "perturb, photo": lambda text: server.call("perturb", text, ["background"], ""),
            "perturb, factor": lambda text: server.call("perturb", place, [text], ""),
            "perturb, label": lambda text: server.call("perturb", place, ["background"], text),
            "edit, photo": lambda text: server.call("edit", text, "a dog", [0.5], 4, False),
            "decide, counterfactual": lambda text: server.call("decide", text, "keep", "", ""),
            "decide, verdict": lambda text: server.call("decide", "x", text, text, text),
            "freeze, name": lambda text: server.call("freeze", text),
            "export, name": lambda text: server.call("export", text, 0),
            "reinforce, set": lambda text: server.call("reinforce", text, "", 0.3),
            "reinforce, classifier": lambda text: server.call("reinforce", "", text, 0.3),
        },
    )
    ordinary(server)


def test_every_function_of_the_pages(server: Server, texts: list[tuple[str, str]]) -> None:
    """All values and all of the event are the text, on a page that has a photo open."""
    key, _, classifier = ordinary(server).partition("@")
    restore, asked_for = server.function("restore"), f"photo={key}&classifier={quote(classifier)}"

    def open_photo() -> None:
        if not hasattr(server.visitor, "photo"):
            accepted, told = server.page(restore, [], None, asked_for)
            assert accepted, told
            assert key in told
            server.visitor.photo = key

    doors: dict[str, Callable[[str], Answer]] = {}
    config = server.client.get("/config").json()
    for function in config["dependencies"]:
        name, number, many = str(function["api_name"]), int(function["id"]), len(function["inputs"])
        takes_event = any(target[1] == "act" for target in function["targets"])
        if name.startswith(("js_fn", "change")) or not (many or takes_event):  # no text of it is used
            continue

        def ask(text: str, number: int = number, many: int = many) -> Answer:
            open_photo()
            return server.page(number, [text] * many, dict.fromkeys(KEYS, text))

        doors[name] = ask
    assert {"add_own", "fetch_own", "reclassify", "start", "start_folder", "promote_run", "act_2"} <= set(doors)
    every(server, texts, doors)
    ordinary(server)


def test_files_on_the_pages(server: Server, texts: list[tuple[str, str]]) -> None:
    receive = server.function("receive")
    every(
        server,
        texts,
        {
            "receive": lambda text: server.page(receive, [[{"path": text, **FILE}]]),
            "receive, without its mark": lambda text: server.page(receive, [[{"path": text}]]),
            "receive, plain": lambda text: server.page(receive, [[text]]),
        },
    )
    ordinary(server)


def test_server_functions(server: Server, texts: list[tuple[str, str]]) -> None:
    parts = server.client.get("/config").json()["components"]
    ids = {component["props"].get("elem_id"): component["id"] for component in parts}

    def asking(part: str, function: str) -> Callable[[str], Answer]:
        def ask(text: str) -> Answer:
            named = {"key": text, "label": text, "expected": text}
            data = {**dict.fromkeys(SENT, text), "items": [named], "photos": [named]}
            few = {"key": text, "act": text, "analyst": text, "items": [named], "photos": [named], "verdict": "keep"}
            said = ""
            for sent in (data, few, {"path": text}):
                body = {"data": sent, "component_id": ids[part], "session_hash": "x", "fn_name": function}
                said += server.client.post("/gradio_api/component_server", json=body).text
            return False, said

        return ask

    deck = ("look", "tally", "strengths", "decide", "take_back", "do_again", "__class__")
    every(server, texts, {f"deck, {name}": asking("deck", name) for name in deck})
    every(server, texts, {f"label grid, {name}": asking("label-grid", name) for name in ("waiting", "say")})
    every(server, texts, {"function's own name": lambda text: asking("deck", text)("x")})


def test_addresses(server: Server, texts: list[tuple[str, str]]) -> None:
    def got(address: str) -> Callable[[str], Answer]:
        def ask(text: str) -> Answer:
            said = ""
            for written in (text, quote(text, safe=""), quote(quote(text, safe=""), safe="")):
                told = server.client.get(address + written)
                assert told.status_code != 200 or told.headers["content-type"].startswith("text/html"), address
                said += "" if told.status_code == 200 else told.text
            return False, said

        return ask

    pages = ("/curate/", "/?photo=", "/?classifier=", "/?frame=")
    files = ("/gradio_api/file=", "/gradio_api/file/", "/static/", "/assets/", "/svelte/", "/pwa_icon/")
    for address in (*files, *pages, "/gradio_api/proxy=", "/gradio_api/call/classify/"):
        every(server, texts, {address: got(address)})

    def asked(function: str) -> Callable[[str], Answer]:
        number = server.function(function)

        def ask(text: str) -> Answer:
            names = ("photo", "classifier", "frame", "run", "set", "label", "factor", "state", "job", "deep_link")
            query = "&".join(f"{name}={quote(text, safe='')}" for name in names)
            return server.page(number, [], None, query)

        return ask

    # What a page reads of its address when it is opened.
    every(
        server, texts, {f"address of the page, {name}": asked(name) for name in ("restore", "restore_1", "restore_2")}
    )
    ordinary(server)


def test_names_of_uploads_and_what_lists_and_archives_name(server: Server, texts: list[tuple[str, str]]) -> None:
    picture = hostile.saved(hostile.picture(48, 48, seed=3))

    def listed(text: str, name: str) -> Answer:
        return server.receive(f'path,label\n"{text}",sled\n'.encode(errors="replace"), name)

    def packed(member: str, content: str) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("a/a.png", picture)
            archive.writestr(member, content)
        return buffer.getvalue()

    def metadata(text: str) -> Answer:
        return server.receive(packed("metadata.jsonl", json.dumps({"file_name": text, "label": "x"})), "a.zip")

    def member(text: str) -> Answer:
        return server.receive(packed(text.replace("\0", "") or "x", CANARY), "a.zip")

    def upload(text: str) -> Answer:
        told = server.client.post("/gradio_api/upload", files={"files": (text, b"no picture")})
        if told.status_code != 200:
            return False, told.text
        (path,) = told.json()
        assert Path(path).resolve().parent.parent == (server.data.parent / "uploads").resolve()
        return True, ""

    def archived_list(text: str) -> Answer:
        return server.receive(packed("list.csv", f'path,label\n"{text}",x\n'), "a.zip")

    short = [(name, text) for name, text in texts if "\0" not in text]
    doors = {"list": lambda text: listed(text, "a.csv"), "list in an archive": archived_list, "metadata": metadata}
    every(server, short, doors)
    every(server, short, {"member of an archive": member, "name of an upload": upload})
    ordinary(server)


def test_nothing_was_kept_of_it(server: Server) -> None:
    store = Store.existing(server.data)
    assert not store.sets()
    assert not [job for job in store.jobs.all() if job.kind in ("folder", "fetch", "classifier", "reinforcement")]
    store.close()
    assert not list((server.data / "classifiers").glob("*"))
    for file in server.data.rglob("*"):
        if file.is_file() and file.suffix != ".png":
            assert CANARY.encode() not in file.read_bytes(), file.name


def test_a_job_of_a_folder_is_one_of_the_list(tmp_path: Path) -> None:
    """Also when its record was written by somebody else: links out of the folder, and names that climb."""
    store = Store(tmp_path / "data")
    (tmp_path / "outside" / "sled").mkdir(parents=True)
    hostile.picture(48, 48).save(tmp_path / "outside" / "sled" / "a.png")
    (tmp_path / "data" / "folders" / "own" / "sled").mkdir(parents=True)
    hostile.picture(48, 48).save(tmp_path / "data" / "folders" / "own" / "sled" / "a.png")
    (tmp_path / "data" / "folders" / "link").symlink_to(tmp_path / "outside")
    assert list_folders(store) == ("own",)
    models = SeamModels()
    settings = models.profile.settings
    assert folder_task(store, "own", "", settings).folder == "own"
    for name in ("link", "../../outside", str(tmp_path / "outside"), "own/../../../outside", "..", ""):
        with pytest.raises(DataError, match="There is no folder"):
            folder_task(store, name, "", settings)
        task = FolderTask(folder=name, contents="", classifier="", settings=settings)
        with pytest.raises(DataError, match="There is no folder"):
            next(task.run(None, models, store, None))  # type: ignore[arg-type]
    store.close()
