"""What a reinforcement did: the recipe in words, and figures on validation and test sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from explorer.components.markup import Html, join, tag
from explorer.pages.insights.sheets import CellValue, Sheet, sheet_markup
from explorer.views import THIN, interval
from pipeline.analysis.weakness import MIN_PHOTOS
from pipeline.reinforcement.cards import choice
from pipeline.reinforcement.figures import Figure, curve, figures, told_together
from pipeline.reinforcement.recipes import METHODS, Recipe
from pipeline.statistics.intervals import LEVEL
from pipeline.types import Reinforcement

NOTHING = (
    "No result yet. Choose what to learn from and press “Reinforce”: accuracy before and after appears here, first on "
    "validation photos; on held-out photos, their counterfactuals and the profile's own test sets once alpha is fixed."
)
NO_VALIDATION = "An earlier version made this run and kept no answers on validation pictures to choose alpha by."
UNSEEN = (
    "Nobody has seen the test sets yet. Showing them fixes alpha: a later change is possible, and noted here, in the "
    "run and on the model card."
)
CHANCE = (
    "p: how likely chance alone would part before and after this far, by a test that flips the signs of whole photos, "
    f"after Holm's correction over all {{tested}} changes that have one here, classes included; below {LEVEL:g} a "
    f"change is called reliable. With fewer than {MIN_PHOTOS} photos nothing can be told."
)


def recipe_markup(recipe: Recipe) -> Html:
    """Return the paper's recipe, explained."""
    rows = (
        ("What learns", "Only the classification head, unless told otherwise; everything below stays as it was."),
        (
            "How",
            f"Batches of {recipe.batch_size}, learning rate {recipe.learning_rate:g}, at most {recipe.max_epochs} "
            f"epochs; it stops after {recipe.patience} epochs without an improvement of {recipe.min_delta:g}.",
        ),
        (
            "How much of it is used",
            "alpha of the new head and 1 − alpha of the old one are mixed. Validation pictures say which is best; "
            f"the paper takes {Recipe().alpha:g}.",
        ),
        ("Fairly tested", "Pictures for training, for choosing alpha and for testing never share a source photo."),
    )
    return tag("dl", *(join(tag("dt", name), tag("dd", text)) for name, text in rows), class_="recipe")


def validation_markup(made: Reinforcement | None) -> Html:
    """Return what was trained, and accuracy on validation at the run's alpha; what to do without a run."""
    if made is None:
        return tag("p", NOTHING, class_="empty tall")
    epochs = f"{len(made.losses) - 1} epochs" + (", stopped by hand" if made.stopped else "")
    learnt = f" Learnt from {made.source}." if made.source else ""
    block = f" Trained: the block {made.block} and the head." if made.block else ""
    what = METHODS[made.method].help if made.method in METHODS else "a recipe that is no longer here"
    told = f"{made.classifier}, {made.method}: {what}.{block} Seed {made.seed}, {epochs}.{learnt}"
    if not made.validation:
        return tag("div", tag("p", told, class_="hint"), tag("p", NO_VALIDATION, class_="hint"), class_="facts wide")
    best = f"On validation alpha = {made.chosen:g} is best: the highest Acc@1 over its pictures, then the lowest loss."
    rows = split_figures(figures(made, made.validation))
    table = _table("pictures", rows, made.alpha, tested=False)
    return tag("div", tag("p", told, class_="hint"), tag("p", best), table, sheet_markup(_curve_sheet(made)),
               class_="facts wide")  # fmt: skip


def step_markup(made: Reinforcement, alpha: float) -> Html:
    """Return what showing the test sets at this alpha means now."""
    if not made.looks and not made.earlier:
        return tag("p", UNSEEN, class_="hint")
    at = seen_alpha(made)
    if alpha == at:
        return tag("p", f"The test sets below are at this alpha, {at:g}.", class_="hint")
    warning = f"The test sets below are at alpha {at:g}. A change to {alpha:g} is noted as made after they were seen."
    return tag("p", warning, class_="reason")


