"""What the settings of the editor do to its edits, told by the truth: the world draws what an edit should look like.

Every scene is edited by all five factors at every tau under the settings that the study began with (`START`), and again
at one tau with one setting changed, another one for every scene in turn (`VARIANTS`); what a change does is the
difference on the same edits. Verdicts come from the
attribute classifier, which saw drawings only. A row a line is kept as soon as it is there; whoever asks again goes
on where it stopped, and several processes may add to one folder when they are asked for different variants.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from pipeline.scoring.clip import choose_tau
from pipeline.statistics.intervals import Mean
from pipeline.statistics.intervals import mean as mean_of_photos
from pipeline.tiny.measure import Laboratory, psnr, truth
from pipeline.tiny.world import VALUES, Scene, draw, redraw, sample
from pipeline.types import Counterfactual
from pipeline.workflow import edit, open_photo

if TYPE_CHECKING:
    import plotly.graph_objects as go

log = logging.getLogger(__name__)

SEED = 930_001  # other scenes than those of `measure`, so that no bar is met by choosing settings on it
DEFAULT = "default"
TAU = 0.6  # at which settings are compared
START: dict[str, object] = {"guidance_scale": 3.0, "word_weight": 2.0}  # the profile's own when the study began
QUICK: dict[str, object] = {"inversion": "null-text", "null_text_learning_rate": 0.1, "null_text_min_gain": 0.01}
PUBLISHED = "inversion: null-text as published"  # ten inner steps and their published early stop
PUBLISHED_SCENES = 40  # that it edits, the first ones: it takes too long to take turns with the others
VARIANTS: dict[str, dict[str, object]] = {
    DEFAULT: {},
    "inversion: null-text, quick": QUICK,
    PUBLISHED: QUICK | {"null_text_learning_rate": 1e-2, "null_text_min_gain": 0.0},
    "inversion: negative-prompt": {"inversion": "negative-prompt"},
    "inversion: ddim": {"inversion": "ddim"},
    "guidance 1": {"guidance_scale": 1.0},
    "guidance 2": {"guidance_scale": 2.0},
    "guidance 5": {"guidance_scale": 5.0},
    "guidance 7.5": {"guidance_scale": 7.5},
    "cross-attention 0.4": {"cross_replace_steps": 0.4},
    "cross-attention 0.6": {"cross_replace_steps": 0.6},
    "cross-attention 1.0": {"cross_replace_steps": 1.0},
    "word weight 1": {"word_weight": 1.0},
    "guidance 2, word weight 1": {"guidance_scale": 2.0, "word_weight": 1.0},
    "local blend 0.3": {"local_blend": 0.3},
}


class EditOutcome(TypedDict):
    """One edit."""

    factor: str
    tau: float
    chosen: bool  # by the scores, as the product chooses
    passes: bool  # every gate of the scores
    arrived: bool  # the asked value is seen
    stayed: float  # share of the four other factors that are seen as they were
    label_kept: bool
    psnr: float  # dB, to the true counterfactual
    directional_similarity: float


class SceneRow(TypedDict):
    """One scene under one variant."""

    scene: int
    variant: str
    seconds: float
    reconstruction: float  # PSNR in dB of the inversion alone, to the scene
    edits: list[EditOutcome]


def run(folder: Path, out: Path, scenes: int, rounds: int, only: Sequence[str]) -> list[SceneRow]:
    """Return all rows of the study in `out`; those that lack are made now, with `rounds` changed settings a scene."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "rows.jsonl"
    done = {(row["scene"], row["variant"]) for row in read(path)}
    wanted = [pair for pair in plan(scenes, rounds) if pair not in done and (not only or pair[1] in only)]
    lab = Laboratory(folder, 1)
    drawn = sample(scenes, SEED)
    for count, (number, variant) in enumerate(wanted, 1):
        row = examine(lab, drawn[number], number, variant)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        log.info("%d of %d: scene %d, %s, %.1f s", count, len(wanted), number, variant, row["seconds"])
    return read(path)


