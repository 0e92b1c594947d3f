"""Handlers of the Reinforce page for what came of it: a run on validation and on test sets, its export, several runs.

Runs lie in the data folder, so they are found again after a restart. The slider looks at validation pictures alone.
Test sets are shown at one alpha, and a look at another one is noted in the run's folder before they are shown; what
leaves this page, an export or a promoted classifier, is at that alpha.
"""

from __future__ import annotations

import base64
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import gradio as gr

from explorer.components.comparison import comparison_markup
from explorer.components.markup import Html, join, tag
from explorer.components.outcome import result_markup, seen_alpha, step_markup, validation_markup
from explorer.components.pairs import PairCard, explore_link, pairs_markup
from explorer.components.status import status_line
from explorer.desk import Desk
from explorer.middleware import offer_download
from explorer.pages.explore import classifiers
from explorer.pages.insights import charts
from pipeline.classifiers.promotion import promote
from pipeline.errors import DataError
from pipeline.importing.folders import load_folder
from pipeline.reinforcement.changes import KINDS, ChangedAnswer, changes
from pipeline.reinforcement.figures import curve
from pipeline.reinforcement.runs import FIGURES, read_looks, read_run, runs
from pipeline.reinforcement.saving import at_alpha, look_at, save
from pipeline.tasks.training import FOLDER
from pipeline.types import Answers, CounterfactualSet, Look, Reinforcement

SHOWN = 24  # pictures of one kind
FIRST = "Show the test sets at this alpha"
AGAIN = "Change to this alpha"
KIND = {
    "newly broken": "No picture that was right became wrong.",
    "still failing": "No picture stayed wrong.",
    "fixed": "No picture became right at this alpha.",
}


def run_names(desk: Desk) -> list[str]:
    """Return the names of all runs in the data folder, the newest first."""
    return [folder.name for folder in runs(desk.store.root / FOLDER)]


def load_run(desk: Desk, name: str) -> Reinforcement:
    """Return a run by its name, with every look until now. Raises `DataError` for an unknown one."""
    folder = _folder(desk, name)
    return replace(_read_cached(folder, (folder / FIGURES).stat().st_mtime_ns), looks=read_looks(folder))


def _folder(desk: Desk, name: str) -> Path:
    if name not in run_names(desk):
        raise DataError("This run is no longer in the data folder; choose another one.")
    return desk.store.root / FOLDER / name


@lru_cache(maxsize=16)
def _read_cached(folder: Path, _written: int) -> Reinforcement:
    return read_run(folder)


def show(desk: Desk, name: str | None) -> tuple[object, ...]:
    """Return a run as it was left.

    (alpha, validation, curve, kind, pictures, step, button, tests, name, download)
    """
    hidden = gr.update(visible=False)
    if not name:
        nothing = (hidden, hidden, Html())
        return hidden, validation_markup(None), *nothing, Html(), hidden, hidden, Html(), *nothing[1:], "", hidden
    made = load_run(desk, name)
    at = seen_alpha(made)
    alpha = made.alpha if at is None else at
    slider = gr.update(value=alpha, visible=True)
    return slider, *slide(desk, name, alpha, ""), *_tests(desk, made), name[:60], hidden


def slide(desk: Desk, name: str, alpha: float, kind: str | None) -> tuple[object, ...]:
    """Look at another alpha, on validation; return (validation, curve, kind, pictures, step, button)."""
    made = at_alpha(load_run(desk, name), alpha)
    at = seen_alpha(made)
    hidden = gr.update(visible=False)
    figure = gr.update(value=charts.alpha_figure(curve(made), made.alpha), visible=True) if made.validation else hidden
    button = gr.update(value=FIRST if at is None else AGAIN, visible=made.alpha != at)
    shown = _pictures(desk, made, made.validation, kind or "") if made.validation else (hidden, Html())
    return validation_markup(made), figure, *shown, step_markup(made, made.alpha), button


def reveal(desk: Desk, name: str, alpha: float, request: gr.Request) -> tuple[object, ...]:
    """Show the test sets at this alpha, noted first; return (step, button, tests, kind, pictures, actions)."""
    look = Look(alpha=alpha, analyst=request.username or "", time=time.time())
    made = look_at(_folder(desk, name), look)
    return step_markup(made, made.alpha), gr.update(visible=False), *_tests(desk, made)


def _tests(desk: Desk, made: Reinforcement) -> tuple[object, ...]:
    """Return the test sets at the alpha last seen: (section, figures, kind, pictures); nothing before that."""
    at = seen_alpha(made)
    if at is None:
        return gr.update(visible=False), Html(), gr.update(visible=False), Html()
    made = at_alpha(made, at)
    return gr.update(visible=True), result_markup(made), *_pictures(desk, made, made.answers, "")


def look(desk: Desk, name: str, alpha: float, kind: str | None) -> Html:
    """Return validation pictures of another kind."""
    made = at_alpha(load_run(desk, name), alpha)
    return gallery(desk, changes(made, made.validation), kind or KINDS[0])


def look_tests(desk: Desk, name: str, kind: str | None) -> Html:
    """Return test pictures of another kind, at the alpha they were last seen at."""
    made = _at_seen_alpha(load_run(desk, name))
    return gallery(desk, changes(made, made.answers), kind or KINDS[0])


def _at_seen_alpha(made: Reinforcement) -> Reinforcement:
    """Return the run at the alpha of its shown test sets. Raises `DataError` while nobody has seen them."""
    at = seen_alpha(made)
    if at is None:
        raise DataError("Nobody has seen the test sets of this run; show them at the alpha of your choice first.")
    return at_alpha(made, at)


