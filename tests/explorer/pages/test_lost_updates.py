"""What people do while a job, a run or another window works on the same photo stays done, or is refused and told.

Everything goes through the page's own handlers; a gate in the scorer holds the work where it is interrupted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from explorer.desk import Desk
from explorer.pages.explore import captions, edits, photo, proposals
from pipeline.store.store import Store
from pipeline.tasks.studying import StudyTask
from pipeline.types import Study
from tests.seams import SETTINGS, SeamModels, picture

PATIENCE = 60.0
ADA = gr.Request(username="ada")


class Event:
    """As Gradio hands one over."""

    def __init__(self, **data: object) -> None:
        self._data = data


class Quiet:
    """Stands in for a job's hold; nobody looks at it."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(models=SeamModels(), store=Store(tmp_path / "data"))
    yield opened
    opened.close()
    opened.store.close()


@pytest.fixture
def key(desk: Desk, tmp_path: Path) -> str:
    """A photo on the page, with its caption and its variations."""
    file = tmp_path / "a.png"
    picture("red").save(file)
    opened = photo._open(desk, file, "red")
    place = f"{opened.photo.key}@colour"
    list(captions.caption(desk, place))
    list(proposals.suggest(desk, place, "", SETTINGS.factors, ADA))
    return place


def study(desk: Desk, key: str) -> Study:
    found = desk.store.load_study(key.partition("@")[0])
    assert found is not None
    return found


def job(desk: Desk, key: str) -> Iterator[None]:
    """A job on the photo, piece by piece."""
    known = study(desk, key)
    task = StudyTask(photo=known.photo.key, classifier="colour", caption=known.caption, name="a", settings=SETTINGS)
    return task.run(Quiet(), desk.models, desk.store, desk.inversions)  # type: ignore[arg-type]


def begun(desk: Desk, key: str) -> Iterator[None]:
    """The same after its first edit."""
    pieces = job(desk, key)
    while not study(desk, key).counterfactuals:
        next(pieces)
    return pieces


def test_a_label_that_is_corrected_while_a_job_works_stays(desk: Desk, key: str) -> None:
    pieces = begun(desk, key)
    photo.relabel(desk, key, "", "blue", "red", "", gr.Request())
    assert len(list(pieces)) > 3
    assert study(desk, key).photo.label == "blue"
    assert len(study(desk, key).counterfactuals) == 9
    assert {entry.label for entry in desk.store.entries()} == {"blue"}


def test_a_caption_that_is_written_while_a_job_works_stays(desk: Desk, key: str) -> None:
    pieces, before = begun(desk, key), study(desk, key).caption
    captions.rewrite(desk, key, "a red square at dusk", ADA)
    list(pieces)
    assert study(desk, key).caption == "a red square at dusk"
    assert [study.caption for study in desk.store.studies()] == ["a red square at dusk"]
    captions.rewrite(desk, key, before, ADA)
    assert len(study(desk, key).counterfactuals) == 9  # what the job made is kept with the caption it was made for


def test_variations_written_and_ticks_set_while_a_run_works_stay(
    desk: Desk, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, free, score = threading.Event(), threading.Event(), desk.models.scorer.score

    def gated(*asked: Any) -> Any:
        if study(desk, key).counterfactuals:
            held.set()
            free.wait(PATIENCE)
        return score(*asked)

    monkeypatch.setattr(desk.models.scorer, "score", gated)
    frames = edits.run(desk, key, SETTINGS.inversion, SETTINGS.taus, 3)
    next(frames)
    while not held.is_set():
        next(frames)
    list(proposals.act(desk, key, Event(do="clear")))  # type: ignore[arg-type]
    # The gates judge the variations anew, for which the models have their turn between two frames.
    saying = threading.Thread(target=photo.relabel, args=(desk, key, "", "green", "red", "", gr.Request()))
    saying.start()
    free.set()
    list(frames)
    saying.join(PATIENCE)
    after = study(desk, key)
    assert [variation.accepted for variation in after.perturbations] == [False] * 3
    assert after.photo.label == "green"
    assert len(after.counterfactuals) == 9


def test_a_caption_upon_one_that_is_no_longer_there_is_refused_and_told(desk: Desk, key: str) -> None:
    seen = study(desk, key).caption
    captions.rewrite(desk, key, "a red wall", ADA, seen)
    words, card, _, status = captions.rewrite(desk, key, "a red door", ADA, seen)  # in a window that was left open
    assert study(desk, key).caption == "a red wall"
    assert words == gr.skip()  # what was written stays in the box
    assert "Meanwhile the caption became &#39;a red wall&#39;" in str(status)
    assert 'data-seen="a red wall"' in str(card)
    captions.rewrite(desk, key, "a red door", ADA, "a red wall")  # who has seen that may overrule it
    assert study(desk, key).caption == "a red door"
    told = [(rewording.before, rewording.caption) for rewording in desk.store.rewordings(key.partition("@")[0])]
    assert told == [(seen, "a red wall"), ("a red wall", "a red door")]


def test_a_label_upon_one_that_is_no_longer_there_is_refused_and_told(
    desk: Desk, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(gr, "Warning", told.append)
    photo.relabel(desk, key, "", "blue", "red", "", gr.Request())
    shown = photo.relabel(desk, key, "", "green", "red", "", gr.Request())
    assert study(desk, key).photo.label == "blue"
    assert len(told) == 1
    assert "Meanwhile the label became" in told[0]
    assert any(
        isinstance(update, dict) and update.get("value") == "blue" for update in shown
    )  # the page shows what holds
    photo.relabel(desk, key, "", "green", "blue", "", gr.Request())
    assert study(desk, key).photo.label == "green"


def test_ticks_of_two_windows_are_each_about_their_own_variation(desk: Desk, key: str) -> None:
    first, second, third = (variation.edited_caption for variation in study(desk, key).perturbations)
    for words in (first, second, first):  # the third comes from a window that still shows it ticked
        list(proposals.act(desk, key, Event(do="leave", caption=words)))  # type: ignore[arg-type]
    ticks = {variation.edited_caption: variation.accepted for variation in study(desk, key).perturbations}
    assert ticks == {first: False, second: False, third: True}


def test_variations_of_two_windows_are_all_there(desk: Desk, key: str) -> None:
    other = study(desk, key)
    proposals.write_own(desk, key, "a photo of a red plane on grass")
    stale = proposals._add_own_words(desk, other, "a photo of a red plane on sand")
    assert len(stale.perturbations) == 5


def test_a_job_takes_the_caption_that_a_person_wrote_while_it_read_the_picture(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "b.png"
    picture("green", 5).save(file)
    known = photo._open(desk, file, "green")
    place, read = f"{known.photo.key}@colour", desk.models.captioner.caption

    def slow(*asked: Any) -> str:
        monkeypatch.undo()
        captions.rewrite(desk, place, "a green lawn on white", ADA)
        return str(read(*asked))

    monkeypatch.setattr(desk.models.captioner, "caption", slow)
    list(job(desk, place))
    after = study(desk, place)
    assert after.caption == "a green lawn on white"
    assert {variation.caption for variation in after.perturbations} == {"a green lawn on white"}
    assert len(after.counterfactuals) == 9
