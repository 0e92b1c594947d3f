"""Edits: equal to a plain loop, complete, cancellable and frugal."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.editing.denoising import denoise, injected_steps, prepare
from pipeline.editing.inversion import METHODS
from pipeline.editing.prompt_to_prompt import StableDiffusionEditor
from pipeline.errors import Cancelled, CaptionError, EditingError, ModelError, SettingsError
from pipeline.settings import Settings
from pipeline.types import Edit, Inversion
from tests.benchmarks.reference import plain_edit, plain_latents

pytestmark = pytest.mark.slow

CAPTION = "a photo of a dog in the snow"
EDITED = ("a photo of a zebra in the snow", "a photo of a red dog on the ball")
TAUS = (0.2, 0.5, 0.8)
STEPS = 10


def settings(method: str = "pnp", taus: tuple[float, ...] = TAUS, **changes: object) -> Settings:
    values = {"inversion": method, "taus": taus, "num_inference_steps": STEPS, "guidance_scale": 3.0, **changes}
    return Settings(**values)  # type: ignore[arg-type]


def distance(first: Image.Image, other: Image.Image) -> int:
    """The largest difference of any channel of any pixel, in levels of 0..255."""
    return int(np.abs(np.asarray(first, dtype=int) - np.asarray(other, dtype=int)).max())


@contextmanager
def rows_counted(editor: StableDiffusionEditor) -> Iterator[list[int]]:
    """The number of rows of each call of the UNet."""
    counts: list[int] = []
    handle = editor.model.unet.register_forward_pre_hook(lambda _, inputs: counts.append(len(inputs[0])))
    try:
        yield counts
    finally:
        handle.remove()


@pytest.fixture(params=["editor", "v_editor"])
def either(request: pytest.FixtureRequest) -> StableDiffusionEditor:
    """epsilon-prediction with a scheduler offset of 1; v-prediction with none."""
    result = request.getfixturevalue(request.param)
    assert isinstance(result, StableDiffusionEditor)
    return result


@pytest.fixture
def inversion(editor: StableDiffusionEditor, picture: Image.Image) -> Inversion:
    return editor.invert(picture, CAPTION, settings())


@pytest.mark.parametrize("method", METHODS)
def test_equals_the_plain_loop(either: StableDiffusionEditor, picture: Image.Image, method: str) -> None:
    inverted = either.invert(picture, CAPTION, settings(method))
    edits = list(either.edit(inverted, EDITED, settings(method)))
    assert [(edit.index, edit.tau) for edit in edits] == list(itertools.product((0, 1), TAUS))
    for edit in edits:
        plain = plain_edit(either.model, inverted, EDITED[edit.index], edit.tau, settings(method))
        assert distance(edit.image, plain) <= 2
    for first, other in itertools.combinations(edits, 2):
        assert distance(first.image, other.image) > 8, "edits that look alike would make this test blind"


@pytest.mark.parametrize("method", ["null-text", "negative-prompt"])
def test_the_source_itself_comes_back_when_all_of_it_is_injected(
    either: StableDiffusionEditor, picture: Image.Image, method: str
) -> None:
    wanted = settings(method, (1.0,), cross_replace_steps=1.0)
    inverted = either.invert(picture, CAPTION, wanted)
    (edit,) = either.edit(inverted, [CAPTION], wanted)
    assert distance(edit.image, inverted.reconstruction) <= 1


def test_a_second_tau_does_as_it_would_alone(editor: StableDiffusionEditor, inversion: Inversion) -> None:
    """Word weights count for every tau, and a row that forked is the row that would have run by itself."""
    together = list(editor.edit(inversion, EDITED[:1], settings()))
    unweighted = list(editor.edit(inversion, EDITED[:1], settings(word_weight=1.0)))
    for edit, light in zip(together, unweighted, strict=True):
        (alone,) = editor.edit(inversion, EDITED[:1], settings(taus=(edit.tau,)))
        assert distance(edit.image, alone.image) <= 1
        assert distance(edit.image, light.image) > 8


@pytest.mark.parametrize("taus", [(0.8, 0.2), (0.5, 0.5), (0.51, 0.5), (0.0, 1.0)])
def test_taus_in_any_order_and_number(
    editor: StableDiffusionEditor, inversion: Inversion, taus: tuple[float, ...]
) -> None:
    edits = list(editor.edit(inversion, EDITED[:1], settings(taus=taus)))
    assert [edit.tau for edit in edits] == list(taus)
    for edit in edits:
        plain = plain_edit(editor.model, inversion, EDITED[0], edit.tau, settings())
        assert distance(edit.image, plain) <= 2


def test_without_guidance_there_is_no_unconditional_row(editor: StableDiffusionEditor, inversion: Inversion) -> None:
    wanted = settings(guidance_scale=1.0)
    with rows_counted(editor) as rows:
        edits = list(editor.edit(inversion, EDITED, wanted))
    assert max(rows) == 1 + len(TAUS) * len(EDITED)
    for edit in edits:
        assert distance(edit.image, plain_edit(editor.model, inversion, EDITED[edit.index], edit.tau, wanted)) <= 2


@pytest.mark.parametrize(
    "change",
    [
        {"cross_attention": "replace"},
        {"cross_attention": "auto"},
        {"word_weight": 4.0},
        {"cross_replace_words": ("zebra=0.3", "red=1.0", "photo=0.0")},
        {"local_blend": 0.95},
        {"local_blend": 0.9, "local_blend_start": 0.4, "cross_attention": "replace", "cross_replace_steps": 0.5},
    ],
    ids=str,
)
def test_every_kind_of_control_equals_the_plain_loop(
    either: StableDiffusionEditor, picture: Image.Image, change: dict[str, object]
) -> None:
    wanted, before = settings(taus=(0.2, 0.8), **change), settings(taus=(0.2, 0.8))
    inverted = either.invert(picture, CAPTION, wanted)
    edits, others = (list(either.edit(inverted, EDITED, first)) for first in (wanted, before))
    for edit in edits:
        plain = plain_edit(either.model, inverted, EDITED[edit.index], edit.tau, wanted)
        assert distance(edit.image, plain) <= 2
    assert max(distance(edit.image, other.image) for edit, other in zip(edits, others, strict=True)) > 8, (
        "has no effect"
    )


@pytest.mark.parametrize("method", ["pnp", "ddim"])
def test_outside_the_blend_the_latent_is_the_sources(
    editor: StableDiffusionEditor, picture: Image.Image, method: str
) -> None:
    wanted = settings(method, taus=(0.5,), local_blend=0.95)
    inverted = editor.invert(picture, CAPTION, wanted)
    batch = prepare(editor.model, inverted, EDITED[:1], wanted)
    latent = denoise(editor.model, batch, editor.micro_batches, lambda: None)[0]
    _, _, mask = plain_latents(editor.model, inverted, EDITED[0], 0.5, wanted)
    difference = (latent - inverted.trajectory[-1]).abs().amax(dim=1)
    assert 0.05 < mask.float().mean() < 0.95
    assert difference[~mask[:, 0]].max() == 0
    assert difference[mask[:, 0]].max() > 0.1


def test_auto_replaces_words_swapped_one_for_one_and_refines_others(
    editor: StableDiffusionEditor, inversion: Inversion
) -> None:
    captions = [EDITED[0], "a photo of a red dog in the snow"]
    for caption, same, other in zip(captions, ("replace", "refine"), ("refine", "replace"), strict=True):
        (auto,), (right,), (wrong,) = (
            editor.edit(inversion, [caption], settings(taus=(0.5,), cross_attention=kind, cross_replace_steps=1.0))
            for kind in ("auto", same, other)
        )
        assert distance(auto.image, right.image) == 0
        if same == "replace":
            assert distance(auto.image, wrong.image) > 8


def test_replace_mapping_differs_from_refine(editor: StableDiffusionEditor, inversion: Inversion) -> None:
    refined = next(editor.edit(inversion, EDITED, settings()))
    replaced = next(editor.edit(inversion, EDITED, settings(cross_attention="replace")))
    assert distance(refined.image, replaced.image) > 8


def test_rows_follow_the_shared_prefix(editor: StableDiffusionEditor, inversion: Inversion) -> None:
    wanted = settings(taus=(0.4, 0.5, 0.6, 0.7, 0.8))
    with rows_counted(editor) as rows:
        list(editor.edit(inversion, EDITED[:1], wanted))
    edits = [1, 1, 1, 1, 2, 3, 4, 5, 5, 5]
    assert sum(edits) == 28  # 2.8 instead of 5 trajectories of 10 steps
    assert rows == [2 * count + (step < 8) for step, count in enumerate(edits)]


def test_captions_share_a_batch_when_few_taus_are_asked_for(
    editor: StableDiffusionEditor, inversion: Inversion
) -> None:
    list(editor.edit(inversion, EDITED, settings(taus=(0.5,))))  # the first part of all measures what a row takes
    with rows_counted(editor) as rows:
        edits = list(editor.edit(inversion, EDITED, settings(taus=(0.5,), cross_replace_steps=1.0)))
    assert rows == [5] * STEPS
    assert [edit.index for edit in edits] == [0, 1]


def test_all_captions_and_all_tau_make_one_trajectory(editor: StableDiffusionEditor, inversion: Inversion) -> None:
    wanted = settings(taus=(0.4, 0.5, 0.6, 0.7, 0.8))
    calls: list[tuple[int, int]] = []
    with rows_counted(editor) as rows:
        edits = list(editor.edit(inversion, EDITED, wanted, lambda done, total: calls.append((done, total))))
    assert rows == [2 * 2 * count + (step < 8) for step, count in enumerate([1, 1, 1, 1, 2, 3, 4, 5, 5, 5])]
    assert [edit.index for edit in edits] == [0] * 5 + [1] * 5
    assert calls == [(done, STEPS) for done in range(1, STEPS + 1)]


def test_the_first_caption_comes_before_the_second_is_begun_when_asked_for_one_at_once(
    editor: StableDiffusionEditor, inversion: Inversion
) -> None:
    calls: list[tuple[int, int]] = []
    before = dict(editor.model.unet.attn_processors)
    edits = editor.edit(
        inversion, EDITED, settings(captions_at_once=1), lambda done, total: calls.append((done, total))
    )
    assert calls == []
    first = next(edits)
    assert (first.index, first.tau) == (0, TAUS[0])
    assert calls == [(done, 2 * STEPS) for done in range(1, STEPS + 1)]
    assert editor.model.unet.attn_processors == before, "others may use the model between two edits"
    other = next(editor.edit(inversion, EDITED[1:], settings()))
    rest = list(edits)
    assert len(rest) == 5
    assert distance(rest[2].image, other.image) == 0
    assert calls[-1] == (2 * STEPS, 2 * STEPS)


def test_the_same_request_gives_the_same_pixels(editor: StableDiffusionEditor, inversion: Inversion) -> None:
    def pixels() -> list[bytes]:
        return [edit.image.tobytes() for edit in editor.edit(inversion, EDITED, settings())]

    assert pixels() == pixels()


def test_cancelling_stops_within_a_step_and_restores_the_processors(
    editor: StableDiffusionEditor, inversion: Inversion
) -> None:
    before = dict(editor.model.unet.attn_processors)

    def step(done: int, total: int) -> None:
        if done == 4:
            raise Cancelled("stopped")

    with rows_counted(editor) as rows, pytest.raises(Cancelled):
        list(editor.edit(inversion, EDITED, settings(), step))
    assert len(rows) == 4
    assert editor.model.unet.attn_processors == before


@contextmanager
def memory_for(editor: StableDiffusionEditor, rows: int) -> Iterator[None]:
    """A device on which larger batches do not fit."""

    def allocate(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > rows:
            raise torch.OutOfMemoryError("out of memory")

    handle = editor.model.unet.register_forward_pre_hook(allocate)
    try:
        yield
    finally:
        handle.remove()


def test_batches_shrink_when_memory_runs_out(editor: StableDiffusionEditor, inversion: Inversion) -> None:
    plenty = list(editor.edit(inversion, EDITED, settings()))
    frugal = StableDiffusionEditor(editor.model)
    with memory_for(editor, 3):
        scarce = list(frugal.edit(inversion, EDITED, settings()))
    assert frugal.micro_batches.rows == 3
    assert max(distance(a.image, b.image) for a, b in zip(plenty, scarce, strict=True)) <= 1


def test_no_memory_at_all_is_said_and_processors_are_restored(
    editor: StableDiffusionEditor, inversion: Inversion
) -> None:
    before = dict(editor.model.unet.attn_processors)
    with memory_for(editor, 1), pytest.raises(EditingError, match="ran out of memory"):
        list(StableDiffusionEditor(editor.model).edit(inversion, EDITED, settings()))
    assert editor.model.unet.attn_processors == before


def test_weights_that_are_not_numbers(folder: Path, inversion: Inversion) -> None:
    broken = StableDiffusionEditor.from_pretrained(str(folder))
    broken.model.unet.conv_out.weight.data.fill_(float("inf"))
    before = dict(broken.model.unet.attn_processors)
    with pytest.raises(EditingError, match="not numbers"):
        list(broken.edit(inversion, EDITED, settings()))
    assert broken.model.unet.attn_processors == before


@pytest.mark.parametrize("caption", ["", "zebra " * 10])
def test_captions_are_refused_at_once(editor: StableDiffusionEditor, inversion: Inversion, caption: str) -> None:
    with pytest.raises(CaptionError):
        editor.edit(inversion, [EDITED[0], caption], settings())


def test_settings_of_another_inversion_are_refused(editor: StableDiffusionEditor, picture: Image.Image) -> None:
    inverted = editor.invert(picture, CAPTION, settings("null-text", num_inference_steps=2))
    with pytest.raises(SettingsError, match="2 steps"):
        editor.edit(inverted, EDITED, settings("null-text", num_inference_steps=3))
    with pytest.raises(SettingsError, match=r"guidance 3\.0"):
        editor.edit(inverted, EDITED, settings("null-text", num_inference_steps=2, guidance_scale=5.0))


def test_no_captions_make_no_edits(editor: StableDiffusionEditor, inversion: Inversion) -> None:
    nothing: list[Edit] = list(editor.edit(inversion, [], settings()))
    assert nothing == []


def test_bfloat16_stays_close_to_float32(folder: Path, picture: Image.Image, inversion: Inversion) -> None:
    half = StableDiffusionEditor.from_pretrained(str(folder), dtype="bfloat16")
    assert half.model.unet.dtype == torch.bfloat16
    inverted = half.invert(picture, CAPTION, settings())
    assert inverted.trajectory.dtype == torch.float32
    assert torch.allclose(inverted.trajectory, inversion.trajectory, atol=0.1)
    assert len(list(half.edit(inverted, EDITED, settings()))) == 6


def test_round_trip_is_the_psnr_of_the_autoencoder(editor: StableDiffusionEditor, picture: Image.Image) -> None:
    decoded = editor.model.decode(editor.model.encode(picture))[0]
    error = np.mean((np.asarray(picture, dtype=float) - np.asarray(decoded, dtype=float)) ** 2)
    assert editor.round_trip(picture) == pytest.approx(20 * np.log10(255) - 10 * np.log10(error))


@pytest.mark.parametrize(("fraction", "steps", "count"), [(0.29, 100, 29), (0.7, 50, 35), (0.5, 5, 2), (1.0, 7, 7)])
def test_fractions_of_steps(fraction: float, steps: int, count: int) -> None:
    assert injected_steps(fraction, steps) == count


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist; make it"):
        StableDiffusionEditor.from_pretrained(str(tmp_path / "nowhere"))


def test_a_folder_of_something_else_names_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="give a diffusers folder"):
        StableDiffusionEditor.from_pretrained(str(tmp_path))


def test_an_unknown_dtype(folder: Path) -> None:
    with pytest.raises(ModelError, match="float8"):
        StableDiffusionEditor.from_pretrained(str(folder), dtype="float8")


def test_a_truncated_weights_file_is_a_model_error(folder: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="could not be loaded"):
        StableDiffusionEditor.from_pretrained(str(broken))
