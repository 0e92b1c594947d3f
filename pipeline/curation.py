"""Folders of labelled pictures, splits that never leak, and sets of counterfactuals on their way out.

A folder of pictures is an ImageFolder: the first sub-folder names the label, and an optional metadata.jsonl (lines with
`file_name` and `label`, as in Hugging Face's ImageFolder) overrules it. Knows no model.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from pipeline.errors import DataError, StoreError
from pipeline.images import encode
from pipeline.scoring import choose_tau
from pipeline.store import Store
from pipeline.types import Counterfactual, CounterfactualSet, Decision, Photo, Prediction, Study

METADATA = "metadata.jsonl"
MANIFEST = "MANIFEST.json"
# Kinds that the decode gate refuses are listed too: such a file is reported, not passed over in silence.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".svg", ".heic", ".avif", ".psd", ".eps")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImage:
    """A picture file and what it shows."""

    path: Path
    label: str  # "" when the folder gives none


def load_folder(folder: Path) -> tuple[LabelledImage, ...]:
    """The pictures of an ImageFolder in the order of their names; hidden files are passed over.

    Raises `DataError` for a missing or empty folder and for a metadata.jsonl that is malformed or names a file that is
    not below the folder.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}; give a folder with one sub-folder of pictures per label.")
    try:
        labels = _metadata(folder) if (folder / METADATA).is_file() else {}
        places = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        visible = [place for place in places if not any(part.startswith(".") for part in place.parts)]
        files = [place for place in visible if (folder / place).is_file()]
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be read; check its permissions.") from error
    if not files:
        raise DataError(f"There is no picture in {folder}; give a folder with PNG, JPEG or WebP files.")
    folders = {place: place.parts[0] if len(place.parts) > 1 else "" for place in files}
    return tuple(
        LabelledImage(path=folder / place, label=labels.get(place.as_posix(), folders[place])) for place in files
    )


def split_by_photo(
    keys: Sequence[str], fractions: Sequence[float], seed: int, labels: Mapping[str, str] | None = None
) -> tuple[tuple[str, ...], ...]:
    """Photo keys in as many parts as there are fractions; every key is in exactly one part, however often it is given.

    `labels` (photo key -> label) spreads each label over the parts. Only the keys and the seed decide, never the order
    in which they come. The fractions sum to 1; the first part is served first. Raises `DataError` otherwise.
    """
    if not fractions or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(f"The fractions {tuple(fractions)} do not sum to 1; give for example 0.6, 0.2 and 0.2.")
    of = labels or {}
    drawn = {key: hashlib.sha256(f"{seed}:{key}".encode()).digest() for key in keys}
    ordered = sorted(drawn, key=lambda key: (of.get(key, ""), drawn[key]))
    parts: list[list[str]] = [[] for _ in fractions]
    for place, key in enumerate(ordered, start=1):
        owed = [share * place - len(part) for share, part in zip(fractions, parts, strict=True)]
        parts[owed.index(max(owed))].append(key)
    return tuple(tuple(part) for part in parts)


def chosen(study: Study) -> tuple[Counterfactual, ...]:
    """Per edited caption its best counterfactual that passed every gate; captions without one are absent."""
    candidates: dict[str, list[Counterfactual]] = {}
    for counterfactual in study.counterfactuals:
        candidates.setdefault(counterfactual.perturbation.edited_caption, []).append(counterfactual)
    best = (choose_tau(group) for group in candidates.values())
    return tuple(counterfactual for counterfactual in best if counterfactual is not None)


def selection(store: Store, name: str = "") -> tuple[tuple[Photo, Counterfactual], ...]:
    """What to reinforce with: the latest version of the named set; without a name all that analysts kept.

    When nobody has kept anything yet: every counterfactual at its chosen tau that nobody has rejected. Raises
    `DataError` when the set is unknown.
    """
    if name:
        versions = [one for one in store.sets() if one.name == name]
        if not versions:
            raise DataError(f"There is no set '{name}' in {store.root}; freeze one first.")
        return store.items(versions[0])
    return store.kept() or tuple(_undecided(store))


def source_of(store: Store, name: str = "") -> str:
    """What `selection` gives, in words: the set with its version, or what was kept."""
    versions = [one for one in store.sets() if one.name == name]
    if versions:
        return f"the set '{name}', version {versions[0].version}, of {len(versions[0].items)} counterfactuals"
    return "all kept counterfactuals" if store.kept() else "every chosen counterfactual that was not rejected"


