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
from explorer.components.pairs import Pair, explore_link, pairs_markup
from explorer.components.status import said
from explorer.desk import Desk
from explorer.middleware import offer_download
from explorer.pages.explore import classifiers
from explorer.pages.insights import charts
from pipeline.classifiers.promotion import promote
from pipeline.errors import DataError
from pipeline.importing.folders import load_folder
from pipeline.reinforcement.changes import KINDS, Answer, changes
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


def names(desk: Desk) -> list[str]:
    """All runs in the data folder, the newest first."""
    return [folder.name for folder in runs(desk.store.root / FOLDER)]


def run_of(desk: Desk, name: str) -> Reinforcement:
    """A run by its name, with every look until now. Raises `DataError` for an unknown one."""
    folder = _folder(desk, name)
    return replace(_read(folder, (folder / FIGURES).stat().st_mtime_ns), looks=read_looks(folder))


def _folder(desk: Desk, name: str) -> Path:
    if name not in names(desk):
        raise DataError("This run is no longer in the data folder; choose another one.")
    return desk.store.root / FOLDER / name


@lru_cache(maxsize=16)
def _read(folder: Path, _written: int) -> Reinforcement:
    return read_run(folder)


def show(desk: Desk, name: str | None) -> tuple[object, ...]:
    """A run as it was left: (alpha, validation, curve, kind, pictures, step, button, tests, name, download)."""
    hidden = gr.update(visible=False)
    if not name:
        nothing = (hidden, hidden, Html())
        return hidden, validation_markup(None), *nothing, Html(), hidden, hidden, Html(), *nothing[1:], "", hidden
    made = run_of(desk, name)
    at = seen_alpha(made)
    alpha = made.alpha if at is None else at
    slider = gr.update(value=alpha, visible=True)
    return slider, *slide(desk, name, alpha, ""), *_tests(desk, made), name[:60], hidden


def slide(desk: Desk, name: str, alpha: float, kind: str | None) -> tuple[object, ...]:
    """Another alpha is looked at, on validation; answers (validation, curve, kind, pictures, step, button)."""
    made = at_alpha(run_of(desk, name), alpha)
    at = seen_alpha(made)
    hidden = gr.update(visible=False)
    figure = gr.update(value=charts.alpha_figure(curve(made), made.alpha), visible=True) if made.validation else hidden
    button = gr.update(value=FIRST if at is None else AGAIN, visible=made.alpha != at)
    shown = _pictures(desk, made, made.validation, kind or "") if made.validation else (hidden, Html())
    return validation_markup(made), figure, *shown, step_markup(made, made.alpha), button


def reveal(desk: Desk, name: str, alpha: float, request: gr.Request) -> tuple[object, ...]:
    """The test sets at this alpha, noted first; answers (step, button, tests, kind, pictures, actions)."""
    look = Look(alpha=alpha, analyst=request.username or "", time=time.time())
    made = look_at(_folder(desk, name), look)
    return step_markup(made, made.alpha), gr.update(visible=False), *_tests(desk, made)


def _tests(desk: Desk, made: Reinforcement) -> tuple[object, ...]:
    """The test sets at the alpha they were last seen at: (section, figures, kind, pictures); nothing before that."""
    at = seen_alpha(made)
    if at is None:
        return gr.update(visible=False), Html(), gr.update(visible=False), Html()
    made = at_alpha(made, at)
    return gr.update(visible=True), result_markup(made), *_pictures(desk, made, made.answers, "")


def look(desk: Desk, name: str, alpha: float, kind: str | None) -> Html:
    """Validation pictures of another kind."""
    made = at_alpha(run_of(desk, name), alpha)
    return gallery(desk, changes(made, made.validation), kind or KINDS[0])


def look_tests(desk: Desk, name: str, kind: str | None) -> Html:
    """Test pictures of another kind, at the alpha they were last seen at."""
    made = _seen(run_of(desk, name))
    return gallery(desk, changes(made, made.answers), kind or KINDS[0])


def _seen(made: Reinforcement) -> Reinforcement:
    """The run at the alpha that its test sets are shown at. Raises `DataError` while nobody has seen them."""
    at = seen_alpha(made)
    if at is None:
        raise DataError("Nobody has seen the test sets of this run; show them at the alpha of your choice first.")
    return at_alpha(made, at)


def _pictures(desk: Desk, made: Reinforcement, answers: Mapping[str, Answers], kind: str) -> tuple[object, Html]:
    """The choice of a kind with numbers, and the pictures of one."""
    found = changes(made, answers)
    counts = Counter(one.kind for one in found)
    kind = kind or next((one for one in KINDS if counts[one]), KINDS[0])
    choices = [(f"{one} ({counts[one]})", one) for one in KINDS]
    return gr.update(choices=choices, value=kind, visible=True), gallery(desk, found, kind)


