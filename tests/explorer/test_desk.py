"""Work with the models: one thread, one piece at a time to its true end, a cancel that stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from explorer.desk import Desk, Progress
from pipeline.errors import Cancelled, EditingError
from pipeline.store.store import Store
from pipeline.types import Models, Step
from tests.seams import SeamModels

PATIENCE = 120.0  # seconds, on a busy machine


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = Store(tmp_path)
    yield Desk(models=SeamModels(), store=store)
    store.close()


def until(true: Callable[[], bool]) -> None:
    """Waits for something that another thread does."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def is_free(desk: Desk, patience: float = PATIENCE) -> bool:
    """Whether the worker takes up new work within so many seconds."""
    try:
        return desk.worker.submit(lambda: True).result(patience)
    except TimeoutError:
        return False


def endless(steps: list[int]) -> Callable[[Models, Step], Iterator[str]]:
    """Work that only a cancel ends; notes every step it takes."""

    def work(models: Models, step: Step) -> Iterator[str]:
        yield "begun"
        while True:
            steps.append(len(steps))
            step(len(steps), 1000)
            time.sleep(0.01)

    return work


def test_items_come_in_order_and_progress_between_them(desk: Desk) -> None:
    told = threading.Event()

    def work(models: Models, step: Step) -> Iterator[str]:
        for number in range(3):
            step(number + 1, 3)
            yield f"item {number}"
            assert told.wait(PATIENCE)

    answers = []
    for answer in desk.stream("photo", work):
        answers.append(answer if isinstance(answer, str) else (answer.done, answer.total))
        if answers[-1] == (1, 3):
            told.set()
    assert [answer for answer in answers if isinstance(answer, str)] == ["item 0", "item 1", "item 2"]
    assert answers.index("item 0") < answers.index((1, 3)) < answers.index("item 1")
    assert desk.running == {}


def test_a_cancel_stops_within_two_steps_and_frees_the_models(desk: Desk) -> None:
    steps: list[int] = []
    stream = desk.stream("photo", endless(steps))
    assert next(stream) == "begun"
    until(lambda: len(steps) > 3)
    assert desk.cancel("photo")
    taken = len(steps)
    with pytest.raises(Cancelled):
        list(stream)
    assert len(steps) <= taken + 2
    assert is_free(desk)
    assert not desk.cancel("photo")


def test_a_closed_tab_stops_the_work(desk: Desk) -> None:
    steps: list[int] = []
    stream = desk.stream("photo", endless(steps))
    assert next(stream) == "begun"
    assert not is_free(desk, patience=0.1)
    stream.close()
    assert is_free(desk)


def test_a_piece_of_work_runs_to_its_true_end_before_the_next(desk: Desk) -> None:
    go, order = threading.Event(), []

    def slow(models: Models, step: Step) -> Iterator[str]:
        yield "slow begun"
        go.wait(PATIENCE)
        order.append("slow done")

    def quick(models: Models, step: Step) -> Iterator[str]:
        order.append("quick begun")
        yield "quick"

    first, second = desk.stream("a", slow), desk.stream("b", quick)
    assert next(first) == "slow begun"
    waiting = next(second)
    assert isinstance(waiting, Progress)
    assert waiting.waiting
    go.set()
    assert [answer for answer in second if answer == "quick"] == ["quick"]
    assert order == ["slow done", "quick begun"]
    assert [answer for answer in first if isinstance(answer, str)] == []


def test_what_waits_for_the_models_can_be_cancelled(desk: Desk) -> None:
    ran: list[str] = []

    def work(models: Models, step: Step) -> Iterator[str]:
        ran.append("ran")
        yield "never"

    go = threading.Event()
    desk.worker.submit(lambda: go.wait(PATIENCE))
    stream = desk.stream("photo", work)
    assert isinstance(next(stream), Progress)
    desk.cancel("photo")
    go.set()
    with pytest.raises(Cancelled):
        list(stream)
    assert ran == []


def test_a_fault_of_the_work_reaches_the_page_and_frees_the_models(desk: Desk) -> None:
    def work(models: Models, step: Step) -> Iterator[str]:
        yield "begun"
        raise EditingError("The inversion failed.")

    with pytest.raises(EditingError, match="The inversion failed"):
        list(desk.stream("photo", work))
    assert is_free(desk)


def test_the_time_left_follows_the_pace() -> None:
    assert Progress(done=10, total=40, seconds=5.0).remaining == pytest.approx(15.0)
    assert Progress(total=40).remaining == 0.0


def test_all_work_with_the_models_is_done_by_the_same_thread(desk: Desk) -> None:
    seen: set[int] = set()

    def work(models: Models, step: Step) -> Iterator[int]:
        yield threading.get_ident()

    seen.update(answer for answer in desk.stream("photo", work) if isinstance(answer, int))
    seen.add(desk.ask(lambda models: threading.get_ident()))
    assert len(seen) == 1
    assert threading.get_ident() not in seen


def test_a_fault_of_a_short_piece_reaches_whoever_asked(desk: Desk) -> None:
    def work(models: Models) -> None:
        raise EditingError("The inversion failed.")

    with pytest.raises(EditingError, match="The inversion failed"):
        desk.ask(work)
    assert desk.ask(lambda models: "next") == "next"


def test_work_that_was_cancelled_says_that_it_stops(desk: Desk) -> None:
    begun, go = threading.Event(), threading.Event()

    def deaf(models: Models, step: Step) -> Iterator[str]:
        step(1, 2)
        begun.set()
        go.wait(PATIENCE)
        yield "too late"

    stream = desk.stream("photo", deaf)
    first = next(stream)
    assert isinstance(first, Progress)
    assert not first.stopping
    begun.wait(PATIENCE)
    desk.cancel("photo")
    then = next(stream)
    assert isinstance(then, Progress)
    assert then.stopping
    go.set()
    with pytest.raises(Cancelled):
        list(stream)
