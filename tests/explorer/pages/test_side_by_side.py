"""Two classifiers side by side on Insights: judged when it is asked for, told with what it rests on."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from explorer.components.markup import Html
from explorer.desk import Desk
from explorer.pages.insights import side_by_side
from pipeline.analysis.comparison import ClassifierComparison, compare, pair_up
from pipeline.analysis.weakness import ALL, MIN_PHOTOS
from pipeline.errors import InputError
from pipeline.statistics.intervals import Change
from pipeline.store.store import Store
from pipeline.tiny.data import HELD_OUT_SEED
from pipeline.tiny.world import sample
from pipeline.types import Models, Proportion
from tests.browser import stock
from tests.seams import SeamModels
from tests.stores import save, study_of

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def seams(tmp_path: Path) -> Iterator[Desk]:
    store = Store(tmp_path / "data")
    for seed in range(3):
        save(store, study_of(seed))
    desk = Desk(models=SeamModels(), store=store)
    yield desk
    desk.close()
    store.close()


def outcome(desk: Desk, classifier: str, second: str) -> str:
    """What the section shows at the end."""
    return str(deque(side_by_side.compare_classifiers(desk, classifier, second), maxlen=1).pop())


def row(value: float, low: float, high: float, p: float, photos: int = 26) -> ClassifierComparison:
    half = Proportion(n=49, photos=photos, value=0.5, low=0.4, high=0.6)
    change = Change(n=49, photos=photos, value=value, low=low, high=high, p=p, p_adjusted=p)
    return ClassifierComparison(
        label=ALL,
        factor=ALL,
        n=49,
        photos=photos,
        control_acc1=(half, half),
        edited_acc1=(half, half),
        flips=(half, half),
        delta_acc1=change,
        delta_flips=change,
    )


def test_the_second_classifier_judges_first_and_both_are_told(seams: Desk) -> None:
    drawn = len(seams.models.editor.edited)  # type: ignore[attr-defined]
    shown = outcome(seams, "colour", "other")
    assert len(seams.models.editor.edited) == drawn  # type: ignore[attr-defined]
    (whole, *_) = compare(pair_up(seams.store.records("colour"), seams.store.records("other")))
    assert whole.n == 9
    assert '<th scope="col">Acc@1 edits, colour</th>' in shown
    assert f"{whole.n} edits of 3 photos" in shown
    assert shown.count('title="Open in Explore"') == sum(
        (first.ranks[2] == 1) != (second.ranks[2] == 1)
        for first, second in pair_up(seams.store.records("colour"), seams.store.records("other"))
    )
    assert outcome(seams, "colour", "") == ""


def test_only_classifiers_of_the_list_are_opened(seams: Desk) -> None:
    for classifier, second in (("colour", "../x"), ("<b>", "other")):
        with pytest.raises(InputError, match="no classifier of this name"):
            outcome(seams, classifier, second)
    assert "choose another one" in outcome(seams, "other", "other")


def test_the_address_is_followed_and_an_unknown_name_left_out(seams: Desk) -> None:
    def restored(**asked: str) -> list[tuple[object, Html]]:
        return list(side_by_side.restore(seams, SimpleNamespace(query_params=asked)))  # type: ignore[arg-type]

    assert len(restored(classifier="colour", compare="nobody")) == 1
    *_, (_, last) = restored(classifier="colour", compare="other")
    assert "Acc@1 edits, other" in last


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (row(0.12, 0.04, 0.2, 0.01), "b is right about the edits more often than a, by 12 pt (+4 pt to +20 pt; 49"),
        (row(-0.12, -0.2, -0.04, 0.01), "a is right about the edits more often than b, by 12 pt (+4 pt to +20 pt; 49"),
        (row(0.02, -0.04, 0.08, 0.6), "No reliable difference between a and b on the edits (+2 pt, −4 pt to +8 pt;"),
        (row(0.9, 0.1, 1, 0.01, MIN_PHOTOS - 1), f"Edits of fewer than {MIN_PHOTOS} photos do not tell a and b apart"),
    ],
)
def test_the_sentence_says_no_more_than_is_known(told: ClassifierComparison, words: str) -> None:
    assert re.sub(r"\s", " ", side_by_side.sentence(told, "a", "b")).startswith(words)


def test_a_second_classifier_is_set_beside_the_first(page: Page, models: Models, store: Store, address: str) -> None:
    stock(models, store, sample(8, HELD_OUT_SEED + 44))
    page.goto(f"{address}/insights")
    page.locator(".heat button").first.wait_for()
    first = page.input_value("#judge input")
    second = next(name for name in models.profile.classifiers if name != first)
    page.click("#compare-with input")
    page.click(f"[role=option]:has-text('{second}')")
    page.wait_for_selector("#comparison .finding")
    page.wait_for_function("second => location.search.includes(`compare=${second}`)", arg=second)
    assert page.locator("#comparison .sheet table tbody tr").count() >= 4
    page.locator(".heat button[data-factor=background]").first.click()
    page.wait_for_function("location.search.includes('factor=background') && location.search.includes('compare=')")
    page.reload()
    page.wait_for_selector("#comparison .finding")
    assert store.records(second)
