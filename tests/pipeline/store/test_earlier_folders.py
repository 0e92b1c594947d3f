"""Data folders that earlier versions wrote: all that was in them is there, the page opens them, work goes on.

The folders lie in tests/data/folders, with what the code that wrote them read back from each as `expected.json`.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sql

from explorer.desk import Desk
from explorer.pages.curate.triage import Triage
from explorer.pages.explore import photo
from explorer.pages.insights import insights
from explorer.pages.jobs import jobs
from pipeline import workflow
from pipeline.curation.catalogue import Catalogue
from pipeline.images import open_image
from pipeline.store import maintenance
from pipeline.store.database import FILE
from pipeline.store.jobs import CANCELLED, DONE, FAILED, RUNNING, WAITING
from pipeline.store.store import Store
from pipeline.tasks import studio
from pipeline.types import FOLDER, UNKNOWN, Decision, Prediction
from tests.postgres import Server
from tests.seams import SETTINGS, SeamModels

PATIENCE = 120.0  # seconds, on a busy machine

FOLDERS = Path(__file__).resolve().parents[2] / "data" / "folders"
SAID = {"v1": 0, "v2": 2, "v3": 2, "v4": 2, "v5-first": 2, "v5": 2}  # captions that analysts wrote
SERVED = [pytest.param(f"{version} on a server", marks=pytest.mark.slow) for version in ("v4", "v5")]
KEPT = ("v1", "v2", "v3", "v4", "v5", "v5-first", *SERVED)


@dataclass
class Earlier:
    """A copy of an earlier folder, opened by today's program, and what it held."""

    name: str
    root: Path
    address: str
    expected: dict[str, Any]
    _opened: list[Store] = field(default_factory=list)

    def open(self) -> Store:
        """The folder, as another process opens it."""
        self._opened.append(Store(self.root, self.address))
        return self._opened[-1]

    def close(self) -> None:
        for held in self._opened:
            held.close()

    @property
    def shown(self) -> list[dict[str, Any]]:
        """Its studies under the caption that holds."""
        return [
            study for study in self.expected["studies"] if study["caption"] == self.current(study["photo"])["caption"]
        ]

    def current(self, key: str) -> dict[str, Any]:
        """Label, caption and name of a photo, as they were."""
        return dict(self.expected["current"][key])

    def made(self) -> dict[str, dict[str, Any]]:
        """Every counterfactual that a study showed."""
        return {made["key"]: made for study in self.expected["studies"] for made in study["counterfactuals"]}


def restore(server: Server, dump: Path) -> str:
    """The address of a new database with what `pg_dump` wrote."""
    psycopg = pytest.importorskip("psycopg")
    address = server.database()
    with psycopg.connect(address) as connection:
        connection.execute(dump.read_text())
    return address


@pytest.fixture(params=KEPT)
def earlier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Earlier]:
    """Every version in turn."""
    name = request.param.partition(" ")[0]
    root = Path(shutil.copytree(FOLDERS / name, tmp_path / "data"))
    address = ""
    if request.param != name:
        (root / FILE).unlink()
        address = restore(request.getfixturevalue("postgres"), FOLDERS / name / "postgresql.sql")
    opened = Earlier(name, root, address, json.loads((root / "expected.json").read_text()))
    yield opened
    opened.close()


def close_to(found: Prediction | None, expected: list[float] | None) -> bool:
    """The same distribution, or none in both."""
    if found is None or expected is None:
        return found is expected
    return np.allclose(np.asarray(found.probabilities), expected, atol=1e-6)


def pixels(path: Path) -> str:
    return hashlib.sha256(open_image(path).convert("RGB").tobytes()).hexdigest()[:16]


def rows(store: Store) -> dict[str, list[str]]:
    """All that the database holds, table by table."""
    with store.database.read() as connection:
        names = sorted(sql.inspect(connection).get_table_names())
        return {name: sorted(map(repr, connection.exec_driver_sql(f"SELECT * FROM {name}"))) for name in names}


