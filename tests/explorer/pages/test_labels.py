"""What a picture shows: a guess protects nothing and counts nowhere until somebody confirms it, by button or key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
import pytest
from typer.testing import CliRunner

from explorer import api
from explorer.address import place_of, require_study
from explorer.alerts import guard_handler
from explorer.desk import Desk
from explorer.pages.explore import photo, uploads
from explorer.pages.insights.findings import findings
from explorer.pages.labels.labels import Labels
from pipeline.__main__ import app
from pipeline.curation.selection import selection
from pipeline.errors import DataError, InputError
from pipeline.importing.folders import LabelledImage
from pipeline.settings import Settings
from pipeline.store.store import Store
from pipeline.tasks import studio
from pipeline.types import ANALYST, FOLDER, GUESS, Check, Decision, Perturbation, Study
from tests.browser import visiting
from tests.seams import SeamModels, WordPerturber, picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ADA = gr.Request(username="ada")


class LabelPerturber(WordPerturber):
    """With a gate that asks for the label's own word, as the real one does."""

    def judge(self, caption: str, edited_caption: str, factor: str, label: str, settings: Settings) -> Perturbation:
        variation = super().judge(caption, edited_caption, factor, label, settings)
        if not label:
            return variation
        check = Check(gate="label", passed=label in edited_caption, says=f"the label '{label}' is named or not")
        return replace(variation, checks=(check,), rejected_by=() if check.passed else (check.says,))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(models=SeamModels(perturber=LabelPerturber()), store=Store(tmp_path / "data"))
    yield opened
    opened.close()
    opened.store.close()


def guessed(desk: Desk, seed: int = 0, *, colour: str = "red") -> Study:
    """A photo that nobody labelled, with edits of which one is kept."""
    study = studio.take_in(desk.models, desk.store, picture(colour, seed), name=f"{seed}.png")
    desk.store.set_caption(study.photo.key, f"a photo of a {colour} plane on white")
    words = f"a photo of a {colour} plane on yellow"
    api.edit(desk, place_of(study), words, [0.2, 0.5])
    study = require_study(desk, place_of(study))
    key = next(item.key for item in study.counterfactuals if not item.missed)
    desk.store.decide(Decision(id=f"keep-{seed}", counterfactual=key, verdict="keep", analyst="ada"))
    return study


def test_a_guess_counts_nowhere_until_somebody_confirms_it(desk: Desk, tmp_path: Path) -> None:
    study = guessed(desk)
    assert (study.photo.label, study.photo.label_source) == ("red", GUESS)
    told = findings(desk.store.records("colour"))
    assert (told.studies, told.left_out.guesses) == ((), 1)
    material = selection(desk.store)
    assert material.labels == {}
    assert "1 pair is left out: nobody has said what the photos show" in material.left_out[0]
    with pytest.raises(InputError, match=r"Nothing that is kept can be frozen\. 1 pair is left out"):
        api.freeze(desk, "set")
    desk.catalogue.refresh()
    assert photo.greatest_flips(desk) == ()
    run = CliRunner().invoke(app, ["weakness", str(desk.store.root)])
    assert run.exit_code == 2
    assert "1 photo is left out, whose label is a classifier's guess" in run.output

    photo.answer(desk, place_of(study), "", "", "", ADA, event(label="red"))
    record = desk.store.load_study(study.photo.key)
    assert record is not None
    assert (record.photo.label, record.photo.label_source, record.photo.label_analyst) == ("red", ANALYST, "ada")
    told = findings(desk.store.records("colour"))
    assert (len(told.studies), told.left_out.guesses) == (1, 0)
    assert list(selection(desk.store).labels.values()) == ["red"]
    assert api.freeze(desk, "set") == ("set", 1, 1)


def event(**data: str) -> gr.EventData:
    made = gr.EventData(None, None)
    made._data = data
    return made


def test_labels_know_their_source(desk: Desk, tmp_path: Path) -> None:
    for number, label in enumerate(("red", "")):
        file = tmp_path / f"{number}.png"
        picture("green", number).save(file)
        taken = uploads.take_in(desk, LabelledImage(path=file, label=label))
        assert isinstance(taken, Study)
        assert (taken.photo.label, taken.photo.label_source) == (label or "green", FOLDER if label else GUESS)
    assert "1 photo counts nowhere here" in str(uploads.report(2, (), 1))
    assert "nowhere" not in str(uploads.report(2, (), 0))


