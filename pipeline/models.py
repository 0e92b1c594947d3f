"""A profile -> its parts, each opened on first use.

Knows which class opens which family of models, and nothing of what they do. To add a family: a class with
`from_pretrained` in its stage's module, one line in its role's dict, and its name under [families] in a profile;
without that entry a role's first family is used.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar, cast

from safetensors import SafetensorError

from pipeline.errors import InputError, ModelError, PipelineError, ProfileError
from pipeline.types import Captioner, Classifier, Editor, Perturber, Profile, Scorer

CAPTIONERS = {"blip2": "pipeline.captioning:Blip2Captioner", "blip": "pipeline.captioning:BlipCaptioner"}
PERTURBERS = {"llama": "pipeline.perturbation:LlamaPerturber"}
EDITORS = {"stable-diffusion": "pipeline.editing.prompt_to_prompt:StableDiffusionEditor"}
SCORERS = {"open_clip": "pipeline.scoring:OpenClipScorer"}
CLASSIFIERS = {"timm": "pipeline.classification:TimmClassifier"}

ROLES: dict[str, Mapping[str, str]] = {
    "captioner": CAPTIONERS,
    "perturber": PERTURBERS,
    "editor": EDITORS,
    "scorer": SCORERS,
    "classifier": CLASSIFIERS,
}

# What the model libraries raise for a folder that is missing, cut off or of another family.
FOREIGN = (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ImportError, SafetensorError)

Part = TypeVar("Part")
logger = logging.getLogger(__name__)


class LoadedModels:
    """All parts of one profile; implements `types.Models`. Safe to share between threads."""

    def __init__(self, profile: Profile, device: str) -> None:
        """Opens nothing yet; `load` chooses the device."""
        self._profile = profile
        self._device = device
        self._parts: dict[tuple[str, str], object] = {}
        # One lock for all: the model libraries switch global defaults while they load.
        self._lock = threading.RLock()

    @property
    def profile(self) -> Profile:
        """What the parts are made from."""
        return self._profile

    @property
    def device(self) -> str:
        """Where the parts run, such as "cpu" or "cuda"."""
        return self._device

    @property
    def dtype(self) -> str:
        """The profile's, but "float32" on a CPU, where half precision is slow and partly missing."""
        return "float32" if self._device == "cpu" else self._profile.dtype

    @property
    def captioner(self) -> Captioner:
        """Raises `ModelError` when it cannot be opened, as all parts do."""
        path = self._profile.captioner
        return self._part("captioner", path, lambda make: make(path, device=self._device, dtype=self.dtype))

    @property
    def perturber(self) -> Perturber:
        """The language model with its adapter, the sentence encoder, and the tokenizer of the editor's text encoder."""
        profile, where = self._profile, {"device": self._device, "dtype": self.dtype}
        words = (profile.perturber, profile.perturber_adapter, profile.sentences)
        return self._part("perturber", words[0], lambda make: make(*words, diffusion=profile.diffusion, **where))

    @property
    def editor(self) -> Editor:
        """The diffusion model."""
        path = self._profile.diffusion
        return self._part("editor", path, lambda make: make(path, device=self._device, dtype=self.dtype))

    @property
    def scorer(self) -> Scorer:
        """CLIP."""
        path = self._profile.clip
        return self._part("scorer", path, lambda make: make(path, device=self._device))

    def classifier(self, name: str = "") -> Classifier:
        """By name as in the profile, a folder written by `reinforce`, or "" for the profile's first.

        Raises `InputError` for a name that is neither.
        """
        name = name or next(iter(self._profile.classifiers))
        path = self._profile.classifiers.get(name, "")
        if not path:
            if not (Path(name) / "config.json").is_file():
                known = ", ".join(self._profile.classifiers)
                raise InputError(
                    f"There is no classifier '{name}'; choose one of {known}, or the folder of a saved classifier."
                )
            path = str(Path(name).resolve())
        return self._part("classifier", path, lambda make: make(path, name=name, device=self._device))

    def check(self) -> None:
        """Looks for every local folder that the profile names, without opening any model.

        Raises one `ModelError` that lists all that are missing.
        """
        missing = [f"{role} ({path})" for role, path in _folders(self._profile) if not Path(path).is_dir()]
        if missing:
            raise ModelError(
                f"The profile '{self._profile.name}' lacks {len(missing)} of its model folders: {', '.join(missing)}. "
                "Fetch them with the repository, make the small ones with `python -m pipeline.tiny`, "
                "or correct the paths in the profile."
            )

    def warm(self) -> None:
        """Opens every part the first visitor needs, so that they do not wait; a fault is told when the part is used."""
        try:
            _ = self.classifier(), self.captioner, self.perturber, self.scorer, self.editor
        except PipelineError as error:
            logger.warning("not everything could be opened beforehand: %s", error)

    def _part(self, role: str, path: str, opened: Callable[[Callable[..., Part]], Part]) -> Part:
        """The part of this role and path: from memory, or opened now and kept."""
        with self._lock:
            if (role, path) not in self._parts:
                logger.info("opening the %s %s on %s", role, path, self._device)
                _hide_progress_bars()
                try:
                    self._parts[role, path] = opened(cast("Callable[..., Part]", self._maker(role)))
                except FOREIGN as error:
                    raise ModelError(
                        f"The {role} '{path}' of the profile '{self._profile.name}' could not be opened "
                        f"({type(error).__name__}: {_first_line(error)}); check that it is there, complete, "
                        "and of the family the profile names."
                    ) from error
            return cast("Part", self._parts[role, path])

    def _maker(self, role: str) -> object:
        """`from_pretrained` of the class that the profile chose for this role."""
        families = ROLES[role]
        family = self._profile.families.get(role, next(iter(families)))
        module, _, name = families[family].partition(":")
        return getattr(importlib.import_module(module), name).from_pretrained


def load(profile: Profile, device: str = "") -> LoadedModels:
    """The models of a profile on a device: "" for CUDA where there is one, otherwise the CPU.

    No model is opened yet. Raises `ProfileError` for an unknown family and `InputError` for a device that is not here.
    """
    for role, family in profile.families.items():
        if family not in ROLES.get(role, {}):
            known = "; ".join(f"{role}: {', '.join(families)}" for role, families in ROLES.items())
            raise ProfileError(f"The profile '{profile.name}' says {role} = '{family}' under families; use {known}.")
    return LoadedModels(profile, _device(device))


def _hide_progress_bars() -> None:
    """The libraries draw a bar for every file they open, which buries what the command line has to say."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


def _device(wanted: str) -> str:
    import torch

    has_cuda = torch.cuda.is_available()
    if wanted.startswith("cuda") and not has_cuda:
        raise InputError(f"The device '{wanted}' was asked for, but no CUDA device is here; use cpu.")
    return wanted or ("cuda" if has_cuda else "cpu")


def _folders(profile: Profile) -> list[tuple[str, str]]:
    """(role, path) of everything in the profile that is a folder here and not a hub id."""
    named = [
        ("captioner", profile.captioner),
        ("perturber", profile.perturber),
        ("perturber_adapter", profile.perturber_adapter),
        ("sentences", profile.sentences),
        ("diffusion", profile.diffusion),
        ("clip", profile.clip),
        *((f"classifier {name}", path) for name, path in profile.classifiers.items()),
    ]
    return [(role, path) for role, path in named if Path(path).is_absolute()]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"