def test_the_folders_are_of_the_versions_they_are_named_after() -> None:
    for name in ("v1", "v2", "v3", "v4", "v5", "v5-first"):
        assert (FOLDERS / name / FILE).read_bytes()[60:64] == int(name[1]).to_bytes(4, "big")


def test_photos_labels_and_captions_are_there(earlier: Earlier) -> None:
    store = earlier.open()
    there = {
        study.key: {"label": study.label, "caption": study.caption, "name": study.name} for study in store.studies()
    }
    assert there == earlier.expected["current"]
    for study in earlier.shown:
        found = store.load_study(study["photo"], study["classifier"])
        assert found is not None
        assert (found.photo.label, found.caption) == (earlier.current(study["photo"])["label"], study["caption"])
        assert found.photo.classifier == study["classifier"]
        assert close_to(found.photo.prediction, study["prediction"])
        assert close_to(found.control, study["control"])


def test_labels_of_a_folder_are_told_from_those_of_unknown_origin(earlier: Earlier) -> None:
    store, jobs = earlier.open(), {job["id"] for job in earlier.expected.get("jobs", [])}
    runs = [photos for run, photos in earlier.expected["finished"].items() if run not in jobs]
    for study in store.studies():
        assert study.label_source == (FOLDER if any(study.key in photos for photos in runs) else UNKNOWN)
    assert sum(study.label_source == FOLDER for study in store.studies()) == 2


def test_variations_keep_their_ticks(earlier: Earlier) -> None:
    store, refusals = earlier.open(), set()
    for study in earlier.shown:
        found = store.load_study(study["photo"], study["classifier"])
        assert found is not None
        assert json.loads(json.dumps([asdict(each) for each in found.perturbations])) == [
            {"checks": [], **each} for each in study["proposals"]
        ]
        refusals |= {each.rejected_by for each in found.perturbations}
    assert {(), ("You rejected it.",)} < refusals  # ticked, unticked, and refused by a gate


def test_counterfactuals_and_their_pictures_are_there(earlier: Earlier) -> None:
    store = earlier.open()
    for held in earlier.shown:
        study = store.load_study(held["photo"], held["classifier"])
        assert study is not None
        assert {each.key for each in study.counterfactuals} >= {each["key"] for each in held["counterfactuals"]}
        for each in study.counterfactuals:
            if each.key in (told := {made["key"]: made for made in held["counterfactuals"]}):
                assert_same(each, told[each.key])
    keys = list(earlier.made())
    assert [found.key for _, found in store.pairs(keys)] == keys
    for _, found in store.pairs(keys):
        assert_same(found, earlier.made()[found.key])
    assert {key: pixels(store.file(key)) for key in earlier.expected["pictures"]} == earlier.expected["pictures"]
    assert [finding for finding in maintenance.check(store) if finding.is_fault] == []


def assert_same(found: Any, told: dict[str, Any]) -> None:
    """One counterfactual is as it was."""
    assert (found.perturbation.edited_caption, found.perturbation.factor) == (told["edited_caption"], told["factor"])
    assert (found.tau, asdict(found.scores), list(found.missed)) == (told["tau"], told["scores"], told["missed"])
    assert (found.seed, found.models) == (told["seed"], told["models"])
    assert close_to(found.prediction, told["prediction"])


def test_what_was_drawn_is_not_drawn_again(earlier: Earlier) -> None:
    store, models = earlier.open(), SeamModels()
    held = next(study for study in earlier.shown if study["classifier"] == "other")
    before = [each.key for each in store.entries()]
    again = replace(SETTINGS, factors=("background", "object"), taus=(0.3, 0.6))
    study = store.load_study(held["photo"], "other")
    assert study is not None
    for _ in studio.edit(models, store, held["photo"], study.perturbations, again, "other"):
        pass
    if earlier.name == "v1":  # its keys held fewer settings than there are by now, so nobody can know
        assert before == [each.key for each in store.entries() if each.key in before]
        return
    assert models.editor.edited == []
    assert [each.key for each in store.entries()] == before
    photo_of, counterfactual = store.pairs([held["counterfactuals"][0]["key"]])[0]
    assert (photo_of.key, counterfactual.settings) == (held["photo"], None)


