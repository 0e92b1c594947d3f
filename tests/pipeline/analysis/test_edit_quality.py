"""Appraising a run, against figures that can be worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL.Image import Image

from pipeline.analysis.edit_quality import appraise
from pipeline.commands.rows import appraisal_cells, appraisal_row
from pipeline.curation.selection import chosen
from pipeline.errors import DataError
from pipeline.scoring.picture_quality import sparsity
from tests.seams import ColourClassifier
from tests.stores import study_of


def mean_colour(images: Sequence[Image]) -> np.ndarray:
    """Embeddings that are easy to check."""
    return np.stack([np.asarray(image, dtype=float).mean(axis=(0, 1)) / 255 for image in images])


def test_every_factor_has_its_row_and_all_of_them_one() -> None:
    studies = [study_of(seed) for seed in range(3)]
    rows = appraise(studies, mean_colour, ColourClassifier.plain())
    best = [item for study in studies for item in chosen(study)]
    assert rows[0].factor == "all"
    assert (rows[0].n, rows[0].photos) == (len(best), 3)
    assert sum(row.n for row in rows[1:]) == len(best)
    left = [sparsity(study.photo.image, item.image) for study in studies for item in chosen(study)]
    assert rows[0].sparsity.value == pytest.approx(np.mean(left))


def test_other_distances_are_measured_as_they_are_named() -> None:
    studies = [study_of(seed) for seed in range(2)]
    row = appraise(
        studies, mean_colour, ColourClassifier.plain(), {"width": lambda source, other: float(source.width)}
    )[0]
    best = [item for study in studies for item in chosen(study)]
    assert row.distances["width"].value == best[0].image.width
    large = [
        replace(study, photo=replace(study.photo, image=study.photo.image.resize((201, 150)))) for study in studies
    ]
    assert appraise(large, mean_colour, ColourClassifier.plain())[0].n == row.n  # seen as the editor saw it


def test_every_measure_is_printed_under_its_name() -> None:
    row = appraise(
        [study_of(seed) for seed in range(2)], mean_colour, ColourClassifier.plain(), {"LPIPS": lambda *_: 0.5}
    )[0]
    cells = appraisal_cells(row, "CLIP mine")
    assert list(cells)[3:] == [
        "sparsity",
        "diversity (CLIP mine)",
        "COUT",
        "SSIM",
        "PSNR, dB",
        "LPIPS",
        "KID (CLIP mine)",
    ]
    assert str(cells["LPIPS"]).startswith("0.500 (")
    large = replace(row, fid=12.3456)
    assert appraisal_cells(large, "CLIP mine")["Fréchet (CLIP mine)"] == "12.346"
    told = json.loads(json.dumps(appraisal_row(large, "CLIP mine")))
    assert (told["distances"]["LPIPS"]["value"], told["fid"], told["embeddings"]) == (0.5, 12.3456, "CLIP mine")


def test_cout_is_of_flips_alone() -> None:
    studies = [study_of(seed) for seed in range(2)]
    flips = sum(
        item.prediction.top(1)[0][0] != study.control.top(1)[0][0]
        for study in studies
        if study.control is not None
        for item in chosen(study)
    )
    row = appraise(studies, mean_colour, ColourClassifier.plain())[0]
    assert row.cout.n == flips > 0
    calm = [replace(study, control=None) for study in studies]
    assert appraise(calm, mean_colour, ColourClassifier.plain())[0].cout.n == 0


def test_edits_that_are_their_photos_are_as_real_as_they_and_not_diverse() -> None:
    studies = []
    for seed in range(3):
        study = study_of(seed)
        same = tuple(replace(item, image=study.photo.image) for item in study.counterfactuals)
        studies.append(replace(study, counterfactuals=same))
    row = appraise(studies, mean_colour, ColourClassifier.plain())[0]
    assert row.sparsity.value == 1.0
    assert row.ssim.value == pytest.approx(1.0)
    assert row.psnr.n == 0  # infinite
    assert row.diversity.value == pytest.approx(0.0, abs=1e-9)


def test_one_photo_has_no_distance_and_no_edit_is_refused() -> None:
    assert appraise([study_of(0)], mean_colour, ColourClassifier.plain())[0].kid is None
    with pytest.raises(DataError, match="No edit of this run passed its gates"):
        appraise([replace(study_of(0), counterfactuals=())], mean_colour, ColourClassifier.plain())
