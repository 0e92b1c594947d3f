"""The figures of a run: against published values, against counting by hand, and under simulation."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.analysis.weakness import (
    ALL,
    MIN_PHOTOS,
    confirmation,
    effects,
    failure_points,
    margin,
    weakness,
    weakness_by_tau,
)
from pipeline.errors import LabelError
from pipeline.scores import Scores
from pipeline.types import Counterfactual, Perturbation, Photo, Prediction, Study
from tests.seams import picture

LABELS = ("a", "b", "c", "d", "e", "f", "g")


def prediction(label: str, rank: int) -> Prediction:
    """A distribution that puts the label at this rank."""
    others = [item for item in LABELS if item != label]
    order = [*others[: rank - 1], label, *others[rank - 1 :]]
    return Prediction(labels=LABELS, probabilities=tuple((7 - order.index(label)) / 28 for label in LABELS))


def study_of(name: str, label: str, control: int, *edits: tuple[str, int, tuple[str, ...]]) -> Study:
    """A study with the label at rank `control` on the control; edits are (factor, rank, missed gates)."""
    image = picture("red")
    photo = Photo(key=name, image=image, label=label, prediction=prediction(label, 1))
    made = []
    for number, (factor, rank, missed) in enumerate(edits):
        words = Perturbation(caption="c", edited_caption=f"{factor} {number}", factor=factor, original="", edit="")
        scores = Scores(
            image_similarity=1, source_alignment=1, edited_alignment=1, directional_similarity=0.5, prefers_edit=1
        )
        made.append(
            Counterfactual(
                key=f"{name}-{number}",
                perturbation=words,
                tau=0.5,
                image=image,
                scores=scores,
                prediction=prediction(label, rank),
                missed=missed,
            )
        )
    return Study(
        photo=photo, caption="c", reconstruction=image, control=prediction(label, control), counterfactuals=tuple(made)
    )


def test_rows_count_by_hand() -> None:
    studies = [
        study_of("1", "a", 1, ("background", 1, ()), ("object", 6, ())),
        study_of("2", "a", 1, ("background", 3, ()), ("object", 2, ())),
        study_of("3", "a", 2, ("background", 1, ()), ("object", 7, ("a gate",))),
        study_of("4", "b", 7, ("background", 7, ())),
    ]
    rows = {(row.label, row.factor): row for row in weakness(studies)}
    assert set(rows) == {(label, factor) for label in ("a", "b", ALL) for factor in ("background", "object", ALL)} - {
        ("b", "object")
    }
    total = rows[ALL, ALL]
    assert (total.n, total.photos, total.unpaired) == (6, 4, 1)
    assert (total.control_acc1.value, total.counterfactual_acc1.value) == (4 / 6, 2 / 6)
    assert (total.control_acc5.value, total.counterfactual_acc5.value) == (5 / 6, 4 / 6)
    assert total.delta_acc1.value == pytest.approx(-2 / 6)
    assert total.delta_acc5.value == pytest.approx(-1 / 6)
    assert total.flips.value == 4 / 6
    assert total.delta_acc1.p == 6 / 8  # photos lost 1, 2 and -1: six of the eight ways to sign them are as far from 0
    here = rows["a", "background"]
    assert (here.n, here.control_acc1.value, here.counterfactual_acc1.value) == (3, 2 / 3, 2 / 3)
    assert here.sensitivity.value == pytest.approx((0 - 2 / 28 + 1 / 28) / 3)
    assert here.sensitivity.low <= here.sensitivity.value <= here.sensitivity.high
    assert rows["a", "object"].unpaired == 1
    assert rows["a", "object"].n == 2
    assert here.too_few
    assert not weakness([study_of(str(n), "a", 1, ("object", 1, ())) for n in range(MIN_PHOTOS)])[0].too_few


def test_rows_that_rest_on_too_little_are_shown_last() -> None:
    studies = [study_of(f"a{n}", "a", 1, ("background", 1 + n % 2, ())) for n in range(6)]
    studies += [study_of("b", "b", 1, ("object", 7, ())), study_of("c", "c", 1, ("object", 7, ("no",)))]
    rows = weakness(studies)
    assert (rows[0].label, rows[0].factor) == (ALL, ALL)
    marks = [row.too_few for row in rows[1:]]
    assert marks == sorted(marks)
    assert any(marks)
    sure = [row.delta_acc1.high for row in rows[1:] if not row.too_few]
    assert sure == sorted(sure)
    assert {row.label for row in rows} == {"a", "b", "c", ALL}
    empty = next(row for row in rows if row.label == "c" and row.factor == "object")
    assert (empty.n, empty.unpaired, empty.delta_acc1.low, empty.delta_acc1.high) == (0, 1, -1.0, 1.0)


def test_the_best_tau_counts_and_others_do_not() -> None:
    study = study_of("1", "a", 1, ("background", 7, ()))
    item = study.counterfactuals[0]
    better = replace(
        item, key="better", scores=replace(item.scores, directional_similarity=0.9), prediction=prediction("a", 1)
    )
    row = weakness([replace(study, counterfactuals=(item, better))])[0]
    assert (row.n, row.counterfactual_acc1.value) == (1, 1.0)


def test_a_study_without_control_is_passed_over() -> None:
    assert weakness([replace(study_of("1", "a", 1, ("background", 7, ())), control=None)]) == ()
    assert weakness([]) == ()


def test_the_same_run_gives_the_same_figures() -> None:
    studies = [study_of(str(n), "a", 1, ("background", 1 + n % 3, ())) for n in range(9)]
    assert weakness(studies) == weakness(iter(studies))


def with_taus(study: Study, *ranks: tuple[float, int, tuple[str, ...]]) -> Study:
    """The study's one edit at several tau, as (tau, rank, missed gates)."""
    item = study.counterfactuals[0]
    made = tuple(
        replace(item, key=f"{item.key}-{tau}", tau=tau, prediction=prediction(study.photo.label, rank), missed=missed)
        for tau, rank, missed in ranks
    )
    return replace(study, counterfactuals=made)


