"""The demo project: studies with their edits, decisions, a set and a run, that a new data folder starts with.

It lies in a folder of its own as JSON lines and PNG files, and enters a store the way everything else does, so a store
of a later version takes it, too. Its photos are a collection, which can be put away with all that was made of them;
nothing is lost by it, and it can be brought back. Which folder it is, a profile says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL.Image import Image

from pipeline.errors import DataError, display_name
from pipeline.images import encode, key_of, open_image
from pipeline.reinforcement.runs import read_run
from pipeline.reinforcement.saving import save
from pipeline.scores import Scores
from pipeline.store.collections import PhotoCollection
from pipeline.store.schema import DEMO, EARLIER
from pipeline.store.store import Store
from pipeline.tasks import studio
from pipeline.types import (
    FOLDER,
    Check,
    Counterfactual,
    Decision,
    Models,
    Perturbation,
    Photo,
    Prediction,
    Study,
)

STUDIES, DECISIONS, SETS = "studies.jsonl", "decisions.jsonl", "sets.jsonl"
RUN = "run"  # folder of a reinforcement's figures and heads
PICTURES = "pictures"
NAME = "demo"  # of the run, once it is in a data folder
TITLE = "Demo"  # of the collection

Line = Mapping[str, Any]  # a line of JSON


def is_new(root: Path) -> bool:
    """Return whether a data folder is not there yet, or holds nothing at all."""
    return not root.exists() or (root.is_dir() and not any(root.iterdir()))


@lru_cache(maxsize=4)
def photo_keys(folder: Path) -> frozenset[str]:
    """Return the keys of the demo's photos. Raises `DataError` when the folder holds no demo, or a damaged one."""
    return frozenset(str(row["photo"]) for row in _lines(folder / STUDIES))


def found(store: Store) -> PhotoCollection | None:
    """Return the demo's collection, put away or not; None where the demo was never brought."""
    return next((collection for collection in store.collections() if collection.kind == DEMO), None)


def is_shown(store: Store) -> bool:
    """Return whether the demo's collection is among those that are shown."""
    return (collection := found(store)) is not None and not collection.away


def bring(store: Store, folder: Path) -> None:
    """Make the demo part of the store, as often as one likes: what is missing is added, what was put away is back.

    Raises `DataError` when there is no demo in the folder, or a damaged one.
    """
    rows = list(_lines(folder / STUDIES))
    collection = store.open_collection(DEMO, TITLE)
    store.bring_back(photo_keys(folder))
    studies, sets = {summary.key for summary in store.studies()}, {frozen.name for frozen in store.sets()}
    for row in rows:
        if row["photo"] not in studies:
            studio.save_study(store, _study(folder, row), collection)
    store.collect(collection, photo_keys(folder))
    store.decide_all([Decision(**{**row, "tags": tuple(row["tags"])}) for row in _lines(folder / DECISIONS)])
    for row in _lines(folder / SETS):
        if row["name"] not in sets:
            store.freeze(str(row["name"]), frozenset(row["items"]))


def claim(store: Store, folder: Path) -> None:
    """Give the demo its collection in a data folder of an earlier version, where its photos were among all others."""
    kinds = {collection.kind for collection in store.collections()}
    if EARLIER in kinds and DEMO not in kinds:
        store.part_from_earlier(DEMO, TITLE, photo_keys(folder))


def bring_run(models: Models, parent: Path, folder: Path) -> None:
    """Make the demo's reinforced classifier a run below `parent`, where it is opened like any other."""
    target, away = parent / NAME, parent / f".{NAME}"
    if away.is_dir() and not target.exists():
        away.rename(target)
    if not target.exists():
        made = read_run(folder / RUN)
        save(made, models.classifier(made.classifier), target)


def put_away(store: Store, parent: Path) -> None:
    """Leave the demo out everywhere, its run below `parent` too, until `bring` and `bring_run`."""
    if (collection := found(store)) is not None:
        store.put_collection_away(collection.number)
    if (parent / NAME).is_dir():
        (parent / NAME).rename(parent / f".{NAME}")


