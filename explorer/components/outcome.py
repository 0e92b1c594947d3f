"""What a reinforcement did: the recipe in words, tables before and after, and several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from explorer.components.markup import Html, join, tag
from explorer.sheets import Cell, Sheet, sheet_markup
from explorer.views import THIN, interval
from pipeline.reinforcement import METHODS, Recipe
from pipeline.types import Proportion, Reinforcement

NOTHING = (
    "No result yet. Choose what to learn from and press “Reinforce”: accuracy before and after appears here, "
    "on held-out photos, their counterfactuals and the profile's own test sets."
)
RELIABLE = 0.05  # p below which a change is told as one
CHANCE = (
    "p: how likely chance alone would part before and after this far, by the exact McNemar test on the same pictures, "
    f"each row on its own; below {RELIABLE:g} a change is called reliable."
)
COMPARE = "Choose two runs or more to see them side by side."


def recipe_markup(recipe: Recipe) -> Html:
    """The paper's recipe, explained."""
    new = recipe.alpha or 0.0
    rows = (
        ("What learns", "Only the classification head, unless told otherwise; everything below stays as it was."),
        (
            "How",
            f"Batches of {recipe.batch_size}, learning rate {recipe.learning_rate:g}, at most {recipe.max_epochs} "
            f"epochs; it stops after {recipe.patience} epochs without an improvement of {recipe.min_delta:g}.",
        ),
        (
            "How much of it is used",
            f"alpha = {new:g}: {1 - new:.0%} of the old head and {new:.0%} of the new one are mixed.",
        ),
        ("Fairly tested", "Pictures for training and for testing never share a source photo."),
    )
    return tag("dl", *(join(tag("dt", name), tag("dd", text)) for name, text in rows), class_="recipe")


def outcome_markup(made: Reinforcement | None) -> Html:
    """Accuracy by split and by class before and at the run's alpha, regressions first; what to do without a run."""
    if made is None:
        return tag("p", NOTHING, class_="empty tall")
    epochs = f"{len(made.losses) - 1} epochs" + (", stopped by hand" if made.stopped else "")
    learnt = f" Learnt from {made.source}." if made.source else ""
    block = f" Trained: the block {made.block} and the head." if made.block else ""
    told = f"{made.classifier}, {made.method}: {METHODS[made.method]}.{block} Seed {made.seed}, {epochs}.{learnt}"
    splits = {name: (made.before[name], after) for name, after in made.after.items()}
    lost = _lost(made)
    summary = f"By class: {len(lost)} of {len(made.by_class)} lost accuracy" + (f" ({', '.join(lost)})" if lost else "")
    return tag(
        "div",
        tag("p", told, class_="hint"),
        tag("p", verdict(made)),
        _table("pictures", splits, made),
        tag("p", CHANCE, class_="hint") if made.p_values else Html(),
        tag("details", tag("summary", summary), _table("class", made.by_class, made), open=bool(lost)),
        sheet_markup(_sheet(made)),
        class_="facts wide",
    )


def verdict(made: Reinforcement) -> str:
    """What the figures at the run's alpha allow to say: reliable changes by split, the rest as chance, classes lost."""
    reliable = [name for name, p_value in made.p_values.items() if p_value < RELIABLE]
    moved = ", ".join(f"{name} {signed(made.before[name], made.after[name])}" for name in reliable)
    parts = [f"reliably changed: {moved}"] if moved else []
    if len(reliable) < len(made.p_values):
        parts.append(f"{'on the others ' if moved else ''}no change can be told from chance")
    tested = f"{'; '.join(parts)}. " if parts else ""
    return f"At alpha {made.alpha:g}: {tested}{len(_lost(made))} of {len(made.by_class)} classes lost accuracy."


def _lost(made: Reinforcement) -> list[str]:
    """The classes with a lower accuracy than before, by however little."""
    return [label for label, (old, new) in made.by_class.items() if new.value < old.value]


