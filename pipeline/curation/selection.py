"""Splits that never leak, and what there is to learn from. Knows no model."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

from pipeline.errors import DataError
from pipeline.scoring.clip import choose_tau
from pipeline.store.decisions import Views, is_disputed, settled, shown_label, views
from pipeline.store.store import Store
from pipeline.types import Counterfactual, CounterfactualRecord, Study, StudyRecord

FOREIGN = 5  # unknown labels told by name


Recorded = TypeVar("Recorded", bound=StudyRecord)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Counterfactuals to learn from or to hand on, each with what it shows, and what had to be left out."""

    labels: dict[str, str]  # key -> the corrected label that holds, else the photo's; in order
    left_out: tuple[str, ...] = ()  # one sentence per reason, with how many and what to do
    source: str = ""  # what was chosen, in words

    @property
    def told(self) -> str:
        """Return the source, and what was left out of it."""
        less = "; ".join(sentence.rstrip(".") for sentence in self.left_out)
        return f"{self.source} ({less})" if less else self.source

    def known_to(self, classifier: str, labels: Collection[str]) -> Material:
        """Return the part whose labels the classifier knows. Raises `DataError` when nothing is left."""
        known = {key: label for key, label in self.labels.items() if label in labels}
        foreign = set(self.labels.values()) - set(known.values())
        lost = _count(len(self.labels) - len(known))
        left_out = self.left_out
        if foreign:
            left_out = (*left_out, f"{lost} left out: the classifier {classifier} does not know {_quoted(foreign)}.")
        if not known:
            raise DataError(" ".join(("There is no counterfactual to learn from; keep some first.", *left_out)))
        return Material(labels=known, left_out=left_out, source=self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Photos that count in no figure of a classifier, and why."""

    guesses: int = 0  # nobody has said what they show
    foreign: tuple[str, ...] = ()  # the label of each photo whose label the classifier does not have, sorted

    @property
    def unknown(self) -> str:
        """Return the labels that the classifier does not have, quoted, the first few of them."""
        return _quoted(self.foreign)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return one sentence per reason, with how many photos and what to do."""
        guessed = (
            "whose label is a classifier's guess: say what they show on the Labels page, or study a folder with labels"
        )
        other = f"which show{'s' * (len(self.foreign) == 1)} what this classifier has no label for: {self.unknown}"
        counts = ((self.guesses, guessed), (len(self.foreign), other))
        return tuple(f"{_photos(count)} left out, {reason}." for count, reason in counts if count)


def split_by_photo(
    keys: Sequence[str], fractions: Sequence[float], seed: int, labels: Mapping[str, str] | None = None
) -> tuple[tuple[str, ...], ...]:
    """Part photo keys by the fractions; every key is in exactly one part, however often it is given.

    `labels` (photo key -> label) spreads each label over the parts. Only the keys and the seed decide, never the order
    in which they come. The fractions sum to 1; the first part is served first. Raises `DataError` otherwise.
    """
    if not fractions or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(f"The fractions {tuple(fractions)} do not sum to 1; give for example 0.6, 0.2 and 0.2.")
    of = labels or {}
    drawn = {key: hashlib.sha256(f"{seed}:{key}".encode()).digest() for key in keys}
    ordered = sorted(drawn, key=lambda key: (of.get(key, ""), drawn[key]))
    parts: list[list[str]] = [[] for _ in fractions]
    for place, key in enumerate(ordered, start=1):
        owed = [share * place - len(part) for share, part in zip(fractions, parts, strict=True)]
        parts[owed.index(max(owed))].append(key)
    return tuple(tuple(part) for part in parts)


@overload
def chosen(study: Study) -> tuple[Counterfactual, ...]: ...
@overload
def chosen(study: StudyRecord) -> tuple[CounterfactualRecord, ...]: ...
def chosen(study: StudyRecord) -> tuple[CounterfactualRecord, ...]:
    """Return each edited caption's best counterfactual that passed every gate; captions without one are absent."""
    candidates: dict[str, list[CounterfactualRecord]] = {}
    for counterfactual in study.counterfactuals:
        candidates.setdefault(counterfactual.perturbation.edited_caption, []).append(counterfactual)
    best = (choose_tau(group) for group in candidates.values())
    return tuple(counterfactual for counterfactual in best if counterfactual is not None)


def selection(store: Store, name: str = "") -> Material:
    """Return what to reinforce with: the latest version of the named set; without a name all that analysts kept.

    When nobody has kept anything yet: every counterfactual at its chosen tau that nobody has rejected. Raises
    `DataError` when the set is unknown.
    """
    said = views(store.log())
    if name:
        versions = [frozen for frozen in store.sets() if frozen.name == name]
        if not versions:
            raise DataError(f"There is no set '{name}' here; freeze one first.")
        source = f"the set '{name}', version {versions[0].version}, of {len(versions[0].items)} counterfactuals"
        return labelled(store, versions[0].items, said, source)
    verdicts = {key: decision.verdict for key, of in said.items() if (decision := settled(of))}
    kept = [entry.key for entry in store.entries() if verdicts.get(entry.key) == "keep"]
    disputed = [entry.key for entry in store.entries() if is_disputed(said.get(entry.key, {}))]
    if kept:
        return labelled(store, [*kept, *disputed], said, "all kept counterfactuals")
    best = (item.key for study in store.records() for item in chosen(study))
    undecided = [key for key in best if verdicts.get(key) != "reject"]
    return labelled(store, undecided, said, "every chosen counterfactual that was not rejected")


def countable(studies: Iterable[Recorded]) -> tuple[tuple[Recorded, ...], LeftOut]:
    """Return the studies with a label that somebody gave and their classifier knows, and what was left out."""
    found: list[Recorded] = []
    guesses, foreign = 0, []
    for study in studies:
        if not study.photo.confirmed:
            guesses += 1
        elif study.photo.label not in study.photo.prediction.labels:
            foreign.append(study.photo.label)
        else:
            found.append(study)
    return tuple(found), LeftOut(guesses=guesses, foreign=tuple(sorted(foreign)))


def labelled(store: Store, keys: Sequence[str], said: Views | None = None, source: str = "") -> Material:
    """Return these counterfactuals with what they show, without those of which nobody can say it."""
    said = views(store.log()) if said is None else said
    entries = {entry.key: entry for entry in store.entries()}
    labels: dict[str, str] = {}
    away = disputed = guessed = 0
    for key in keys:
        opinions = said.get(key, {})
        corrected = None if is_disputed(opinions) else shown_label(opinions)
        if key not in entries:
            away += 1
        elif not entries[key].confirmed:
            guessed += 1
        elif corrected is None:
            disputed += 1
        else:
            labels[key] = corrected or entries[key].label
    reasons = (
        (away, "the photos were put away"),
        (guessed, "nobody has said what the photos show; do so on the Labels page"),
        (disputed, "analysts disagree; settle it under Conflicts on the Curate page"),
    )
    left_out = tuple(f"{_count(count)} left out: {reason}." for count, reason in reasons if count)
    return Material(labels=labels, left_out=left_out, source=source)


def _quoted(labels: Iterable[str]) -> str:
    distinct = sorted(set(labels))
    return ", ".join(f"'{label}'" for label in distinct[:FOREIGN]) + (", ..." if len(distinct) > FOREIGN else "")


def _photos(number: int) -> str:
    return "1 photo is" if number == 1 else f"{number} photos are"


def _count(number: int) -> str:
    return "1 pair is" if number == 1 else f"{number} pairs are"
