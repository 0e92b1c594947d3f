"""What the deck asks the server: decisions of several analysts on one pair, each upon what they saw."""

from __future__ import annotations

import pytest

from explorer.desk import Desk
from explorer.pages.curate.triage import DeckItem, Triage
from pipeline.store.store import Store
from tests.seams import SeamModels
from tests.stores import save, study_of


class Window:
    """The deck as one analyst has it open."""

    def __init__(self, desk: Desk, analyst: str) -> None:
        self.triage, self.analyst, self.acts = Triage(desk), analyst, 0

    def see(self, key: str) -> DeckItem:
        """The pair as it is shown now."""
        items = self.triage.look({"analyst": self.analyst, "state": "all", "count": 48})["items"]
        return next(pair for pair in items if pair["key"] == key)  # type: ignore[return-value]

    def decide(self, key: str, verdict: str) -> str:
        """A verdict upon what is shown; the error that is told, if any."""
        self.acts += 1
        seen = [{"key": key, "expected": self.see(key)["expected"]}]
        sent = {"analyst": self.analyst, "act": f"{self.analyst}-{self.acts}", "verdict": verdict, "items": seen}
        return self.triage.decide(sent).get("error", "")

    def undo(self) -> None:
        self.acts += 1
        self.triage.take_back({"analyst": self.analyst, "act": f"{self.analyst}-{self.acts}"})


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(models=SeamModels(), store=store)


def test_whoever_was_overruled_may_still_speak(desk: Desk) -> None:
    study = study_of()
    save(desk.store, study)
    key, ada, grace = study.counterfactuals[0].key, Window(desk, "Ada"), Window(desk, "Grace")
    assert (ada.decide(key, "keep"), grace.decide(key, "reject")) == ("", "")
    assert ada.see(key)["state"] == "conflict"
    assert ada.decide(key, "keep") == ""
    assert ada.see(key)["state"] == "keep"
    assert grace.decide(key, "reject") == ""
    assert grace.see(key)["state"] == "conflict"


def test_undoing_a_resolution_brings_the_others_back(desk: Desk) -> None:
    study = study_of()
    save(desk.store, study)
    key, ada, grace = study.counterfactuals[0].key, Window(desk, "Ada"), Window(desk, "Grace")
    for window, verdict in ((ada, "keep"), (grace, "reject"), (ada, "keep")):
        assert window.decide(key, verdict) == ""
    ada.undo()
    assert ada.see(key)["state"] == "conflict"
    assert "Grace" in ada.see(key)["opinion"]
    assert desk.store.decisions() == {}
    assert ada.decide(key, "unsure") == ""
    assert ada.see(key)["state"] == "unsure"
