"""Handlers of the Reinforce page for what came of it: a run at any alpha, its pictures, its export, runs side by side.

Runs lie in the data folder, so they are found again after a restart. Figures at another alpha are read, never computed
anew.
"""

from __future__ import annotations

import base64
import shutil
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import gradio as gr

from explorer import charts, classifiers
from explorer.components.markup import Html, join, tag
from explorer.components.outcome import comparison_markup, outcome_markup
from explorer.components.pairs import Pair, explore_link, pairs_markup
from explorer.components.status import said
from explorer.door import offered
from explorer.jobs import Desk
from pipeline.curation import load_folder
from pipeline.errors import DataError
from pipeline.promotion import promote
from pipeline.reinforcement import HELD_OUT, KINDS, Answer, at_alpha, changes, save
from pipeline.runs import read_run, runs
from pipeline.training_task import FOLDER
from pipeline.types import CounterfactualSet, Reinforcement

SHOWN = 24  # pictures of one kind
KIND = {
    "newly broken": "No picture that was right became wrong.",
    "still failing": "No picture stayed wrong.",
    "fixed": "No picture became right at this alpha.",
}


def names(desk: Desk) -> list[str]:
    """All runs in the data folder, the newest first."""
    return [folder.name for folder in runs(desk.store.root / FOLDER)]


def run_of(desk: Desk, name: str) -> Reinforcement:
    """A run by its name. Raises `DataError` for an unknown one."""
    if name not in names(desk):
        raise DataError("This run is no longer in the data folder; choose another one.")
    folder = desk.store.root / FOLDER / name
    return _read(folder, (folder / "run.json").stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _read(folder: Path, _written: int) -> Reinforcement:
    return read_run(folder)


def show(desk: Desk, name: str | None) -> tuple[object, ...]:
    """A run as it was saved: (alpha, outcome, curve, kind, gallery, actions, name to promote, download)."""
    hidden = gr.update(visible=False)
    if not name:
        return hidden, outcome_markup(None), hidden, hidden, Html(), hidden, "", hidden
    made = run_of(desk, name)
    slider = gr.update(value=made.alpha, visible=True)
    return slider, *_at(desk, made, ""), gr.update(visible=True), name[:60], hidden


def slide(desk: Desk, name: str, alpha: float, kind: str | None) -> tuple[object, ...]:
    """Another alpha is looked at; answers (outcome, curve, kind, gallery)."""
    return _at(desk, at_alpha(run_of(desk, name), alpha), kind or "")


def look(desk: Desk, name: str, alpha: float, kind: str | None) -> Html:
    """The pictures of another kind."""
    return gallery(desk, at_alpha(run_of(desk, name), alpha), kind or KINDS[0])


def _at(desk: Desk, made: Reinforcement, kind: str) -> tuple[object, ...]:
    counts = Counter(one.kind for one in changes(made))
    kind = kind or next((one for one in KINDS if counts[one]), KINDS[0])
    choices = [(f"{one} ({counts[one]})", one) for one in KINDS]
    figure = gr.update(value=charts.alpha_figure(made.curve, made.alpha), visible=True)
    radio = gr.update(choices=choices, value=kind, visible=True)
    return outcome_markup(made), figure, radio, gallery(desk, made, kind)


def gallery(desk: Desk, made: Reinforcement, kind: str) -> Html:
    """Pictures that theta_0 and theta(alpha) name differently or both wrong; photos of the store open in Explore."""
    found = [one for one in changes(made) if one.kind == kind]
    if not found:
        return tag("p", KIND[kind], class_="empty")
    pairs = [pair for one in found[:SHOWN] if (pair := _pair(desk, made, one)) is not None]
    rest = len(found) - len(pairs)
    note = tag("p", f"{len(pairs)} of {len(found)} are shown.", class_="hint") if rest else Html()
    return join(note, pairs_markup(pairs))


def _pair(desk: Desk, made: Reinforcement, one: Answer) -> Pair | None:
    """The picture with both answers; None when it is no longer there."""
    answer = f"says {one.after}" if one.before == one.after else f"said {one.before}, says {one.after}"
    told = f"{answer}, is {one.label}"
    photo: Path | None = None
    link = ""
    try:
        if one.split == HELD_OUT[1]:
            ((source, edit),) = desk.store.items(CounterfactualSet(name="", version=0, items=(one.name,)))
            photo, picture = desk.store.file(source.key), desk.store.file(edit.key)
            link = explore_link(source.key, source.classifier, edit.key)
        elif one.split == HELD_OUT[0]:
            picture, link = desk.store.file(one.name), explore_link(one.name, "")
        else:
            picture = _test_pictures(desk.models.profile.evaluation[one.split])[int(one.name)]
    except (DataError, KeyError, IndexError, ValueError):
        return None
    return Pair(
        photo=photo,
        edit=picture,
        title=told,
        said=told,
        mark={"fixed": "rise", "newly broken": "fall"}.get(one.kind, ""),
        words=one.split,
        link=link,
    )


@lru_cache(maxsize=8)
def _test_pictures(folder: str) -> tuple[Path, ...]:
    return tuple(one.path for one in load_folder(Path(folder)))


def keep_alpha(desk: Desk, name: str, alpha: float) -> tuple[object, ...]:
    """Saves the run once more with the alpha that the slider shows; answers (said, runs)."""
    folder = _as_shown(desk, name, alpha)
    return said(f"Saved as {FOLDER}/{folder.name} in the data folder."), gr.update(choices=names(desk))


def _as_shown(desk: Desk, name: str, alpha: float) -> Path:
    """The folder of the run with the alpha that the page shows: its own, or a copy that is saved when first wanted."""
    own = run_of(desk, name)
    made = at_alpha(own, alpha)
    if made.alpha == own.alpha:
        return desk.store.root / FOLDER / name
    folder = desk.store.root / FOLDER / f"{name.partition('-alpha')[0]}-alpha{made.alpha:g}"
    if folder.name not in names(desk):
        desk.ask(lambda models: save(made, models.classifier(made.classifier), folder))
    return folder


def export(desk: Desk, name: str, alpha: float) -> tuple[object, ...]:
    """The run as it is shown, as one file, and its model card; answers (said, download, runs)."""
    folder = _as_shown(desk, name, alpha)
    archive = Path(shutil.make_archive(str(folder), "zip", folder))
    card = base64.b64encode((folder / "README.md").read_bytes()).decode("ascii")
    address = f"data:text/markdown;charset=utf-8;base64,{card}"
    link = tag("a", "the model card alone", href=address, download=f"{folder.name}.md")
    told = f"{archive.name} holds the weights at alpha {alpha:g}, config.json, the model card and all figures; or take "
    text = tag("div", tag("p", told, link, ".", role="status"), class_="status")
    offer = gr.update(value=offered(archive)["path"], label=f"Download {archive.name}", visible=True)
    return text, offer, gr.update(choices=names(desk))


def promote_run(desk: Desk, name: str, alpha: float, wished: str) -> tuple[object, ...]:
    """Makes the classifier of the run as it is shown selectable everywhere; answers (said, classifiers, runs)."""
    called = wished.strip()
    promote(_as_shown(desk, name, alpha), desk.store.root, called, desk.models.profile)
    desk.models.adopt(desk.store.root)
    told = said(f"Promoted at alpha {alpha:g}: '{called}' can now be chosen wherever a classifier is asked for.")
    return told, classifiers.choices(desk), gr.update(choices=names(desk))


def compare(desk: Desk, chosen: Sequence[str] | None) -> Html:
    """Several runs side by side."""
    return comparison_markup({name: run_of(desk, name) for name in chosen or ()})
