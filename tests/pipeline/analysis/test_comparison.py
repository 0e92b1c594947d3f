"""Two classifiers on the same pictures: counted by hand, told with photos as the unit, and covered in simulation."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.analysis.comparison import compare, disagreements, pair_up
from pipeline.analysis.weakness import ALL, MIN_PHOTOS
from pipeline.types import Study
from tests.pipeline.analysis.test_weakness import prediction, study_of


def as_second(study: Study, control: int, ranks: tuple[int, ...]) -> Study:
    """The same pictures as another classifier judges them: ranks of the label on the control and on each edit."""
    label = study.photo.label
    made = tuple(
        replace(item, prediction=prediction(label, rank))
        for item, rank in zip(study.counterfactuals, ranks, strict=True)
    )
    return replace(study, control=prediction(label, control), counterfactuals=made)


def test_rows_count_by_hand() -> None:
    first = [
        study_of("p", "a", 1, ("subject", 2, ()), ("background", 1, ())),
        study_of("q", "b", 1, ("background", 3, ())),
    ]
    second = [as_second(first[0], 1, (1, 1)), as_second(first[1], 2, (1,))]
    rows = {(row.label, row.factor): row for row in compare(pair_up(first, second))}
    whole = rows[ALL, ALL]
    assert (whole.n, whole.photos, whole.too_few) == (3, 2, True)
    assert [share.value for share in whole.edited_acc1] == [pytest.approx(1 / 3), 1]
    assert [share.value for share in whole.control_acc1] == [1, pytest.approx(2 / 3)]
    assert whole.delta_acc1.value == pytest.approx(2 / 3)
    assert [share.value for share in whole.flips] == [pytest.approx(2 / 3), pytest.approx(1 / 3)]
    assert whole.delta_flips.value == pytest.approx(-1 / 3)
    assert rows["a", "background"].delta_acc1.value == 0
    assert rows["b", "background"].delta_acc1.value == 1
    assert set(rows) == {(label, factor) for label in (ALL, "a") for factor in (ALL, "subject", "background")} | {
        ("b", ALL),
        ("b", "background"),
    }


def test_the_second_minus_the_first_turns_its_sign_with_the_order() -> None:
    first = [study_of(f"p{number}", "a", 1, ("subject", 2, ())) for number in range(MIN_PHOTOS)]
    second = [as_second(study, 1, (1,)) for study in first]
    (ahead, *_), (behind, *_) = compare(pair_up(first, second)), compare(pair_up(second, first))
    assert (ahead.delta_acc1.value, behind.delta_acc1.value) == (1, -1)
    assert (ahead.delta_acc1.low, ahead.delta_acc1.high) == (-behind.delta_acc1.high, -behind.delta_acc1.low)
    assert ahead.delta_acc1.p == behind.delta_acc1.p == 2 / 2**MIN_PHOTOS


def test_what_only_one_judged_counts_for_neither() -> None:
    both, alone = (
        study_of("p", "a", 1, ("subject", 2, ()), ("subject", 1, ())),
        study_of("q", "a", 1, ("subject", 2, ())),
    )
    second = as_second(both, 1, (1, 1))
    assert pair_up([alone], [second]) == pair_up([], [second]) == ()
    assert compare(()) == ()
    pairs = pair_up([both, alone], [replace(second, counterfactuals=second.counterfactuals[:1])])
    assert [(first.photo, first.edit.key) for first, _ in pairs] == [("p", both.counterfactuals[0].key)]


def test_only_the_chosen_edit_of_each_variation_counts() -> None:
    study = study_of("p", "a", 1, ("subject", 2, ("missed",)), ("subject", 2, ()))
    pairs = pair_up([study], [as_second(study, 1, (1, 1))])
    assert [first.edit.key for first, _ in pairs] == [study.counterfactuals[1].key]


def test_disagreements_are_those_on_which_one_is_right_the_surest_first() -> None:
    first = [study_of(name, "a", 1, ("subject", rank, ())) for name, rank in (("p", 2), ("q", 1), ("r", 1), ("s", 3))]
    second = [as_second(study, 1, (rank,)) for study, rank in zip(first, (1, 1, 7, 2), strict=True)]
    assert [pair[0].photo for pair in disagreements(pair_up(first, second))] == ["r", "p"]


def test_the_overall_accuracy_is_tested_alone_and_all_beside_it_together() -> None:
    first = [study_of(f"p{number}", "a", 1, ("subject", 2, ())) for number in range(MIN_PHOTOS + 2)]
    first += [study_of("few", "b", 1, ("subject", 2, ()))]
    second = [as_second(study, 1, (1,)) for study in first]
    rows = {(row.label, row.factor): row for row in compare(pair_up(first, second))}
    told = [row for row in rows.values() if not row.too_few]
    assert len(told) == 4
    whole, cell = rows[ALL, ALL], rows["a", "subject"]
    assert whole.delta_acc1.p_adjusted == whole.delta_acc1.p
    assert whole.delta_flips.p_adjusted == pytest.approx((2 * len(told) - 1) * whole.delta_flips.p)
    assert cell.delta_acc1.p < cell.delta_acc1.p_adjusted <= (2 * len(told) - 1) * cell.delta_acc1.p
    assert rows["b", ALL].delta_acc1.p_adjusted == rows["b", ALL].delta_acc1.p


def test_the_interval_of_the_difference_covers_with_photos_as_the_unit() -> None:
    """Both classifiers share what makes a photo hard; the true difference is that of their rates."""
    rng, hits, trials = np.random.default_rng(0), 0, 200
    for _ in range(trials):
        hard = rng.beta(2, 2, size=24)
        first, second = [], []
        for number, share in enumerate(hard):
            ranks = 1 + (rng.random((2, 4)) > np.array([[share], [share * 0.5 + 0.5]])).astype(int)
            own = study_of(f"p{number}", "a", 1, *(("subject", int(rank), ()) for rank in ranks[0]))
            first.append(own)
            second.append(as_second(own, 1, tuple(map(int, ranks[1]))))
        change = compare(pair_up(first, second))[0].delta_acc1
        hits += change.low <= 0.25 <= change.high
    assert 0.90 <= hits / trials <= 1.0
