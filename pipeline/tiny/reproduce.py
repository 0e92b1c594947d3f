"""The paper's two tables in the miniature world, where the truth is known: pictures, edits, rivals' pictures, tables.

Classifiers of the profile's architectures are trained at several strengths of bias, all for the same number of steps,
fixed beforehand. Photos follow the world's bias; test pictures are drawn from other seeds, with the bias of the
classifier (T) and uniform (OOD), and are never edited. What takes long is kept under one folder and found again: edits
in a store, text-to-image pictures as files, features, refits. The edits do not depend on the classifier, so they are
made once for all.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from PIL.Image import Image

from pipeline.classifiers.families import TimmClassifier
from pipeline.curation.selection import chosen
from pipeline.errors import DataError, display_name
from pipeline.images import encode, key_of, open_image
from pipeline.importing.folders import METADATA
from pipeline.models.loader import LoadedModels
from pipeline.reinforcement.features import Features
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.splits import refuse_leaks
from pipeline.reinforcement.training_data import Pictures
from pipeline.runtime.staging import refuse_used
from pipeline.settings import Settings
from pipeline.store.store import Store
from pipeline.study.banks import bank_of, items_of, views_of
from pipeline.study.repair import repair
from pipeline.study.results import Repair, Results
from pipeline.study.weaknesses import weaknesses
from pipeline.tasks.studio import stress
from pipeline.tiny.measure import text_to_image
from pipeline.tiny.train import FULL, Workshop, train_in_full
from pipeline.tiny.world import BIAS, VALUES, Scene, draw, parse, sample
from pipeline.types import Step, Study

log = logging.getLogger(__name__)

PHOTOS_SEED = 940_001  # beyond the held-out seeds of `data.py`, and none of those that sample pictures are made from
TESTS_SEED = 950_001
CHUNK = 32  # text-to-image pictures between two looks at the clock
PLAN = "plan.json"
KEPT = ("proposals", "taus", "scenes", "training")  # of the plan, on which what a folder keeps depends


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How large the study is."""

    photos: int = 240
    tests: int = 1000  # pictures of T and of OOD each
    seeds: int = 3  # splits and trainings
    replicates: int = 20  # draws of the photos with replacement, each split and trained on by every seed
    samples: int = 2  # text-to-image pictures a counterfactual, which the epochs take in turn
    epochs: int = 20  # of a head's training, at most; each has plain augmentations of its own
    strengths: tuple[float, ...] = (0.5, 0.8, BIAS)  # of the bias in the classifiers' training
    scenes: int = 3_000  # that a classifier is trained on
    training: float = 1.0  # share of the steps of a full training
    proposals: int = 1  # variations a factor
    taus: tuple[float, ...] = (0.2, 0.6, 1.0)


SMALL = Plan(
    photos=24,
    tests=240,
    seeds=2,
    taus=(0.4,),
    replicates=4,
    samples=1,
    epochs=5,
    strengths=(0.5, BIAS),
    scenes=300,
    training=0.1,
)


def reproduce(models: LoadedModels, folder: Path, plan: Plan, command: str, step: Step) -> Results:
    """Make all of it, from what the folder holds already. Raises `DataError` when it belongs to another plan."""
    _claim(folder, plan)
    settings = replace(models.profile.settings, proposals=plan.proposals, taus=plan.taus)
    scenes = {key_of(draw(scene)): scene for scene in sample(plan.photos, PHOTOS_SEED, BIAS)}
    studies = _edits(models, folder, list(scenes.values()), settings, step)
    items = items_of(studies, _samples(models, folder, studies, plan.samples, step))
    truth = {key: draw(scene) for key, scene in _truth(studies, scenes)}
    ood = [(draw(scene), scene.label) for scene in sample(plan.tests, TESTS_SEED + 1)]
    classifiers = _classifiers(models, folder, plan)
    views = folder / "views" / f"{plan.epochs}"
    names = {key: f"{_name(*key)}-{features.classifier.fingerprint[:12]}" for key, features in classifiers.items()}
    views_of({names[key]: features for key, features in classifiers.items()}, items, plan.epochs, views)
    recipe = Recipe(max_epochs=plan.epochs)
    table_1, table_2 = {}, {}
    for (strength, name), features in classifiers.items():
        key = strength, name
        biased = [(draw(scene), scene.label) for scene in sample(plan.tests, TESTS_SEED, strength)]
        tests: dict[str, Pictures] = {"T": biased, "OOD": ood}
        refuse_leaks(items, tests)
        table_1[key] = weaknesses(features, studies, truth)
        log.info("%s: table 1 is done", _name(*key))
        bank = bank_of(features, items, views, names[key])
        size = f"{plan.photos}-{plan.seeds}-{plan.replicates}-{plan.epochs}-{plan.samples}"
        refits = folder / "refits" / size / names[key]
        for found in repair(features, bank, tests, recipe, seeds=plan.seeds, replicates=plan.replicates, folder=refits):
            if isinstance(found, Repair):
                table_2[key] = found
            else:
                step(found, found + 1)
                log.info("%s: refit %d", _name(*key), found)
    return Results(
        command=command,
        photos=plan.photos,
        tests=plan.tests,
        seeds=plan.seeds,
        replicates=plan.replicates,
        samples=plan.samples,
        epochs=plan.epochs,
        training=Workshop(out=folder, work=folder, share=plan.training).steps(FULL),
        edits=sum(len(study.counterfactuals) for study in studies),
        counterfactuals=len(items),
        table_1=table_1,
        table_2=table_2,
    )


