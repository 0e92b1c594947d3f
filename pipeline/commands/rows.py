"""What the command line prints: pipeline types -> rows, and rows -> JSON lines or a table. Asks no model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipeline.types import Axis, Perturbation, Prediction, Proportion, Reinforcement, Study

if TYPE_CHECKING:
    from pipeline.analysis.clusters import Insight
    from pipeline.analysis.edit_quality import Appraisal
    from pipeline.analysis.weakness import FailurePoint, Weakness
    from pipeline.captions.adapter import Trained
    from pipeline.reinforcement.figures import Figure
    from pipeline.statistics.intervals import Change

Row = dict[str, object]
WIDTH = 160  # characters of a table that goes to a file or another program


def image_row(path: Path, **found: object) -> Row:
    """A picture by the name that was given, and what was found."""
    return {"image": str(path), **found}


def perturbation_row(one: Perturbation) -> Row:
    """A proposal with every gate's figure and reason."""
    return {
        "factor": one.factor,
        "caption": one.caption,
        "edited_caption": one.edited_caption,
        "original": one.original,
        "edit": one.edit,
        "accepted": one.accepted,
        "rejected_by": list(one.rejected_by),
        "checks": [asdict(check) for check in one.checks],
    }


def perturbation_cells(one: Perturbation) -> Row:
    """What of it fits a table."""
    return {name: value for name, value in perturbation_row(one).items() if name not in ("caption", "checks")}


def top5(prediction: Prediction) -> list[Row]:
    """The five most probable labels, best first."""
    return [{"label": label, "probability": probability} for label, probability in prediction.top(5)]


def edit_rows(study: Study, files: Mapping[str, Path], axis: Axis) -> Iterator[Row]:
    """The reconstruction, then every strength, under the name that the editor's axis gives it.

    `files` names the picture of each by its key, the reconstruction's by "".
    """
    from pipeline.classifiers.shifts import is_prediction_flip
    from pipeline.workflow import chosen

    if study.control is None:
        return
    flip = is_prediction_flip(study.photo.prediction, study.control)
    yield {axis.name: None, "file": str(files[""]), "kind": "reconstruction", "top5": top5(study.control), "flip": flip}
    best = {one.key for one in chosen(study)}
    for one in sorted(study.counterfactuals, key=lambda one: one.tau):
        yield {
            axis.name: axis.value(one.tau),
            "file": str(files[one.key]),
            "kind": "counterfactual",
            "scores": asdict(one.scores),
            "top5": top5(one.prediction),
            "flip": is_prediction_flip(study.control, one.prediction),
            "missed": list(one.missed),
            "chosen": one.key in best,
        }


def study_row(study: Study) -> Row:
    """One picture of a run."""
    from pipeline.classifiers.shifts import is_prediction_flip
    from pipeline.workflow import chosen

    best = chosen(study)
    flips = [one for one in best if study.control and is_prediction_flip(study.control, one.prediction)]
    return {
        "image": study.photo.name,
        "label": study.photo.label,
        "caption": study.caption,
        "perturbations": len(study.perturbations),
        "counterfactuals": len(study.counterfactuals),
        "chosen": len(best),
        "flips": len(flips),
    }


def weakness_row(row: Weakness) -> Row:
    """Every figure of a class and factor with its interval."""
    return {**asdict(row), "too_few": row.too_few}


def weakness_cells(row: Weakness) -> Row:
    """What of it fits a table."""
    return {
        "class": row.label,
        "factor": row.factor,
        **({} if row.tau is None else {"tau": row.tau}),
        "n edits of photos": f"{row.n} of {row.photos}{' (too few)' if row.too_few else ''}",
        **_accuracy_cells("Acc@1", row.control_acc1, row.delta_acc1),
        **_accuracy_cells("Acc@5", row.control_acc5, row.delta_acc5),
        "flips": _percent(row.flips.value),
        "sensitivity": f"{row.sensitivity.value:+.3f}",
        "none passed": row.unpaired,
    }


def _accuracy_cells(name: str, control: Proportion, change: Change) -> Row:
    return {
        f"{name} control": _percent(control.value),
        f"delta {name}": _points(change.value, change.low, change.high),
        f"p, Holm ({name})": f"{change.p_adjusted:.3g}",
    }


def insight_row(one: Insight) -> Row:
    """A group of edits with what they cost."""
    return {**asdict(one), "edits": list(one.edits)}


