"""A reinforcement on the disk, beside the classifier it made: both heads and every answer, to be looked at again.

A run is a folder that `reinforcement.save` has written. run.json holds what was said of every picture at every alpha,
heads.safetensors theta_0 and theta_1, of the block too where one was unfrozen. looks.jsonl grows by a line whenever
somebody sees the test sets at an alpha at which they were not last seen, so whoever opens the folder knows. Runs of
version 1, which kept no answers on validation and no looks, are read too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch

from pipeline.errors import DataError, StoreError
from pipeline.store.media import write_whole
from pipeline.types import Answers, Look, Reinforcement

FIGURES, HEADS, LOOKS = "run.json", "heads.safetensors", "looks.jsonl"
VERSION = 2
_PLAIN = ("classifier", "labels", "alpha", "losses", "accuracies", "method", "seed", "stopped", "source")
_SINCE_2 = ("alphas", "chosen", "given", "earlier", "block", "parameters")
_OF_EDITS = "held-out counterfactuals"


def write_run(made: Reinforcement, folder: Path) -> None:
    """Write all files; run.json comes last, so a run that was cut off is not listed. Raises `OSError`."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    heads = {
        f"{name}_{place}": parameter
        for place, theta in enumerate((made.theta_0, made.theta_1))
        for name, parameter in zip(made.parameters, theta, strict=True)
    }
    try:
        save_file({name: parameter.contiguous().clone() for name, parameter in heads.items()}, folder / HEADS)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    if made.looks:
        (folder / LOOKS).write_text("".join(map(_line, made.looks)), encoding="utf-8")
    row = {
        "version": VERSION,
        **{name: getattr(made, name) for name in (*_PLAIN, *_SINCE_2)},
        "answers": {name: asdict(answers) for name, answers in made.answers.items()},
        "validation": {name: asdict(answers) for name, answers in made.validation.items()},
    }
    write_whole(folder / FIGURES, json.dumps(row, separators=(",", ":")).encode())
    for name in (HEADS, FIGURES):
        (folder / name).chmod(0o644)  # both are written for the owner only


def read_run(folder: Path) -> Reinforcement:
    """Return what `write_run` wrote, with all looks until now.

    Raises `DataError` for a folder that holds no run, a damaged one or one of a later version.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        row = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        made = _run(row, load_file(folder / HEADS))
        return replace(made, looks=read_looks(folder))
    except FileNotFoundError as error:
        raise DataError(f"There is no run in '{folder.name}'; reinforce a classifier first.", path=folder) from error
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"The run '{folder.name}' cannot be read; it is damaged or of another version."
        raise DataError(message, path=folder) from error


def runs(root: Path) -> tuple[Path, ...]:
    """Return the folders below `root` that hold a run, the newest first."""
    found = [file for file in root.glob(f"*/{FIGURES}") if not file.parent.name.startswith(".")]
    return tuple(file.parent for file in sorted(found, key=lambda file: (-file.stat().st_mtime_ns, file.parent.name)))


def add_look(folder: Path, look: Look) -> None:
    """Note that the test sets are about to be seen. Raises `StoreError`: then nobody may see them."""
    try:
        with (folder / LOOKS).open("a", encoding="utf-8") as file:
            file.write(_line(look))
    except OSError as error:
        raise StoreError(
            f"It cannot be noted in '{folder.name}' that the test sets are seen: {error.strerror}; free some space.",
            path=folder,
        ) from error


def read_looks(folder: Path) -> tuple[Look, ...]:
    """Return all looks in their order; a line that could not be written whole let nobody see anything."""
    text = (folder / LOOKS).read_text(encoding="utf-8") if (folder / LOOKS).is_file() else ""
    return tuple(look for line in text.split("\n") if (look := _look(line)) is not None)


def _line(look: Look) -> str:
    """Return a line that a half-written one before it cannot spoil."""
    return f"\n{json.dumps(asdict(look))}\n"


def _look(line: str) -> Look | None:
    try:
        return Look(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _run(row: Mapping[str, object], heads: Mapping[str, torch.Tensor]) -> Reinforcement:
    fields = {**{name: row[name] for name in _PLAIN}, **(_first if row.get("version", 1) == 1 else _second)(row)}
    fields |= {name: tuple(fields[name]) for name in ("labels", "losses", "accuracies", "alphas", "parameters")}  # type: ignore[arg-type]
    names: tuple[str, ...] = fields["parameters"]  # type: ignore[assignment]
    return Reinforcement(
        **fields,  # type: ignore[arg-type]
        theta_0=tuple(heads[f"{name}_0"] for name in names),
        theta_1=tuple(heads[f"{name}_1"] for name in names),
    )


def _second(row: Mapping[str, object]) -> dict[str, object]:
    if row["version"] != VERSION:
        raise ValueError(f"version {row['version']}")
    answers = {
        kind: {name: _answers(fields, fields["photos"]) for name, fields in row[kind].items()}  # type: ignore[attr-defined]
        for kind in ("answers", "validation")
    }
    return {**{name: row[name] for name in _SINCE_2}, **answers}


def _first(row: Mapping[str, object]) -> dict[str, object]:
    """Read a run of version 1, which kept no photo of an edit and showed the test sets at every alpha."""
    answers = {
        name: _answers(fields, () if name == _OF_EDITS else fields["names"])  # a test picture is a photo of its own
        for name, fields in row["answers"].items()  # type: ignore[attr-defined]
    }
    return {
        "alphas": [alpha for alpha, _ in row["curve"]],  # type: ignore[attr-defined]
        "block": row.get("block", ""),
        "parameters": row.get("parameters", ("weight", "bias")),
        "earlier": True,
        "answers": answers,
    }


def _answers(fields: Mapping[str, list[object]], photos: object) -> Answers:
    return Answers(
        names=tuple(map(str, fields["names"])),
        photos=tuple(map(str, photos)),  # type: ignore[call-overload]
        targets=tuple(fields["targets"]),  # type: ignore[arg-type]
        predicted=tuple(map(tuple, fields["predicted"])),  # type: ignore[arg-type]
        ranks=tuple(map(tuple, fields.get("ranks", ()))),  # type: ignore[arg-type]
        losses=tuple(fields.get("losses", ())),  # type: ignore[arg-type]
    )
