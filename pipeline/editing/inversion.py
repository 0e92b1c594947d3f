"""From a picture and its caption to a denoising trajectory that leads back to the picture.

`pnp` follows direct inversion (Ju et al., 2024), `null_text` null-text inversion (Mokady et al., 2023),
`negative_prompt` negative-prompt inversion (Miyake et al., 2023); all three start from DDIM inversion (Song et al.,
2021), which `plain` does nothing to mend: the control. Knows nothing of edits: what an edit needs of its source is the
trajectory and the unconditional embeddings. To add an inversion: a function, and its entry in `METHODS`, which
settings, page and command line choose from; importing this module loads no model library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import CaptionError, SettingsError
from pipeline.settings import Settings
from pipeline.types import Inversion, Step

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from pipeline.editing.latent_diffusion import LatentDiffusion

    # trajectory (steps + 1, C, h, w), noise first, and uncond_embeddings (steps, 1, n, width)
    Path = tuple[torch.Tensor, torch.Tensor | None]
    # model, the picture's latent (1, C, h, w), its caption's embedding (1, tokens, width), settings, step -> path
    Find = Callable[[LatentDiffusion, torch.Tensor, torch.Tensor, Settings, Step | None], Path]
    Optimum = tuple[torch.Tensor, torch.Tensor, tuple[float, ...]]  # embedding, latent that it leads to, losses

INNER_STEPS = 10
TOLERANCE = (1e-5, 1e-3)  # the loss that is good enough: at the first denoising step, and what is added up to the last

Tick = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class InversionMethod:
    """One way to invert."""

    name: str  # as people call it
    help: str  # what it is good for
    find: Find


def invert(model: LatentDiffusion, image: Image, caption: str, settings: Settings, step: Step | None) -> Inversion:
    """Invert by `settings.inversion`. Raises `CaptionError`, `SettingsError`, `EditingError` and what `step` raises."""
    if not caption.strip():
        raise CaptionError("The caption is empty; inversion needs words for what the picture shows.")
    method = method_of(settings)
    trajectory, uncond_embeddings = method.find(model, model.encode(image), model.embed(caption), settings, step)
    return Inversion(
        caption=caption,
        method=settings.inversion,
        trajectory=trajectory,
        uncond_embeddings=uncond_embeddings,
        reconstruction=model.decode(trajectory[-1:])[0],
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
    )


def method_of(settings: Settings) -> InversionMethod:
    """Return the inversion that the settings name. Raises `SettingsError` for an unknown one."""
    if settings.inversion not in METHODS:
        raise SettingsError(f"The inversion '{settings.inversion[:60]}' is unknown; use {', '.join(METHODS)}.")
    return METHODS[settings.inversion]


def pnp(
    model: LatentDiffusion, latent: torch.Tensor, caption: torch.Tensor, settings: Settings, step: Step | None
) -> Path:
    """Return the latents of DDIM inversion themselves: editing sets the source back to them at every step."""
    return ddim(model, latent, caption, settings, ticker(step, settings.num_inference_steps)), None


def negative_prompt(
    model: LatentDiffusion, latent: torch.Tensor, caption: torch.Tensor, settings: Settings, step: Step | None
) -> Path:
    """Take the source's caption as the unconditional one, so that guidance leaves the conditional prediction alone."""
    import torch

    steps = settings.num_inference_steps
    tick = ticker(step, 2 * steps)
    noise = ddim(model, latent, caption, settings, tick)[:1]
    latents = [noise]
    with torch.inference_mode():
        for timestep in model.timesteps(steps):
            prediction = model.predict(latents[-1], timestep, caption)
            latents.append(model.denoise(prediction, timestep, latents[-1]))
            tick()
    return torch.cat(latents), caption.expand(steps, 1, -1, -1)


def plain(
    model: LatentDiffusion, latent: torch.Tensor, caption: torch.Tensor, settings: Settings, step: Step | None
) -> Path:
    """Denoise with guidance from the noise of DDIM inversion, wherever it leads: neither set back nor optimised."""
    import torch

    tick = ticker(step, 2 * settings.num_inference_steps)
    latents, null = [ddim(model, latent, caption, settings, tick)[:1]], model.embed("")
    with torch.inference_mode():
        for timestep in model.timesteps(settings.num_inference_steps):
            latents.append(guided(model, latents[-1], timestep, caption, settings.guidance_scale)(null))
            tick()
    return torch.cat(latents), None


