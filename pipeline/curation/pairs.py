"""The pairs of a frozen set on their way out: a row with everything that is known of each, and its two pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.curation.selection import labelled
from pipeline.errors import DataError
from pipeline.images import encode
from pipeline.store.decisions import Views, settled, views
from pipeline.store.store import Store
from pipeline.types import Counterfactual, CounterfactualSet, Decision, Photo, Prediction

ORIGINALS = "originals"
Columns = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One line of a set with its two pictures, as PNG."""

    row: Columns
    edit: bytes
    original: bytes


def pairs(store: Store, chosen_set: CounterfactualSet) -> Iterator[Pair]:
    """Yield the lines of a set in its order, without those that `labelled` leaves out; verdicts are those of now.

    Raises `DataError` when nothing is left.
    """
    said = views(store.log())
    material = labelled(store, chosen_set.items, said)
    if not material.labels:
        raise DataError(" ".join(("Nothing of this set can be exported.", *material.left_out)))
    for photo, item in store.pairs(list(material.labels)):
        label = material.labels[item.key]
        row = {**_places(photo, item, label), **_measured(photo, item, label), **_judged(photo, item, label, said)}
        yield Pair(row=row, edit=encode(item.image), original=encode(photo.image))


def plain(label: str) -> str:
    """Return words as a folder's name; metadata.jsonl holds them to the letter."""
    return re.sub(r"[^\w \-]+", "_", label).strip(" _")[:80] or "unnamed"


def _places(photo: Photo, item: Counterfactual, label: str) -> Columns:
    """Return where the two pictures lie; no label's folder can be taken for that of the originals."""
    folder = plain(label)
    folder = f"{folder}_" if folder.lower() == ORIGINALS else folder
    return {
        "file_name": f"{folder}/{item.key[:32]}.png",
        "original_file_name": f"{ORIGINALS}/{photo.key[:32]}.png",
    }


def _measured(photo: Photo, item: Counterfactual, label: str) -> Columns:
    """Return what was asked for and what came of it; `key` and `photo` hash all that determined the pictures."""
    words = item.perturbation
    return {
        "key": item.key,
        "photo": photo.key,
        "photo_name": photo.name,
        "label": label,
        "photo_label": photo.label,
        "caption": words.caption,
        "edited_caption": words.edited_caption,
        "factor": words.factor,
        "words_before": words.original,
        "words_after": words.edit,
        "tau": item.tau,
        "scores": item.scores.kept,
        "missed": list(item.missed),
        "seed": item.seed,
        "settings": item.settings,
        "models": [{"role": role, "model": name} for role, name in item.models.items()],
        "classifier": photo.classifier,
        "prediction_before": _top(photo.prediction),
        "prediction_after": _top(item.prediction),
    }


def _judged(photo: Photo, item: Counterfactual, label: str, said: Views) -> Columns:
    """Return the verdict that holds now, "" when it was taken back, the corrected label, and what each analyst said."""
    opinions = said.get(item.key, {})
    holds = settled(opinions) or Decision(id="", counterfactual=item.key, verdict="")
    return {
        **{name: getattr(holds, name) for name in ("verdict", "reason", "analyst", "time")},
        "corrected_label": label if label != photo.label else "",
        "tags": list(dict.fromkeys(name for its in opinions.values() for name in its.tags)),
        "analysts": [
            {"analyst": who, "verdict": its.verdict, "label": its.label, "tags": list(its.tags)}
            for who, its in opinions.items()
        ],
    }


def _top(prediction: Prediction) -> list[Columns]:
    return [{"label": label, "probability": probability} for label, probability in prediction.top(5)]
