"""The store: what goes in comes out, twice is once, and a full disk leaves nothing half-applied."""

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import media, workflow
from pipeline.errors import DataError, StoreError
from pipeline.images import encode
from pipeline.store import FILE, Store
from pipeline.types import Check, Decision, Photo, Prediction, Rewording, Study
from tests.seams import SETTINGS, SeamModels, picture, settings


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "data")
    yield store
    store.close()


def study_of(seed: int = 0, caption: str = "", classifier: str = "") -> Study:
    """A study with three captions at three tau each."""
    models = SeamModels()
    study = workflow.open_photo(models, picture("red", seed), "red", classifier, f"{seed}.png")
    study = workflow.propose(models, workflow.describe(models, study, SETTINGS, caption), SETTINGS)
    return list(workflow.edit(models, study, study.perturbations, SETTINGS))[-1]


def contents(study: Study | None) -> object:
    """Everything in a study, pictures by their pixels, so that two can be compared."""
    assert study is not None
    photo = study.photo
    return (
        (photo.key, encode(photo.image), photo.label, photo.prediction, photo.name, photo.classifier),
        (study.caption, study.reconstruction and encode(study.reconstruction), study.control, study.perturbations),
        [
            (one.key, one.perturbation, one.tau, encode(one.image), one.scores, one.prediction, one.missed)
            for one in study.counterfactuals
        ],
    )


def keep(store: Store, key: str, number: int, verdict: str = "keep") -> Decision:
    return store.decide(Decision(id=f"id-{number}", counterfactual=key, verdict=verdict))


def test_a_study_comes_back_equal(store: Store) -> None:
    for study in (study_of(), replace(study_of(1), counterfactuals=(), control=None, reconstruction=None)):
        store.save_study(study)
        assert contents(store.load_study(study.photo.key)) == contents(study)
    assert store.load_study("none") is None


def test_it_comes_back_from_another_process_life(store: Store) -> None:
    study = study_of()
    store.save_study(study)
    store.close()
    again = Store.existing(store.root)
    assert contents(again.load_study(study.photo.key)) == contents(study)
    again.close()


def test_saving_twice_changes_nothing(store: Store) -> None:
    study = study_of()
    for _ in range(2):
        store.save_study(study)
    assert contents(store.load_study(study.photo.key)) == contents(study)
    (summary,) = store.studies()
    assert (summary.perturbations, summary.counterfactuals) == (3, 9)
    assert len(list((store.root / "media").rglob("*.png"))) == 11


def test_a_study_is_saved_as_it_grows(store: Store) -> None:
    whole = study_of()
    for end in (0, 1, 4, 9):
        store.save_study(replace(whole, counterfactuals=whole.counterfactuals[:end]))
    assert contents(store.load_study(whole.photo.key)) == contents(whole)


def test_other_settings_add_counterfactuals(store: Store) -> None:
    study, models = study_of(), SeamModels()
    store.save_study(study)
    short = replace(study, counterfactuals=())
    other = list(workflow.edit(models, short, short.perturbations, settings(num_inference_steps=5)))[-1]
    store.save_study(other)
    loaded = store.load_study(study.photo.key)
    assert loaded is not None
    assert len(loaded.counterfactuals) == 18


def test_a_new_judgement_replaces_the_old_one(store: Store) -> None:
    study = study_of()
    store.save_study(study)
    judged = tuple(replace(one, missed=("a gate",)) for one in study.counterfactuals)
    store.save_study(replace(study, counterfactuals=judged))
    loaded = store.load_study(study.photo.key)
    assert loaded is not None
    assert {one.missed for one in loaded.counterfactuals} == {("a gate",)}


def test_the_latest_caption_is_the_photos_study(store: Store) -> None:
    first, second = study_of(), study_of(caption="a red wall on white")
    store.save_study(first)
    store.save_study(second)
    assert contents(store.load_study(first.photo.key)) == contents(second)
    store.save_study(Study(photo=first.photo))
    assert contents(store.load_study(first.photo.key)) == contents(second)
    assert [one.caption for one in store.studies()] == ["a red wall on white"]


def test_studies_of_two_classifiers_stand_beside_each_other(store: Store) -> None:
    first, second = study_of(), study_of(classifier="other")
    store.save_study(first)
    store.save_study(second)
    assert contents(store.load_study(first.photo.key)) == contents(second)
    assert contents(store.load_study(first.photo.key, "colour")) == contents(first)
    assert store.load_study(first.photo.key, "third") is None