def test_decisions_hold_and_keep_their_order(earlier: Earlier) -> None:
    store, log = earlier.open(), earlier.expected["log"]
    assert {key: decision.verdict for key, decision in store.decisions().items()} == earlier.expected["holding"]
    told = [json.loads(json.dumps(asdict(decision))) for decision in store.log()]
    assert [{name: decision[name] for name in before} for decision, before in zip(told, log, strict=True)] == log


def test_sets_captions_runs_and_jobs_are_there(earlier: Earlier) -> None:
    store, told = earlier.open(), earlier.expected
    assert json.loads(json.dumps([asdict(frozen) for frozen in store.sets()])) == told["sets"]
    for frozen in store.sets():
        assert [made.key for _, made in store.items(frozen)] == list(frozen.items)
    written = {key: [asdict(rewording) for rewording in store.rewordings(key)] for key in told.get("rewordings", {})}
    assert written == told.get("rewordings", {})
    assert sum(map(len, written.values())) == SAID[earlier.name] - bool(told.get("away"))
    assert {run: sorted(store.finished(run)) for run in told["finished"]} == told["finished"]
    assert [asdict(failure) for failure in store.failures()] == told["failures"]
    assert sorted(store.put_away_photos()) == told.get("away", [])
    for job, before in zip(store.jobs.all(), told.get("jobs", []), strict=True):
        now = {**asdict(job), "parameters": store.jobs.parameters(job.id)}
        assert {name: now[name] for name in before} == before


def test_opening_twice_changes_nothing(earlier: Earlier) -> None:
    first = earlier.open()
    held = rows(first)
    first.close()
    again = earlier.open()
    assert rows(again) == held
    assert all(held[name] for name in ("counterfactuals", "decisions", "failures", "finished", "proposals", "sets"))


@pytest.fixture
def desk(earlier: Earlier) -> Iterator[Desk]:
    """The page's own view of it."""
    opened = Desk(models=SeamModels(), store=earlier.open())
    yield opened
    opened.close()


def test_explore_opens_every_photo(earlier: Earlier, desk: Desk) -> None:
    for held in earlier.shown:
        study = desk.store.load_study(held["photo"], held["classifier"])
        shown = photo.page(desk, study)
        assert len(shown) == len(photo.page(desk, None))
        text = "".join(map(str, shown))
        assert all(made["key"] in text for made in held["counterfactuals"])
    known = {desk.store.file(study.key) for study in desk.store.studies()}
    assert {pair.photo for pair in photo.greatest_flips(desk)} < known


def test_curate_shows_every_verdict(earlier: Earlier, desk: Desk) -> None:
    triage, held = Triage(desk), earlier.expected["holding"]
    window = triage.look({"state": "all", "count": 48, "analyst": "Ada"})
    states = {item["key"]: item["state"] for item in window["items"]}
    assert {key: states[key] for key in held} == held
    counts = triage.tally({"analyst": "Ada"})["counts"]
    assert counts["keep"] == sum(verdict == "keep" for verdict in held.values())
    assert counts["conflict"] == (earlier.name >= "v3")


def test_insights_find_every_edit(earlier: Earlier, desk: Desk) -> None:
    assert "nobody has said what the picture shows" in str(insights.show(desk, "colour", "Acc@1")[1])
    for study in desk.store.studies():  # earlier versions did not note who gave a label
        desk.store.set_label(study.key, study.label, analyst="Ada")
    for classifier in ("colour", "other"):
        cell, heat, items = insights.show(desk, classifier, "Acc@1")
        told = [study for study in earlier.shown if study["classifier"] == classifier and study["counterfactuals"]]
        assert int(re.search(r"(\d+) edits? of", str(items))[1]) >= len(told)  # type: ignore[index]
        cells, *_ = insights.draw(desk, classifier, "directional_similarity")
        assert re.search(r"Table, \d+ row", str(cells))
        assert str(heat)
        assert cell == ("all", "all") or all(map(str, cell))


