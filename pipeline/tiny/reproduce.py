"""The paper's two tables in the miniature world, where the truth is known: pictures, edits, rivals' pictures, tables.

Photos follow the classifiers' bias (T); test pictures are drawn from other seeds, biased (T) and uniform (OOD), and are
never edited. Everything that takes long is kept under one folder and found again: edits in a store, text-to-image
pictures as files, features per classifier. The edits do not depend on the classifier, so they are made once for all.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from PIL.Image import Image

from pipeline.curation import METADATA, chosen
from pipeline.errors import DataError
from pipeline.features import Features
from pipeline.heads import Recipe
from pipeline.images import encode, key_of, open_image
from pipeline.lessons import Pictures
from pipeline.models import LoadedModels
from pipeline.reproduction import Repair, Results, items_of, repair, weaknesses
from pipeline.settings import Settings
from pipeline.store import Store
from pipeline.tiny.measure import text_to_image
from pipeline.tiny.world import BIAS, VALUES, Scene, draw, parse, sample
from pipeline.types import Step, Study
from pipeline.workflow import stress

log = logging.getLogger(__name__)

PHOTOS_SEED = 940_001  # beyond the held-out seeds of `data.py`, and none of those that sample pictures are made from
TESTS_SEED = 950_001
CHUNK = 32  # text-to-image pictures between two looks at the clock
PLAN = "plan.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How large the study is."""

    photos: int = 240
    tests: int = 1000  # pictures of T and of OOD each
    seeds: int = 5  # splits and trainings
    proposals: int = 1  # variations a factor
    taus: tuple[float, ...] = (0.2, 0.6, 1.0)


SMALL = Plan(photos=24, tests=240, seeds=2, taus=(0.4,))


def reproduce(models: LoadedModels, folder: Path, plan: Plan, command: str, step: Step) -> Results:
    """All of it, from what the folder holds already. Raises `DataError` when the folder belongs to another plan."""
    _claim(folder, plan)
    settings = replace(models.profile.settings, proposals=plan.proposals, taus=plan.taus)
    scenes = {key_of(draw(scene)): scene for scene in sample(plan.photos, PHOTOS_SEED, BIAS)}
    studies = _edits(models, folder, list(scenes.values()), settings, step)
    samples = _samples(models, folder, studies, step)
    truth = {key: draw(scene) for key, scene in _truth(studies, scenes)}
    tests: dict[str, Pictures] = {
        name: [(draw(scene), scene.label) for scene in sample(plan.tests, TESTS_SEED + number, bias)]
        for number, (name, bias) in enumerate((("T", BIAS), ("OOD", 0.0)))
    }
    items = items_of(studies, samples)
    recipe = Recipe(learning_rate=settings.learning_rate)
    table_1, table_2 = {}, {}
    for name in models.profile.classifiers:
        features = Features(models.classifier(name), folder / "features" / f"{name}.safetensors")
        table_1[name] = weaknesses(features, studies, truth)
        log.info("%s: table 1 is done", name)
        for found in repair(features, items, tests, recipe, plan.seeds):
            if isinstance(found, Repair):
                table_2[name] = found
            else:
                step(found, found + 1)
        log.info("%s: table 2 is done", name)
    return Results(
        command=command,
        photos=plan.photos,
        tests=plan.tests,
        seeds=plan.seeds,
        learning_rate=recipe.learning_rate,
        edits=sum(len(study.counterfactuals) for study in studies),
        counterfactuals=len(items),
        table_1=table_1,
        table_2=table_2,
    )


def _claim(folder: Path, plan: Plan) -> None:
    """The folder is this plan's from now on."""
    wanted = json.loads(json.dumps(asdict(plan)))
    file = folder / PLAN
    if file.is_file():
        if json.loads(file.read_text()) != wanted:
            raise DataError(f"{folder} holds a study of another size; give the same options again, or a new folder.")
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists already and is not empty; name a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(wanted) + "\n")


def _edits(models: LoadedModels, folder: Path, scenes: Sequence[Scene], settings: Settings, step: Step) -> list[Study]:
    """The studies of all photos; those that the store has finished are not made again."""
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    lines = []
    for number, scene in enumerate(scenes):
        name = f"{number:05d}.png"  # numbered, so that a run that was cut off has seen every class
        (pictures / name).write_bytes(encode(draw(scene)))
        lines.append(json.dumps({"file_name": name, "label": scene.label, "caption": scene.caption()}))
    (pictures / METADATA).write_text("\n".join(lines) + "\n")
    store = Store(folder / "edits")
    for done, study in enumerate(stress(models, pictures, store, settings, step=step), start=1):
        log.info("%d: %s has %d edits", done, study.photo.name, len(study.counterfactuals))
    loaded = (store.load_study(summary.key) for summary in store.studies())
    return sorted((study for study in loaded if study is not None), key=lambda study: study.photo.name)


def _samples(models: LoadedModels, folder: Path, studies: Sequence[Study], step: Step) -> dict[str, Image]:
    """Edited caption -> a picture that the diffusion model makes of the words alone."""
    place = folder / "samples"
    place.mkdir(exist_ok=True)
    words = list(dict.fromkeys(one.perturbation.edited_caption for study in studies for one in chosen(study)))
    files = {text: place / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.png" for text in words}
    missing = [text for text in words if not files[text].is_file()]
    for start in range(0, len(missing), CHUNK):
        chunk = missing[start : start + CHUNK]
        for text, image in zip(chunk, text_to_image(models, chunk, seed=start), strict=True):
            part = files[text].with_suffix(".part")
            part.write_bytes(encode(image))
            part.replace(files[text])
        step(start + len(chunk), len(missing))
        log.info("%d of %d text-to-image pictures", start + len(chunk), len(missing))
    return {text: open_image(file) for text, file in files.items()}


def _truth(studies: Sequence[Study], scenes: dict[str, Scene]) -> Iterator[tuple[str, Scene]]:
    """(key of a chosen counterfactual, the photo's scene with exactly the change that its captions name)."""
    for study in studies:
        scene, before = scenes.get(study.photo.key), parse(study.caption)
        for one in chosen(study):
            after = parse(one.perturbation.edited_caption)
            if scene is None or before is None or after is None or before["label"] != after["label"]:
                continue
            changes = {name: after[name] for name in VALUES if after[name] != before[name]}
            yield one.key, replace(scene, **changes)  # type: ignore[arg-type]
