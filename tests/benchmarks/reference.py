"""Prompt-to-prompt written as plainly as the paper reads: the yardstick for what the editing engine makes fast.

Every caption and every tau on its own, the source run again beside each of them with its own unconditional row, all
attention probabilities written out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL.Image import Image

from pipeline.editing.alignment import Alignment, align
from pipeline.editing.latent_diffusion import LatentDiffusion
from pipeline.types import Inversion, Settings

SOURCE, EDIT = 2, 3  # rows; the first two are the same, unconditionally


@dataclass(slots=True, eq=False)
class Injection:
    """Which maps of the source the edit takes over, and until when."""

    alignment: Alignment
    self_stop: int
    cross_stop: int
    step: int = 0


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
        states = (probabilities @ value).transpose(1, 2)
        return attn.to_out[0](states.reshape(hidden_states.shape))

    def edited_map(self, probabilities: torch.Tensor, *, is_self: bool) -> torch.Tensor:
        injection = self.injection
        if is_self and injection.step < injection.self_stop and probabilities.shape[2] <= 32 * 32:
            return probabilities[SOURCE]
        if not is_self and injection.step < injection.cross_stop:
            carried = probabilities[SOURCE] @ injection.alignment.matrix
            own = probabilities[EDIT] * injection.alignment.own
            return (carried + own) * injection.alignment.weight
        return probabilities[EDIT]


@torch.no_grad()
def plain_edit(
    model: LatentDiffusion, inversion: Inversion, edited_caption: str, tau: float, settings: Settings
) -> Image:
    """One edit at one tau. The model's attention processors are put back at the end."""
    steps = settings.num_inference_steps
    alignment = align(
        model.words(inversion.caption), model.words(edited_caption), model.window, word_weight=settings.word_weight
    )
    injection = Injection(alignment, int(tau * steps), int(settings.cross_replace_steps * steps))
    processors = dict(model.unet.attn_processors)
    model.unet.set_attn_processor(PlainAttention(injection))
    source_embedding, edited_embedding, empty = (model.embed(c) for c in (inversion.caption, edited_caption, ""))
    source = edited = inversion.trajectory[:1]
    for step, timestep in enumerate(model.timesteps(steps)):
        injection.step = step
        if inversion.method == "pnp":
            source = inversion.trajectory[step : step + 1]
        null = empty if inversion.uncond_embeddings is None else inversion.uncond_embeddings[step]
        embeddings = torch.cat((null, null, source_embedding, edited_embedding))
        latents = torch.cat((source, edited))
        unconditional, conditional = model.predict(torch.cat((latents, latents)), timestep, embeddings).chunk(2)
        prediction = unconditional + settings.guidance_scale * (conditional - unconditional)
        source, edited = model.scheduler.step(prediction, timestep, latents).prev_sample.chunk(2)
    model.unet.set_attn_processor(processors)
    return model.decode(edited)
