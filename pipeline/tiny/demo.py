"""The making of the demo project: scenes of the miniature world through every stage, verdicts on some, a set and a run.

The verdicts follow a rule, because the truth is known here: the attribute classifier, which was trained on drawings
only, says whether the asked factor arrived and everything else stayed. `tasks/demo.py` brings what is written here
into a data folder.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

from pipeline import workflow
from pipeline.reinforcement.recipes import Recipe
from pipeline.reinforcement.reinforcement import reinforce
from pipeline.reinforcement.runs import write_run
from pipeline.reinforcement.training_data import Example
from pipeline.store.store import Store
from pipeline.tasks import demo, studio
from pipeline.tasks.training import evaluation_pictures
from pipeline.tiny.data import HELD_OUT_SEED
from pipeline.tiny.measure import Attributes, Laboratory
from pipeline.tiny.world import BIAS, LABELS, Scene, draw, parse, sample
from pipeline.types import Counterfactual, CounterfactualSet, Decision, Models, Study

log = logging.getLogger(__name__)
SEED = HELD_OUT_SEED + 90
TAUS = (0.2, 1.0)
# Two factors a scene beside the background, so that every factor comes about as often as the others.
OTHERS = (("subject", "adjective"), ("object", "domain"))
DECIDED = 24  # photos whose edits have verdicts, two of each label; the others wait on the Curate page
ANALYST = "demo"
TIME = 1_767_225_600.0  # seconds since the epoch: the same demo every time


def make(work: Path, out: Path, n: int) -> int:
    """Study `n` scenes in the empty data folder `work`, write the demo to `out`, and return its number of photos."""
    lab = Laboratory(Path(__file__).resolve().parents[2] / "assets" / "models" / "tiny", n)
    store = Store(work)
    chosen = scenes(n)
    for number, (scene, factors) in enumerate(zip(chosen, cycle(OTHERS), strict=False)):
        study = _study(lab.models, scene, ("background", *factors), f"{scene.label}-{number:02d}.png")
        studio.save_study(store, study)
        log.info("%d of %d: %s", number + 1, n, study.caption)
        if number < DECIDED:
            store.decide_all(list(verdicts(lab, study)))
    frozen = store.freeze("demo")
    written = demo.write(store, out)
    add_run(lab.models, store, frozen, out)
    store.close()
    return written


def add_run(models: Models, store: Store, frozen: CounterfactualSet, out: Path) -> None:
    """Write the run of a reinforcement with the frozen set into a demo; nobody has seen its test sets."""
    items = [
        Example(
            photo.label,
            photo.image,
            counterfactual.image,
            photo.key,
            counterfactual.perturbation.factor,
            key=counterfactual.key,
        )
        for photo, counterfactual in store.items(frozen)
    ]
    recipe = Recipe(learning_rate=models.profile.settings.learning_rate, alpha=None)
    made = reinforce(models.classifier(), items, evaluation_pictures(models.profile), recipe)
    (out / demo.RUN).mkdir(exist_ok=True)
    write_run(replace(made, source=f"the set 'demo', version 1, of {len(items)} counterfactuals"), out / demo.RUN)


def scenes(n: int) -> tuple[Scene, ...]:
    """Return biased scenes that no model was trained on, the labels taking turns."""
    drawn = sample(40 * n, SEED, BIAS)
    of = {label: iter([scene for scene in drawn if scene.label == label]) for label in LABELS}
    return tuple(next(of[label]) for label, _ in zip(cycle(LABELS), range(n), strict=False))


def verdicts(lab: Laboratory, study: Study) -> Iterator[Decision]:
    """Keep for a caption's chosen tau that did what was asked and nothing else, reject for every tau that did not."""
    best = {counterfactual.key for counterfactual in workflow.chosen(study)}
    seen = lab.attributes([study.photo.image, *(counterfactual.image for counterfactual in study.counterfactuals)])
    for counterfactual, attributes in zip(study.counterfactuals, seen[1:], strict=True):
        reason = fault(counterfactual, seen[0], attributes)
        if reason or counterfactual.key in best:
            verdict = "reject" if reason else "keep"
            number = f"demo-{counterfactual.key[:24]}"
            yield Decision(
                id=number,
                counterfactual=counterfactual.key,
                verdict=verdict,
                reason=reason,
                analyst=ANALYST,
                time=TIME,
                act=number,
            )


def fault(counterfactual: Counterfactual, before: Attributes, after: Attributes) -> str:
    """Return why an edit is to be rejected, in the words of the Curate page; "" when it is good."""
    wanted = parse(counterfactual.perturbation.edited_caption)
    factor = counterfactual.perturbation.factor
    if after["label"] != before["label"]:
        return "label changed"
    if wanted is None or after[factor] != wanted[factor]:
        return "too weak" if after[factor] == before[factor] else "artefact"
    return "not the factor" if any(after[name] != before[name] for name in after if name != factor) else ""


def _study(models: Models, scene: Scene, factors: tuple[str, ...], name: str) -> Study:
    settings = replace(models.profile.settings, factors=factors, proposals=1, taus=TAUS, seed=scene.seed)
    study = workflow.open_photo(models, draw(scene), scene.label, name=name)
    study = workflow.propose(models, workflow.describe(models, study, settings), settings)
    return list(workflow.edit(models, study, study.perturbations, settings))[-1]
