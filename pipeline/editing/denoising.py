"""Edits on their way from noise to picture: one trajectory for all captions and all tau of a photo.

tau is the fraction of denoising steps during which the source's self-attention is injected. Two tau differ only from
the smaller one's last injected step on, so the edits of one caption run as one row of the batch and fork there; the
source, whose trajectory the inversion knows, runs once beside all of them, conditionally, and only while something is
taken from it. What is held at any time grows with the rows, never with the steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from pipeline.editing.alignment import align, changed_tokens, occurrences
from pipeline.editing.attention import AttentionControl, CrossMaps, WordMapRecorder, controlled
from pipeline.editing.blend import LocalBlend
from pipeline.editing.inversion import Tick
from pipeline.editing.latent_diffusion import LatentDiffusion
from pipeline.editing.memory import MicroBatches
from pipeline.settings import Settings
from pipeline.types import Inversion


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Captions that are edited together, ready for the UNet and on its device. C captions, n tokens."""

    timesteps: tuple[int, ...]
    trajectory: torch.Tensor  # (steps + 1, channels, h, w): the source
    source: torch.Tensor  # (1, n, width)
    edited: torch.Tensor  # (C, n, width)
    unconditional: torch.Tensor  # (steps, 1, n, width)
    maps: CrossMaps  # of C rows, while injection lasts
    cross_stops: torch.Tensor  # (C, n): the step at which each edited token's cross-attention injection stops
    cross_stop: int  # the last of them
    stops: tuple[int, ...]  # ascending, distinct: the steps at which self-attention injection stops
    guidance_scale: float
    blend: LocalBlend | None

    def cross_maps(self, captions: list[int], i: int) -> CrossMaps | None:
        """Return how rows with these captions take the source's cross-attention in step i; None: not at all."""
        if i >= self.cross_stop:
            return None
        injected = (i < self.cross_stops[captions]).float()
        return CrossMaps(
            matrix=self.maps.matrix[captions] * injected[:, None],
            own=self.maps.own[captions] * injected + 1 - injected,
            weight=self.maps.weight[captions] * injected + 1 - injected,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Edits on their way through one step."""

    latents: torch.Tensor  # (R, channels, h, w)
    captions: list[int]  # of each row
    injected: list[bool]  # whether each row still takes the source's self-attention

    def __getitem__(self, part: slice) -> Rows:
        return Rows(latents=self.latents[part], captions=self.captions[part], injected=self.injected[part])


def prepare(model: LatentDiffusion, inversion: Inversion, captions: tuple[str, ...], settings: Settings) -> Batch:
    """Prepare all about these edited captions that does not change on the way. Raises `CaptionError`."""
    steps, device = settings.num_inference_steps, model.device
    source, edited = model.words(inversion.caption), [model.words(caption) for caption in captions]
    alignments = [
        align(source, words, model.window, mapping=settings.cross_attention, word_weight=settings.word_weight)
        for words in edited
    ]
    cross_stops = torch.full((len(captions), model.window), injected_steps(settings.cross_replace_steps, steps))
    for phrase, fraction in settings.word_fractions:
        for stops, words in zip(cross_stops, edited, strict=True):
            stops[occurrences(words, model.words(phrase)[1:-1])] = injected_steps(fraction, steps)
    unconditional = inversion.uncond_embeddings
    if unconditional is None:
        unconditional = model.embed("").expand(steps, 1, -1, -1)
    return Batch(
        timesteps=model.timesteps(steps),
        trajectory=inversion.trajectory.to(device),
        source=model.embed(inversion.caption),
        edited=torch.cat([model.embed(caption) for caption in captions]),
        unconditional=unconditional.to(device),
        maps=CrossMaps(
            matrix=torch.stack([alignment.matrix for alignment in alignments]).to(device),
            own=torch.stack([alignment.own for alignment in alignments]).to(device),
            weight=torch.stack([alignment.weight for alignment in alignments]).to(device),
        ),
        cross_stops=cross_stops.to(device),
        cross_stop=int(cross_stops.max()),
        stops=tuple(sorted({injected_steps(tau, steps) for tau in settings.taus})),
        guidance_scale=settings.guidance_scale,
        blend=_local_blend(model, inversion.caption, captions, settings),
    )


def _local_blend(
    model: LatentDiffusion, caption: str, captions: tuple[str, ...], settings: Settings
) -> LocalBlend | None:
    if settings.local_blend == 0:
        return None
    went, came = torch.zeros(2, len(captions), model.window)
    for row, edited_caption in enumerate(captions):
        gone, new = changed_tokens(model.words(caption), model.words(edited_caption))
        went[row, gone], came[row, new] = 1, 1
    return LocalBlend(
        went=went.to(model.device),
        came=came.to(model.device),
        threshold=settings.local_blend,
        start=injected_steps(settings.local_blend_start, settings.num_inference_steps),
    )


@torch.inference_mode()
def denoise(model: LatentDiffusion, batch: Batch, micro_batches: MicroBatches, tick: Tick) -> torch.Tensor:
    """Return the latents of the edits (stops, captions, channels, h, w), in the order of `batch.stops`."""
    captions, last = len(batch.edited), batch.stops[-1]
    # (branches, captions, ...): the last branch is the trunk, from which the others have forked.
    latents = batch.trajectory[None, :1].expand(1, captions, -1, -1, -1)
    heat = torch.zeros(1, captions, 1, 1, device=model.device)
    with controlled(model.unet) as control:
        for i, timestep in enumerate(batch.timesteps):
            # 1. Where injection stops for some tau but goes on for larger ones, that tau leaves the trunk.
            if i in batch.stops and i < last:
                latents, heat = (torch.cat((tensor, tensor[-1:])) for tensor in (latents, heat))
            branches = len(latents)
            rows = Rows(
                latents=latents.flatten(0, 1),
                captions=list(range(captions)) * branches,
                injected=[False] * captions * (branches - 1) + [i < last] * captions,
            )
            # 2. One DDIM step of all of them, in as few calls of the UNet as memory allows.
            guide = partial(_guide, model, control, batch, rows, i)
            parts = micro_batches.each(len(rows.captions), guide, rows=2, beside=1)
            prediction, seen = (torch.cat(values) for values in zip(*parts, strict=True))
            latents = model.denoise(prediction, timestep, rows.latents)
            # 3. What the words do not point at stays the source's.
            if batch.blend is not None:
                heat = heat + seen.view(branches, captions, *seen.shape[1:])
                if i >= batch.blend.start:
                    latents = batch.blend.apply(latents, batch.trajectory[i + 1 : i + 2], heat.flatten(0, 1))
            latents = latents.view(branches, captions, *latents.shape[1:])
            tick()
    return latents


def _guide(
    model: LatentDiffusion, control: AttentionControl, batch: Batch, all_rows: Rows, i: int, part: slice
) -> tuple[torch.Tensor, torch.Tensor]:
    """Call the UNet once: source, conditional and unconditional rows -> guided predictions (R, channels, h, w).

    And what the blend takes from the call: heat (R, 2, positions), empty where nothing is blended.
    """
    rows = all_rows[part]
    count, guidance = len(rows.captions), batch.guidance_scale != 1.0
    control.cross_maps = batch.cross_maps(rows.captions, i)
    control.self_rows = _self_rows(rows, guidance, model.device)
    control.seen = WordMapRecorder(1 + count) if batch.blend is not None else None
    with_source = any(part is not None for part in (control.cross_maps, control.self_rows, control.seen))
    # 1. The source only where something is taken from it; unconditional rows only where guidance asks for them.
    latents = [batch.trajectory[i : i + 1]] * with_source + [rows.latents] * (1 + guidance)
    embeddings = [batch.source] * with_source + [batch.edited[rows.captions]]
    embeddings += [batch.unconditional[i].expand(count, -1, -1)] * guidance
    prediction = model.predict(torch.cat(latents), batch.timesteps[i], torch.cat(embeddings))[int(with_source) :]
    # 2. Classifier-free guidance.
    conditional = prediction[:count]
    if guidance:
        unconditional = prediction[count:]
        conditional = unconditional + batch.guidance_scale * (conditional - unconditional)
    if batch.blend is None or control.seen is None:
        return conditional, conditional.new_empty(count, 0)
    return conditional, batch.blend.heat(control.seen.maps(), control.cross_maps, rows.captions)


def _self_rows(rows: Rows, guidance: bool, device: torch.device) -> torch.Tensor | None:
    """Return whose self-attention each row takes: the source's, row 0, or its own; None when all take their own."""
    if not any(rows.injected):
        return None
    conditional = [0 if injected else 1 + row for row, injected in enumerate(rows.injected)]
    count = len(conditional)
    unconditional = range(1 + count, 1 + 2 * count) if guidance else ()
    return torch.tensor([0, *conditional, *unconditional], device=device)


def injected_steps(fraction: float, steps: int) -> int:
    """Return how many of the steps a fraction makes, rounded down as in the reference, but 0.29 of 100 is 29."""
    return int(fraction * steps + 1e-6)