def read(path: Path) -> list[SceneRow]:
    """Read the rows of an earlier run; none when there was none."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line] if path.exists() else []


def plan(scenes: int, rounds: int) -> Iterator[tuple[int, str]]:
    """Yield (scene, variant), the changed settings in turn, so that each meets as many scenes as every other.

    Null-text as published is edited on the first scenes instead.
    """
    changed = [name for name in VARIANTS if name not in (DEFAULT, PUBLISHED)]
    for number in range(scenes):
        yield number, DEFAULT
        if rounds and PUBLISHED in VARIANTS and number < PUBLISHED_SCENES:
            yield number, PUBLISHED
        for turn in range(rounds):
            yield number, changed[(number + turn) % len(changed)]


def examine(lab: Laboratory, scene: Scene, number: int, variant: str) -> SceneRow:
    """Edit one scene by every factor at every tau and compare with the scenes drawn that way."""
    changed = START | ({} if variant == DEFAULT else {"taus": (TAU,)}) | VARIANTS[variant]
    settings = replace(lab.models.profile.settings, **changed)  # type: ignore[arg-type]
    draws = random.Random(number)
    asked = {
        factor: redraw(scene, factor, draws.choice([value for value in values if value != getattr(scene, factor)]))
        for factor, values in VALUES.items()
    }
    study = replace(open_photo(lab.models, draw(scene), scene.label), caption=scene.caption())
    words = [
        lab.models.perturber.judge(scene.caption(), twin.caption(), factor, scene.label, settings)
        for factor, twin in asked.items()
    ]
    started = time.perf_counter()
    # The truth is asked for, whatever a gate of the captions may say.
    wanted = [replace(perturbation, rejected_by=()) for perturbation in words]
    study = list(edit(lab.models, study, wanted, settings))[-1]
    seconds = time.perf_counter() - started
    assert study.reconstruction is not None
    outcomes: list[EditOutcome] = []
    for factor, twin in asked.items():
        items = [item for item in study.counterfactuals if item.perturbation.factor == factor]
        outcomes += _outcomes(lab, factor, twin, items)
    return SceneRow(
        scene=number,
        variant=variant,
        seconds=round(seconds, 2),
        reconstruction=round(psnr(study.reconstruction, draw(scene)), 3),
        edits=outcomes,
    )


def _outcomes(lab: Laboratory, factor: str, twin: Scene, items: Sequence[Counterfactual]) -> Iterator[EditOutcome]:
    chosen = choose_tau(items) or max(items, key=lambda item: item.scores.directional_similarity)
    wanted, drawn = truth(twin), draw(twin)
    for item, found in zip(items, lab.attributes([item.image for item in items]), strict=True):
        yield EditOutcome(
            factor=factor,
            tau=item.tau,
            chosen=item is chosen,
            passes=not item.missed,
            arrived=found[factor] == wanted[factor],
            stayed=float(np.mean([found[name] == wanted[name] for name in VALUES if name != factor])),
            label_kept=found["label"] == wanted["label"],
            psnr=round(psnr(item.image, drawn), 3),
            directional_similarity=round(item.scores.directional_similarity, 4),
        )


COLOURS = ("#0f766e", "#c2410c", "#6d28d9", "#1d4ed8", "#a16207")  # of the factors

OutcomeFigure = Callable[[EditOutcome], float]
FIGURES: dict[str, OutcomeFigure] = {
    "arrives, %": lambda outcome: 100.0 * outcome["arrived"],
    "others stay, %": lambda outcome: 100.0 * outcome["stayed"],
    "label stays, %": lambda outcome: 100.0 * outcome["label_kept"],
    "passes gates, %": lambda outcome: 100.0 * outcome["passes"],
    "PSNR to the truth, dB": lambda outcome: outcome["psnr"],
    "directional": lambda outcome: outcome["directional_similarity"],
}


def mean(rows: Sequence[SceneRow], figure: OutcomeFigure, keep: Callable[[EditOutcome], bool]) -> Mean:
    """Return the mean over the edits that `keep` takes, with an interval over scenes."""
    found = [(figure(outcome), str(row["scene"])) for row in rows for outcome in row["edits"] if keep(outcome)]
    return mean_of_photos([value for value, _ in found], [scene for _, scene in found], bounds=(-100.0, 100.0))


def difference(rows: Sequence[SceneRow], variant: str, figure: OutcomeFigure) -> Mean:
    """Return the mean difference to the default of a variant's edits, on the scenes that have both, at `TAU`."""
    of = {
        (row["variant"], row["scene"], outcome["factor"]): figure(outcome)
        for row in rows
        for outcome in row["edits"]
        if outcome["tau"] == TAU
    }
    pairs = [
        (value - of[DEFAULT, scene, factor], str(scene))
        for (name, scene, factor), value in of.items()
        if name == variant and (DEFAULT, scene, factor) in of
    ]
    return mean_of_photos([value for value, _ in pairs], [scene for _, scene in pairs], bounds=(-100.0, 100.0))


