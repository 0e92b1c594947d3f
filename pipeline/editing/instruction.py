"""Editing by instruction: what changed between two captions becomes a sentence that tells the model what to do.

Follows InstructPix2Pix (Brooks et al., 2023) through diffusers' own pipeline. There is no inversion: the picture's
latent stands beside the noise in every step, and how strongly it guides is the axis that takes tau's place
(`IMAGE_GUIDANCE`). Knows nothing of where captions come from or what edits are for.
"""

from __future__ import annotations

import difflib
import math
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_instruct_pix2pix import (
    StableDiffusionInstructPix2PixPipeline,
)
from PIL import Image
from safetensors import SafetensorError

from pipeline.editing.axes import IMAGE_GUIDANCE
from pipeline.editing.latent_diffusion import compile_blocks, fingerprint
from pipeline.errors import CaptionError, EditingError, ModelError
from pipeline.settings import Settings
from pipeline.types import Edit, Inversion, Step, WordMap

ARTICLES = frozenset({"a", "an", "the"})
# Where a phrase ends: words before it belong to it, words behind it do not.
BREAKS = frozenset(
    ("and", "at", "behind", "beside", "by", "from", "in", "near", "next", "of", "on", "over", "to", "under", "with")
)


class InstructPix2PixEditor:
    """InstructPix2Pix as an editor. Calls from several threads wait for one another."""

    def __init__(self, pipe: StableDiffusionInstructPix2PixPipeline) -> None:
        self._pipe = pipe
        networks = (pipe.vae, pipe.unet, pipe.text_encoder)
        known = (pipe.vae.config, pipe.unet.config, pipe.text_encoder.config.to_dict(), pipe.scheduler.config)
        self._fingerprint = f"instruct-pix2pix {fingerprint(networks, known)}"
        self._lock = threading.RLock()

    @classmethod
    def from_pretrained(
        cls, path: str, *, device: str = "cpu", dtype: str = "float32", compiled: bool = False
    ) -> InstructPix2PixEditor:
        """Open a diffusers folder, safetensors only; `compiled` as in `LatentDiffusion`.

        Raises `ModelError` when it is of another family or incomplete.
        """
        try:
            pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(
                path,
                use_safetensors=True,
                torch_dtype=getattr(torch, dtype),
                safety_checker=None,
                requires_safety_checker=False,
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelError(
                "The instruction editor could not be loaded; give a diffusers folder of InstructPix2Pix, all in "
                "safetensors.",
                path=path,
                detail=str(error).partition("\n")[0],
            ) from error
        latent, seen = pipe.vae.config.latent_channels, pipe.unet.config.in_channels
        if seen != 2 * latent:
            raise ModelError(
                f"The UNet of the diffusion model takes {seen} channels, but an instruction editor's takes the noise "
                f"and the picture, {2 * latent}; give an InstructPix2Pix, or use the family stable-diffusion.",
                path=path,
            )
        pipe.set_progress_bar_config(disable=True)
        if compiled:
            compile_blocks(pipe.unet)
        return cls(pipe.to(device))

    @property
    def fingerprint(self) -> str:
        """Return a hash of family, the pipeline's configurations, scheduler, precision and weights."""
        return self._fingerprint

    def word_maps(self, inversion: Inversion, step: Step | None = None) -> tuple[WordMap, ...]:
        """Return (): the model reads an instruction, and no word of the caption looks anywhere."""
        return ()

    def invert(self, image: Image.Image, caption: str, settings: Settings, step: Step | None = None) -> Inversion:
        """Encode the picture as it will guide its edits; the control is what the autoencoder alone makes of it.

        Raises `CaptionError` for an empty caption, `EditingError` for values that are not numbers.
        """
        if not caption.strip():
            raise CaptionError("The caption is empty; an instruction needs words to start from.")
        with self._lock, torch.inference_mode():
            latent = self._encode(image)
            reconstruction = self._decode(latent)
        if step is not None:
            step(1, 1)
        return Inversion(
            caption=caption,
            method="latent",
            trajectory=latent.float(),
            uncond_embeddings=None,
            reconstruction=reconstruction,
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
        )

    def edit(
        self, inversion: Inversion, edited_captions: Sequence[str], settings: Settings, step: Step | None = None
    ) -> Iterator[Edit]:
        """Yield every caption at every `settings.taus`, all from the same noise: only words and guidance differ.

        `step(done, total)` counts the denoising steps of all edits. Raises `CaptionError` at once; `EditingError`, and
        whatever `step` raises, while edits are being made.
        """
        orders = [instruction(inversion.caption, caption) for caption in edited_captions]
        for order in orders:
            self._check_length(order)
        return self._edits(inversion, orders, settings, step)

    def round_trip(self, image: Image.Image) -> float:
        """Return the PSNR in dB of encoding and decoding the picture; infinite when nothing changed."""
        before = np.asarray(self._fit(image), dtype=np.float64)
        with self._lock, torch.inference_mode():
            after = np.asarray(self._decode(self._encode(image)), dtype=np.float64)
        error = float(np.mean((before - after) ** 2))
        return 10 * math.log10(255**2 / error) if error else math.inf

    def _edits(
        self, inversion: Inversion, orders: Sequence[str], settings: Settings, step: Step | None
    ) -> Iterator[Edit]:
        done, total = 0, len(orders) * len(settings.taus) * settings.num_inference_steps

        def tick(_: object, __: int, ___: int, kept: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            nonlocal done
            done += 1
            if step is not None:
                step(done, total)
            return kept

        for index, order in enumerate(orders):
            for tau in settings.taus:
                with self._lock, torch.inference_mode():
                    latent = self._pipe(
                        prompt=order,
                        image=inversion.trajectory[-1:].to(self._pipe.device, self._pipe.unet.dtype),
                        num_inference_steps=settings.num_inference_steps,
                        guidance_scale=settings.guidance_scale,
                        image_guidance_scale=IMAGE_GUIDANCE.value(tau),
                        generator=torch.Generator("cpu").manual_seed(settings.seed),
                        output_type="latent",
                        callback_on_step_end=tick,
                    ).images
                    picture = self._decode(latent / self._pipe.vae.config.scaling_factor)
                yield Edit(index=index, tau=tau, image=picture)

    def _fit(self, image: Image.Image) -> Image.Image:
        """Return the picture in RGB and in the size the model was trained on."""
        side = self._pipe.unet.config.sample_size * self._pipe.vae_scale_factor
        image = image.convert("RGB")
        return image if image.size == (side, side) else image.resize((side, side), Image.Resampling.LANCZOS)

    def _encode(self, image: Image.Image) -> torch.Tensor:
        """Return (1, C, h, w), not scaled: so InstructPix2Pix takes the picture."""
        pixels = self._pipe.image_processor.preprocess(self._fit(image))
        latent: torch.Tensor = self._pipe.vae.encode(
            pixels.to(self._pipe.device, self._pipe.vae.dtype)
        ).latent_dist.mode()
        return latent

    def _decode(self, latent: torch.Tensor) -> Image.Image:
        pixels = self._pipe.vae.decode(latent.to(self._pipe.vae.dtype)).sample
        if not torch.isfinite(pixels).all():
            raise EditingError(
                f"The instruction editor in {pixels.dtype} gave values that are not numbers; choose the "
                "dtype float32, or load the model's weights anew."
            )
        picture: Image.Image = self._pipe.image_processor.postprocess(pixels, output_type="pil")[0]
        return picture

    def _check_length(self, order: str) -> None:
        tokenizer = self._pipe.tokenizer
        if (length := len(tokenizer(order).input_ids)) > tokenizer.model_max_length:
            raise CaptionError(
                f"The instruction '{order}' has {length} tokens, but the instruction editor reads at most "
                f"{tokenizer.model_max_length}; change fewer words of the caption."
            )


def instruction(caption: str, edited_caption: str) -> str:
    """Return how to get from one caption to the other, such as "turn the snowy field into a sandy beach".

    Raises `CaptionError` when the edited caption is empty or the same.
    """
    if not edited_caption.strip():
        raise CaptionError("An edited caption is empty; write what the picture should show.")
    old, new = caption.split(), edited_caption.split()
    changes = _changes(old, new)
    if not changes:
        raise CaptionError(f"The edited caption '{edited_caption}' says what the caption says; change at least a word.")
    return ", and ".join(_order(old, new, *change) for change in changes)


def _changes(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int, int, int]]:
    """Return (i, i_end, j, j_end) of every place that changed; an article between two of them does not part them."""
    matcher = difflib.SequenceMatcher(None, [_bare(word) for word in old], [_bare(word) for word in new], False)
    changes: list[tuple[int, int, int, int]] = []
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        if changes and {_bare(word) for word in old[changes[-1][1] : i]} <= ARTICLES:
            i, _, j, _ = changes.pop()
        changes.append((i, i_end, j, j_end))
    return changes


def _order(old: Sequence[str], new: Sequence[str], i: int, i_end: int, j: int, j_end: int) -> str:
    """Return one change as an order, with as much of its phrase as makes it readable: "brown" -> "a brown dog"."""
    # 1. Back to the phrase's article, unless the change begins the phrase, and on to its noun.
    begins = {_bare(side[0]) for side in (old[i:i_end], new[j:j_end]) if side} & (BREAKS | ARTICLES)
    while i and j and not begins and old[i - 1] == new[j - 1] and _bare(old[i - 1]) not in BREAKS:
        i, j = i - 1, j - 1
        begins = {_bare(old[i])} & ARTICLES
    while i_end < len(old) and j_end < len(new) and _bare(old[i_end]) not in BREAKS | ARTICLES:
        i_end, j_end = i_end + 1, j_end + 1
    went, came = _phrase(old[i:i_end]), _phrase(new[j:j_end])
    # 2. What went is there already, so it has a definite article.
    if not went:
        return f"add {came}"
    first, _, rest = went.partition(" ")
    definite = f"the {rest}" if first in ARTICLES and rest else f"the {went}"
    return f"turn {definite} into {came}" if came else f"remove {definite}"


def _phrase(words: Sequence[str]) -> str:
    bare = [_bare(word) for word in words]
    while bare and bare[0] in BREAKS:
        bare = bare[1:]
    return " ".join(bare)


def _bare(word: str) -> str:
    return word.strip(".,;:!?\"'()").lower() or word