def write(store: Store, folder: Path) -> int:
    """Write what a store holds into `folder` as a demo, without a run; return the number of photos.

    Raises `DataError` when the folder holds something already.
    """
    if not is_new(folder):
        raise DataError(f"'{display_name(folder)}' is not empty; give a new folder for the demo.", path=folder)
    (folder / PICTURES).mkdir(parents=True)
    found = [study for summary in reversed(store.studies()) if (study := store.load_study(summary.key)) is not None]
    _write(folder / STUDIES, (_row(folder, study) for study in found))
    _write(
        folder / DECISIONS, ({k: v for k, v in asdict(decision).items() if k != "number"} for decision in store.log())
    )
    _write(folder / SETS, ({"name": frozen.name, "items": frozen.items} for frozen in reversed(store.sets())))
    return len(found)


def _row(folder: Path, study: Study) -> dict[str, object]:
    photo = study.photo
    words = list(
        dict.fromkeys(
            (*study.perturbations, *(counterfactual.perturbation for counterfactual in study.counterfactuals))
        )
    )
    return {
        "photo": photo.key,
        "picture": _put(folder, photo.image),
        "name": photo.name,
        "label": photo.label,
        "label_source": photo.label_source,
        "classifier": photo.classifier,
        "fingerprint": photo.fingerprint,
        "labels": photo.prediction.labels,
        "prediction": photo.prediction.probabilities.tolist(),
        "caption": study.caption,
        "reconstruction": _put(folder, study.reconstruction) if study.reconstruction is not None else None,
        "control": study.control.probabilities.tolist() if study.control is not None else None,
        "words": [asdict(perturbation) for perturbation in words],
        "proposed": [words.index(perturbation) for perturbation in study.perturbations],
        "counterfactuals": [
            {
                "key": counterfactual.key,
                "words": words.index(counterfactual.perturbation),
                "tau": counterfactual.tau,
                "picture": _put(folder, counterfactual.image),
                "scores": counterfactual.scores.kept,
                "prediction": counterfactual.prediction.probabilities.tolist(),
                "missed": counterfactual.missed,
                "seed": counterfactual.seed,
                "models": counterfactual.models,
                "settings": counterfactual.settings,
                "scorer": counterfactual.scorer,
            }
            for counterfactual in study.counterfactuals
        ],
    }


def _study(folder: Path, row: Line) -> Study:
    labels, words = tuple(row["labels"]), tuple(map(_perturbation, row["words"]))
    picture = _get(folder, row["picture"])
    if key_of(picture) != row["photo"]:
        message = f"The demo is damaged at {row['picture']}; fetch it again, or start with --empty."
        raise DataError(message, path=folder / PICTURES / row["picture"])
    return Study(
        photo=Photo(
            key=row["photo"],
            image=picture,
            label=row["label"],
            prediction=_prediction(labels, row["prediction"]),
            name=row["name"],
            label_source=row.get("label_source", FOLDER),
            classifier=row["classifier"],
            fingerprint=row.get("fingerprint", ""),
        ),
        caption=row["caption"],
        reconstruction=_get(folder, row["reconstruction"]) if row["reconstruction"] else None,
        control=_prediction(labels, row["control"]) if row["control"] else None,
        perturbations=tuple(words[place] for place in row["proposed"]),
        counterfactuals=tuple(
            Counterfactual(
                key=record["key"],
                perturbation=words[record["words"]],
                tau=record["tau"],
                image=_get(folder, record["picture"]),
                scores=Scores.of(record["scores"]),
                prediction=_prediction(labels, record["prediction"]),
                missed=tuple(record["missed"]),
                seed=record["seed"],
                models=record["models"],
                settings=record.get("settings"),
                scorer=record.get("scorer", ""),
            )
            for record in row["counterfactuals"]
        ),
    )


def _perturbation(row: Line) -> Perturbation:
    checks = tuple(Check(**check) for check in row["checks"])
    return Perturbation(**{**row, "rejected_by": tuple(row["rejected_by"]), "checks": checks})


def _prediction(labels: tuple[str, ...], values: Iterable[float]) -> Prediction:
    return Prediction(labels=labels, probabilities=list(values))


def _put(folder: Path, image: Image) -> str:
    name = f"{key_of(image)[:24]}.png"
    (folder / PICTURES / name).write_bytes(encode(image))
    return name


def _get(folder: Path, name: str) -> Image:
    return open_image(folder / PICTURES / name)


def _lines(file: Path) -> Iterator[Line]:
    try:
        text = file.read_text(encoding="utf-8")
        yield from map(json.loads, text.strip("\n").split("\n"))
    except (OSError, ValueError) as error:
        message = f"There is no demo in '{display_name(file.parent)}'; fetch it again, or start with --empty."
        raise DataError(message, path=file) from error


def _write(file: Path, rows: Iterable[Line]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
