"""The measurement of every tiny model on scenes that none was trained on, through the product's own stages.

Verdicts on made pictures come from the attribute classifier, which saw drawings only.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pipeline.captions.factors import FACTORS
from pipeline.classifiers.families import TimmClassifier
from pipeline.models.loader import LoadedModels, load
from pipeline.profiles import load_profile
from pipeline.scoring.clip import choose_tau
from pipeline.statistics.intervals import share
from pipeline.tiny.classifiers import ATTRIBUTES
from pipeline.tiny.data import HELD_OUT_SEED
from pipeline.tiny.world import BIAS, LABELS, PHRASINGS, VALUES, Scene, draw, parse, redraw, sample
from pipeline.types import Study
from pipeline.workflow import Inversions, edit, open_photo

log = logging.getLogger(__name__)

GroupFigures = dict[str, float | int]
Attributes = dict[str, str]
FIGURES = "measured.json"


class Laboratory:
    """The models under measurement and the attribute classifier that judges their pictures."""

    def __init__(self, folder: Path, n: int) -> None:
        self.models: LoadedModels = load(load_profile("tiny"))
        self.judge = TimmClassifier.from_pretrained(str(folder / "attributes"), name="attributes", device="cpu")
        self.n = n
        self.scenes = sample(n, HELD_OUT_SEED)

    def attributes(self, images: Sequence[Image.Image]) -> list[Attributes]:
        """Return the label and the five factors that the attribute classifier sees in each picture."""
        weight, bias = self.judge.head()
        logits = self.judge.features(images) @ weight.T + bias
        parts = torch.split(logits, [len(values) for values in ATTRIBUTES.values()], dim=1)
        best = torch.stack([part.argmax(1) for part in parts], 1).tolist()
        names = list(ATTRIBUTES.items())
        return [{name: values[k] for (name, values), k in zip(names, row, strict=True)} for row in best]


def truth(scene: Scene) -> Attributes:
    """Return the label and the five factors of a scene."""
    return {name: str(getattr(scene, name)) for name in ATTRIBUTES}


def psnr(a: Image.Image, b: Image.Image) -> float:
    """Return the dB between two pictures of the same size."""
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return float(10 * np.log10(255**2 / max(1e-9, float(np.square(difference).mean()))))


def _share(name: str, hits: Sequence[bool], scenes: Sequence[int] | None = None) -> GroupFigures:
    """Return the share with its interval; `scenes` names the scene behind each hit, without it each has its own."""
    proportion = share(hits, range(len(hits)) if scenes is None else scenes)
    return {
        name: proportion.value,
        f"{name}_low": proportion.low,
        f"{name}_high": proportion.high,
        f"{name}_n": proportion.n,
        f"{name}_scenes": proportion.photos,
    }


def _scene_of_each(count: int, hits: Sequence[bool]) -> list[int]:
    """Return the scene behind each hit, where every scene has as many."""
    return [place // count for place in range(len(hits))]


def measure_autoencoder(lab: Laboratory) -> GroupFigures:
    """Measure PSNR by domain."""
    values = {domain: [] for domain in VALUES["domain"]}  # type: dict[str, list[float]]
    for scene in lab.scenes:
        values[scene.domain].append(lab.models.editor.round_trip(draw(scene)))
    return {f"psnr_{domain}": float(np.mean(found)) for domain, found in values.items()}


def measure_captioner(lab: Laboratory) -> GroupFigures:
    """Measure the share of the six values named right, and of sentences that the grammar knows."""
    settings = lab.models.profile.settings
    told = [parse(lab.models.captioner.caption(draw(scene), settings)) for scene in lab.scenes]
    named = [
        found is not None and found[name] == value
        for scene, found in zip(lab.scenes, told, strict=True)
        for name, value in truth(scene).items()
    ]
    scenes = _scene_of_each(len(ATTRIBUTES), named)
    return _share("named", named, scenes) | _share("well_formed", [found is not None for found in told])


def measure_perturber(lab: Laboratory) -> GroupFigures:
    """Measure the share of proposals that change exactly the asked factor, and how many distinct ones there are."""
    valid, accepted, distinct = [], [], []
    scenes: list[int] = []
    for number, scene in enumerate(lab.scenes[: max(4, lab.n // 3)]):
        for factor in (FACTORS[name] for name in VALUES):
            possible = min(5, len(VALUES[factor.name]) - 1)  # the domain has two other values only
            settings = replace(lab.models.profile.settings, proposals=possible)
            proposals = lab.models.perturber.perturb(scene.caption(), factor, scene.label, settings)
            right = [_changes_only(factor.name, scene, proposal.edited_caption) for proposal in proposals]
            valid += right
            scenes += [number] * len(right)
            accepted += [proposal.accepted for proposal, is_right in zip(proposals, right, strict=True) if is_right]
            distinct.append(
                len({proposal.edited_caption for proposal, ok in zip(proposals, right, strict=True) if ok}) / possible
            )
    return (
        _share("valid", valid, scenes)
        | _share("valid_pass_gates", accepted, [number for number, ok in zip(scenes, valid, strict=True) if ok])
        | {"distinct_of_possible": float(np.mean(distinct))}
    )


def _changes_only(factor: str, scene: Scene, edited_caption: str) -> bool:
    found = parse(edited_caption)
    if found is None:
        return False
    return {name for name, value in truth(scene).items() if found[name] != value} == {factor}


def measure_clip(lab: Laboratory) -> GroupFigures:
    """Measure retrieval of the true caption among 50, the others one value away (in this phrasing and the next)."""
    hits = []
    for scene in lab.scenes:
        others = [redraw(scene, f, v) for f, values in VALUES.items() for v in values if v != getattr(scene, f)]
        others += [replace(scene, label=label) for label in LABELS if label != scene.label]
        second = (scene.phrasing + 1) % len(PHRASINGS)
        captions = [scene.caption(), *(other.caption() for other in others)]
        captions += [replace(other, phrasing=second).caption() for other in others]
        image = draw(scene)
        scores = lab.models.scorer.score(image, captions[0], [(image, caption) for caption in captions[:50]])
        aligned = [score.edited_alignment for score in scores]
        hits.append(aligned[0] > max(aligned[1:]))
    return _share("retrieved", hits)


def measure_attributes(lab: Laboratory) -> GroupFigures:
    """Measure the judge's own accuracy on held-out drawings."""
    seen = lab.attributes([draw(scene) for scene in lab.scenes])
    named = [
        found[name] == v for scene, found in zip(lab.scenes, seen, strict=True) for name, v in truth(scene).items()
    ]
    return _share("named", named, _scene_of_each(len(ATTRIBUTES), named))


