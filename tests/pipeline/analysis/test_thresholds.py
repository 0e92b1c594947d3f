"""Suggested thresholds against cuts that can be seen with the eye."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipeline.analysis.thresholds import Separation, Verdict, separations, threshold
from tests.stores import study_of


def test_the_cut_is_half_way_between_what_it_parts() -> None:
    assert threshold([0.6, 0.7, 0.8, 0.9, 1.0], [0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(0.55)


def test_a_lone_stray_does_not_move_the_cut() -> None:
    # The stray at 0.05 costs one of six kept; any cut below 0.55 lets two or more of the rejected through.
    assert threshold([0.05, 0.6, 0.7, 0.8, 0.9, 1.0], [0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(0.55)


def test_a_threshold_that_parts_photos_is_told_out_of_sample_and_helps() -> None:
    row = of_image(judged([0.6 + n / 100 for n in range(20)], [0.4 - n / 100 for n in range(20)]))
    assert row.threshold == pytest.approx(0.5)
    assert (row.kept_above.value, row.rejected_below.value) == (1.0, 1.0)
    assert (row.kept_above.n, row.kept_above.photos) == (20, 20)
    assert row.helps


def test_photos_are_counted_not_their_edits() -> None:
    """Forty edits of four photos suggest nothing, whatever they say."""
    values = [0.6 + n / 100 for n in range(20)], [0.4 - n / 100 for n in range(20)]
    row = of_image(judged(*values, photos=4))
    assert row.threshold is None
    assert not row.helps


def test_pure_noise_is_parted_by_chance_and_never_helps() -> None:
    """In sample the best cut of noise keeps three quarters of one side; on other photos it is worth nothing."""
    draw = np.random.default_rng(0)
    shares, helps, inside = [], [], []
    for _ in range(150):
        kept, rejected = draw.random(8).tolist(), draw.random(8).tolist()
        row = of_image(judged(kept, rejected))
        shares.append((row.kept_above.value, row.rejected_below.value))
        helps.append(row.helps)
        cut = threshold(kept, rejected)
        inside.append(np.mean(np.array(kept) >= cut) + np.mean(np.array(rejected) < cut))
    assert np.mean(inside) > 1.2
    assert np.mean(shares) == pytest.approx(0.5, abs=0.04)
    assert np.mean(helps) < 0.02


def test_verdicts_are_counted_and_unsure_ones_wait() -> None:
    made = study_of().counterfactuals[:9]
    verdicts = ["keep"] * 2 + ["reject"] + ["unsure"] + [""] * 5
    row = of_image(zip(["photo"] * 9, made, verdicts, strict=True))
    assert (len(row.kept), len(row.rejected), len(row.undecided)) == (2, 1, 6)
    assert row.threshold is None
    assert row.kept == tuple(item.scores.image_similarity for item in made[:2])


def of_image(verdicts: Iterable[Verdict]) -> Separation:
    """How well the image similarity parts them."""
    return next(row for row in separations(verdicts) if row.score == "image_similarity")


def judged(kept: Sequence[float], rejected: Sequence[float], photos: int = 0) -> list[Verdict]:
    """Edits with these values of the image similarity, of so many photos."""
    made = study_of().counterfactuals[0]
    sides = ((kept, "keep"), (rejected, "reject"))
    return [
        (
            f"{verdict}-{place}" if not photos else str(place % photos),
            replace(made, scores=replace(made.scores, image_similarity=value)),
            verdict,
        )
        for values, verdict in sides
        for place, value in enumerate(values)
    ]
