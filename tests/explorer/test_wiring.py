"""Which events wait for the models: those that only touch records never do."""

from __future__ import annotations

import threading
from pathlib import Path

import gradio as gr

from explorer.address import place_of
from explorer.desk import Desk
from explorer.pages.explore import captions, photo, proposals
from pipeline.store.store import Store
from tests.seams import SeamModels
from tests.stores import save, study_of

PATIENCE = 60.0  # seconds
RECORDS = {
    ("photo", "restore"), ("photo", "open_known"), ("photo", "relabel"), ("photo", "answer"),
    ("captions", "rewrite"), ("proposals", "act"), ("edits", "pick"),
}  # fmt: skip


def test_what_touches_records_is_not_in_the_queue_of_the_models(built: gr.Blocks) -> None:
    found = [
        (function.fn.__module__, function.fn.__name__, function.concurrency_id)
        for function in built.fns.values()
        if function.fn is not None
    ]
    queued = {(module.rpartition(".")[2], name) for module, name, queue in found if queue == "models"}
    assert ("edits", "run") in queued
    assert ("captions", "act") in queued  # a click on it may ask where words look
    assert RECORDS.isdisjoint(queued)


def test_what_the_page_showed_of_a_label_is_sent_with_what_is_said_of_it(built: gr.Blocks) -> None:
    """A dropdown tells a choice twice; a state would have the second one pass for said in view of the refusal."""
    found = [
        function for function in built.fns.values() if getattr(function.fn, "__name__", "") in ("relabel", "answer")
    ]
    assert len(found) == 2
    for function in found:
        sent = [part.elem_id for part in function.inputs if not isinstance(part, gr.State)]
        assert "label-seen" in sent


def test_records_are_read_and_written_while_somebody_has_the_models(tmp_path: Path) -> None:
    store = Store(tmp_path)
    desk, study = Desk(models=SeamModels(), store=store), study_of()
    save(store, study)
    busy, go = threading.Event(), threading.Event()
    desk.worker.submit(lambda: (busy.set(), go.wait(PATIENCE)))
    assert busy.wait(PATIENCE)
    place, wanted = place_of(study), study.perturbations[0].edited_caption

    def work() -> None:
        untick = gr.EventData(None, {"do": "leave", "caption": wanted})
        list(proposals.act(desk, place, untick))
        photo.open_known(desk, gr.EventData(None, {"photo": study.photo.key, "classifier": "colour"}))
        captions.rewrite(desk, place, "a red square", gr.Request(username="ada"))

    meanwhile = threading.Thread(target=work, daemon=True)
    meanwhile.start()
    meanwhile.join(PATIENCE / 2)
    waited = meanwhile.is_alive()
    go.set()
    meanwhile.join(PATIENCE)
    assert not waited, "records waited for the models"
    assert store.caption_of(study.photo.key) == ("a red square", True)
    store.close()
