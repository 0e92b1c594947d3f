"""The list of jobs: one per id, every change of state checked, nobody's work done by two."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from pipeline.errors import Cancelled, ConflictError, DataError
from pipeline.store import jobs
from pipeline.store.jobs import ATTEMPTS, CANCELLED, DONE, FAILED, INTERRUPTED, RUNNING, SHOWN, WAITING, Hold, Job
from pipeline.store.store import Store
from tests.stores import ON_BOTH

pytestmark = ON_BOTH


PROFILE = "seams"


def job(id_: str = "a") -> Job:
    return Job(id=id_, kind="study", title=f"Job {id_}", profile=PROFILE)


def taken(store: Store) -> Hold:
    hold = store.jobs.take(PROFILE)
    assert hold is not None
    return hold


def state(store: Store, id_: str = "a") -> str:
    known = store.jobs.get(id_)
    assert known is not None
    return known.state


def lapse(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if whoever holds something had been gone for long."""
    monkeypatch.setattr(jobs, "LEASE", -1.0)


def test_the_same_job_twice_is_one(store: Store) -> None:
    first = store.jobs.add(job(), '{"n": 1}')
    assert (first.state, first.revision, first.created > 0) == (WAITING, 0, True)
    assert store.jobs.add(replace(job(), title="another title"), '{"n": 2}') == first
    assert store.jobs.parameters("a") == '{"n": 1}'
    hold = taken(store)
    assert store.jobs.add(job(), "{}").state == RUNNING
    hold.end(DONE)
    assert store.jobs.add(job(), "{}").state == DONE
    assert len(store.jobs.all()) == 1
    assert store.jobs.get("b") is None


@pytest.mark.parametrize("ended", [FAILED, CANCELLED, INTERRUPTED])
def test_one_that_did_not_succeed_waits_again_when_it_is_started_again(store: Store, ended: str) -> None:
    store.jobs.add(job(), "{}")
    taken(store).end(ended, "It did not work.")
    again = store.jobs.add(job(), "{}")
    assert (again.state, again.error, again.ended) == (WAITING, "", 0.0)


def test_jobs_are_taken_in_their_order_and_by_one_only(store: Store) -> None:
    for name in "abcdef":
        store.jobs.add(job(name), "{}")
    with ThreadPoolExecutor(4) as pool:
        holds = [hold for hold in pool.map(lambda _: store.jobs.take(PROFILE), range(9)) if hold]
    assert sorted(hold.job.id for hold in holds) == list("abcdef")
    assert store.jobs.take(PROFILE) is None
    store.jobs.add(job("g"), "{}")
    assert store.jobs.take("another profile") is None
    assert taken(store).job.id == "g"
    assert [job.id for job in store.jobs.all()] == list("gfedcba")
    assert store.jobs.all("folder") == ()


def test_a_heartbeat_tells_how_far_it_is_and_keeps_the_lease(store: Store) -> None:
    store.jobs.add(job(), "{}")
    hold = taken(store)
    hold.step(0, 10, "inverting")
    time.sleep(0.02)
    hold.step(2, 10)
    before = hold.job.heartbeat
    hold.beat()
    known = store.jobs.get("a")
    assert known == hold.job
    assert (known.done, known.total, known.note, known.remaining > 0) == (2, 10, "inverting", True)
    assert known.heartbeat >= before
    hold.end(DONE)
    hold.beat()  # comes too late, and says nothing
    assert state(store) == DONE


def test_a_lease_that_ran_out_is_taken_over_and_the_late_one_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.jobs.add(job(), "{}")
    late = taken(store)
    assert store.jobs.take(PROFILE) is None
    lapse(monkeypatch)
    other = taken(store)
    assert other.job.revision > late.job.revision
    with pytest.raises(ConflictError, match="Meanwhile 'Job a' is running"):
        late.beat()
    with pytest.raises(ConflictError):
        late.step(1, 2)
    with pytest.raises(ConflictError):
        late.end(DONE)
    assert state(store) == RUNNING
    other.end(DONE)
    assert state(store) == DONE


def test_one_that_is_cut_off_again_and_again_waits_for_a_person(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.jobs.add(job(), "{}")
    lapse(monkeypatch)
    for _ in range(ATTEMPTS):
        taken(store)
    assert store.jobs.take(PROFILE) is None
    assert state(store) == INTERRUPTED
    assert store.jobs.retry("a").attempts == 0
    for _ in range(2 * ATTEMPTS):
        hold = taken(store)
        hold.kept()
        hold.beat()
    assert state(store) == RUNNING


def test_a_cancel_ends_what_waits_and_asks_what_runs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.jobs.add(job(), "{}")
    assert store.jobs.cancel("a").state == CANCELLED
    with pytest.raises(ConflictError, match="is cancelled"):
        store.jobs.cancel("a")
    store.jobs.retry("a")
    hold = taken(store)
    assert store.jobs.cancel("a").stop
    hold.beat()
    with pytest.raises(Cancelled):
        hold.step(1, 2)
    lapse(monkeypatch)  # and its holder is killed before it has said so
    assert store.jobs.take(PROFILE) is None
    assert state(store) == CANCELLED
    assert not store.jobs.retry("a").stop


def test_a_change_that_rests_on_an_older_state_is_refused(store: Store) -> None:
    seen = store.jobs.add(job(), "{}")
    taken(store)
    with pytest.raises(ConflictError, match="Meanwhile 'Job a' is running; nothing was changed"):
        store.jobs.cancel("a", seen.revision)
    with pytest.raises(ConflictError):
        store.jobs.retry("a")
    known = store.jobs.get("a")
    assert known is not None
    assert not known.stop
    for change in (store.jobs.cancel, store.jobs.retry, store.jobs.parameters):
        with pytest.raises(DataError, match="not in the data folder"):
            change("b")


def test_no_job_is_out_of_reach(store: Store) -> None:
    store.jobs.add(replace(job("waits"), profile="another"), "{}")
    for number in range(SHOWN + 3):
        store.jobs.add(job(f"{number:02}"), "{}")
        taken(store).end(DONE)
    shown = [job.id for job in store.jobs.all()]
    assert (len(shown), shown[0], shown[-1]) == (SHOWN + 1, f"{SHOWN + 2}", "waits")
    assert store.jobs.number() == SHOWN + 4
    assert len(store.jobs.all(count=2 * SHOWN)) == SHOWN + 4
    assert store.jobs.all("folder") == ()
    assert store.jobs.cancel(shown[-1]).state == CANCELLED