def test_rows_by_tau_take_every_edit_that_passes_at_that_tau() -> None:
    study = with_taus(study_of("1", "a", 1, ("background", 1, ())), (0.2, 7, ()), (0.6, 2, ()), (0.8, 7, ("no",)))
    rows = {row.tau: row for row in weakness_by_tau([study]) if (row.label, row.factor) == (ALL, "background")}
    assert set(rows) == {0.2, 0.6, 0.8}
    assert (rows[0.2].counterfactual_acc5.value, rows[0.6].counterfactual_acc5.value) == (0.0, 1.0)
    assert (rows[0.8].n, rows[0.8].unpaired) == (0, 1)
    assert weakness([study])[0].tau is None


def test_the_failure_point_is_the_most_conservative_flip_that_passes() -> None:
    flips = with_taus(study_of("1", "a", 1, ("background", 1, ())), (0.2, 7, ()), (0.6, 2, ()), (0.8, 7, ("no",)))
    holds = study_of("2", "a", 1, ("object", 1, ()))
    found = failure_points([flips, holds, replace(holds, control=None)])
    assert [(point.photo, point.factor, point.tau) for point in found] == [
        ("1", "background", 0.6),
        ("2", "object", None),
    ]


def test_the_margin_is_a_difference_of_logits() -> None:
    found = Prediction(labels=("a", "b", "c"), probabilities=(0.5, 0.4, 0.1))
    assert margin("a", found) == pytest.approx(np.log(0.5 / 0.4))
    assert margin("c", found) == pytest.approx(np.log(0.1 / 0.5))
    sure = Prediction(labels=("a", "b"), probabilities=(1.0, 0.0))
    assert margin("b", sure) == pytest.approx(-margin("a", sure))
    row = weakness([study_of("1", "a", 1, ("background", 2, ())), study_of("2", "a", 1, ("background", 1, ()))])[0]
    assert row.margin.value == pytest.approx((2 * np.log(6 / 7)) / 2)
    assert row.margin.low <= row.margin.value <= row.margin.high


def test_the_photos_own_accuracy_stands_beside_the_controls() -> None:
    row = weakness([study_of("1", "a", 7, ("background", 1, ()))])[0]
    assert (row.original_acc1.value, row.control_acc1.value, row.counterfactual_acc1.value) == (1.0, 0.0, 1.0)


def test_a_flip_counts_as_confirmed_when_the_second_classifier_flips_too() -> None:
    first = [
        study_of("1", "a", 1, ("background", 2, ()), ("object", 3, ())),
        study_of("2", "a", 1, ("background", 1, ())),
    ]
    second = [
        study_of("1", "a", 1, ("background", 4, ()), ("object", 1, ())),
        study_of("2", "a", 1, ("background", 5, ())),
    ]
    found = confirmation(first, second)
    assert (found.n, found.value) == (2, 0.5)
    assert confirmation([replace(first[0], control=None)], second[:1]).n == 0


def test_a_thousand_classes_make_a_row_each() -> None:
    draw = np.random.default_rng(0)
    labels = tuple(f"class {n}" for n in range(1000))
    studies = []
    for n in range(100):
        study = study_of(str(n), "a", 1, *((("background", "object")[k % 2], 1, ()) for k in range(20)))
        judged = [Prediction(labels=labels, probabilities=tuple(draw.dirichlet(np.ones(1000)))) for _ in range(22)]
        edits = (replace(item, prediction=judged[k + 2]) for k, item in enumerate(study.counterfactuals))
        photo = replace(study.photo, label=labels[n], prediction=judged[0])
        studies.append(replace(study, photo=photo, control=judged[1], counterfactuals=tuple(edits)))
    assert len(weakness(studies)) == 101 * 3
    entry = studies[0]
    assert effects([entry])[0].ranks[1] == entry.control.rank(entry.photo.label)  # type: ignore[union-attr]


def test_a_labels_standing_is_what_the_whole_prediction_says() -> None:
    found = Prediction(labels=("a", "b", "c", "d"), probabilities=(0.1, 0.5, 0.1, 0.3))
    for label in found.labels:
        kept = found.standing(label)
        assert (kept.rank, kept.probability) == (found.rank(label), found.probability(label))
        assert kept.first == found.first == "b"
        assert kept.rival == max(value for name, value in found.top(4) if name != label)
        assert kept.standing(label) is kept
        with pytest.raises(LabelError, match="only"):
            kept.standing("e")
    with pytest.raises(LabelError, match="does not know the label 'e'"):
        found.standing("e")