def test_a_guess_protects_nothing(desk: Desk) -> None:
    study = studio.take_in(desk.models, desk.store, picture("red"))
    desk.store.set_caption(study.photo.key, "a photo of a plane on white")
    place = place_of(study)
    assert [variation["rejected_by"] for variation in api.perturb(desk, place, ["background"], ADA)] == [[]]
    assert api.edit(desk, place, "a photo of a boat on white", [0.5])
    assert "no gate protects what the picture" in str(photo.page(desk, require_study(desk, place)))
    api.perturb(desk, place, ["object"], ADA, label="red")
    variations = require_study(desk, place).perturbations
    assert {variation.rejected_by for variation in variations} == {("the label 'red' is named or not",)}
    with pytest.raises(InputError, match="A gate objects"):
        api.edit(desk, place, "a photo of a wall on white", [0.5])


def test_another_label_judges_the_variations_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(gr, "Info", lambda text, **_: notes.append(text))
    study = studio.take_in(desk.models, desk.store, picture("red"), "red")
    desk.store.set_caption(study.photo.key, "a photo of a red plane on white")
    place, key = place_of(study), study.photo.key
    api.perturb(desk, place, ["background", "object"], ADA)
    first, second = require_study(desk, place).perturbations
    assert first.accepted
    assert second.accepted
    desk.store.tick(key, "a photo of a red plane on white", {second.edited_caption: ("You rejected it.",)})
    photo.relabel(desk, place, "", "blue", "red", "", ADA)
    now = {variation.edited_caption: variation.rejected_by for variation in require_study(desk, place).perturbations}
    assert now[first.edited_caption] == ("the label 'blue' is named or not",)
    assert len(notes) == 1
    assert "1 variation is no longer ticked" in notes[0]
    photo.relabel(desk, place, "", "red", "blue", "", ADA)
    now = {variation.edited_caption: variation.rejected_by for variation in require_study(desk, place).perturbations}
    assert now[first.edited_caption] == ()


