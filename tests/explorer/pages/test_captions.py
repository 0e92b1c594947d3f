"""Captions on the page: what is known stays as it is."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from explorer.address import place_of
from explorer.desk import Desk
from explorer.pages.explore import captions
from pipeline.store.store import Store
from tests.seams import SeamModels
from tests.stores import save, study_of


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(models=SeamModels(), store=Store(tmp_path))


def test_a_photo_that_has_a_caption_keeps_what_the_page_shows(desk: Desk) -> None:
    study = study_of()
    save(desk.store, study)
    # A generator that yields nothing would have the page empty its caption and its variations.
    assert list(captions.caption(desk, place_of(study))) == [(gr.skip(),) * 4]
    assert list(captions.caption(desk, "")) == [(gr.skip(),) * 4]


def test_blank_words_write_nothing(desk: Desk) -> None:
    study = study_of()
    save(desk.store, study)
    request = gr.Request(username="ada")
    caption, _, _, told = captions.rewrite(desk, place_of(study), " \n", request)
    assert caption == study.caption
    assert "cannot be empty" in str(told)
    assert captions.save_caption(desk, study, "", request) is study
    assert desk.store.rewordings(study.photo.key) == ()
    captions.rewrite(desk, place_of(study), "a red square", request)
    assert [(rewording.caption, rewording.analyst) for rewording in desk.store.rewordings(study.photo.key)] == [
        ("a red square", "ada")
    ]