def _table(what: str, rows: Mapping[str, tuple[Proportion, Proportion]], made: Reinforcement) -> Html:
    tested = any(name in made.p_values for name in rows)
    columns = (what, "n", "before", f"after (alpha {made.alpha:g})", "change", *(("p",) if tested else ()))
    head = tag("tr", *(tag("th", text, scope="col") for text in columns))
    ordered = sorted(rows.items(), key=lambda row: (row[1][1].value - row[1][0].value, row[0]))
    body = (_row(name, *both, made.p_values.get(name), tested) for name, both in ordered)
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="scroll")


def _row(name: str, before: Proportion, after: Proportion, p_value: float | None, tested: bool) -> Html:
    cells = [tag("td", name), tag("td", str(after.n)), tag("td", interval(before)), tag("td", interval(after))]
    cells.append(tag("td", signed(before, after), class_=_kind(before, after)))
    if tested:
        chance = "–" if p_value is None else "<0.001" if p_value < 0.001 else f"{p_value:.3f}"
        cells.append(tag("td", chance, title="McNemar's exact test, paired by picture"))
    return tag("tr", *cells)


def signed(before: Proportion, after: Proportion) -> str:
    """The change in points, such as "+3.1 pt"."""
    change = (after.value - before.value) * 100
    return f"{'+' if change > 0 else '−' if change < 0 else '±'}{abs(change):.1f}{THIN}pt"


def _kind(before: Proportion, after: Proportion) -> str:
    return "rise" if after.value > before.value else "fall" if after.value < before.value else ""


def _sheet(made: Reinforcement) -> Sheet:
    """The whole curve: every split at every alpha."""
    rows = tuple(
        (alpha, name, one.n, one.value, one.low, one.high)
        for alpha, shares in made.curve
        for name, one in shares.items()
    )
    return Sheet(name="accuracy-by-alpha", columns=("alpha", "pictures", "n", "Acc@1", "low", "high"), rows=rows)


def comparison_markup(made: Mapping[str, Reinforcement]) -> Html:
    """Runs side by side, each split's accuracy after with its change; fewer than two ask for more."""
    if len(made) < 2:
        return tag("p", COMPARE, class_="empty")
    splits = list(dict.fromkeys(name for one in made.values() for name in one.after))
    head = tag("tr", tag("th", "pictures", scope="col"), *(_heading(name, one) for name, one in made.items()))
    body = (
        tag("tr", tag("td", split), *(_compared(one.before.get(split), one.after.get(split)) for one in made.values()))
        for split in splits
    )
    table = tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="scroll")
    return join(tag("div", table, class_="facts wide runs"), sheet_markup(_compared_sheet(made, splits)))


def _heading(name: str, made: Reinforcement) -> Html:
    block = f" with {made.block}" if made.block else ""
    told = f"{made.classifier}, {made.method}{block}, seed {made.seed}, alpha {made.alpha:g}"
    return tag("th", tag("b", told), tag("small", name), scope="col")


def _compared(before: Proportion | None, after: Proportion | None) -> Html:
    if before is None or after is None:
        return tag("td", "–")
    change = tag("span", signed(before, after), class_=_kind(before, after))
    return tag("td", interval(after), " ", change, tag("small", f"n {after.n}, before {before.value:.0%}"))


def _compared_sheet(made: Mapping[str, Reinforcement], splits: Sequence[str]) -> Sheet:
    columns = ("run", "classifier", "recipe", "seed", "alpha", "pictures", "n", "before", "after", "low", "high")
    rows: list[tuple[Cell, ...]] = []
    for name, one in made.items():
        for split in splits:
            if (after := one.after.get(split)) is not None:
                figures = (after.n, one.before[split].value, after.value, after.low, after.high)
                rows.append((name, one.classifier, one.method, one.seed, one.alpha, split, *figures))
    return Sheet(name="runs", columns=columns, rows=tuple(rows))
