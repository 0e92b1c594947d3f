"""Several runs of reinforcement side by side, each at its own alpha."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from explorer.components.markup import Html, join, tag
from explorer.components.outcome import FIGURES, accuracy_text, cells_of, change_text, direction, p_text, split_figures
from explorer.pages.insights.sheets import CellValue, Sheet, sheet_markup
from pipeline.reinforcement.cards import is_seen
from pipeline.reinforcement.figures import Figure, figures, told_together
from pipeline.statistics.intervals import LEVEL
from pipeline.types import Reinforcement

COMPARE = "Choose two runs or more to see them side by side."
HIDDEN = "not shown yet"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """One run of a comparison with its figures: on validation, and on the test sets where they have been seen."""

    name: str
    made: Reinforcement  # at the alpha that it is compared at
    checked: tuple[Figure, ...]
    tested: tuple[Figure, ...]


def comparison_markup(made: Mapping[str, Reinforcement]) -> Html:
    """Return runs side by side, each at its own alpha: accuracy after and its change by split.

    Fewer than two runs ask for more.

    What is told of test sets is told together: p is Holm's over all of it.
    """
    if len(made) < 2:
        return tag("p", COMPARE, class_="empty")
    runs = _runs_with_figures(made)
    head = tag("tr", tag("th", "pictures", scope="col"), *(_heading(run) for run in runs))
    checks = dict.fromkeys(split for run in runs for split in run.made.validation)
    tests = dict.fromkeys(split for run in runs for split in run.made.answers)
    body = [
        *(tag("tr", tag("td", split), *(_validation_cell(run, split) for run in runs)) for split in checks),
        *(tag("tr", tag("td", split), *(_test_cell(run, split) for run in runs)) for split in tests),
    ]
    told = sum(figure.tested for run in runs for figure in run.tested)
    note = tag("p", _TOGETHER.format(tested=told), class_="hint") if told else Html()
    table = tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="scroll")
    return join(tag("div", table, note, class_="facts wide runs"), sheet_markup(_compared_sheet(runs)))


_TOGETHER = (
    "p by photos, after Holm's correction over all {tested} changes on test sets in this table; "
    f"below {LEVEL:g} a change is called reliable. Choose among runs on validation: the best of several is partly luck."
)


def _runs_with_figures(made: Mapping[str, Reinforcement]) -> list[Compared]:
    tested = {name: split_figures(figures(run, run.answers)) if is_seen(run) else [] for name, run in made.items()}
    together = iter(told_together([figure for found in tested.values() for figure in found]))
    return [
        Compared(
            name=name,
            made=run,
            checked=tuple(split_figures(figures(run, run.validation))),
            tested=tuple(next(together) for _ in tested[name]),
        )
        for name, run in made.items()
    ]


def _heading(run: Compared) -> Html:
    made = run.made
    block = f" with {made.block}" if made.block else ""
    told = f"{made.classifier}, {made.method}{block}, seed {made.seed}, alpha {made.alpha:g}"
    changed = (
        tag("small", "alpha changed after the tests were seen", class_="reason") if len(made.looks) > 1 else Html()
    )
    return tag("th", tag("b", told), tag("small", run.name), changed, scope="col")


def _validation_cell(run: Compared, split: str) -> Html:
    return _cell([figure for figure in run.checked if figure.split == split], "")


def _test_cell(run: Compared, split: str) -> Html:
    row = [figure for figure in run.tested if figure.split == split]
    if not row and split in run.made.answers:
        return tag("td", tag("small", HIDDEN))
    return _cell(row, f", p {p_text(row[0])}" if row and row[0].tested else "")


def _cell(row: Sequence[Figure], p: str) -> Html:
    if not row:
        return tag("td", "–")
    first = row[0]
    photos = f" of {first.photos} photos" if first.photos not in (first.n, 0) else ""
    return tag(
        "td",
        accuracy_text(first, after=True),
        " ",
        tag("span", change_text(first), class_=direction(first)),
        tag("small", f"n {first.n}{photos}, before {first.before.value:.0%}{p}"),
        *(tag("small", f"Acc@{figure.k} {figure.after.value:.0%}, {change_text(figure)}") for figure in row[1:]),
    )


def _compared_sheet(runs: Sequence[Compared]) -> Sheet:
    columns = ("run", "classifier", "recipe", "seed", "alpha", "set", *FIGURES)
    rows: list[tuple[CellValue, ...]] = []
    for run in runs:
        made = run.made
        for kind, found in (("validation", run.checked), ("test", run.tested)):
            about = (run.name, made.classifier, made.method, made.seed, made.alpha, kind)
            rows += [(*about, *cells_of(figure)) for figure in found]
    return Sheet(name="runs", columns=columns, rows=tuple(rows))
