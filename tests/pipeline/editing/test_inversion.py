"""Inversions lead back to the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops

from pipeline.editing import inversion as inversions
from pipeline.editing.inversion import METHODS, guided, optimise
from pipeline.editing.latent_diffusion import LatentDiffusion
from pipeline.editing.prompt_to_prompt import StableDiffusionEditor
from pipeline.errors import Cancelled, CaptionError, EditingError, SettingsError
from pipeline.settings import Settings
from tests.benchmarks.reference import plain_null_text

pytestmark = pytest.mark.slow

CAPTION = "a photo of a dog"
STEPS = 8


def settings(method: str = "pnp", guidance_scale: float = 3.0, steps: int = STEPS) -> Settings:
    return Settings(inversion=method, num_inference_steps=steps, guidance_scale=guidance_scale)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=int)


@pytest.fixture(params=["editor", "v_editor"])
def either(request: pytest.FixtureRequest) -> StableDiffusionEditor:
    """epsilon-prediction with a scheduler offset of 1; v-prediction with none."""
    result = request.getfixturevalue(request.param)
    assert isinstance(result, StableDiffusionEditor)
    return result


def guided_ddim(model: LatentDiffusion, noise: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """Where denoising from the noise ends when nothing was optimised."""
    caption, empty = model.embed(CAPTION), model.embed("")
    latent = noise
    with torch.no_grad():
        for timestep in model.timesteps(STEPS):
            latent = guided(model, latent, timestep, caption, guidance_scale)(empty)
    return latent


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_contract(either: StableDiffusionEditor, picture: Image.Image, method: str) -> None:
    calls: list[tuple[int, int]] = []
    result = either.invert(picture, CAPTION, settings(method), lambda done, total: calls.append((done, total)))
    assert result.trajectory.shape == (STEPS + 1, 4, 8, 8)
    assert result.trajectory.isfinite().all()
    assert result.reconstruction.size == (32, 32)
    assert (
        ImageChops.difference(result.reconstruction, either.model.decode(result.trajectory[-1:])[0]).getbbox() is None
    )
    assert (result.method, result.num_inference_steps, result.guidance_scale) == (method, STEPS, 3.0)
    total = len(calls)
    assert total >= STEPS
    assert calls == [(done, total) for done in range(1, total + 1)]
    assert result.uncond_embeddings is not None or method not in ("null-text", "negative-prompt")
    if result.uncond_embeddings is not None:
        assert result.uncond_embeddings.shape == (STEPS, 1, 20, 32)
        assert result.uncond_embeddings.dtype == torch.float32


def test_pnp_reconstruction_is_the_round_trip_of_the_autoencoder(
    either: StableDiffusionEditor, picture: Image.Image
) -> None:
    model = either.model
    result = either.invert(picture, CAPTION, settings())
    assert ImageChops.difference(result.reconstruction, model.decode(model.encode(picture))[0]).getbbox() is None
    assert torch.equal(result.trajectory[-1:], model.encode(picture))


def test_ddim_inversion_undoes_denoising_when_steps_are_small(
    either: StableDiffusionEditor, picture: Image.Image
) -> None:
    """Both schedulers agree on timesteps, offset and prediction type, or the error would not fall with the steps."""
    errors = []
    for steps in (5, 40):
        result = either.invert(picture, CAPTION, settings("negative-prompt", steps=steps))
        errors.append(float((result.trajectory[-1] - either.model.encode(picture)[0]).square().mean()))
    assert errors[1] < errors[0] / 4


def test_null_text_loss_goes_down(either: StableDiffusionEditor, picture: Image.Image) -> None:
    model = either.model
    pivots = either.invert(picture, CAPTION, settings()).trajectory.clone()
    caption, null = model.embed(CAPTION).clone(), model.embed("").clone()
    step = guided(model, pivots[:1], model.timesteps(STEPS)[0], caption, 3.0)
    best, latent, losses = optimise(null, step, pivots[1:2], 0.0, settings("null-text"))
    assert min(losses) < 0.8 * losses[0]
    with torch.no_grad():
        assert torch.equal(step(best), latent)
    assert float((latent - pivots[1:2]).square().mean()) == pytest.approx(min(losses))


def test_null_text_reconstructs_better_than_guided_ddim(either: StableDiffusionEditor, picture: Image.Image) -> None:
    latent = either.model.encode(picture)
    result = either.invert(picture, CAPTION, settings("null-text"))
    plain = guided_ddim(either.model, result.trajectory[:1], 3.0)
    assert (result.trajectory[-1:] - latent).square().mean() < 0.5 * (plain - latent).square().mean()


def test_null_text_trajectory_is_what_its_embeddings_make(either: StableDiffusionEditor, picture: Image.Image) -> None:
    model = either.model
    result = either.invert(picture, CAPTION, settings("null-text"))
    caption = model.embed(CAPTION)
    assert result.uncond_embeddings is not None
    for i, timestep in enumerate(model.timesteps(STEPS)):
        with torch.no_grad():
            latent = guided(model, result.trajectory[i : i + 1], timestep, caption, 3.0)(result.uncond_embeddings[i])
        assert torch.allclose(latent, result.trajectory[i + 1 : i + 2], atol=1e-5)


def test_null_text_equals_the_textbook_where_nothing_stops_it_early(
    editor: StableDiffusionEditor, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inversions, "TOLERANCE", (0.0, 0.0))
    wanted = settings("null-text", steps=4)
    result = editor.invert(picture, CAPTION, wanted)
    plain = plain_null_text(editor.model, picture, CAPTION, wanted)
    assert result.uncond_embeddings is not None
    assert plain.uncond_embeddings is not None
    moved = (plain.uncond_embeddings - editor.model.embed("")).abs().max()
    assert (result.uncond_embeddings - plain.uncond_embeddings).abs().max() < 0.01 * moved
    assert np.abs(pixels(result.reconstruction) - pixels(plain.reconstruction)).max() <= 2


@pytest.mark.parametrize("rows", [0, 1])
def test_null_text_in_less_memory(editor: StableDiffusionEditor, picture: Image.Image, rows: int) -> None:
    """A device on which what a backward pass needs does not fit: activations are made again instead of kept."""
    plenty = editor.invert(picture, CAPTION, settings("null-text", steps=3))
    unet = editor.model.unet

    def allocate(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > rows or (torch.is_grad_enabled() and not unet.is_gradient_checkpointing):
            raise torch.OutOfMemoryError("out of memory")

    handle = unet.register_forward_pre_hook(allocate)
    try:
        if rows == 0:
            with pytest.raises(EditingError, match="ran out of memory"):
                editor.invert(picture, CAPTION, settings("null-text", steps=3))
        else:
            scarce = editor.invert(picture, CAPTION, settings("null-text", steps=3))
            assert torch.allclose(scarce.trajectory, plenty.trajectory, atol=1e-5)
    finally:
        handle.remove()
    assert not unet.is_gradient_checkpointing


def test_plain_ddim_is_neither_set_back_nor_optimised(either: StableDiffusionEditor, picture: Image.Image) -> None:
    model = either.model
    result = either.invert(picture, CAPTION, settings("ddim"))
    assert result.uncond_embeddings is None
    assert torch.allclose(result.trajectory[-1:], guided_ddim(model, result.trajectory[:1], 3.0), atol=1e-5)
    assert (result.trajectory[-1:] - model.encode(picture)).square().mean() > 1e-2, "it drifts: that is the control"


def test_null_text_stops_early_when_the_loss_is_small(editor: StableDiffusionEditor) -> None:
    null, calls = torch.zeros(1, 2, 3), []

    def step(embedding: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return embedding * 1.0

    _, _, losses = optimise(null, step, torch.full((1, 2, 3), 0.02), 0.0, settings("null-text"))
    assert losses[-1] < 1e-5
    assert len(losses) == len(calls) < inversions.INNER_STEPS


@pytest.mark.parametrize(("min_gain", "steps"), [(0.0, inversions.INNER_STEPS), (0.01, 1)])
def test_null_text_stops_where_a_step_gains_too_little(min_gain: float, steps: int) -> None:
    wanted = replace(settings("null-text"), null_text_min_gain=min_gain)
    null, pivot = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    _, _, losses = optimise(null, lambda embedding: 1e-6 * embedding, pivot, 0.0, wanted)
    assert len(losses) == steps + 1
    assert losses[-1] == min(losses)


def test_negative_prompt_takes_the_caption_as_unconditional(
    editor: StableDiffusionEditor, picture: Image.Image
) -> None:
    result = editor.invert(picture, CAPTION, settings("negative-prompt"))
    assert result.uncond_embeddings is not None
    assert all(torch.equal(embedding, editor.model.embed(CAPTION)) for embedding in result.uncond_embeddings)


def test_another_size_is_resized(editor: StableDiffusionEditor) -> None:
    result = editor.invert(Image.new("RGB", (50, 41), "red"), CAPTION, settings(steps=2))
    assert result.reconstruction.size == (32, 32)


@pytest.mark.parametrize("method", METHODS)
def test_cancelling_stops_within_a_step(editor: StableDiffusionEditor, picture: Image.Image, method: str) -> None:
    last = []

    def step(done: int, total: int) -> None:
        last.append(done)
        if done == 3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        editor.invert(picture, CAPTION, settings(method), step)
    assert last == [1, 2, 3]


def test_an_unknown_inversion_is_refused_with_the_known_ones(
    editor: StableDiffusionEditor, picture: Image.Image
) -> None:
    with pytest.raises(SettingsError, match=f"'magic' is unknown; use {', '.join(METHODS)}"):
        editor.invert(picture, CAPTION, settings("magic"))


@pytest.mark.parametrize(("caption", "message"), [("", "empty"), ("  ", "empty"), ("a " * 30, "30 tokens")])
def test_captions_without_words_or_with_too_many(
    editor: StableDiffusionEditor, picture: Image.Image, caption: str, message: str
) -> None:
    with pytest.raises(CaptionError, match=message):
        editor.invert(picture, caption, settings())


def test_weights_that_are_not_numbers(folder: str, picture: Image.Image) -> None:
    broken = StableDiffusionEditor.from_pretrained(str(folder))
    broken.model.unet.conv_out.weight.data.fill_(float("nan"))
    with pytest.raises(EditingError, match="float32"):
        broken.invert(picture, CAPTION, settings())


def test_more_steps_than_the_schedule_has(editor: StableDiffusionEditor, picture: Image.Image) -> None:
    with pytest.raises(SettingsError, match="1000 denoising steps"):
        editor.invert(picture, CAPTION, settings(steps=1000))
