"""Which word looks where: the cross-attention of a picture's own trajectory, small enough to be shown.

Follows prompt-to-prompt (Hertz et al., 2022), figure 3: maps of about 16 x 16, averaged over heads, layers and steps.
"""

from __future__ import annotations

import torch

from pipeline.editing.alignment import spans
from pipeline.editing.attention import WordMapRecorder, controlled, grid
from pipeline.editing.inversion import ticker
from pipeline.editing.latent_diffusion import LatentDiffusion
from pipeline.editing.memory import MicroBatches
from pipeline.types import Inversion, Step, WordMap


@torch.inference_mode()
def word_maps(
    model: LatentDiffusion, inversion: Inversion, micro_batches: MicroBatches, step: Step | None
) -> tuple[WordMap, ...]:
    """Return one map for each word of the caption; a word of several tokens has the sum of theirs.

    The trajectory is known, so its steps are independent of one another and go through the UNet many at once.
    """
    timesteps = torch.tensor(model.timesteps(inversion.num_inference_steps), device=model.device)
    latents, caption = inversion.trajectory[:-1].to(model.device), model.embed(inversion.caption)
    tick = ticker(step, len(timesteps))
    with controlled(model.unet) as control:

        def look(part: slice) -> torch.Tensor:
            rows = len(latents[part])
            seen = control.seen = WordMapRecorder(rows)
            model.predict(latents[part], timesteps[part], caption.expand(rows, -1, -1))
            for _ in range(rows):
                tick()
            return seen.maps().sum(dim=0)

        total = torch.stack(micro_batches.each(len(latents), look)).sum(dim=0) / len(latents)
    height, width = grid(len(total), latents.shape[2], latents.shape[3])
    words = model.words(inversion.caption)
    places = list(zip(words, spans(words), strict=True))[1:-1]
    return tuple(
        WordMap(
            word=model.spell(word),
            weights=total[:, place.start : place.stop].sum(dim=1).view(height, width).cpu().numpy(),
        )
        for word, place in places
    )