def gallery(desk: Desk, answers: Sequence[Answer], kind: str) -> Html:
    """Pictures that theta_0 and theta(alpha) name differently or both wrong; photos of the store open in Explore."""
    found = [one for one in answers if one.kind == kind]
    if not found:
        return tag("p", KIND[kind], class_="empty")
    pairs = [pair for one in found[:SHOWN] if (pair := _pair(desk, one)) is not None]
    rest = len(found) - len(pairs)
    note = tag("p", f"{len(pairs)} of {len(found)} are shown.", class_="hint") if rest else Html()
    return join(note, pairs_markup(pairs))


def _pair(desk: Desk, one: Answer) -> Pair | None:
    """The picture with both answers; None when it is no longer there, or is kept nowhere."""
    answer = f"says {one.after}" if one.before == one.after else f"said {one.before}, says {one.after}"
    told = f"{answer}, is {one.label}"
    photo: Path | None = None
    link = ""
    try:
        if one.split in desk.models.profile.evaluation:
            picture = _test_pictures(desk.models.profile.evaluation[one.split])[int(one.name)]
        elif one.name == one.photo:
            picture, link = desk.store.file(one.name), explore_link(one.name, "")
        else:
            ((source, edit),) = desk.store.items(CounterfactualSet(name="", version=0, items=(one.name,)))
            photo, picture = desk.store.file(source.key), desk.store.file(edit.key)
            link = explore_link(source.key, source.classifier, edit.key)
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
    return tuple(one.path for one in load_folder(Path(folder)).pictures)


@contextmanager
def _classifier_at(desk: Desk, name: str) -> Iterator[tuple[Path, Reinforcement]]:
    """The folder of the run's classifier at the alpha that its test sets were last seen at, and the run at it.

    That is the run's own folder, or one that is made for the moment. Raises `DataError` while nobody has seen them.
    """
    folder, own = _folder(desk, name), run_of(desk, name)
    made = _seen(own)
    if made.alpha == own.alpha:
        yield folder, made
        return
    with TemporaryDirectory(dir=desk.store.root, prefix=".alpha-") as place:
        made_here = Path(place) / f"{name}-alpha{made.alpha:g}"
        desk.ask(lambda models: save(made, models.classifier(made.classifier), made_here))
        yield made_here, made


def export(desk: Desk, name: str) -> tuple[object, ...]:
    """The classifier as one file, and its model card; answers (said, download)."""
    with _classifier_at(desk, name) as (folder, made), TemporaryDirectory() as place:
        archive = Path(shutil.make_archive(str(Path(place) / folder.name), "zip", folder))
        card = base64.b64encode((folder / "README.md").read_bytes()).decode("ascii")
        offer = gr.update(value=offer_download(archive)["path"], label=f"Download {archive.name}", visible=True)
    address = f"data:text/markdown;charset=utf-8;base64,{card}"
    link = tag("a", "the model card alone", href=address, download=f"{folder.name}.md")
    told = f"{archive.name} holds the weights at alpha {made.alpha:g}, config.json, the model card and all figures; "
    return tag("div", tag("p", told, "or take ", link, ".", role="status"), class_="status"), offer


def promote_run(desk: Desk, name: str, wished: str) -> tuple[object, ...]:
    """Makes the classifier selectable everywhere; answers (said, classifiers)."""
    called = wished.strip()
    with _classifier_at(desk, name) as (folder, made):
        promote(folder, desk.store.root, called, desk.models.profile)
    desk.models.adopt(desk.store.root)
    told = said(f"Promoted at alpha {made.alpha:g}: '{called}' can now be chosen wherever a classifier is asked for.")
    return told, classifiers.choices(desk)


def compare(desk: Desk, chosen: Sequence[str] | None) -> tuple[object, Html]:
    """Several runs side by side, each at its own alpha; answers (button for their test sets, table)."""
    found = {name: run_of(desk, name) for name in chosen or ()}
    found = {name: one if (at := seen_alpha(one)) is None else at_alpha(one, at) for name, one in found.items()}
    unseen = len(found) > 1 and any(seen_alpha(one) is None for one in found.values())
    return gr.update(visible=unseen), comparison_markup(found)


def reveal_compared(desk: Desk, chosen: Sequence[str] | None, request: gr.Request) -> tuple[object, Html]:
    """The same with the test sets of all of them, each at its own alpha, noted first."""
    for name in chosen or ():
        made = run_of(desk, name)
        if seen_alpha(made) is None:
            look_at(_folder(desk, name), Look(alpha=made.alpha, analyst=request.username or "", time=time.time()))
    return compare(desk, chosen)