def report(rows: Sequence[SceneRow], command: str) -> str:
    """Return the study as a page of Markdown."""
    default = [row for row in rows if row["variant"] == DEFAULT]
    taus = sorted({outcome["tau"] for row in default for outcome in row["edits"]})
    parts = [
        "# What the editor's settings do, told by the truth",
        f"Made by `{command}`: {len(default)} scenes of the miniature world, each edited by all five factors at "
        f"{len(taus)} tau under the settings that the study began with (guidance 3, word weight 2), and again with one "
        "setting changed. The attribute classifier, which saw drawings only, says whether the asked value arrives and "
        "whether the others stay; PSNR is to the scene drawn with the asked value. Brackets hold 95 % intervals over "
        "scenes.",
        "## Tau",
        _table(
            ("tau", "n", *FIGURES),
            [
                (f"{tau:.1f}", *_cells(default, lambda outcome, tau=tau: outcome["tau"] == tau))  # type: ignore[misc]
                for tau in taus
            ]
            + [("chosen by the scores", *_cells(default, lambda outcome: outcome["chosen"]))],
        ),
        "## Factors, at the chosen tau",
        _table(
            ("factor", "n", *FIGURES),
            [
                (name, *_cells(default, lambda outcome, name=name: outcome["chosen"] and outcome["factor"] == name))  # type: ignore[misc]
                for name in VALUES
            ],
        ),
        "## One setting changed",
        f"Change from the default (PnP inversion) at tau {TAU} on the same scenes and factors. Reconstruction: PSNR in "
        "dB of the inversion alone, to the scene. Null-text as published has a learning rate of 0.01, ten inner steps "
        "and their published early stop; the quick one a rate of 0.1, and stops when a step gains less than 1 %. All "
        "take the tiny profile's number of denoising steps, 25, half the published one.",
        _table(("setting", "n", *FIGURES, "reconstruction"), [_changes(rows, name) for name in VARIANTS]),
    ]
    return "\n\n".join(parts) + "\n"


def figure(rows: Sequence[SceneRow]) -> go.Figure:
    """Draw what comes of each factor over tau, under the default settings."""
    from plotly.subplots import make_subplots

    shown = ("arrives, %", "others stay, %", "PSNR to the truth, dB")
    default = [row for row in rows if row["variant"] == DEFAULT]
    taus = sorted({outcome["tau"] for row in default for outcome in row["edits"]})
    drawn = make_subplots(cols=len(shown), subplot_titles=shown, x_title="tau")
    for colour, name in zip(COLOURS, VALUES, strict=True):
        for column, title in enumerate(shown, 1):
            found = [
                mean(default, FIGURES[title], lambda outcome, at=(name, tau): (outcome["factor"], outcome["tau"]) == at)  # type: ignore[misc]
                for tau in taus
            ]
            reach = {"array": [m.high - m.value for m in found], "arrayminus": [m.value - m.low for m in found]}
            drawn.add_scatter(
                x=taus,
                y=[m.value for m in found],
                error_y=reach | {"thickness": 1, "width": 2},
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                line={"color": colour},
                row=1,
                col=column,
            )
    drawn.update_xaxes(tickvals=taus)
    drawn.update_layout(template="plotly_white", width=1100, height=380, margin={"l": 50, "r": 20, "t": 40, "b": 60})
    return drawn


def _cells(rows: Sequence[SceneRow], keep: Callable[[EditOutcome], bool]) -> tuple[str, ...]:
    found = [mean(rows, figure, keep) for figure in FIGURES.values()]
    return (
        str(found[0].n),
        *(f"{estimate.value:.4g} ({estimate.low:.4g} to {estimate.high:.4g})" for estimate in found),
    )


def _changes(rows: Sequence[SceneRow], variant: str) -> tuple[str, ...]:
    own = [row for row in rows if row["variant"] == variant]
    if not own:
        return (variant, "0", *("" for _ in FIGURES), "")
    if variant == DEFAULT:
        found = [mean(own, figure, lambda outcome: outcome["tau"] == TAU) for figure in FIGURES.values()]
        cells = [f"{estimate.value:.4g}" for estimate in found]
    else:
        found = [difference(rows, variant, figure) for figure in FIGURES.values()]
        cells = [f"{estimate.value:+.2f} ({estimate.low:+.2f} to {estimate.high:+.2f})" for estimate in found]
    inverted = f"{np.mean([row['reconstruction'] for row in own]):.1f}"
    return (variant, str(found[0].n), *cells, inverted)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