def null_text(
    model: LatentDiffusion, latent: torch.Tensor, caption: torch.Tensor, settings: Settings, step: Step | None
) -> Path:
    """Optimise an unconditional embedding per step so that guided denoising follows the pivots of DDIM inversion."""
    import torch

    from pipeline.editing.memory import retry_with_checkpointing

    steps = settings.num_inference_steps
    tick = ticker(step, 2 * steps)
    # Tensors made under inference_mode cannot enter a backward pass, their copies can.
    pivots = ddim(model, latent, caption, settings, tick).clone()
    caption, null = caption.clone(), model.embed("").clone()
    trajectory, embeddings = [pivots[:1]], []
    try:
        for i, timestep in enumerate(model.timesteps(steps)):

            def best(null: torch.Tensor = null, i: int = i, timestep: int = timestep) -> Optimum:
                guided_step = guided(model, trajectory[-1], timestep, caption, settings.guidance_scale)
                return optimise(null, guided_step, pivots[i + 1 : i + 2], i / steps, settings)

            null, latent, _ = retry_with_checkpointing(model.unet, best)
            trajectory.append(latent)
            embeddings.append(null)
            tick()
    finally:
        model.unet.disable_gradient_checkpointing()
    return torch.cat(trajectory), torch.stack(embeddings)


def guided(
    model: LatentDiffusion, latent: torch.Tensor, timestep: int, caption: torch.Tensor, guidance_scale: float
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return S_{k-1}(z_k, null, c) of the paper as a function of null. The conditional prediction is made once."""
    import torch

    with torch.no_grad():
        conditional = model.predict(latent, timestep, caption)

    def denoise(null: torch.Tensor) -> torch.Tensor:
        unconditional = model.predict(latent, timestep, null)
        prediction = unconditional + guidance_scale * (conditional - unconditional)
        return model.denoise(prediction, timestep, latent)

    return denoise


def optimise(
    null: torch.Tensor,
    guided_step: Callable[[torch.Tensor], torch.Tensor],
    pivot: torch.Tensor,
    progress: float,
    settings: Settings,
) -> Optimum:
    """Minimise ||z_{k-1} - S_{k-1}(z_k, null, c)||^2 over null by Adam, in float32 and from `null` (1, n, width) on.

    `progress` in 0..1 is how far denoising has come. Returns the best embedding seen, the latent that it leads to, and
    the losses in the order they were met. The published tolerance, written for any number of steps.
    """
    import torch
    from torch.nn.functional import mse_loss

    null = null.detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([null], lr=settings.null_text_learning_rate * (1 - progress / 2))
    tolerance = TOLERANCE[0] + TOLERANCE[1] * progress
    losses: list[float] = []
    best = null.detach(), pivot
    for inner in range(INNER_STEPS + 1):
        # 1. How far from the pivot does this embedding lead?
        with torch.enable_grad():
            latent = guided_step(null)
            loss = mse_loss(latent, pivot)
        losses.append(loss.item())
        if losses[-1] == min(losses):
            best = null.detach().clone(), latent.detach()
        gained = inner == 0 or losses[-1] < (1 - settings.null_text_min_gain) * losses[-2]
        if losses[-1] < tolerance or inner == INNER_STEPS or (settings.null_text_min_gain and not gained):
            break
        # 2. A step of Adam.
        null.grad = torch.autograd.grad(loss, null)[0]
        optimiser.step()
    return *best, tuple(losses)


def ddim(
    model: LatentDiffusion, latent: torch.Tensor, caption: torch.Tensor, settings: Settings, tick: Tick
) -> torch.Tensor:
    """Invert latent (1, C, h, w) by DDIM under its caption at guidance 1: (steps + 1, C, h, w), noise first."""
    import torch

    latents = [latent]
    with torch.inference_mode():
        for timestep in reversed(model.timesteps(settings.num_inference_steps)):
            prediction = model.predict(latents[-1], timestep, caption)
            latents.append(model.noise(prediction, timestep, latents[-1]))
            tick()
        return torch.cat(latents[::-1])


def ticker(step: Step | None, total: int) -> Tick:
    """Return a counter that tells `step` how many of `total` denoising steps are done."""
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if step is not None:
            step(done, total)

    return tick


METHODS = {
    "pnp": InversionMethod(name="PnP", help="exact, fast", find=pnp),
    "null-text": InversionMethod(name="Null-text", help="the most faithful, slow", find=null_text),
    "negative-prompt": InversionMethod(name="Negative prompt", help="cheapest", find=negative_prompt),
    "ddim": InversionMethod(name="DDIM", help="the control, nothing mended", find=plain),
}