def export_set(store: Store, chosen_set: CounterfactualSet, folder: Path) -> Path:
    """Writes <folder>/<label>/<key>.png and metadata.jsonl, which `load_folder` reads back; returns the folder.

    README.md says what it is, MANIFEST.json holds the sha256 of every file. The folder is complete or absent. Raises
    `DataError` when it holds something already, `StoreError` when it cannot be written.
    """
    pairs, verdicts = store.items(chosen_set), store.decisions()
    with new_folder(folder) as partial:
        lines = []
        for photo, counterfactual in pairs:
            place = PurePosixPath(_folder_name(photo.label)) / f"{counterfactual.key[:32]}.png"
            (partial / place).parent.mkdir(exist_ok=True)
            (partial / place).write_bytes(encode(counterfactual.image))
            line = {"file_name": str(place), **_line(photo, counterfactual, verdicts.get(counterfactual.key))}
            lines.append(json.dumps(line, ensure_ascii=False))
        (partial / METADATA).write_text("\n".join(lines) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(_card(chosen_set, {photo.label for photo, _ in pairs}), encoding="utf-8")
        (partial / MANIFEST).write_text(json.dumps(_sums(partial), indent=1) + "\n", encoding="utf-8")
    return folder


def refuse_used(folder: Path) -> None:
    """Raises `DataError` when the folder is a file or holds something already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists already and is not empty; name a new folder.")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder beside `folder` that takes its place at the end, or vanishes when something fails."""
    refuse_used(folder)
    partial: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        yield partial
        partial.chmod(0o755)  # mkdtemp's folder is for its owner alone
        partial.replace(folder)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written: {error.strerror or error}; free some space or choose another."
        ) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def _undecided(store: Store) -> Iterator[tuple[Photo, Counterfactual]]:
    rejected = {key for key, decision in store.decisions().items() if decision.verdict == "reject"}
    for summary in store.studies():
        study = store.load_study(summary.key)
        for counterfactual in chosen(study) if study else ():
            if study and counterfactual.key not in rejected:
                yield study.photo, counterfactual


def _metadata(folder: Path) -> dict[str, str]:
    """file_name -> label. Raises `DataError` for the first line that cannot be used."""
    labels = {}
    lines = (folder / METADATA).read_bytes().decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, label = _name_and_label(line, f"Line {number} of {folder / METADATA}")
        if not (folder / name).is_file():
            raise DataError(f"Line {number} of {folder / METADATA} names {name}, which is not there; remove the line.")
        if label is not None:
            labels[name] = label
    return labels


def _name_and_label(line: str, where: str) -> tuple[str, str | None]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON; write one object with file_name and label.") from error
    name, label = (row.get("file_name"), row.get("label")) if isinstance(row, dict) else (None, None)
    if not isinstance(name, str) or not name or not isinstance(label, str | None):
        raise DataError(f"{where} holds no file_name, or a label that is not text; write both as text.")
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\0" in name or "\\" in name:
        raise DataError(f"{where} names a file outside the folder; name one below it.")
    return place.as_posix(), label


def _folder_name(label: str) -> str:
    """The label as a folder's name; metadata.jsonl holds it word for word."""
    return re.sub(r"[^\w \-]+", "_", label).strip(" _")[:80] or "unnamed"


def _line(photo: Photo, counterfactual: Counterfactual, decision: Decision | None) -> dict[str, object]:
    """Everything known of one picture; the verdict is the one that holds now, "" when it was taken back."""
    perturbation = asdict(counterfactual.perturbation)
    said = decision or Decision(id="", counterfactual=counterfactual.key, verdict="")
    return {
        "original_file_name": photo.name,
        "photo": photo.key,
        "label": photo.label,
        **{name: perturbation[name] for name in ("caption", "edited_caption", "factor", "original", "edit")},
        "tau": counterfactual.tau,
        "scores": asdict(counterfactual.scores),
        "missed": list(counterfactual.missed),
        "classifier": photo.classifier,
        "prediction_before": _top(photo.prediction),
        "prediction_after": _top(counterfactual.prediction),
        **{name: getattr(said, name) for name in ("verdict", "reason", "analyst", "time")},
    }


def _top(prediction: Prediction) -> list[dict[str, object]]:
    return [{"label": label, "probability": probability} for label, probability in prediction.top(5)]


def _card(chosen_set: CounterfactualSet, labels: set[str]) -> str:
    return (
        f"# {chosen_set.name}, version {chosen_set.version}\n\n"
        f"{len(chosen_set.items)} counterfactual pictures of {len(labels)} classes, each an edit of a photo that keeps "
        "what the photo shows. metadata.jsonl holds a line per picture: captions, factor, tau, scores, predictions and "
        f"the analyst's verdict; {MANIFEST} the sha256 of every file. The licence is that of the source photos and of "
        "the diffusion model.\n"
    )


def _sums(folder: Path) -> dict[str, str]:
    """File below the folder -> its sha256."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
