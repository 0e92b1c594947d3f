"""Invert once, edit for many captions and many tau.

Follows prompt-to-prompt (Hertz et al., 2022) on top of the inversions beside it. Knows nothing of where captions come
from or what edits are for.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL.Image import Image

from pipeline.editing.denoising import denoise, injected_steps, prepare
from pipeline.editing.inversion import invert, ticker
from pipeline.editing.latent_diffusion import LatentDiffusion
from pipeline.editing.memory import MicroBatches, report_shortage
from pipeline.editing.word_maps import word_maps
from pipeline.errors import CaptionError, SettingsError
from pipeline.settings import Settings
from pipeline.types import Edit, Inversion, Step, WordMap

MAX_EDITS = 25  # in one call of the UNet, each with its unconditional row: five captions at five tau; more gain nothing
MAX_PICTURES = 5  # decoded at once


class StableDiffusionEditor:
    """Prompt-to-prompt on a Stable Diffusion. Calls from several threads wait for one another."""

    def __init__(self, model: LatentDiffusion, *, max_edits: int = MAX_EDITS) -> None:
        """Take a model; `max_edits` bounds the edits in one call of the UNet, and memory may bound them further."""
        self.model = model
        self.micro_batches = MicroBatches(model.unet, 1 + 2 * max_edits)
        self._decoding = MicroBatches(model.vae, MAX_PICTURES)
        self._lock = threading.RLock()

    @classmethod
    def from_pretrained(
        cls, path: str, *, device: str = "cpu", dtype: str = "float32", compiled: bool = False
    ) -> StableDiffusionEditor:
        """Open a diffusers folder or hub id. Raises `ModelError` when a part is missing or of another family."""
        return cls(LatentDiffusion.from_pretrained(path, device=device, dtype=dtype, compiled=compiled))

    @property
    def fingerprint(self) -> str:
        """Return a hash of family, the model's configurations, schedulers, precision and weights."""
        return f"stable-diffusion {self.model.fingerprint}"

    def invert(self, image: Image, caption: str, settings: Settings, step: Step | None = None) -> Inversion:
        """Return the trajectory that leads to the picture under its caption.

        A picture of another size is resized to the model's. Raises `CaptionError` for an empty caption or one beyond
        the text window, `EditingError` for values that are not numbers or too little memory.
        """
        with self._lock, report_shortage("Inverting the picture"):
            return invert(self.model, image, caption, settings, step)

    def word_maps(self, inversion: Inversion, step: Step | None = None) -> tuple[WordMap, ...]:
        """Return which word of the inversion's caption looks where, in the caption's order; `step` as in `edit`."""
        with self._lock, report_shortage("Looking at the words"):
            return word_maps(self.model, inversion, self.micro_batches, step)

    def round_trip(self, image: Image) -> float:
        """Return the PSNR in dB of encoding and decoding the picture; infinite when nothing changed."""
        before = np.asarray(self.model.fit(image), dtype=np.float64)
        with self._lock, report_shortage("Encoding the picture"):
            after = np.asarray(self.model.decode(self.model.encode(image))[0], dtype=np.float64)
        error = float(np.mean((before - after) ** 2))
        return 10 * math.log10(255**2 / error) if error else math.inf

    def edit(
        self, inversion: Inversion, edited_captions: Sequence[str], settings: Settings, step: Step | None = None
    ) -> Iterator[Edit]:
        """Yield every caption at every `settings.taus`: the first caption's edits first, in the order of its tau.

        `step(done, total)` counts the denoising steps of all trajectories. Raises `CaptionError` and `SettingsError`
        at once; `EditingError`, and whatever `step` raises, while edits are being made.
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
        size = settings.captions_at_once or max(1, len(edited_captions))
        starts = range(0, len(edited_captions), size)
        tick = ticker(step, len(starts) * steps)
        for start in starts:
            with self._lock, report_shortage("Editing"):
                batch = prepare(self.model, inversion, edited_captions[start : start + size], settings)
                latents = denoise(self.model, batch, self.micro_batches, tick)
            for offset in range(latents.shape[1]):
                pictures = self._pictures(latents[:, offset])
                for tau, stop in zip(settings.taus, stops, strict=True):
                    yield Edit(index=start + offset, tau=tau, image=pictures[distinct.index(stop)])

    def _pictures(self, latents: torch.Tensor) -> list[Image]:
        with self._lock, report_shortage("Decoding pictures"):
            parts = self._decoding.each(len(latents), lambda part: self.model.decode(latents[part]))
        return [picture for part in parts for picture in part]


def _check(inversion: Inversion, edited_captions: Sequence[str], settings: Settings) -> None:
    """Refuse captions without words, and settings that the inversion was not made for."""
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
