"""The making of every model of the tiny profile, in an order in which each finds what it needs.

A model that is complete under `out` is left alone; one that was interrupted goes on from its checkpoint under `work`.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffusers import AutoencoderKL

from pipeline.tiny.autoencoder import train_autoencoder
from pipeline.tiny.captioner import train_captioner
from pipeline.tiny.classifiers import ARCHITECTURES, train_attributes, train_classifier
from pipeline.tiny.clip import train_clip
from pipeline.tiny.data import BIASED_SEED, TRAIN_SEED, Scenes, scenes
from pipeline.tiny.diffusion import train_diffusion
from pipeline.tiny.language import train_adapter, train_perturber, train_sentences
from pipeline.tiny.world import BIAS

log = logging.getLogger(__name__)

FULL = "classifiers trained in full"
STEPS = {
    "sentences": 500,
    "perturber": 900,
    "perturber-lora": 1600,
    "autoencoder": 2400,
    "decoder": 5000,
    "attributes": 500,
    # The shipped classifiers are patients to show: stopped early, while they lean on backgrounds hardest.
    "resnet": 210,
    "densenet": 165,
    "repvgg": 550,
    FULL: 900,  # those of the study, the same for every architecture and every strength of bias
    "clip": 3000,
    "captioner": 1700,
    "diffusion": 3500,
}
SHARD = "9MB"  # every file stays under 10 MB, so that the repository can be pushed to a Space as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Where the models are made and how long each is trained."""

    out: Path
    work: Path
    uniform: int = 40_000  # scenes for everything but the classifiers under study
    biased: int = 3_000  # scenes for those
    share: float = 1.0  # of `STEPS`

    def steps(self, name: str) -> int:
        """Return the optimiser steps for this model."""
        return max(2, round(STEPS[name] * self.share))

    def scenes(self, bias: float = 0.0) -> Scenes:
        """Return the training scenes, uniform or biased."""
        if bias:
            return scenes(self.biased, BIASED_SEED, self.work / "scenes", bias=bias)
        return scenes(self.uniform, TRAIN_SEED, self.work / "scenes")


def _autoencoder(shop: Workshop, out: Path) -> None:
    steps = shop.steps("autoencoder"), shop.steps("decoder")
    train_autoencoder(shop.scenes(), shop.work, *steps).save_pretrained(out)


def _diffusion(shop: Workshop, out: Path) -> None:
    autoencoder = AutoencoderKL.from_pretrained(shop.work / "autoencoder")
    pipeline = train_diffusion(autoencoder, shop.scenes(), shop.work, shop.steps("diffusion"))
    for part in (pipeline.vae, pipeline.unet, pipeline.text_encoder):
        part.half()
    pipeline.save_pretrained(out, max_shard_size=SHARD)


def _classifiers(shop: Workshop, out: Path) -> None:
    for name in ARCHITECTURES:
        train_classifier(name, shop.scenes(BIAS), shop.work, out / name, shop.steps(name))


def train_in_full(shop: Workshop, out: Path, bias: float, names: Sequence[str]) -> None:
    """Train these architectures on scenes of this strength of bias; those that are complete are left alone."""
    for name in names:
        if (out / name).exists():
            continue
        unfinished = out / f"{name}.part"
        train_classifier(name, shop.scenes(bias), shop.work / f"bias-{bias:g}", unfinished, shop.steps(FULL))
        unfinished.rename(out / name)
        log.info("%s is done", out / name)


MAKERS: dict[str, Callable[[Workshop, Path], None]] = {
    "sentences": lambda shop, out: train_sentences(shop.work, out, shop.steps("sentences")),
    "perturber": lambda shop, out: train_perturber(shop.work, out, shop.steps("perturber")),
    "perturber-lora": lambda shop, out: train_adapter(
        shop.out / "perturber", shop.work, out, shop.steps("perturber-lora")
    ),
    "attributes": lambda shop, out: train_attributes(shop.scenes(), shop.work, out, shop.steps("attributes")),
    "classifiers": _classifiers,
    "clip": lambda shop, out: train_clip(shop.scenes(), shop.work, out, shop.steps("clip")),
    "captioner": lambda shop, out: train_captioner(shop.scenes(), shop.work, out, shop.steps("captioner")),
    "autoencoder": _autoencoder,
    "diffusion": _diffusion,
}


def make(shop: Workshop, only: tuple[str, ...] = ()) -> None:
    """Make the models named in `only`, or all. Those that `only` names are made again even if they exist."""
    for name in only or MAKERS:
        # The autoencoder is shipped inside the diffusion folder, so on its own it is only an intermediate result.
        out = (shop.work if name == "autoencoder" else shop.out) / name
        if out.exists() and not only:
            log.info("%s is there already", out)
            continue
        unfinished = out.with_name(f"{out.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        MAKERS[name](shop, unfinished)
        shutil.rmtree(out, ignore_errors=True)
        unfinished.rename(out)
        log.info("%s is done", out)
