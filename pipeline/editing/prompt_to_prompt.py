"""Invert once, edit for many captions and many tau.

Follows prompt-to-prompt (Hertz et al., 2022) on top of the inversions beside it. tau is the fraction of denoising
steps during which the source's self-attention is injected. Two tau differ only from the smaller one's last injected
step on, so the edits of one caption run as one row of the batch and fork there; the source, whose trajectory the
inversion knows, runs once beside all of them. Knows nothing of where captions come from or what edits are for.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL.Image import Image

from pipeline.editing.alignment import Alignment, align
from pipeline.editing.attention import AttentionControl, CrossMaps, controlled
from pipeline.editing.inversion import Tick, invert, ticker
from pipeline.editing.latent_diffusion import LatentDiffusion
from pipeline.errors import CaptionError, EditingError, SettingsError
from pipeline.types import Edit, Inversion, Settings, Step

MAX_EDITS = 5  # edited rows in one call of the UNet; each brings its unconditional row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Captions that are edited together, ready for the UNet. C captions, n tokens."""

    timesteps: tuple[int, ...]
    trajectory: torch.Tensor  # (steps + 1, channels, h, w): the source
    source: torch.Tensor  # (1, n, width)
    edited: torch.Tensor  # (C, n, width)
    unconditional: torch.Tensor  # (steps, 1, n, width)
    alignments: tuple[Alignment, ...]
    stops: tuple[int, ...]  # ascending, distinct: the steps at which self-attention injection stops
    cross_stop: int  # the step at which cross-attention injection stops
    guidance_scale: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Edits on their way through one step."""

    latents: torch.Tensor  # (R, channels, h, w)
    captions: tuple[int, ...]  # of each row
    injected: tuple[bool, ...]  # whether each row still takes the source's self-attention

    def __getitem__(self, part: slice) -> Rows:
        return Rows(latents=self.latents[part], captions=self.captions[part], injected=self.injected[part])


class StableDiffusionEditor:
    """Prompt-to-prompt on a Stable Diffusion. Calls from several threads wait for one another."""

    def __init__(self, model: LatentDiffusion, *, max_edits: int = MAX_EDITS) -> None:
        self.model = model
        self.max_edits = max_edits  # halved when memory runs out
        self._lock = threading.RLock()

    @classmethod
    def from_pretrained(cls, path: str, *, device: str = "cpu", dtype: str = "float32") -> StableDiffusionEditor:
        """From a diffusers folder or hub id. Raises `ModelError` when a part is missing or of another family."""
        return cls(LatentDiffusion.from_pretrained(path, device=device, dtype=dtype))

    def invert(self, image: Image, caption: str, settings: Settings, step: Step | None = None) -> Inversion:
        """The trajectory that leads to the picture under its caption.

        A picture of another size is resized to the model's. Raises `CaptionError` for an empty caption or one beyond
        the text window, `EditingError` for values that are not numbers.
        """
        with self._lock:
            return invert(self.model, image, caption, settings, step)

    def round_trip(self, image: Image) -> float:
        """PSNR in dB of encoding and decoding the picture; infinite when nothing changed."""
        before = np.asarray(self.model.fit(image), dtype=np.float64)
        with self._lock:
            after = np.asarray(self.model.decode(self.model.encode(image)), dtype=np.float64)
        error = float(np.mean((before - after) ** 2))
        return 10 * math.log10(255**2 / error) if error else math.inf

    def edit(
        self, inversion: Inversion, edited_captions: Sequence[str], settings: Settings, step: Step | None = None
    ) -> Iterator[Edit]:
        """Every caption at every `settings.taus`: the edits of the first caption first, in the order of its tau.

        `step(done, total)` counts the denoising steps of all captions. Raises `CaptionError` and `SettingsError` at
        once; `EditingError`, and whatever `step` raises, while edits are being made.
        """
        _check(inversion, edited_captions, settings)
        for caption in edited_captions:
            self.model.words(caption)
        return self._edits(inversion, tuple(edited_captions), settings, step)

    def _edits(
        self, inversion: Inversion, edited_captions: tuple[str, ...], settings: Settings, step: Step | None
    ) -> Iterator[Edit]:
        steps = settings.num_inference_steps
        stops = [injected_steps(tau, steps) for tau in settings.taus]
        distinct = sorted(set(stops))
        size = max(1, self.max_edits // len(distinct))
        starts = range(0, len(edited_captions), size)
        tick = ticker(step, len(starts) * steps)
        for start in starts:
            with self._lock:
                batch = self._prepare(inversion, edited_captions[start : start + size], settings)
                latents = self._denoise(batch, tick)
            for offset in range(latents.shape[1]):
                pictures = [self._picture(latents[branch, offset]) for branch in range(len(distinct))]
                for tau, stop in zip(settings.taus, stops, strict=True):
                    yield Edit(index=start + offset, tau=tau, image=pictures[distinct.index(stop)])

    def _picture(self, latent: torch.Tensor) -> Image:
        with self._lock:
            return self.model.decode(latent[None])

    def _prepare(self, inversion: Inversion, edited_captions: tuple[str, ...], settings: Settings) -> Batch:
        model, steps = self.model, settings.num_inference_steps
        source_words = model.words(inversion.caption)
        alignments = tuple(
            align(
                source_words,
                model.words(caption),
                model.window,
                mapping=settings.cross_attention,
                word_weight=settings.word_weight,
            )
            for caption in edited_captions
        )
        unconditional = inversion.uncond_embeddings
        if unconditional is None:
            unconditional = model.embed("").expand(steps, 1, -1, -1)
        return Batch(
            timesteps=model.timesteps(steps),
            trajectory=inversion.trajectory.to(model.device),
            source=model.embed(inversion.caption),
            edited=torch.cat([model.embed(caption) for caption in edited_captions]),
            unconditional=unconditional.to(model.device),
            alignments=alignments,
            stops=tuple(sorted({injected_steps(tau, steps) for tau in settings.taus})),
            cross_stop=injected_steps(settings.cross_replace_steps, steps),
            guidance_scale=settings.guidance_scale,
        )

    @torch.inference_mode()
    def _denoise(self, batch: Batch, tick: Tick) -> torch.Tensor:
        """Latents of the edits (stops, captions, channels, h, w), in the order of `batch.stops`."""
        captions, last = len(batch.alignments), batch.stops[-1]
        # (branches, captions, ...): the last branch is the trunk, from which the others have forked.
        latents = batch.trajectory[None, :1].expand(1, captions, -1, -1, -1)
        with controlled(self.model.unet) as control:
            for i, timestep in enumerate(batch.timesteps):
                # 1. Where injection stops for some tau but goes on for larger ones, that tau leaves the trunk.
                if i in batch.stops and i < last:
                    latents = torch.cat((latents, latents[-1:]))
                branches = len(latents)
                rows = Rows(
                    latents=latents.flatten(0, 1),
                    captions=tuple(range(captions)) * branches,
                    injected=(False,) * captions * (branches - 1) + (i < last,) * captions,
                )
                # 2. One DDIM step of all of them.
                prediction = self._predict(control, batch, rows, i)
                latents = self.model.denoise(prediction, timestep, rows.latents).view_as(latents)
                tick()
        return latents

    def _predict(self, control: AttentionControl, batch: Batch, rows: Rows, i: int) -> torch.Tensor:
        """Guided predictions of all rows (R, channels, h, w), in as few calls of the UNet as memory allows."""
        while True:
            try:
                starts = range(0, len(rows.captions), self.max_edits)
                parts = [rows[start : start + self.max_edits] for start in starts]
                return torch.cat([_guide(self.model, control, batch, part, i) for part in parts])
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                if self.max_edits == 1:
                    raise EditingError(
                        f"Editing with '{self.model.name}' ran out of memory with a single edit; free memory on "
                        f"{self.model.device}, or choose a smaller model or the dtype float16."
                    ) from error
                self.max_edits //= 2


def injected_steps(fraction: float, steps: int) -> int:
    """How many of the steps a fraction of them makes. Rounded down as in the reference, but 0.29 of 100 is 29."""
    return int(fraction * steps + 1e-6)


def _guide(model: LatentDiffusion, control: AttentionControl, batch: Batch, rows: Rows, i: int) -> torch.Tensor:
    """One call of the UNet: source, conditional and unconditional rows -> guided predictions (R, channels, h, w)."""
    count, chosen = len(rows.captions), list(rows.captions)
    guidance = batch.guidance_scale != 1.0
    _set_control(control, batch, rows, i)
    with_source = control.self_rows is not None or control.cross_maps is not None
    # 1. The source only where something is taken from it; unconditional rows only where guidance asks for them.
    latents = [batch.trajectory[i : i + 1]] * with_source + [rows.latents] * (1 + guidance)
    embeddings = [batch.source] * with_source + [batch.edited[chosen]]
    embeddings += [batch.unconditional[i].expand(count, -1, -1)] * guidance
    prediction = model.predict(torch.cat(latents), batch.timesteps[i], torch.cat(embeddings))[int(with_source) :]
    # 2. Classifier-free guidance.
    conditional = prediction[:count]
    if not guidance:
        return conditional
    unconditional = prediction[count:]
    return unconditional + batch.guidance_scale * (conditional - unconditional)


def _set_control(control: AttentionControl, batch: Batch, rows: Rows, i: int) -> None:
    """Says which rows take what from the source (row 0) in step i."""
    count, device = len(rows.captions), batch.trajectory.device
    control.self_rows = None
    if any(rows.injected):
        own = range(1, 1 + count)
        conditional = [0 if injected else row for row, injected in zip(own, rows.injected, strict=True)]
        unconditional = range(1 + count, 1 + 2 * count) if batch.guidance_scale != 1.0 else ()
        control.self_rows = torch.tensor([0, *conditional, *unconditional], device=device)
    control.cross_maps = None
    if i < batch.cross_stop:
        chosen = [batch.alignments[caption] for caption in rows.captions]
        control.cross_maps = CrossMaps(
            matrix=torch.stack([a.matrix for a in chosen])[:, None].to(device),
            own=torch.stack([a.own for a in chosen])[:, None, None].to(device),
            weight=torch.stack([a.weight for a in chosen])[:, None, None].to(device),
        )


def _check(inversion: Inversion, edited_captions: Sequence[str], settings: Settings) -> None:
    """Refuses captions without words, and settings that the inversion was not made for."""
    if not all(caption.strip() for caption in edited_captions):
        raise CaptionError("An edited caption is empty; write what the picture should show.")
    if inversion.num_inference_steps != settings.num_inference_steps:
        raise SettingsError(
            f"The picture was inverted in {inversion.num_inference_steps} steps, but the edit asks for "
            f"{settings.num_inference_steps}; invert it again with the same number."
        )
    if inversion.method == "null-text" and inversion.guidance_scale != settings.guidance_scale:
        raise SettingsError(
            f"Null-text inversion was made for guidance {inversion.guidance_scale}, but the edit asks for "
            f"{settings.guidance_scale}; invert the picture again."
        )


def _is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an error of its own; on the CPU the allocator says so in words."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
