"""The plain model of what must be in a data folder after every step."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.curation.catalogue import CONFLICT, WAITING
from pipeline.types import CONFIRMED
from tests.stateful_objects import JUDGES, key

Choice = tuple[str, ...] | None


@dataclass
class Act:
    """Something an analyst did at one time; an undone one counts no more, a redone one from then on."""

    name: str
    analyst: str
    verdicts: dict[str, str]
    resolves: bool = False
    undone: bool = False


@dataclass
class Shown:
    """A photo as it must be."""

    label: str
    source: str
    judge: int  # the classifier it is shown under
    caption: str = ""
    away: bool = False

    @property
    def said(self) -> str:
        """The label that somebody gave; a guess is nobody's word."""
        return self.label if self.source in CONFIRMED else ""


@dataclass
class Edit:
    """A counterfactual as it must be."""

    photo: int
    caption: str
    words: str
    tau: float
    judge: int  # it was drawn for
    picture: str
    missed: tuple[str, ...] = ()


@dataclass
class Held:
    """A job as it must be, and whose it is: `token` names the latest taking."""

    state: str
    attempts: int = 0
    stop: bool = False
    token: int = 0


@dataclass
class Truth:
    """The plain model: what must be in the data folder."""

    photos: dict[int, Shown] = field(default_factory=dict)
    proposals: dict[tuple[int, str], dict[str, list[Choice]]] = field(default_factory=dict)  # gates, analyst's word
    reconstructed: set[tuple[int, str]] = field(default_factory=set)
    edits: dict[str, Edit] = field(default_factory=dict)  # in the order they were made
    judged: set[tuple[int, str]] = field(default_factory=set)
    current: dict[str, int] = field(default_factory=dict)  # name -> the judge that bears it now
    acts: list[Act] = field(default_factory=list)  # in the order in which they count
    steps: list[tuple[str, str, str]] = field(default_factory=list)  # (analyst, "do", "undo" or "redo", act), as sent
    log: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)  # edit -> (analyst, settles) of its entries
    sets: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    rewordings: dict[int, list[tuple[str, str, str]]] = field(default_factory=dict)
    jobs: dict[str, Held] = field(default_factory=dict)
    frozen: list[tuple[str, int, tuple[str, ...]]] = field(default_factory=list)
    finished: set[tuple[str, str]] = field(default_factory=set)
    failed: set[tuple[str, str]] = field(default_factory=set)

    def use(self, judge: int) -> None:
        """This classifier bears its name from now on."""
        self.current[JUDGES[judge].name] = judge

    def now(self, judge: int) -> int:
        """What bears this classifier's name now."""
        return self.current[JUDGES[judge].name]

    def hidden(self, edit: str) -> bool:
        return self.photos[self.edits[edit].photo].away

    def spoken(self, edit: str) -> dict[str, str]:
        """Analyst -> the verdict that counts."""
        said: dict[str, str] = {}
        for act in self.acts:
            if act.undone or edit not in act.verdicts:
                continue
            if act.resolves:
                said.clear()
            said[act.analyst] = act.verdicts[edit]
        return {analyst: verdict for analyst, verdict in said.items() if verdict}

    def holds(self, edit: str) -> str:
        verdicts = set(self.spoken(edit).values())
        return CONFLICT if len(verdicts) > 1 else next(iter(verdicts), WAITING)

    def stacks(self, analyst: str) -> tuple[list[Act], list[Act]]:
        """What can be undone and redone, the next one last; acts of which nothing is shown are passed over."""
        done: list[Act] = []
        undone: list[Act] = []
        named = {act.name: act for act in self.acts}
        for who, what, name in self.steps:
            act = named[name]
            if who != analyst or all(map(self.hidden, act.verdicts)):
                continue
            if what == "do":
                done.append(act)
                undone.clear()
            else:
                source, target = (done, undone) if what == "undo" else (undone, done)
                if act in source:
                    source.remove(act)
                    target.append(act)
        return done, undone

    def visible(self, judge: int) -> list[str]:
        """Edits that are listed under a classifier, with the photos it judged."""
        return [name for name, edit in self.edits.items() if self.is_judged(judge, edit) and not self.hidden(name)]

    def is_judged(self, judge: int, entry: Edit) -> bool:
        return {(judge, entry.picture), (judge, key("photo", entry.photo))} <= self.judged

    def listed(self) -> list[str]:
        """Edits that are listed under the classifiers that they were drawn for."""
        return [
            name
            for name, edit in self.edits.items()
            if self.is_judged(self.now(edit.judge), edit) and not self.hidden(name)
        ]


@dataclass
class Memory:
    """What a window saw last."""

    labels: dict[int, str] = field(default_factory=dict)
    captions: dict[int, str] = field(default_factory=dict)
    ticks: dict[tuple[int, str, str], tuple[str, ...]] = field(default_factory=dict)
    numbers: dict[str, tuple[int, int]] = field(default_factory=dict)  # edit -> newest number, entries until then


def said(entry: list[tuple[str, ...] | None]) -> tuple[str, ...]:
    """Why a variation is left out: the analyst's word, else the gates'."""
    gates, decided = entry
    return gates or () if decided is None else decided