def seen_alpha(made: Reinforcement) -> float | None:
    """Return the alpha that the test sets are shown at; None while nobody has seen them."""
    if made.looks:
        return made.looks[-1].alpha
    return made.alpha if made.earlier else None


def result_markup(made: Reinforcement) -> Html:
    """Return accuracy on the test sets by split and class at the run's alpha, and how that alpha came about."""
    found = told_together(figures(made, made.answers))
    changed = made.earlier or len(made.looks) > 1
    origin = tag("ul", *(tag("li", sentence) for sentence in choice(made)), class_="reason" if changed else "hint")
    tested = sum(figure.tested for figure in found)
    return tag(
        "div",
        tag("p", verdict_sentence(found, made.alpha)),
        _table("pictures", split_figures(found), made.alpha, tested=tested > 0),
        tag("p", CHANCE.format(tested=tested), class_="hint") if tested else Html(),
        *_by_class(found, made.alpha),
        origin,
        sheet_markup(_sheet(found, made)),
        class_="facts wide",
    )


def verdict_sentence(found: Sequence[Figure], alpha: float) -> str:
    """Say what the figures, told together, allow: reliable changes by split and class, the rest as chance."""
    reliable = [figure for figure in found if figure.reliable]
    moved = ", ".join(f"{_name(figure)} {change_text(figure)}" for figure in reliable)
    if not any(figure.tested for figure in found):
        return f"At alpha {alpha:g}: there are too few photos to tell a change from chance."
    rest = f"{'on the others ' if moved else ''}no change can be told from chance"
    parts = [*([f"reliably changed: {moved}"] if moved else []), *([rest] if len(reliable) < len(found) else [])]
    return f"At alpha {alpha:g}: {'; '.join(parts)}."


def _name(figure: Figure) -> str:
    what = f"{figure.label} on {figure.split}" if figure.label else figure.split
    return what if figure.k == 1 else f"{what} (Acc@{figure.k})"


def split_figures(found: Sequence[Figure]) -> list[Figure]:
    """Return the figures of whole splits."""
    return [figure for figure in found if not figure.label]


def _by_class(found: Sequence[Figure], alpha: float) -> Iterator[Html]:
    """Yield each split's classes, folded away unless one of them changed reliably for the worse."""
    for split, group in groupby((figure for figure in found if figure.label), lambda figure: figure.split):
        classes = list(group)
        lost = [figure for figure in classes if figure.k == 1 and figure.change.value < 0]
        reliably = sum(figure.reliable for figure in lost)
        names = f" ({', '.join(figure.label for figure in lost[:8])}{', …' if len(lost) > 8 else ''})" if lost else ""
        count = sum(figure.k == 1 for figure in classes)
        told = f"By class on {split}: {len(lost)} of {count} lost accuracy{names}"
        summary = f"{told}, {reliably or 'none'} reliably" if lost else told
        tested = any(figure.tested for figure in classes)
        table = _table("class", classes, alpha, tested=tested)
        yield tag("details", tag("summary", summary), table, open=reliably > 0)


def _table(what: str, found: Sequence[Figure], alpha: float, tested: bool) -> Html:
    """Return one row per split or class, Acc@5 below Acc@1; the greatest loss on top."""
    columns = ("n", "before", f"after (alpha {alpha:g})", "change", *(("p",) if tested else ()))
    lines = tag("small", "Acc@1, below it Acc@5") if any(figure.k == 5 for figure in found) else tag("small", "Acc@1")
    head = tag("tr", tag("th", what, lines, scope="col"), *(tag("th", text, scope="col") for text in columns))
    rows = [list(group) for _, group in groupby(found, lambda figure: (figure.split, figure.label))]
    rows.sort(key=lambda row: (row[0].change.value, row[0].label or row[0].split))
    body = (_row(row, tested) for row in rows)
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="scroll figures")


