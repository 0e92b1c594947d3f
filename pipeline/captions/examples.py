"""The written caption variations (assets/perturbations.jsonl), as training data and as examples in a prompt.

A line is one JSON object: caption, label ("" for none), factor, edited_caption, split ("train" or "test"). All lines of
one caption are in one split. `faults` is the validator: it tells every line that is not a single change of its factor.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from pipeline.captions.factors import FACTORS
from pipeline.captions.gates import count_names
from pipeline.captions.grammar import objection
from pipeline.captions.lexicon import synonyms
from pipeline.captions.wording import key
from pipeline.errors import DataError, display_name, reason

WRITTEN = Path(__file__).resolve().parents[2] / "assets" / "perturbations.jsonl"
SPLITS = ("train", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenVariation:
    """One written change of a caption."""

    caption: str
    label: str
    factor: str
    edited_caption: str
    split: str


def read(path: Path) -> tuple[WrittenVariation, ...]:
    """Read all lines of a file. Raises `DataError` that names the first line that cannot be used."""
    name = display_name(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why, detail = reason(error)
        raise DataError(f"The variations in '{name}' could not be read: {why}.", path=path, detail=detail) from error
    found = tuple(_variation(line, f"{name}, line {n}") for n, line in enumerate(lines, 1) if line.strip())
    if not found:
        raise DataError(f"'{name}' holds no variations; assets/perturbations.jsonl shows the form.", path=path)
    splits: dict[str, str] = {}
    for variation in found:
        if splits.setdefault(key(variation.caption), variation.split) != variation.split:
            raise DataError(f"'{name}' has '{variation.caption}' in two splits; keep each caption in one.")
    return found


def examples(factor: str, n: int) -> tuple[tuple[str, str], ...]:
    """Draw n (caption, edited caption) of the factor's training split, always the same; () where there are none."""
    known = {
        variation.caption: variation.edited_caption
        for variation in _written()
        if (variation.factor, variation.split) == (factor, "train")
    }
    return tuple(random.Random(0).sample(sorted(known.items()), min(n, len(known))))


def faults(variations: Sequence[WrittenVariation]) -> Iterator[str]:
    """Yield a sentence for every fault: not one change of its factor, a label that got lost, a repeated line."""
    seen: set[tuple[str, str]] = set()
    for variation in variations:
        where = f"{variation.factor}: '{variation.caption}' -> '{variation.edited_caption}'"
        pair = key(variation.caption), key(variation.edited_caption)
        if pair in seen or pair[0] == pair[1]:
            yield f"{where} is there twice or changes nothing"
        seen.add(pair)
        if reason := objection(variation.caption, variation.edited_caption, variation.factor):
            yield f"{where}: {reason}"
        before, after = count_names(variation.caption, variation.edited_caption, synonyms(variation.label))
        if after < before:
            yield f"{where}: the label '{variation.label}' is named {after} times instead of {before}"


def group_by_caption(variations: Iterable[WrittenVariation]) -> dict[str, list[WrittenVariation]]:
    """Return the variations of each caption, in order."""
    found: dict[str, list[WrittenVariation]] = {}
    for variation in variations:
        found.setdefault(variation.caption, []).append(variation)
    return found


@cache
def _written() -> tuple[WrittenVariation, ...]:
    return read(WRITTEN)


def _variation(line: str, where: str) -> WrittenVariation:
    names = {field.name for field in fields(WrittenVariation)}
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not a JSON object: {error}.") from error
    if not isinstance(row, dict) or set(row) != names or not all(isinstance(value, str) for value in row.values()):
        raise DataError(f"{where} must have exactly the texts {', '.join(sorted(names))}.")
    variation = WrittenVariation(**row)
    if (
        variation.factor not in FACTORS
        or variation.split not in SPLITS
        or not variation.caption.strip()
        or not variation.edited_caption.strip()
    ):
        raise DataError(f"{where} has an unknown factor or split, or an empty caption; use {', '.join(FACTORS)}.")
    return variation