def measure_diffusion(lab: Laboratory) -> GroupFigures:
    """Measure the share of the prompt's values that the attribute classifier finds in text-to-image samples."""
    scenes = lab.scenes[: max(4, lab.n // 2)]
    seen = lab.attributes(text_to_image(lab.models, [scene.caption() for scene in scenes]))
    hits = [found[name] == v for scene, found in zip(scenes, seen, strict=True) for name, v in truth(scene).items()]
    figures = _share("found", hits, _scene_of_each(len(ATTRIBUTES), hits))
    for name in ATTRIBUTES:
        figures[f"found_{name}"] = float(
            np.mean([found[name] == truth(scene)[name] for scene, found in zip(scenes, seen, strict=True)])
        )
    return figures


def text_to_image(models: LoadedModels, captions: Sequence[str], seed: int = 0) -> list[Image.Image]:
    """Return plain samples of the diffusion model, without any source picture."""
    from diffusers import StableDiffusionPipeline

    settings = models.profile.settings
    pipeline = StableDiffusionPipeline.from_pretrained(models.profile.diffusion, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    images: list[Image.Image] = []
    for start in range(0, len(captions), 8):
        images += pipeline(
            list(captions[start : start + 8]),
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            generator=torch.Generator().manual_seed(seed + start),
        ).images
    return images


def measure_edits(lab: Laboratory) -> GroupFigures:
    """Measure edits at the chosen tau against the truth: the asked value arrives, the others stay, and PSNR."""
    rng = random.Random(HELD_OUT_SEED)
    arrived, stayed, label_kept, passed = [], [], [], []
    near: dict[str, list[float]] = {"edit": [], "unedited": [], "text_to_image": []}
    by_factor: dict[str, list[bool]] = {factor: [] for factor in VALUES}
    cases = [
        (scene, factor, redraw(scene, factor, rng.choice([v for v in values if v != getattr(scene, factor)])))
        for scene in lab.scenes[: max(2, lab.n // 3)]
        for factor, values in VALUES.items()
    ]
    samples = text_to_image(lab.models, [twin.caption() for _, _, twin in cases])
    inversions = Inversions()
    for (scene, factor, twin), unbound in zip(cases, samples, strict=True):
        study = _edit(lab, scene, factor, twin, inversions)
        best = choose_tau(study.counterfactuals)
        passed.append(best is not None)
        best = best or max(
            study.counterfactuals, key=lambda counterfactual: counterfactual.scores.directional_similarity
        )
        found, wanted = lab.attributes([best.image])[0], truth(twin)
        arrived.append(found[factor] == wanted[factor])
        by_factor[factor].append(arrived[-1])
        stayed += [found[name] == wanted[name] for name in VALUES if name != factor]
        label_kept.append(found["label"] == scene.label)
        for name, image in (("edit", best.image), ("unedited", draw(scene)), ("text_to_image", unbound)):
            near[name].append(psnr(image, draw(twin)))
    scenes = _scene_of_each(len(VALUES), arrived)
    figures = _share("arrived", arrived, scenes) | _share("label_kept", label_kept, scenes)
    figures |= _share("pass_gates", passed, scenes)
    figures |= _share("stayed", stayed, _scene_of_each(len(VALUES) * (len(VALUES) - 1), stayed))
    figures |= {f"psnr_{name}": float(np.mean(v)) for name, v in near.items()}
    return figures | {f"arrived_{factor}": float(np.mean(hits)) for factor, hits in by_factor.items()}


def _edit(lab: Laboratory, scene: Scene, factor: str, twin: Scene, inversions: Inversions) -> Study:
    settings = lab.models.profile.settings
    study = replace(open_photo(lab.models, draw(scene), scene.label), caption=scene.caption())
    wanted = lab.models.perturber.judge(scene.caption(), twin.caption(), factor, scene.label, settings)
    # The truth is asked for, whatever a gate of the captions may say.
    return list(edit(lab.models, study, [replace(wanted, rejected_by=())], settings, inversions=inversions))[-1]


def measure_classifiers(lab: Laboratory) -> GroupFigures:
    """Measure Acc@1 of each architecture on biased and on uniform scenes."""
    figures: GroupFigures = {}
    for split, scenes in (
        ("t", sample(4 * lab.n, HELD_OUT_SEED + 1, BIAS)),
        ("ood", sample(4 * lab.n, HELD_OUT_SEED + 2)),
    ):
        pictures = [draw(scene) for scene in scenes]
        for name in lab.models.profile.classifiers:
            predictions = lab.models.classifier(name).predict(pictures)
            hits = [
                prediction.top(1)[0][0] == scene.label for prediction, scene in zip(predictions, scenes, strict=True)
            ]
            figures |= _share(f"{name}_{split}", hits)
    return figures


MEASURES: dict[str, Callable[[Laboratory], GroupFigures]] = {
    "attributes": measure_attributes,
    "autoencoder": measure_autoencoder,
    "captioner": measure_captioner,
    "perturber": measure_perturber,
    "clip": measure_clip,
    "classifiers": measure_classifiers,
    "diffusion": measure_diffusion,
    "edits": measure_edits,
}


def measure(folder: Path, n: int, only: Sequence[str]) -> dict[str, GroupFigures]:
    """Return all figures known so far, those in `only` measured anew; kept in the models' folder."""
    path = folder / FIGURES
    figures: dict[str, GroupFigures] = json.loads(path.read_text()) if path.exists() else {}
    lab = Laboratory(folder, n)
    for name in only:
        figures[name] = {key: round(value, 4) for key, value in MEASURES[name](lab).items()}
        log.info("%s: %s", name, figures[name])
        path.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
    return figures
