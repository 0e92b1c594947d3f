"""What a reinforcement did: the recipe in words, and a table before and after with n and 95 % intervals."""

from __future__ import annotations

from explorer.components.markup import Html, join, tag
from explorer.views import interval
from pipeline.reinforcement import Recipe
from pipeline.types import Proportion, Reinforcement


def recipe_markup(recipe: Recipe) -> Html:
    """The paper's recipe, explained."""
    new = recipe.alpha or 0.0
    rows = (
        ("What learns", "Only the classification head; everything below it stays as it was."),
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


def outcome_markup(result: Reinforcement | None, alpha: float) -> Html:
    """Accuracy per split before and at this alpha; what to do when there is no result."""
    if result is None:
        return tag(
            "p",
            "No result yet. Choose what to learn from and press “Reinforce”: accuracy before and after appears here, "
            "on held-out photos, their counterfactuals and the profile's own test sets.",
            class_="empty tall",
        )
    head = tag(
        "tr", *(tag("th", text) for text in ("pictures", "n", "before", f"after (alpha {alpha:.1f})", "change", "p"))
    )
    rows = (
        _row(split, result.before[split], after, result.p_values.get(split)) for split, after in result.after.items()
    )
    return tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), class_="facts wide")


def _row(split: str, before: Proportion, after: Proportion, p_value: float | None) -> Html:
    change = (after.value - before.value) * 100
    sign = "+" if change > 0 else "−" if change < 0 else "±"
    kind = "rise" if change > 0 else "fall" if change < 0 else ""
    cells = (tag("td", split), tag("td", str(after.n)), tag("td", interval(before)), tag("td", interval(after)))
    chance = tag("td", "–" if p_value is None else f"{p_value:.3f}", title="McNemar's exact test, paired by picture")
    return tag("tr", *cells, tag("td", f"{sign}{abs(change):.1f} pt", class_=kind), chance)
