"""The model card and the metrics file that go with a reinforced classifier. Text only: knows no model and no file."""

from __future__ import annotations

from dataclasses import asdict

from pipeline.types import Proportion, Reinforcement

_FRAME = """---
library_name: timm
tags: [image-classification, counterfactuals]
---
# {classifier}, reinforced with counterfactual images

Recipe: {method}, seed {seed}. {source}{trained}, with alpha = {alpha:g}. Training took
{epochs} epochs{stopped}; the validation loss went from {first:.4f} to {best:.4f}.

Acc@1 with its 95 % Wilson interval; p is McNemar's exact test of after against before.

| split | n | before | after | p |
|---|---|---|---|---|
{splits}

By class, over all splits above:

| class | n | before | after |
|---|---|---|---|
{classes}

Training, validation and held-out pictures share no source photo. The whole curve over alpha is in metrics.jsonl.
The licence is that of the original classifier and of the pictures.
"""


_HEAD = """The classification head was trained; every other layer stayed as it was. Its
weights are (1 - alpha) of the original head plus alpha of the trained one"""
_BLOCK = """The block `{block}` and the classification head were trained; every other layer, and the
statistics of every batch norm, stayed as they were. The weights of both are (1 - alpha) of the original ones plus alpha
of the trained ones"""


def metrics(reinforcement: Reinforcement) -> tuple[dict[str, object], ...]:
    """One row per split and alpha of the curve."""
    return tuple(
        {"split": name, "alpha": alpha, "metric": "acc@1", **asdict(share)}
        for alpha, shares in reinforcement.curve
        for name, share in shares.items()
    )


def card(reinforcement: Reinforcement) -> str:
    """README.md of the classifier: what was done, and the figures before and after with their intervals."""
    before, after, p_values = reinforcement.before, reinforcement.after, reinforcement.p_values
    p = {name: f"{p_values[name]:.3g}" if name in p_values else "" for name in before}
    splits = [(name, old.n, _figure(old), _figure(after[name]), p[name]) for name, old in before.items()]
    classes = [(label, old.n, _figure(old), _figure(new)) for label, (old, new) in reinforcement.by_class.items()]
    return _FRAME.format(
        classifier=reinforcement.classifier,
        method=reinforcement.method,
        seed=reinforcement.seed,
        trained=_BLOCK.format(block=reinforcement.block) if reinforcement.block else _HEAD,
        source=f"Learnt from: {reinforcement.source}. " if reinforcement.source else "",
        stopped=" and was then stopped by hand" if reinforcement.stopped else "",
        alpha=reinforcement.alpha,
        epochs=len(reinforcement.losses) - 1,
        first=reinforcement.losses[0],
        best=min(reinforcement.losses),
        splits="\n".join(map(_line, splits)),
        classes="\n".join(map(_line, classes)),
    )


def _line(cells: tuple[object, ...]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def _figure(share: Proportion) -> str:
    return f"{100 * share.value:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"
