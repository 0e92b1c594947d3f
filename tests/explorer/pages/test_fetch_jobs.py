"""A classifier is fetched from a hub for a visitor: its size is told first, a job brings it, and pages go on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from pipeline.store.jobs import CANCELLED, DONE, FAILED, Job
from pipeline.store.store import Store
from tests import hostile
from tests.hub import COMMIT, hub
from tests.own_classifiers import timm_folder
from tests.served import PATIENCE, Server, served

GOOD = hostile.saved(hostile.picture(96, 96, seed=7))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The application beside a hub with models of 0.3 MB, one of which stops in the middle."""
    root = tmp_path_factory.mktemp("fetched")
    for name in ("good", "silent", "foreign"):
        (root / "hub" / "me").mkdir(parents=True, exist_ok=True)
        timm_folder(root / "hub" / "me" / name)
    (root / "hub" / "me" / "foreign" / "config.json").write_text('{"architecture": "no_such_network"}')
    (root / "hub" / "me" / "large").mkdir()
    (root / "hub" / "me" / "large" / "model.safetensors").write_bytes(b"\0" * 3_000_000)
    with hub(root / "hub") as address:
        given = {"HF_ENDPOINT": address, "HF_HOME": str(root / "home"), "HF_HUB_OFFLINE": "0"}
        with served(root, **given, EXPLORER_FETCH_LIMIT="0.002") as made:
            yield made


def asked(server: Server, function: str, *values: object) -> str:
    """What the page is told."""
    _, told = server.page(server.function(function), list(values))
    return told


def ended(server: Server, title: str) -> Job:
    """The job whose title has this in it, once it has ended."""
    until = time.monotonic() + PATIENCE
    store = Store.existing(server.data)
    try:
        while time.monotonic() < until:
            for job in store.jobs.all():
                if title in job.title and not job.active:
                    return job
            time.sleep(0.1)
    finally:
        store.close()
    pytest.fail(f"no job '{title}' ended")


def classified(server: Server, classifier: str) -> tuple[bool, str]:
    there, path = server.upload(GOOD, "good.png")
    assert there
    return server.call("classify", {"path": path, "meta": {"_type": "gradio.FileData"}}, classifier, "")


def test_its_size_is_told_first_and_then_a_job_brings_it(server: Server) -> None:
    told = asked(server, "add_own", "me/good", "", "mine")
    assert f"me/good at {COMMIT[:12]} is not on this computer: 1 MB would be fetched" in told
    assert not Store.existing(server.data).jobs.all(), "nothing was begun"
    assert not classified(server, "mine")[0]
    assert "Fetching me/good, 1 MB, to be called mine: started" in asked(server, "fetch_own", "me/good", "mine")
    fetching = ended(server, "Fetching me/good")
    assert (fetching.state, fetching.analyst) == (DONE, "ada")
    assert ended(server, "Adding the classifier mine").state == DONE
    accepted, answer = classified(server, "mine")
    assert accepted, answer
    ((_, top),) = json.loads(answer)
    assert len(top) == 5
    noted = (server.data / "classifiers" / "mine" / "named.txt").read_text()
    assert noted == f"hf-hub:me/good@{COMMIT}\n"
    assert "can be chosen now" in asked(server, "add_own", "me/good", "", "again"), "it is here by now"


def test_pages_go_on_while_it_comes_and_a_cancel_ends_it(server: Server) -> None:
    asked(server, "fetch_own", "me/silent", "slow")
    store = Store.existing(server.data)
    job = next(job for job in store.jobs.all() if "silent" in job.title)
    until = time.monotonic() + PATIENCE
    while store.jobs.all()[0].state != "running" and time.monotonic() < until:
        time.sleep(0.05)
    assert classified(server, "")[0]
    latest = store.jobs.get(job.id)
    assert latest is not None
    assert latest.state == "running"
    store.jobs.cancel(job.id)
    assert ended(server, "silent").state == CANCELLED  # though nothing comes that could notice
    assert not [child for child in server.process.children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]
    store.close()
    assert not (server.data / "classifiers" / "slow").exists()


def test_what_is_too_large_is_refused_before_it_begins(server: Server) -> None:
    for function in ("add_own", "fetch_own"):
        values = ("me/large", "", "big") if function == "add_own" else ("me/large", "big")
        accepted, told = server.page(server.function(function), list(values))
        assert not accepted
        assert "me/large has 3 MB to fetch, and this server fetches at most 2 MB at once" in told
    assert not [job for job in Store.existing(server.data).jobs.all() if "large" in job.title]


def test_what_is_no_classifier_is_fetched_and_not_kept(server: Server) -> None:
    asked(server, "fetch_own", "me/foreign", "odd")
    assert ended(server, "Fetching me/foreign").state == DONE
    assert ended(server, "Adding the classifier odd").state == FAILED
    assert not classified(server, "odd")[0]