def test_jobs_are_listed(earlier: Earlier, desk: Desk) -> None:
    listed, _ = jobs.poll(desk, 50)
    for job in earlier.expected.get("jobs", []):
        assert job["title"] in str(listed)


def test_messages_of_earlier_versions_name_no_folder(tmp_path: Path) -> None:
    root = Path(shutil.copytree(FOLDERS / "v5", tmp_path / "data"))
    told = "'/srv/models/my net/config.json' is no model of owner/name; see https://example.org/a/b."
    with sqlite3.connect(root / FILE) as connection:
        assert connection.execute("UPDATE jobs SET error = ? WHERE error <> ''", (told,)).rowcount
        assert connection.execute("UPDATE failures SET message = ?", (told,)).rowcount
    connection.close()
    store = Store(root)
    errors = {job.error for job in store.jobs.all()} | {failure.message for failure in store.failures()}
    store.close()
    assert errors - {""} == {"'my net/config.json' is no model of owner/name; see https://example.org/a/b."}


def test_work_goes_on(earlier: Earlier) -> None:
    store, models = earlier.open(), SeamModels()
    catalogue = Catalogue(store)
    catalogue.refresh()
    (key,) = [key for key, verdict in earlier.expected["holding"].items() if verdict == "unsure"]
    store.decide(Decision(id="new", counterfactual=key, verdict="keep", analyst="Ada"))
    assert store.decisions()[key].verdict == "keep"
    catalogue.refresh()
    assert catalogue.holds(key) == "keep"
    store.undo("Ada", "back")
    assert store.decisions()[key].verdict == "unsure"
    catalogue.refresh()
    assert catalogue.holds(key) == "unsure"
    store.redo("Ada", "again")
    frozen = store.freeze("robust")
    assert key in frozen.items
    assert frozen.version == 1 + max(
        frozen["version"] for frozen in earlier.expected["sets"] if frozen["name"] == "robust"
    )

    held = next(study for study in earlier.shown if study["classifier"] == "other")
    captioned(store, models, held["photo"], "a green plane on white")
    study = store.load_study(held["photo"], "colour")
    assert study is not None
    assert (study.caption, study.counterfactuals) == ("a green plane on white", ())
    assert store.pairs([each["key"] for each in held["counterfactuals"]])  # those of the old caption are kept
    reopened = earlier.open()
    assert reopened.decisions() == store.decisions()
    assert reopened.load_study(held["photo"], "colour").caption == "a green plane on white"  # type: ignore[union-attr]


def captioned(store: Store, models: SeamModels, key: str, words: str) -> None:
    """The photo under an analyst's words."""
    study = store.load_study(key, "colour")
    assert study is not None
    store.set_caption(key, workflow.describe(models, study, SETTINGS, words).caption, analyst="Ada")


def test_jobs_go_on(earlier: Earlier, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.store.jobs.LEASE", 0.2)  # of the process that was killed
    before = {job["id"]: job["state"] for job in earlier.expected.get("jobs", [])}
    assert set(before.values()) in (set(), {WAITING, RUNNING, DONE, FAILED, CANCELLED})
    made = {entry.key for entry in desk.store.entries()}
    desk.runner.open()
    until(lambda: not any(job.active for job in desk.store.jobs.all()))
    after = {job.id: (job.state, job.error) for job in desk.store.jobs.all()}
    assert after.keys() == before.keys()
    for id_, state in before.items():
        assert after[id_] == (DONE, "") or (state == after[id_][0] and state not in (WAITING, RUNNING))
    assert made <= {entry.key for entry in desk.store.entries()}
    assert [finding for finding in maintenance.check(desk.store) if finding.is_fault] == []


def until(done: Callable[[], bool]) -> None:
    """Waits for it."""
    begun = time.monotonic()
    while not done():
        assert time.monotonic() < begun + PATIENCE
        time.sleep(0.02)