def appraisal_row(one: Appraisal, clip: str) -> Row:
    """A factor's edits as pictures, with the model that diversity and KID rest on."""
    return {**asdict(one), "embeddings": clip}


def appraisal_cells(one: Appraisal, clip: str) -> Row:
    """What of it fits a table."""
    found: Row = {"factor": one.factor, "n": one.n, "photos": one.photos}
    means = {"sparsity": one.sparsity, f"diversity ({clip})": one.diversity, "COUT": one.cout, "SSIM": one.ssim,
             "PSNR, dB": one.psnr, **one.distances}  # fmt: skip
    for name, mean in means.items():
        found[name] = f"{mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f}), n {mean.n}" if mean.n else "none"
    if one.fid is not None:
        found[f"Fréchet ({clip})"] = f"{one.fid:.3f}"
    return {**found, f"KID ({clip})": "too few photos" if one.kid is None else f"{one.kid:.4f}"}


def confirmation_row(name: str, share: Proportion) -> Row:
    """How many flips a second classifier confirms."""
    return {"confirmed by": name, "flips": share.n, "photos": share.photos, "share": asdict(share)}


def failure_row(one: FailurePoint) -> Row:
    """The most conservative edit of one caption that flips."""
    return asdict(one)


def reinforcement_rows(made: Reinforcement, folder: Path) -> Iterator[Row]:
    """Return what was saved, then Acc@1 and Acc@5 before and after: validation, test splits, classes by test split.

    p is that of a test by photos after Holm's correction over all test splits and classes; None where none is made.
    """
    from pipeline.reinforcement.figures import figures, told_together

    block = {"block": made.block} if made.block else {}
    alphas = {"alpha": made.alpha, "best on validation": made.chosen}
    yield {"kind": "classifier", "name": str(folder), **alphas, "epochs": len(made.losses) - 1, **block}
    checked = [one for one in figures(made, made.validation) if not one.label]
    yield from _figure_rows(checked, "validation")
    tested = told_together(figures(made, made.answers))
    yield from _figure_rows([one for one in tested if not one.label], "split")
    yield from _figure_rows([one for one in tested if one.label], "class")


def _figure_rows(found: Sequence[Figure], kind: str) -> Iterator[Row]:
    """One row per split or class, with all its metrics."""
    for (split, label), group in groupby(found, lambda one: (one.split, one.label)):
        figures_of = list(group)
        row: Row = {"kind": kind, "name": label or split, **({"split": split} if label else {})}
        row |= {"n": figures_of[0].n, "photos": figures_of[0].photos}
        for one in figures_of:
            change = {"value": one.change.value, "low": one.change.low, "high": one.change.high}
            p = {} if kind == "validation" else {"p": one.change.p_adjusted if one.tested else None}
            row[f"acc@{one.k}"] = {"before": asdict(one.before), "after": asdict(one.after), "change": change, **p}
        yield row


def adapter_rows(made: Trained, folder: Path) -> Iterator[Row]:
    """What was trained, then each figure on held-out captions."""
    last = made.losses[-1][1] if made.losses else None
    yield {"kind": "adapter", "name": str(folder), "trainable": made.trainable, "frozen": made.frozen, "loss": last}
    for name, share in made.held_out.items():
        yield {"kind": "held-out", "name": name, "n": share.n, "share": asdict(share)}


def show(rows: Iterable[Row], as_json: bool) -> None:
    """One JSON object a line as soon as it is there, or one table at the end."""
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row, ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    lines = list(rows)
    table = Table()
    columns = list(dict.fromkeys(name for line in lines for name in line))
    for name in columns:
        table.add_column(name, overflow="fold")
    for line in lines:
        table.add_row(*(Text(_cell(line.get(name))) for name in columns))
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def _cell(value: object) -> str:
    """A value as a person reads it; nothing in it can steer the terminal."""
    if isinstance(value, dict) and "low" in value:
        return _points(value["value"], value["low"], value["high"], sign="")
    if isinstance(value, dict):
        return "\n".join(f"{name} {_cell(one)}" for name, one in value.items())
    if isinstance(value, list):
        return "\n".join(" ".join(map(_cell, one.values())) if isinstance(one, dict) else _cell(one) for one in value)
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    return "".join(character if character.isprintable() else "?" for character in str(value))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _points(value: float, low: float, high: float, sign: str = "+") -> str:
    return f"{100 * value:{sign}.1f} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"
