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
    from pipeline.analysis.comparison import ClassifierComparison
    from pipeline.analysis.edit_quality import Appraisal
    from pipeline.analysis.weakness import FailurePoint, Weakness
    from pipeline.captions.adapter import Trained
    from pipeline.reinforcement.figures import Figure
    from pipeline.statistics.intervals import Change

TableRow = dict[str, object]
WIDTH = 160  # characters of a table that goes to a file or another program


def image_row(path: Path, **found: object) -> TableRow:
    """Return a picture by the name that was given, and what was found."""
    return {"image": str(path), **found}


def perturbation_row(perturbation: Perturbation) -> TableRow:
    """Return a proposal with every gate's figure and reason."""
    return {
        "factor": perturbation.factor,
        "caption": perturbation.caption,
        "edited_caption": perturbation.edited_caption,
        "original": perturbation.original,
        "edit": perturbation.edit,
        "accepted": perturbation.accepted,
        "rejected_by": list(perturbation.rejected_by),
        "checks": [asdict(check) for check in perturbation.checks],
    }


def perturbation_cells(perturbation: Perturbation) -> TableRow:
    """Return what of a proposal fits a table."""
    return {name: value for name, value in perturbation_row(perturbation).items() if name not in ("caption", "checks")}


def top5(prediction: Prediction) -> list[TableRow]:
    """Return the five most probable labels, best first."""
    return [{"label": label, "probability": probability} for label, probability in prediction.top(5)]


def edit_rows(study: Study, files: Mapping[str, Path], axis: Axis) -> Iterator[TableRow]:
    """Yield the reconstruction, then every strength, under the name that the editor's axis gives it.

    `files` names the picture of each by its key, the reconstruction's by "".
    """
    from pipeline.classifiers.shifts import is_prediction_flip
    from pipeline.workflow import chosen

    if study.control is None:
        return
    flip = is_prediction_flip(study.photo.prediction, study.control)
    yield {axis.name: None, "file": str(files[""]), "kind": "reconstruction", "top5": top5(study.control), "flip": flip}
    best = {counterfactual.key for counterfactual in chosen(study)}
    for counterfactual in sorted(study.counterfactuals, key=lambda counterfactual: counterfactual.tau):
        yield {
            axis.name: axis.value(counterfactual.tau),
            "file": str(files[counterfactual.key]),
            "kind": "counterfactual",
            "scores": counterfactual.scores.kept,
            "top5": top5(counterfactual.prediction),
            "flip": is_prediction_flip(study.control, counterfactual.prediction),
            "missed": list(counterfactual.missed),
            "chosen": counterfactual.key in best,
        }


def comparison_row(row: ClassifierComparison, first: str, second: str) -> TableRow:
    """Return every figure of two classifiers on a class and factor; of pairs the first one's comes first."""
    return {"first": first, "second": second, **asdict(row), "too_few": row.too_few}


def comparison_cells(row: ClassifierComparison, first: str, second: str) -> TableRow:
    """Return what of a comparison fits a table."""
    return {
        "class": row.label,
        "factor": row.factor,
        "n edits of photos": f"{row.n} of {row.photos}{' (too few)' if row.too_few else ''}",
        f"Acc@1 {first}": _percent(row.edited_acc1[0].value),
        f"Acc@1 {second}": _percent(row.edited_acc1[1].value),
        "difference": _points(row.delta_acc1.value, row.delta_acc1.low, row.delta_acc1.high),
        "p, Holm": f"{row.delta_acc1.p_adjusted:.3g}",
        f"flips {first}": _percent(row.flips[0].value),
        f"flips {second}": _percent(row.flips[1].value),
        "difference of flips": _points(row.delta_flips.value, row.delta_flips.low, row.delta_flips.high),
    }


def study_row(study: Study) -> TableRow:
    """Return one picture of a run."""
    from pipeline.classifiers.shifts import is_prediction_flip
    from pipeline.workflow import chosen

    best = chosen(study)
    control = study.control
    flips = [is_prediction_flip(control, edited.prediction) for edited in best] if control is not None else []
    return {
        "image": study.photo.name,
        "label": study.photo.label,
        "caption": study.caption,
        "perturbations": len(study.perturbations),
        "counterfactuals": len(study.counterfactuals),
        "chosen": len(best),
        "flips": sum(flips),
    }


def weakness_row(row: Weakness) -> TableRow:
    """Return every figure of a class and factor with its interval."""
    return {**asdict(row), "too_few": row.too_few}


def weakness_cells(row: Weakness) -> TableRow:
    """Return what of a weakness fits a table."""
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


def _accuracy_cells(name: str, control: Proportion, change: Change) -> TableRow:
    return {
        f"{name} control": _percent(control.value),
        f"delta {name}": _points(change.value, change.low, change.high),
        f"p, Holm ({name})": f"{change.p_adjusted:.3g}",
    }