def test_studies_are_listed_newest_first(store: Store) -> None:
    for seed in range(3):
        store.save_study(study_of(seed))
    assert [one.name for one in store.studies()] == ["2.png", "1.png", "0.png"]
    store.save_study(study_of(0))
    assert [one.name for one in store.studies()] == ["0.png", "2.png", "1.png"]


def test_labels_are_stored_once(store: Store) -> None:
    for seed in range(2):
        store.save_study(study_of(seed))
    with sqlite3.connect(store.root / FILE) as connection:
        assert connection.execute("SELECT count(*) FROM vocabularies").fetchone() == (1,)
    connection.close()


def test_hostile_words_come_back_word_for_word(store: Store) -> None:
    words = "'; DROP TABLE studies; -- <b>\u202e{{x}}\u200b 🎈"
    photo = replace(study_of().photo, name=words, label=words)
    store.save_study(Study(photo=photo, caption=words))
    loaded = store.load_study(photo.key)
    assert loaded is not None
    assert (loaded.photo.name, loaded.photo.label, loaded.caption) == (words, words, words)
    with pytest.raises(StoreError, match="UTF-8"):
        store.save_study(Study(photo=photo, caption="\ud800"))


def test_file_is_the_picture(store: Store) -> None:
    study = study_of()
    store.save_study(study)
    one = study.counterfactuals[4]
    assert store.file(one.key).read_bytes() == encode(one.image)
    assert store.file(study.photo.key).read_bytes() == encode(study.photo.image)
    with pytest.raises(DataError):
        store.file("../../etc/passwd")


def test_a_damaged_picture_is_told(store: Store) -> None:
    study = study_of()
    store.save_study(study)
    store.file(study.counterfactuals[0].key).write_bytes(b"")
    with pytest.raises(StoreError, match="missing"):
        store.load_study(study.photo.key)


def test_the_last_decision_holds_and_nothing_is_forgotten(store: Store) -> None:
    study = study_of()
    store.save_study(study)
    a, b, c = (one.key for one in study.counterfactuals[:3])
    for number, (key, verdict) in enumerate([(a, "keep"), (b, "keep"), (c, "unsure"), (a, "reject"), (b, "")]):
        assert keep(store, key, number, verdict).time > 0
    assert {key: one.verdict for key, one in store.decisions().items()} == {a: "reject", c: "unsure"}
    assert [one.verdict for one in store.log()] == ["keep", "keep", "unsure", "reject", ""]
    assert store.kept() == ()


def test_the_same_decision_twice_counts_once(store: Store) -> None:
    study = study_of()
    store.save_study(study)
    first = Decision(id="x", counterfactual=study.counterfactuals[0].key, verdict="keep", reason="good", time=5.0)
    assert store.decide(first) == first
    assert store.decide(replace(first, verdict="reject", time=6.0)) == first
    assert store.log() == (first,)


def test_decisions_are_checked(store: Store) -> None:
    study = study_of()
    store.save_study(study)
    with pytest.raises(DataError, match="maybe"):
        keep(store, study.counterfactuals[0].key, 0, "maybe")
    with pytest.raises(DataError, match="no counterfactual"):
        keep(store, "unknown", 0)
    assert store.log() == ()


def test_sets_are_frozen_and_numbered(store: Store) -> None:
    study = study_of()
    store.save_study(study)
    keys = [one.key for one in study.counterfactuals]
    with pytest.raises(DataError, match="keep at least one"):
        store.freeze("set")
    keep(store, keys[5], 0)
    keep(store, keys[1], 1)
    first = store.freeze(" set ")
    assert (first.name, first.version, first.items) == ("set", 1, (keys[1], keys[5]))
    assert store.freeze("set") == first
    keep(store, keys[1], 2, "reject")
    second = store.freeze("set")
    assert (second.version, second.items) == (2, (keys[5],))
    assert store.sets() == (second, first)
    assert [one.key for _, one in store.items(first)] == [keys[1], keys[5]]
    ((photo, one),) = store.kept()
    assert (photo.key, photo.label, one.key, encode(one.image)) == (
        study.photo.key,
        "red",
        keys[5],
        encode(study.counterfactuals[5].image),
    )
    with pytest.raises(DataError):
        store.items(replace(first, items=("unknown",)))


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\nb"])
def test_a_set_needs_a_name(store: Store, name: str) -> None:
    with pytest.raises(DataError, match="name"):
        store.freeze(name)