def test_a_label_that_was_given_meanwhile_is_not_overruled(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(gr, "Warning", told.append)
    study = guessed(desk)
    labels, key = Labels(desk), study.photo.key
    answer = labels.say({"photos": [{"key": key, "label": "red", "expected": ""}], "analyst": "ada"})
    assert (answer["photos"], answer["left"]) == ([{"key": key, "expected": "red", "said": "red"}], 0)
    answer = labels.say({"photos": [{"key": key, "label": "blue", "expected": ""}], "analyst": "bo"})
    assert "Meanwhile the label became 'red'" in str(answer["told"])
    assert answer["photos"][0]["said"] == "red"
    photo.relabel(desk, place_of(study), "", "green", "", "", gr.Request(username="bo"))
    assert "Meanwhile the label became" in told[0]
    assert require_study(desk, place_of(study)).photo.label_analyst == "ada"
    labels.say({"photos": [{"key": key, "label": "blue", "expected": "red"}], "analyst": "bo"})
    assert require_study(desk, place_of(study)).photo.label == "blue"


def test_a_label_that_nobody_knows_is_told(desk: Desk) -> None:
    study = guessed(desk)
    answer = Labels(desk).functions()[1](
        {"photos": [{"key": study.photo.key, "label": "unicorn", "expected": ""}]}, gr.Request()
    )
    assert "The label 'unicorn' fits no class of the classifier" in str(answer)
    assert not require_study(desk, place_of(study)).photo.confirmed
    with pytest.raises(gr.Error, match="unicorn"):
        guard_handler(api.perturb)(desk, place_of(study), ["object"], ADA, label="unicorn")


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with visiting(browser, address) as opened:
        yield opened


def source(desk: Desk, study: Study) -> tuple[str, str]:
    record = desk.store.load_study(study.photo.key)
    assert record is not None
    return record.photo.label, record.photo.label_source


def test_the_page_asks_what_the_picture_shows(page: Page, address: str, desk: Desk) -> None:
    by_key, by_button, by_list = (guessed(desk, seed) for seed in range(3))
    for study, answer in ((by_key, "key"), (by_button, "button"), (by_list, "list")):
        page.goto(f"{address}/?photo={study.photo.key}")
        page.wait_for_selector(".question >> text=What does the picture show?")
        page.wait_for_selector(".question .hint:has-text('counts in no figure')")
        if answer == "key":
            page.keyboard.press("2")
        elif answer == "button":
            page.click(".question button[data-key='1']")
        else:
            page.click(".question .link")
            page.keyboard.type("blue")
            page.keyboard.press("Enter")
        page.wait_for_selector(".question", state="detached")
    second = by_key.photo.prediction.top()[1][0]
    assert source(desk, by_key) == (second, ANALYST)
    assert source(desk, by_button) == ("red", ANALYST)
    assert source(desk, by_list) == ("blue", ANALYST)
    page.goto(f"{address}/?photo={by_key.photo.key}")
    page.wait_for_function(f"document.querySelector('#label input')?.value === '{second}'")
    assert page.locator(".question").count() == 0


def test_many_are_answered_with_the_keyboard(page: Page, address: str, desk: Desk) -> None:
    photos = [guessed(desk, seed, colour=("red", "green")[seed % 2]) for seed in range(4)]
    page.goto(f"{address}/insights")
    page.click(".guesses:has-text('4 photos count nowhere here') a")
    page.wait_for_selector("#label-grid .photo >> nth=3")
    page.wait_for_selector("#label-grid .left:has-text('4 without a label')")
    page.keyboard.press("2")
    page.wait_for_selector("#label-grid .left:has-text('3 without a label')")
    page.keyboard.press("l")
    page.keyboard.type("blue")
    page.keyboard.press("Enter")
    page.wait_for_selector("#label-grid .left:has-text('2 without a label')")
    page.keyboard.press("a")
    page.wait_for_selector("#label-grid .saved:not(.busy):text-is('Saved')")
    page.wait_for_selector("#label-grid .photo:nth-child(4) .answered:text-is('✓ green')")
    said = [source(desk, study) for study in photos]
    assert {kind for _, kind in said} == {ANALYST}
    assert [label for label, _ in said][1:] == ["blue", "red", "green"]
    assert said[0][0] == photos[0].photo.prediction.top()[1][0]
    page.keyboard.press("ArrowLeft")  # from the third photo, where the cursor stayed, to the second
    page.keyboard.press("1")
    page.wait_for_selector("#label-grid .photo:nth-child(2) .answered:text-is('✓ green')")
    page.wait_for_selector("#label-grid .saved:not(.busy):text-is('Saved')")
    assert source(desk, photos[1]) == ("green", ANALYST)
    page.keyboard.press("n")
    page.wait_for_selector("#label-grid .empty:has-text('Somebody has said of every photo what it shows')")
    page.goto(f"{address}/insights")
    page.wait_for_selector(".heat, table")
    assert page.locator(".guesses").count() == 0


def uploaded(desk: Desk, *paths: Path) -> tuple[str, tuple[uploads.Differing, ...]]:
    """(what the page tells, photos that came with another label)"""
    *_, (_, told, differing, button, *_) = uploads.receive(desk, [str(path) for path in paths])
    assert button["visible"] == bool(differing)
    return str(told), differing


def test_the_label_that_comes_with_a_picture_replaces_a_guess_and_asks_before_it_replaces_a_word(
    desk: Desk, tmp_path: Path
) -> None:
    for number in range(2):
        picture("red", number).save(tmp_path / f"{number}.png")
    pictures = [tmp_path / "0.png", tmp_path / "1.png"]
    assert uploaded(desk, *pictures)[1] == ()
    assert {study.label_source for study in desk.store.studies()} == {GUESS}
    (tmp_path / "list.csv").write_text("file;label\n0.png;Blue\n1.png; Blue\n")
    told, differing = uploaded(desk, *pictures, tmp_path / "list.csv")
    assert differing == ()
    assert "2 photos taken in." in told
    assert "Its columns are parted by semicolons." in told
    assert {(study.label, study.label_source) for study in desk.store.studies()} == {("blue", FOLDER)}

    ada, other = desk.store.studies()
    desk.store.set_label(ada.key, "green", analyst="ada")
    (tmp_path / "list.csv").write_text("file,label\n0.png,red\n1.png,red\n")
    told, differing = uploaded(desk, *pictures, tmp_path / "list.csv")
    assert {(picture.key, picture.label, picture.known) for picture in differing} == {
        (ada.key, "red", "green"),
        (other.key, "red", "blue"),
    }
    assert "came as &#39;red&#39;, is &#39;green&#39; by what was said before" in told
    assert {study.label for study in desk.store.studies()} == {"green", "blue"}

    desk.store.set_label(ada.key, "blue", analyst="bo")
    shown = place_of(studio.require_study(desk.store, ada.key))
    answer = uploads.take_labels(desk, differing, shown, "", "cy", ADA)
    assert "1 label taken." in str(answer[0])
    assert "Meanwhile the label became" in str(answer[0])
    assert {study.key: study.label for study in desk.store.studies()} == {ada.key: "blue", other.key: "red"}


def test_labels_of_an_upload_that_mean_one_class_are_refused(desk: Desk, tmp_path: Path) -> None:
    for number in range(2):
        picture("red", number).save(tmp_path / f"{number}.png")
    (tmp_path / "list.csv").write_text("file,label\n0.png,Red\n1.png,red\n")
    with pytest.raises(DataError, match="are both the classifier"):
        uploaded(desk, tmp_path / "0.png", tmp_path / "1.png", tmp_path / "list.csv")
    assert desk.store.studies() == ()
