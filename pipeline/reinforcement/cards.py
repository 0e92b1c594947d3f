"""The model card and the metrics file that go with a reinforced classifier. Text only: knows no model and no file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from pipeline.reinforcement.figures import Figure, curve, figures, told_together
from pipeline.statistics.intervals import LEVEL
from pipeline.types import Look, Proportion, Reinforcement

_FRAME = """---
library_name: timm
tags: [image-classification, counterfactuals]
---
# {classifier}, reinforced with counterfactual images

Recipe: {method}, seed {seed}. {source}{trained}, with alpha = {alpha:g}. Training took
{epochs} epochs{stopped}; the validation loss went from {first:.4f} to {best:.4f}.

## How alpha was chosen

{choice}

## Figures

Shares in percent, with 95 % intervals that take photos as the unit: pictures of one photo are alike, and each picture
of a test set is a photo of its own. Training, validation and held-out pictures share no source photo.

{validation}{tests}The licence is that of the original classifier and of the pictures.
"""
_HEAD = """The classification head was trained; every other layer stayed as it was. Its
weights are (1 - alpha) of the original head plus alpha of the trained one"""
_BLOCK = """The block `{block}` and the classification head were trained; every other layer, and the
statistics of every batch norm, stayed as they were. The weights of both are (1 - alpha) of the original ones plus alpha
of the trained ones"""
_VALIDATION = """On validation, where alpha may be chosen; the whole curve over alpha is in metrics.jsonl:

{table}
"""
_TESTS = """\
On test pictures, which had no part in training, and none in the choice of alpha but for what is said above. p is that
of a permutation test that flips the signs of whole photos, after Holm's correction over all {tested} changes that have
one here, classes included; with fewer than six photos there is none. A change is reliable where p is below {level:g}.

{table}
By class:

{classes}
"""
_UNSEEN = "The test sets have not been shown at this alpha, so their figures are not here.\n\n"


def is_seen(made: Reinforcement) -> bool:
    """Return whether the test sets have been shown at the run's alpha, so that the figures may be told."""
    return made.earlier or any(look.alpha == made.alpha for look in made.looks)


def metrics(made: Reinforcement) -> tuple[dict[str, object], ...]:
    """Return one row per validation split, alpha and metric; then the test splits at the run's alpha where seen."""
    rows: list[dict[str, object]] = [
        {"split": split, "alpha": alpha, "metric": f"acc@{k}", **asdict(share)}
        for alpha, shares in curve(made)
        for (split, k), share in shares.items()
    ]
    for figure in figures(made, made.answers) if is_seen(made) else ():
        if not figure.label:
            rows += [
                {"split": figure.split, "alpha": alpha, "metric": f"acc@{figure.k}", **asdict(share)}
                for alpha, share in ((made.alphas[0], figure.before), (made.alpha, figure.after))
            ]
    return tuple(rows)


def card(made: Reinforcement) -> str:
    """Return README.md of the classifier: what was done, how alpha was chosen, and the figures before and after."""
    return _FRAME.format(
        classifier=made.classifier,
        method=made.method,
        seed=made.seed,
        trained=_BLOCK.format(block=made.block) if made.block else _HEAD,
        source=f"Learnt from: {made.source}. " if made.source else "",
        stopped=" and was then stopped by hand" if made.stopped else "",
        alpha=made.alpha,
        epochs=len(made.losses) - 1,
        first=made.losses[0],
        best=min(made.losses),
        choice="\n".join(f"- {sentence}" for sentence in choice(made)),
        validation=_VALIDATION.format(table=_table(_whole(figures(made, made.validation)))) if made.validation else "",
        tests=_tested(made) if is_seen(made) else _UNSEEN,
    )


def choice(made: Reinforcement) -> tuple[str, ...]:
    """Return in sentences where alpha comes from, who saw the test sets, and every change after that."""
    return (*_origin(made), *_seen(made.looks))


def _origin(made: Reinforcement) -> Iterator[str]:
    if made.earlier:
        yield (
            "A version made this run that showed the test sets at every alpha, so alpha may have been chosen on them, "
            "and then their figures flatter."
        )
    elif made.given is not None:
        yield (
            f"alpha = {made.given:g} came with the recipe, before anything was seen; on validation "
            f"{made.chosen:g} is best."
        )
    else:
        yield (
            f"alpha = {made.chosen:g} was chosen on validation: the best Acc@1 over its pictures, and among equals the "
            "lowest loss."
        )


def _seen(looks: Sequence[Look]) -> Iterator[str]:
    for earlier, look in zip((None, *looks), looks, strict=False):
        if earlier is None:
            yield f"The test sets were first shown at alpha {look.alpha:g}{_by(look)}."
        else:
            yield (
                f"alpha was changed from {earlier.alpha:g} to {look.alpha:g} after the test figures were seen"
                f"{_by(look)}, so those at {look.alpha:g} may flatter."
            )


def _by(look: Look) -> str:
    when = time.strftime("on %Y-%m-%d", time.gmtime(look.time)) if look.time else ""
    told = " ".join(part for part in (f"by {look.analyst}" if look.analyst else "", when) if part)
    return f", {told}" if told else ""


def _tested(made: Reinforcement) -> str:
    found = told_together(figures(made, made.answers))
    classes = [figure for figure in found if figure.label]
    return _TESTS.format(
        table=_table(_whole(found)),
        classes=_table(classes, by_class=True),
        tested=sum(figure.tested for figure in found),
        level=LEVEL,
    )


def _whole(found: Sequence[Figure]) -> list[Figure]:
    return [figure for figure in found if not figure.label]


def _table(found: Sequence[Figure], by_class: bool = False) -> str:
    tested = any(figure.tested for figure in found)
    names = ["split", *(["class"] if by_class else []), "metric", "pictures", "photos", "before", "after", "change"]
    names += ["p"] if tested else []
    rows = (
        (
            figure.split,
            *([figure.label] if by_class else []),
            f"Acc@{figure.k}",
            figure.n,
            figure.photos or "not kept",
            _figure(figure.before, figure),
            _figure(figure.after, figure),
            _change(figure),
            *([f"{figure.change.p_adjusted:.3g}" if figure.tested else ""] if tested else []),
        )
        for figure in found
    )
    return "".join(map(_line, (names, ["---"] * len(names), *rows)))


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells) + " |\n"


def _figure(share: Proportion, figure: Figure) -> str:
    return f"{100 * share.value:.1f}" + (f" ({100 * share.low:.1f} to {100 * share.high:.1f})" if figure.photos else "")


def _change(figure: Figure) -> str:
    value, low, high = (100 * part for part in (figure.change.value, figure.change.low, figure.change.high))
    return f"{value:+.1f}" + (f" ({low:+.1f} to {high:+.1f})" if figure.photos else "")
