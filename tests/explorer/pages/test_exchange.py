"""Uploads of many files, and addresses that lead back, in a real browser."""

from __future__ import annotations

import base64
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.images import encode
from pipeline.store.store import Store
from pipeline.tiny.data import HELD_OUT_SEED
from pipeline.tiny.world import draw, sample
from pipeline.types import FOLDER, Models
from tests.browser import stock
from tests.stores import save

if TYPE_CHECKING:
    from playwright.sync_api import Page

SCENES = sample(4, HELD_OUT_SEED + 51)


def test_many_uploads_fill_the_shelf_and_a_bad_one_hides_none(page: Page, store: Store, tmp_path: Path) -> None:
    first, second, third, _ = SCENES
    (tmp_path / "first.png").write_bytes(encode(draw(first)))
    (tmp_path / "fake.png").write_text("no picture")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr(f"{second.label}/second.png", encode(draw(second)))
        archive.writestr("unheard of/third.png", encode(draw(third)))
        archive.writestr("../up.png", encode(draw(third)))
    names = ("first.png", "fake.png", "two.zip")
    page.set_input_files("#upload input[type=file]", [tmp_path / name for name in names])
    page.wait_for_selector("text=2 photos taken in, 3 left out:")
    told = page.locator(".refusals li").all_inner_texts()
    assert [line.split()[0] for line in sorted(told)] == ["../up.png", "fake.png", "third.png"]
    assert "fits no class" in page.inner_text(".refusals")
    assert page.locator("#history [data-photo]").count() == 2
    labels = {study.name: study.label for study in store.studies()}
    assert set(labels) == {"first.png", "second.png"}
    assert labels["second.png"] == second.label
    page.wait_for_function("(document.querySelector('#caption textarea')?.value || '').length > 5")


def test_the_address_leads_back_to_photo_and_frame(page: Page, store: Store, models: Models) -> None:
    stock(models, store, SCENES[:2])
    first, other = (store.load_study(summary.key) for summary in store.studies())
    assert first
    assert other
    extra = replace(first.counterfactuals[0], key="second", tau=0.25)
    save(store, replace(first, counterfactuals=(*first.counterfactuals, extra)))

    page.reload()
    page.click(f"[data-photo='{first.photo.key}']")
    page.wait_for_url(f"**photo={first.photo.key}**")
    page.wait_for_selector(".frame[data-key=second]")
    page.click(".frame[data-key=second]")
    page.wait_for_url("**frame=second")
    shared = page.url
    page.click(f"[data-photo='{other.photo.key}']")
    page.wait_for_url(f"**photo={other.photo.key}**")

    page.go_back()
    page.wait_for_selector(".frame.selected[data-key=second]")
    assert page.url == shared
    page.reload()
    page.wait_for_selector(".frame.selected[data-key=second]")
    page.go_forward()
    page.wait_for_selector(f".frame.selected[data-key='{other.counterfactuals[0].key}']")

    page.goto(shared)
    page.wait_for_selector(".frame.selected[data-key=second]")


def test_what_a_window_left_open_would_overwrite_is_refused_and_told(page: Page, store: Store, models: Models) -> None:
    stock(models, store, SCENES[:1])
    (first,) = store.studies()
    page.reload()
    page.click(f"[data-photo='{first.key}']")
    page.wait_for_selector("#caption-card [data-seen]")
    store.set_caption(first.key, "a drum at the sea", analyst="ada")  # in another window
    words = page.locator("#caption textarea")
    words.fill("a drum on the moon")
    words.blur()
    page.wait_for_selector(".status.failed:has-text('Meanwhile the caption became')")
    assert store.caption_of(first.key) == ("a drum at the sea", True)
    assert words.input_value() == "a drum on the moon"
    page.wait_for_selector("#caption-card [data-seen='a drum at the sea']")
    words.focus()
    words.blur()  # who was told and saves it all the same means it
    page.wait_for_selector("#caption-card [data-seen='a drum on the moon']")
    assert store.caption_of(first.key) == ("a drum on the moon", True)

    other, third = [label for label in models.classifier().labels if label != first.label][:2]
    store.set_label(first.key, other)
    page.click("#label input")
    page.click(f"#label li:has-text('{third}')")
    page.wait_for_selector(".toast-body:has-text('Meanwhile the label became')")
    assert [known.label for known in store.studies()] == [other]
    page.wait_for_function("(want) => document.querySelector('#label input').value === want", arg=other)


def test_a_pasted_picture_and_a_dropped_folder_are_uploads(page: Page, store: Store) -> None:
    first, second, third, _ = SCENES
    page.wait_for_selector("#upload input[type=file]", state="attached")
    held = [base64.b64encode(encode(draw(scene))).decode() for scene in (first, second, third)]
    # The box is still without its input, as on a page that is opening: what is pasted waits for it.
    page.evaluate(
        """([data]) => {
          const input = document.querySelector('#upload input[type=file]'), {parentNode} = input;
          input.remove();
          setTimeout(() => parentNode.append(input), 300);
          const held = new DataTransfer();
          held.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], '', {type: 'image/png'}));
          document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData: held, bubbles: true}));
        }""",
        held[:1],
    )
    page.wait_for_selector("#history [data-photo]")
    assert [study.name for study in store.studies()] == ["pasted-1.png"]
    # A page cannot make a folder, so that its entries are made by hand.
    page.evaluate(
        """([labels, files]) => {
          const bytes = (data) => Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
          const last = (path) => path.split('/').pop();
          const file = (fullPath, data) => ({
            isFile: true, fullPath, name: last(fullPath), file: (give) => give(new File([bytes(data)], last(fullPath))),
          });
          const folder = (fullPath, inside) => {
            const left = [inside, []];
            const reader = {readEntries: (give) => give(left.shift())};
            return {isDirectory: true, fullPath, name: last(fullPath), createReader: () => reader};
          };
          const entry = folder('/set', [
            folder(`/set/${labels[0]}`, [file(`/set/${labels[0]}/caf\u00e9.png`, files[0])]),
            folder(`/set/${labels[1]}`, [file(`/set/${labels[1]}/${'a'.repeat(120)}.png`, files[1])]),
          ]);
          const drop = new Event('drop', {bubbles: true, cancelable: true});
          drop.dataTransfer = {items: [{webkitGetAsEntry: () => entry}]};
          document.querySelector('#upload').dispatchEvent(drop);
        }""",
        [[second.label, third.label], held[1:]],
    )
    page.wait_for_selector("text=2 photos taken in.")
    found = {study.name: (study.label, study.label_source) for study in store.studies()}
    assert found["caf\u00e9.png"] == (second.label, FOLDER)
    assert found[f"{'a' * 120}.png"] == (third.label, FOLDER)