def _pictures(desk: Desk, made: Reinforcement, answers: Mapping[str, Answers], kind: str) -> tuple[object, Html]:
    """Return the choice of a kind with numbers, and the pictures of one."""
    found = changes(made, answers)
    counts = Counter(answer.kind for answer in found)
    kind = kind or next((name for name in KINDS if counts[name]), KINDS[0])
    choices = [(f"{name} ({counts[name]})", name) for name in KINDS]
    return gr.update(choices=choices, value=kind, visible=True), gallery(desk, found, kind)


def gallery(desk: Desk, answers: Sequence[ChangedAnswer], kind: str) -> Html:
    """Return pictures that theta_0 and theta(alpha) name differently or both wrong.

    Photos of the store open in Explore.
    """
    found = [answer for answer in answers if answer.kind == kind]
    if not found:
        return tag("p", KIND[kind], class_="empty")
    pairs = [pair for answer in found[:SHOWN] if (pair := _pair(desk, answer)) is not None]
    rest = len(found) - len(pairs)
    note = tag("p", f"{len(pairs)} of {len(found)} are shown.", class_="hint") if rest else Html()
    return join(note, pairs_markup(pairs))


def _pair(desk: Desk, answer: ChangedAnswer) -> PairCard | None:
    """Return the picture with both answers; None when it is no longer there, or is kept nowhere."""
    now = f"says {answer.after}"
    changed = now if answer.before == answer.after else f"said {answer.before}, {now}"
    told = f"{changed}, is {answer.label}"
    photo: Path | None = None
    link = ""
    try:
        if answer.split in desk.models.profile.evaluation:
            picture = _test_pictures(desk.models.profile.evaluation[answer.split])[int(answer.name)]
        elif answer.name == answer.photo:
            picture, link = desk.store.file(answer.name), explore_link(answer.name, "")
        else:
            ((source, edit),) = desk.store.items(CounterfactualSet(name="", version=0, items=(answer.name,)))
            photo, picture = desk.store.file(source.key), desk.store.file(edit.key)
            link = explore_link(source.key, source.classifier, edit.key)
    except (DataError, KeyError, IndexError, ValueError):
        return None
    return PairCard(
        photo=photo,
        edit=picture,
        title=told,
        said=told,
        mark={"fixed": "rise", "newly broken": "fall"}.get(answer.kind, ""),
        words=answer.split,
        link=link,
    )


@lru_cache(maxsize=8)
def _test_pictures(folder: str) -> tuple[Path, ...]:
    return tuple(picture.path for picture in load_folder(Path(folder)).pictures)


@contextmanager
def _classifier_at(desk: Desk, name: str) -> Iterator[tuple[Path, Reinforcement]]:
    """Yield the folder of the run's classifier at the alpha last seen on test sets, and the run at it.

    That is the run's own folder, or one that is made for the moment. Raises `DataError` while nobody has seen them.
    """
    folder, own = _folder(desk, name), load_run(desk, name)
    made = _at_seen_alpha(own)
    if made.alpha == own.alpha:
        yield folder, made
        return
    with TemporaryDirectory(dir=desk.store.root, prefix=".alpha-") as place:
        made_here = Path(place) / f"{name}-alpha{made.alpha:g}"
        desk.ask(lambda models: save(made, models.classifier(made.classifier), made_here))
        yield made_here, made


def export(desk: Desk, name: str) -> tuple[object, ...]:
    """Export the classifier as one file, with its model card; return (said, download)."""
    with _classifier_at(desk, name) as (folder, made), TemporaryDirectory() as place:
        archive = Path(shutil.make_archive(str(Path(place) / folder.name), "zip", folder))
        card = base64.b64encode((folder / "README.md").read_bytes()).decode("ascii")
        offer = gr.update(value=offer_download(archive)["path"], label=f"Download {archive.name}", visible=True)
    address = f"data:text/markdown;charset=utf-8;base64,{card}"
    link = tag("a", "the model card alone", href=address, download=f"{folder.name}.md")
    told = f"{archive.name} holds the weights at alpha {made.alpha:g}, config.json, the model card and all figures; "
    return tag("div", tag("p", told, "or take ", link, ".", role="status"), class_="status"), offer


def promote_run(desk: Desk, name: str, wished: str) -> tuple[object, ...]:
    """Make the classifier selectable everywhere; return (said, classifiers)."""
    called = wished.strip()
    with _classifier_at(desk, name) as (folder, made):
        promote(folder, desk.store.root, called, desk.models.profile)
    desk.models.adopt(desk.store.root)
    told = f"Promoted at alpha {made.alpha:g}: '{called}' can now be chosen wherever a classifier is asked for."
    return status_line(told), classifiers.choices(desk)


def compare(desk: Desk, chosen: Sequence[str] | None) -> tuple[object, Html]:
    """Return several runs side by side, each at its own alpha: (button for their test sets, table)."""
    found = {name: load_run(desk, name) for name in chosen or ()}
    found = {name: run if (at := seen_alpha(run)) is None else at_alpha(run, at) for name, run in found.items()}
    unseen = len(found) > 1 and any(seen_alpha(run) is None for run in found.values())
    return gr.update(visible=unseen), comparison_markup(found)


def reveal_compared(desk: Desk, chosen: Sequence[str] | None, request: gr.Request) -> tuple[object, Html]:
    """Show the test sets of all of them, each at its own alpha, noted first; return as `compare`."""
    for name in chosen or ():
        made = load_run(desk, name)
        if seen_alpha(made) is None:
            look_at(_folder(desk, name), Look(alpha=made.alpha, analyst=request.username or "", time=time.time()))
    return compare(desk, chosen)