def _row(row: Sequence[Figure], tested: bool) -> Html:
    first = row[0]
    photos = tag("small", f"{first.photos} photos") if first.photos not in (first.n, 0) else Html()
    cells = [
        tag("td", first.label or first.split),
        tag("td", str(first.n), photos),
        tag("td", *_lines(row, [accuracy_text(figure, after=False) for figure in row])),
        tag("td", *_lines(row, [accuracy_text(figure, after=True) for figure in row])),
        tag("td", *_lines(row, [change_text(figure) for figure in row], coloured=True)),
    ]
    if tested:
        cells.append(tag("td", *_lines(row, [p_text(figure) for figure in row])))
    return tag("tr", *cells)


def _lines(row: Sequence[Figure], texts: Sequence[str], coloured: bool = False) -> Iterator[Html]:
    """Yield the figure of Acc@1, and below it that of Acc@5."""
    for figure, text in zip(row, texts, strict=True):
        kind, around = (direction(figure), f": {_interval_text(figure)}") if coloured else ("", "")
        yield tag("span" if figure.k == 1 else "small", text, class_=kind or None, title=f"Acc@{figure.k}{around}")


def _interval_text(figure: Figure) -> str:
    """Return the change's interval, for a closer look."""
    if not figure.photos:
        return "no interval, for the run did not keep whose edits these are"
    return f"95 % interval {100 * figure.change.low:+.1f} to {100 * figure.change.high:+.1f} points"


def accuracy_text(figure: Figure, *, after: bool) -> str:
    """Return the accuracy before or after, with its interval where that is known."""
    accuracy = figure.after if after else figure.before
    return interval(accuracy) if figure.photos else f"{accuracy.value:.0%}"


def p_text(figure: Figure) -> str:
    """Return p after the correction, such as "0.012"."""
    p = figure.change.p_adjusted
    return "–" if not figure.tested else "<0.001" if p < 0.001 else f"{p:.3f}"


def change_text(figure: Figure) -> str:
    """Return the change in points, such as "+3.1 pt"."""
    change = figure.change.value * 100
    return f"{'+' if change > 0 else '−' if change < 0 else '±'}{abs(change):.1f}{THIN}pt"


def direction(figure: Figure) -> str:
    """Return the direction of a change, which is its CSS class: "rise", "fall" or ""."""
    return "rise" if figure.change.value > 0 else "fall" if figure.change.value < 0 else ""


def _curve_sheet(made: Reinforcement) -> Sheet:
    """Return the whole curve over alpha, which validation alone has."""
    rows = tuple(
        (alpha, split, f"Acc@{k}", accuracy.n, accuracy.photos, accuracy.value, accuracy.low, accuracy.high)
        for alpha, shares in curve(made)
        for (split, k), accuracy in shares.items()
    )
    columns = ("alpha", "pictures", "metric", "n", "photos", "value", "low", "high")
    return Sheet(name="validation-by-alpha", columns=columns, rows=rows)


FIGURES = ("pictures", "class", "metric", "n", "photos", "before", "after", "low", "high", "change", "change low",
           "change high", "p")  # fmt: skip


def _sheet(found: Sequence[Figure], made: Reinforcement) -> Sheet:
    """Return every test split and class at the run's alpha."""
    rows = tuple((made.alpha, *cells_of(figure)) for figure in found)
    return Sheet(name="test-sets", columns=("alpha", *FIGURES), rows=rows)


def cells_of(figure: Figure) -> tuple[CellValue, ...]:
    """Return a figure in the columns `FIGURES`."""
    known = bool(figure.photos)
    bounds = (figure.after.low, figure.after.high) if known else (None, None)
    around = (figure.change.low, figure.change.high) if known else (None, None)
    p = figure.change.p_adjusted if figure.tested else None
    return (figure.split, figure.label or "all", f"Acc@{figure.k}", figure.n, figure.photos or None,
            figure.before.value, figure.after.value, *bounds, figure.change.value, *around, p)  # fmt: skip