def test_a_run_notes_what_is_finished_and_what_failed(store: Store) -> None:
    store.fail("job", "a.png", "first")
    store.fail("job", "a.png", "second")
    store.fail("job", "b.png", "other")
    assert [(one.name, one.message) for one in store.failures()] == [("a.png", "second"), ("b.png", "other")]
    for _ in range(2):
        store.finish("job", "key", "a.png")
    assert [one.name for one in store.failures()] == ["b.png"]
    assert store.finished("job") == {"key"}
    assert store.finished("other") == frozenset()


def test_the_disk_comes_first(store: Store) -> None:
    with store._engine.connect() as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode",)}
        assert pragmas["journal_mode"] == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA user_version").scalar() == 2


def test_every_picture_is_synced_before_it_gets_its_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    sync, name = os.fsync, os.replace
    monkeypatch.setattr(media.os, "fsync", lambda file: (calls.append("sync"), sync(file))[1])
    monkeypatch.setattr(media.os, "replace", lambda a, b: (calls.append("name"), name(a, b))[1])
    store.save_study(Study(photo=study_of().photo))
    assert calls == ["sync", "sync", "name", "sync"]  # folder, file, its name, folder again


def test_a_folder_of_version_1_is_brought_up_to_date(store: Store) -> None:
    study = study_of()
    store.save_study(study)
    store.close()
    with sqlite3.connect(store.root / FILE) as connection:
        connection.execute("ALTER TABLE perturbations DROP COLUMN checks")
        connection.execute("DROP TABLE rewordings")
        connection.execute("PRAGMA user_version=1")
    connection.close()
    newer = Store(store.root)
    loaded = newer.load_study(study.photo.key)
    assert loaded is not None
    assert loaded.perturbations == study.perturbations
    assert newer.rewordings("photo") == ()


def test_checks_are_kept_with_their_perturbation(store: Store) -> None:
    checks = (
        Check(gate="label", passed=True, says="kept", figure=0.25, bound=0.5),
        Check(gate="factor", passed=False, says="no"),
    )
    study = study_of()
    judged = replace(study, perturbations=tuple(replace(one, checks=checks) for one in study.perturbations))
    store.save_study(judged)
    loaded = store.load_study(study.photo.key)
    assert loaded is not None
    assert loaded.perturbations
    assert all(one.checks == checks for one in loaded.perturbations)


def test_who_wrote_which_caption_is_kept(store: Store) -> None:
    first = store.reword(Rewording(photo="a", before="", caption="a dog", analyst="Ada", time=5.0))
    second = store.reword(Rewording(photo="a", before="a dog", caption="a brown dog", analyst="Grace"))
    store.reword(Rewording(photo="b", before="", caption="a cat"))
    assert second.time > first.time
    assert store.rewordings("a") == (first, second)


def test_a_folder_of_another_version_is_refused(store: Store) -> None:
    store.close()
    with sqlite3.connect(store.root / FILE) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match="version 99"):
        Store(store.root)


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"cannot be opened"):
        Store(tmp_path / "file" / "data")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / FILE).write_text("this is no database, but long enough to be looked at" * 30)
    with pytest.raises(StoreError, match="damaged"):
        Store(tmp_path / "data")
    with pytest.raises(DataError, match="no run"):
        Store.existing(tmp_path)


def test_threads_write_at_once(store: Store) -> None:
    studies = [study_of(seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(store.save_study, studies))
        list(pool.map(store.save_study, studies))
        decided = [(study.counterfactuals[n].key, n) for study in studies for n in range(9)]
        list(pool.map(lambda pair: keep(store, pair[0], hash(pair[0])), decided))
    assert len(store.kept()) == 54
    for study in studies:
        assert contents(store.load_study(study.photo.key)) == contents(study)


PROCESS = """
import sys
from pathlib import Path
from pipeline.store import Store
from pipeline.types import Decision
store = Store(Path(sys.argv[1]))
for number in range(20):
    store.decide(Decision(id=f"{sys.argv[2]}-{number}", counterfactual=sys.argv[3], verdict="keep"))
"""


def test_processes_write_at_once(store: Store) -> None:
    study = study_of()
    store.save_study(study)
    arguments = [sys.executable, "-c", PROCESS, str(store.root)]
    writers = [subprocess.Popen([*arguments, str(n), study.counterfactuals[0].key]) for n in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(store.log()) == 60


def test_processes_open_a_new_folder_at_once(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from pipeline.store import Store; Store(Path(sys.argv[1])).studies()"
    openers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "new")]) for _ in range(4)]
    assert [opener.wait() for opener in openers] == [0] * 4


