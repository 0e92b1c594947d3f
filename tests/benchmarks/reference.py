"""Prompt-to-prompt and its inversions written as plainly as the papers read: the yardstick for the editing engine.

Every caption and every tau on its own, the source run again beside each of them with its own unconditional row, all
attention probabilities written out and all word maps kept; null-text inversion with all its inner steps, each of them
with its own conditional prediction. Shares the model and the alignment of captions with the engine, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from PIL import Image

from pipeline.editing.alignment import Alignment, align, blocks, spans
from pipeline.editing.latent_diffusion import LatentDiffusion
from pipeline.settings import Settings
from pipeline.types import Inversion

SOURCE, EDIT = 2, 3  # rows; the first two are the same, unconditionally


@dataclass(slots=True, eq=False)
class Injection:
    """Which maps of the source the edit takes over, and until when."""

    alignment: Alignment
    self_stop: int
    cross_stops: torch.Tensor  # for each edited token
    step: int = 0
    word_maps: list[torch.Tensor] = field(default_factory=list)  # (2, heads, positions, n): of source and edit


class PlainAttention:
    """Attention with its probabilities (rows, heads, queries, keys) written out."""

    def __init__(self, injection: Injection) -> None:
        self.injection = injection

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):  # type: ignore[no-untyped-def]
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = attn.head_to_batch_dim(attn.to_q(hidden_states), out_dim=4)
        key = attn.head_to_batch_dim(attn.to_k(context), out_dim=4)
        value = attn.head_to_batch_dim(attn.to_v(context), out_dim=4)
        probabilities = torch.softmax(query @ key.transpose(2, 3) * attn.scale, dim=3)
        probabilities[EDIT] = self.edited_map(probabilities, is_self=encoder_hidden_states is None)
        if encoder_hidden_states is not None:
            self.injection.word_maps.append(probabilities[SOURCE:].clone())
        states = (probabilities @ value).transpose(1, 2)
        return attn.to_out[0](states.reshape(hidden_states.shape))

    def edited_map(self, probabilities: torch.Tensor, *, is_self: bool) -> torch.Tensor:
        injection = self.injection
        if is_self:
            injected = injection.step < injection.self_stop and probabilities.shape[2] <= 32 * 32
            return probabilities[SOURCE if injected else EDIT]
        carried = probabilities[SOURCE] @ injection.alignment.matrix
        own = probabilities[EDIT] * injection.alignment.own
        controlled = (carried + own) * injection.alignment.weight
        return torch.where(injection.step < injection.cross_stops, controlled, probabilities[EDIT])


@torch.no_grad()
def plain_edit(
    model: LatentDiffusion, inversion: Inversion, edited_caption: str, tau: float, settings: Settings
) -> Image.Image:
    """One edit at one tau. The model's attention processors are put back at the end."""
    return model.decode(plain_latents(model, inversion, edited_caption, tau, settings)[1])[0]