def _name(strength: float, classifier: str) -> str:
    return f"{classifier}-{strength:g}"


def _classifiers(models: LoadedModels, folder: Path, plan: Plan) -> dict[tuple[float, str], Features]:
    """Return the classifiers of every strength, trained in full; the architectures are those that the profile names."""
    found, names = {}, tuple(models.profile.classifiers)
    for strength in plan.strengths:
        trained = folder / "classifiers" / f"{strength:g}"
        shop = Workshop(out=trained, work=folder / "training", biased=plan.scenes, share=plan.training)
        train_in_full(shop, trained, strength, names)
        for name in names:
            classifier = TimmClassifier.from_pretrained(
                str((trained / name).resolve()), name=name, device=models.device
            )
            found[strength, name] = Features(classifier, folder / "features" / _name(strength, name))
    return found


def _claim(folder: Path, plan: Plan) -> None:
    """Make the folder this plan's, as far as what is kept in it depends on the plan.

    A folder of an earlier version tells fewer of `KEPT`; photos, seeds and the like may change.
    """
    told = json.loads(json.dumps(asdict(plan)))
    wanted = {name: told[name] for name in KEPT}
    file = folder / PLAN
    if file.is_file():
        known = json.loads(file.read_text())
        if any(known.get(name, value) != value for name, value in wanted.items()):
            message = (
                f"'{display_name(folder)}' holds a study of another kind; give the same options again, or a new folder."
            )
            raise DataError(message, path=folder)
    else:
        refuse_used(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(wanted) + "\n")


def _edits(models: LoadedModels, folder: Path, scenes: Sequence[Scene], settings: Settings, step: Step) -> list[Study]:
    """Return the studies of all photos; one that has edits at every tau is not made again, whoever judged it."""
    store = Store(folder / "edits")
    keys = {key_of(draw(scene)): number for number, scene in enumerate(scenes)}
    missing = [number for key, number in keys.items() if not _complete(store.load_study(key), settings)]
    with tempfile.TemporaryDirectory() as place:
        pictures, lines = Path(place), []
        for number in missing:
            name = f"{number:05d}.png"  # numbered, so that a run that was cut off has seen every class
            (pictures / name).write_bytes(encode(draw(scenes[number])))
            lines.append(json.dumps({"file_name": name, "label": scenes[number].label}))
        (pictures / METADATA).write_text("\n".join(lines) + "\n")
        for done, study in enumerate(stress(models, pictures, store, settings, step=step) if missing else (), start=1):
            log.info("%d of %d: %s has %d edits", done, len(missing), study.photo.name, len(study.counterfactuals))
    loaded = (store.load_study(key) for key in keys)
    return [study for study in loaded if study is not None]


def _complete(study: Study | None, settings: Settings) -> bool:
    """Return whether edits are there, and of each edited caption one at every tau."""
    made = (
        {(counterfactual.perturbation.edited_caption, counterfactual.tau) for counterfactual in study.counterfactuals}
        if study
        else set()
    )
    return bool(made) and made == {(words, tau) for words, _ in made for tau in settings.taus}


def _samples(
    models: LoadedModels, folder: Path, studies: Sequence[Study], count: int, step: Step
) -> dict[str, tuple[Image, ...]]:
    """Return, by key of a chosen counterfactual, pictures that the diffusion model makes of its words alone.

    Each photo has its own, so that none is learnt from and validated on at once.
    """
    place = folder / "samples"
    place.mkdir(exist_ok=True)
    edits = {
        (study.photo.key, counterfactual.perturbation.edited_caption): counterfactual.key
        for study in studies
        for counterfactual in chosen(study)
    }
    names = {pair: hashlib.sha256("\0".join(pair).encode()).hexdigest()[:32] for pair in edits}
    wanted = [(pair, place / f"{names[pair]}-{number}.png") for number in range(count) for pair in edits]
    missing = [(text, file) for (_, text), file in wanted if not file.is_file()]
    for start in range(0, len(missing), CHUNK):
        chunk = missing[start : start + CHUNK]
        seed = int(hashlib.sha256(chunk[0][1].name.encode()).hexdigest()[:8], 16)
        for (_, file), image in zip(chunk, text_to_image(models, [text for text, _ in chunk], seed), strict=True):
            file.with_suffix(".part").write_bytes(encode(image))
            file.with_suffix(".part").replace(file)
        step(start + len(chunk), len(missing))
        log.info("%d of %d text-to-image pictures", start + len(chunk), len(missing))
    made: dict[str, tuple[Image, ...]] = {}
    for pair, file in wanted:
        made[edits[pair]] = (*made.get(edits[pair], ()), open_image(file))
    return made


def _truth(studies: Sequence[Study], scenes: dict[str, Scene]) -> Iterator[tuple[str, Scene]]:
    """Yield (key of a chosen counterfactual, the photo's scene with exactly the change that its captions name)."""
    for study in studies:
        scene, before = scenes.get(study.photo.key), parse(study.caption)
        for counterfactual in chosen(study):
            after = parse(counterfactual.perturbation.edited_caption)
            if scene is None or before is None or after is None or before["label"] != after["label"]:
                continue
            changes = {name: after[name] for name in VALUES if after[name] != before[name]}
            yield counterfactual.key, replace(scene, **changes)  # type: ignore[arg-type]