def insight_row(insight: Insight) -> TableRow:
    """Return a group of edits with what they cost."""
    return {**asdict(insight), "edits": list(insight.edits)}


def appraisal_row(appraisal: Appraisal, clip: str) -> TableRow:
    """Return a factor's edits as pictures, with the model that diversity and KID rest on."""
    return {**asdict(appraisal), "embeddings": clip}


def appraisal_cells(appraisal: Appraisal, clip: str) -> TableRow:
    """Return what of an appraisal fits a table."""
    found: TableRow = {"factor": appraisal.factor, "n": appraisal.n, "photos": appraisal.photos}
    means = {
        "sparsity": appraisal.sparsity,
        f"diversity ({clip})": appraisal.diversity,
        "COUT": appraisal.cout,
        "SSIM": appraisal.ssim,
        "PSNR, dB": appraisal.psnr,
        **appraisal.distances,
    }
    for name, mean in means.items():
        found[name] = f"{mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f}), n {mean.n}" if mean.n else "none"
    if appraisal.fid is not None:
        found[f"Fréchet ({clip})"] = f"{appraisal.fid:.3f}"
    return {**found, f"KID ({clip})": "too few photos" if appraisal.kid is None else f"{appraisal.kid:.4f}"}


def confirmation_row(name: str, share: Proportion) -> TableRow:
    """Return how many flips a second classifier confirms."""
    return {"confirmed by": name, "flips": share.n, "photos": share.photos, "share": asdict(share)}


def failure_row(failure: FailurePoint) -> TableRow:
    """Return the most conservative edit of a caption that flips."""
    return asdict(failure)


def reinforcement_rows(made: Reinforcement, folder: Path) -> Iterator[TableRow]:
    """Yield what was saved, then Acc@1 and Acc@5 before and after: validation, test splits, classes by test split.

    p is that of a test by photos after Holm's correction over all test splits and classes; None where none is made.
    """
    from pipeline.reinforcement.figures import figures, told_together

    block = {"block": made.block} if made.block else {}
    alphas = {"alpha": made.alpha, "best on validation": made.chosen}
    yield {"kind": "classifier", "name": str(folder), **alphas, "epochs": len(made.losses) - 1, **block}
    checked = [figure for figure in figures(made, made.validation) if not figure.label]
    yield from _figure_rows(checked, "validation")
    tested = told_together(figures(made, made.answers))
    yield from _figure_rows([figure for figure in tested if not figure.label], "split")
    yield from _figure_rows([figure for figure in tested if figure.label], "class")


def _figure_rows(found: Sequence[Figure], kind: str) -> Iterator[TableRow]:
    """Yield a row per split or class, with all its metrics."""
    for (split, label), group in groupby(found, lambda figure: (figure.split, figure.label)):
        figures_of = list(group)
        row: TableRow = {"kind": kind, "name": label or split, **({"split": split} if label else {})}
        row |= {"n": figures_of[0].n, "photos": figures_of[0].photos}
        for figure in figures_of:
            change = {"value": figure.change.value, "low": figure.change.low, "high": figure.change.high}
            p = {} if kind == "validation" else {"p": figure.change.p_adjusted if figure.tested else None}
            row[f"acc@{figure.k}"] = {
                "before": asdict(figure.before),
                "after": asdict(figure.after),
                "change": change,
                **p,
            }
        yield row


def adapter_rows(made: Trained, folder: Path) -> Iterator[TableRow]:
    """Yield what was trained, then each figure on held-out captions."""
    last = made.losses[-1][1] if made.losses else None
    yield {"kind": "adapter", "name": str(folder), "trainable": made.trainable, "frozen": made.frozen, "loss": last}
    for name, share in made.held_out.items():
        yield {"kind": "held-out", "name": name, "n": share.n, "share": asdict(share)}


def show(rows: Iterable[TableRow], as_json: bool) -> None:
    """Print a JSON object a line as soon as it is there, or one table at the end."""
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
    """Return a value as a person reads it; nothing in it can steer the terminal."""
    if isinstance(value, dict) and "low" in value:
        return _points(value["value"], value["low"], value["high"], sign="")
    if isinstance(value, dict):
        return "\n".join(f"{name} {_cell(part)}" for name, part in value.items())
    if isinstance(value, list):
        return "\n".join(
            " ".join(map(_cell, part.values())) if isinstance(part, dict) else _cell(part) for part in value
        )
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    return "".join(character if character.isprintable() else "?" for character in str(value))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _points(value: float, low: float, high: float, sign: str = "+") -> str:
    return f"{100 * value:{sign}.1f} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"