@torch.no_grad()
def plain_latents(
    model: LatentDiffusion, inversion: Inversion, edited_caption: str, tau: float, settings: Settings
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where the source and the edit end, and the last mask (1, 1, h, w) of what may differ."""
    steps = settings.num_inference_steps
    before, after = model.words(inversion.caption), model.words(edited_caption)
    alignment = align(before, after, model.window, mapping=settings.cross_attention, word_weight=settings.word_weight)
    injection = Injection(alignment, int(tau * steps), plain_cross_stops(model, edited_caption, settings))
    processors = dict(model.unet.attn_processors)
    model.unet.set_attn_processor(PlainAttention(injection))
    source_embedding, edited_embedding, empty = (model.embed(c) for c in (inversion.caption, edited_caption, ""))
    source = edited = inversion.trajectory[:1]
    mask, history = torch.ones(1, 1, *source.shape[2:], dtype=torch.bool), []
    for step, timestep in enumerate(model.timesteps(steps)):
        injection.step, injection.word_maps = step, []
        if inversion.method == "pnp":
            source = inversion.trajectory[step : step + 1]
        null = empty if inversion.uncond_embeddings is None else inversion.uncond_embeddings[step]
        embeddings = torch.cat((null, null, source_embedding, edited_embedding))
        latents = torch.cat((source, edited))
        unconditional, conditional = model.predict(torch.cat((latents, latents)), timestep, embeddings).chunk(2)
        prediction = unconditional + settings.guidance_scale * (conditional - unconditional)
        source, edited = model.scheduler.step(prediction, timestep, latents).prev_sample.chunk(2)
        if inversion.method == "pnp":
            source = inversion.trajectory[step + 1 : step + 2]
        history.append(injection.word_maps)
        if settings.local_blend and step >= int(settings.local_blend_start * steps):
            mask = plain_mask(history, changed_tokens(before, after), settings.local_blend, source.shape[2:])
            edited = source + mask * (edited - source)
    model.unet.set_attn_processor(processors)
    return source, edited, mask


def plain_cross_stops(model: LatentDiffusion, edited_caption: str, settings: Settings) -> torch.Tensor:
    """The step at which each token of the edited caption goes back to its own map; exceptions are single words."""
    words = model.words(edited_caption)
    stops = torch.full((model.window,), int(settings.cross_replace_steps * settings.num_inference_steps))
    for entry in settings.cross_replace_words:
        name, fraction = entry.split("=")
        for word, place in zip(words, spans(words), strict=True):
            if word == model.words(name)[1]:
                stops[list(place)] = int(float(fraction) * settings.num_inference_steps)
    return stops


def changed_tokens(before, after) -> tuple[list[int], list[int]]:  # type: ignore[no-untyped-def]
    """Positions of the source's tokens that went and of the edit's that came."""
    went, came = [], []
    for block in blocks(before, after):
        if not block.equal:
            went += [position for word in block.source for position in spans(before)[word]]
            came += [position for word in block.edited for position in spans(after)[word]]
    return went, came


def plain_mask(
    history: list[list[torch.Tensor]], tokens: tuple[list[int], list[int]], threshold: float, size: torch.Size
) -> torch.Tensor:
    """Where the changed words of source or edit are looked for, on the average over steps, layers and heads."""
    counts = {maps.shape[2] for maps in history[0]}
    nearest = min(counts, key=lambda count: abs(count - 16 * 16))
    every = torch.stack([maps for step in history for maps in step if maps.shape[2] == nearest]).mean(dim=(0, 2))
    side = int(nearest**0.5)  # pictures of the reference are square
    masks = []
    for row, positions in enumerate(tokens):
        word_map = every[row][:, positions].sum(dim=1).view(1, 1, side, side)
        word_map = F.interpolate(F.max_pool2d(word_map, 3, 1, 1), size=size)
        masks.append(word_map / word_map.max() > threshold if positions else torch.zeros(1, 1, *size, dtype=torch.bool))
    return masks[0] | masks[1]


@torch.no_grad()
def plain_ddim_inversion(model: LatentDiffusion, latent: torch.Tensor, caption: str, steps: int) -> torch.Tensor:
    """(steps + 1, C, h, w), noise first, at guidance 1."""
    embedding, latents = model.embed(caption), [latent]
    for timestep in reversed(model.timesteps(steps)):
        prediction = model.predict(latents[0], timestep, embedding)
        latents.insert(0, model.inverse_scheduler.step(prediction, timestep, latents[0]).prev_sample)
    return torch.cat(latents)


def plain_null_text(model: LatentDiffusion, image: Image.Image, caption: str, settings: Settings) -> Inversion:
    """Algorithm 1 of null-text inversion to the letter: ten steps of Adam at every denoising step, none spared."""
    steps, guidance = settings.num_inference_steps, settings.guidance_scale
    pivots = plain_ddim_inversion(model, model.encode(image), caption, steps).clone()
    embedding, null = model.embed(caption).clone(), model.embed("").clone()
    latent, trajectory, nulls = pivots[:1], [pivots[:1]], []

    def denoised(timestep: int, null: torch.Tensor) -> torch.Tensor:
        conditional = model.predict(latent, timestep, embedding)
        unconditional = model.predict(latent, timestep, null)
        prediction = unconditional + guidance * (conditional - unconditional)
        return model.scheduler.step(prediction, timestep, latent).prev_sample

    for i, timestep in enumerate(model.timesteps(steps)):
        null = null.detach().clone().requires_grad_()
        optimiser = torch.optim.Adam([null], lr=1e-2 * (1 - i / (2 * steps)))
        for _ in range(10):
            loss = F.mse_loss(denoised(timestep, null), pivots[i + 1 : i + 2])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            latent = denoised(timestep, null)
        trajectory.append(latent)
        nulls.append(null.detach())
    return Inversion(
        caption=caption,
        method="null-text",
        trajectory=torch.cat(trajectory),
        uncond_embeddings=torch.stack(nulls),
        reconstruction=model.decode(latent)[0],
        num_inference_steps=steps,
        guidance_scale=guidance,
    )