KILLED = """
import itertools, os, signal, sys
from pathlib import Path
from pipeline.store import Store
from pipeline.types import Decision
store = Store(Path(sys.argv[1]))
for number in itertools.count():
    store.decide(Decision(id=str(number), counterfactual=sys.argv[2], verdict="keep"))
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_kill(store: Store) -> None:
    study = study_of()
    store.save_study(study)
    command = [sys.executable, "-c", KILLED, str(store.root), study.counterfactuals[0].key]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(10)]
        writer.kill()
        said += [int(line) for line in writer.stdout.read().split()]
    assert {str(number) for number in said} <= {one.id for one in store.log()}


def limited(store: Store, pages: int) -> None:
    """Leaves the database this many pages to grow, in every connection from now on."""
    import sqlalchemy

    store.close()

    def limit(connection: sqlite3.Connection, _: object) -> None:
        used = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={used + pages}")

    sqlalchemy.event.listen(store._engine, "connect", limit)


def test_a_full_database_leaves_nothing_half_applied(store: Store) -> None:
    first = study_of()
    store.save_study(first)
    limited(store, 1)
    long = replace(study_of(1), caption="x" * 50_000)
    with pytest.raises(StoreError, match="disk is full") as caught:
        store.save_study(long)
    assert "\n" not in str(caught.value)
    assert [one.key for one in store.studies()] == [first.photo.key]
    assert store.load_study(long.photo.key) is None
    assert contents(store.load_study(first.photo.key)) == contents(first)
    assert keep(store, first.counterfactuals[0].key, 0).verdict == "keep"


FULL = """
import resource, sys
from pathlib import Path
from pipeline.errors import StoreError
from pipeline.store import Store
from pipeline.types import Photo, Prediction, Study
from PIL import Image
import numpy as np
store = Store(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
prediction = Prediction(labels=("a", "b"), probabilities=(0.5, 0.5))
photo = Photo(key="k", image=image, label="a", prediction=prediction)
try:
    store.save_study(Study(photo=photo, caption="c" * 100_000))
except StoreError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert store.studies() == (), store.studies()
store.save_study(Study(photo=photo))
assert len(store.studies()) == 1
"""


@pytest.mark.parametrize("limit", [5_000, 40_000], ids=["picture", "database"])
def test_a_full_disk_gets_one_sentence_and_the_next_save_works(tmp_path: Path, limit: int) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path / "data"), str(limit)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "disk is full" in result.stdout
    assert len(result.stdout.splitlines()) == 1
    assert not list((tmp_path / "data" / "media").rglob("*.part"))


READ_ONLY = """
import os, sys
from pathlib import Path
from pipeline.errors import StoreError
from pipeline.store import Store
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid(65534)
try:
    Store(Path(sys.argv[1]))
except StoreError as error:
    print(error)
"""


def test_a_read_only_folder_gets_one_sentence(store: Store) -> None:
    store.close()
    for place in (store.root / FILE, store.root, store.root / "media"):
        place.chmod(0o444 if place.is_file() else 0o555)
    for parent in store.root.parents[:3]:
        parent.chmod(0o755)
    command = [sys.executable, "-c", READ_ONLY, str(store.root)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    store.root.chmod(0o755)
    (store.root / "media").chmod(0o755)
    assert result.returncode == 0, result.stderr
    assert "cannot be written; check its permissions" in result.stdout


def test_a_distribution_of_a_thousand_labels_is_exact(store: Store) -> None:
    import numpy as np

    raw = np.random.default_rng(0).dirichlet(np.full(1000, 0.05)).astype(np.float32)
    labels = tuple(f"label {n}" for n in range(1000))
    prediction = Prediction(labels=labels, probabilities=tuple(float(value) for value in raw))
    photo = Photo(key="k", image=picture("red"), label="label 0", prediction=prediction)
    store.save_study(Study(photo=photo))
    loaded = store.load_study("k")
    assert loaded is not None
    assert loaded.photo.prediction == prediction


def test_saving_does_not_hold_more_files_than_needed(store: Store) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, hard))
    try:
        for seed in range(8):
            study = study_of(seed)
            store.save_study(study)
            store.load_study(study.photo.key)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(store.studies()) == 8
