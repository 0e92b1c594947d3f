"""A reinforcement on the disk, beside the classifier it made: both heads and every figure, to be looked at again.

A run is a folder that `reinforcement.save` has written. run.json holds what was measured, heads.safetensors theta_0 and
theta_1, of the block too where one was unfrozen, so that another alpha can be looked at, and saved, long after the
training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from pipeline.errors import DataError
from pipeline.types import Answers, Proportion, Reinforcement

FIGURES, HEADS = "run.json", "heads.safetensors"
_PLAIN = ("classifier", "labels", "alpha", "losses", "accuracies", "method", "seed", "stopped", "source", "p_values")


def write_run(made: Reinforcement, folder: Path) -> None:
    """Writes both files; run.json comes last, so a run that was cut off is not listed. Raises `OSError`."""
    from safetensors.torch import save_file

    heads = {
        f"{name}_{place}": one
        for place, theta in enumerate((made.theta_0, made.theta_1))
        for name, one in zip(made.parameters, theta, strict=True)
    }
    save_file({name: one.contiguous().clone() for name, one in heads.items()}, folder / HEADS)
    row = {
        **{name: getattr(made, name) for name in _PLAIN},
        **({"block": made.block, "parameters": made.parameters} if made.block else {}),
        "curve": [[alpha, _shares(shares)] for alpha, shares in made.curve],
        "before": _shares(made.before),
        "after": _shares(made.after),
        "by_class": {label: [asdict(one) for one in both] for label, both in made.by_class.items()},
        "answers": {name: asdict(one) for name, one in made.answers.items()},
    }
    part = folder / f".{FIGURES}"
    part.write_text(json.dumps(row), encoding="utf-8")
    part.replace(folder / FIGURES)


def read_run(folder: Path) -> Reinforcement:
    """What `write_run` wrote. Raises `DataError` for a folder that holds no run, or a damaged one."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        row = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        heads = load_file(folder / HEADS)
        return _run(row, heads)
    except FileNotFoundError as error:
        raise DataError(f"There is no run in {folder.name}; reinforce a classifier first.") from error
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"The run {folder.name} cannot be read; it is damaged or of another version.") from error


def runs(root: Path) -> tuple[Path, ...]:
    """The folders below `root` that hold a run, the newest first."""
    found = [file for file in root.glob(f"*/{FIGURES}") if not file.parent.name.startswith(".")]
    return tuple(file.parent for file in sorted(found, key=lambda file: (-file.stat().st_mtime_ns, file.parent.name)))


def _run(row: Mapping[str, object], heads: Mapping[str, torch.Tensor]) -> Reinforcement:
    fields = {name: row[name] for name in _PLAIN}
    names: tuple[str, ...] = tuple(row.get("parameters", ("weight", "bias")))  # type: ignore[arg-type]
    fields |= {name: tuple(fields[name]) for name in ("labels", "losses", "accuracies")}  # type: ignore[arg-type]
    by_class = {label: (Proportion(**old), Proportion(**new)) for label, (old, new) in row["by_class"].items()}  # type: ignore[attr-defined]
    return Reinforcement(
        **fields,  # type: ignore[arg-type]
        theta_0=tuple(heads[f"{name}_0"] for name in names),
        theta_1=tuple(heads[f"{name}_1"] for name in names),
        block=str(row.get("block", "")),
        parameters=names,
        curve=tuple((float(alpha), _proportions(shares)) for alpha, shares in row["curve"]),  # type: ignore[attr-defined]
        before=_proportions(row["before"]),
        after=_proportions(row["after"]),
        by_class=by_class,
        answers={name: _answers(one) for name, one in row["answers"].items()},  # type: ignore[attr-defined]
    )


def _shares(shares: Mapping[str, Proportion]) -> dict[str, object]:
    return {name: asdict(one) for name, one in shares.items()}


def _proportions(shares: object) -> dict[str, Proportion]:
    return {name: Proportion(**one) for name, one in shares.items()}  # type: ignore[attr-defined]


def _answers(one: Mapping[str, list[object]]) -> Answers:
    return Answers(
        names=tuple(map(str, one["names"])),
        targets=tuple(one["targets"]),  # type: ignore[arg-type]
        predicted=tuple(tuple(said) for said in one["predicted"]),  # type: ignore[arg-type,call-overload]
    )
