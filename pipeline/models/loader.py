"""A profile -> its parts, each opened on first use.

Knows which class opens which family of models, and nothing of what they do. To add a family: a class with
`from_pretrained` in its stage's module, one line in its role's dict, and its name under [families] in a profile;
without that entry a role's first family is used. A classifier's family is told by `sources.family_of`.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

from safetensors import SafetensorError

from pipeline.classifiers.promotion import with_promoted
from pipeline.classifiers.sources import family_of, is_folder, names_classifier, published_model
from pipeline.classifiers.trial import try_out
from pipeline.editing.axes import AXES
from pipeline.editing.inversion import method_of
from pipeline.errors import InputError, ModelError, PipelineError, ProfileError, SettingsError, display_name
from pipeline.profiles import models_of, resolve_paths
from pipeline.runtime.devices import ROOM, Place, free_memory, place, release, weight_bytes
from pipeline.runtime.hub import here, located
from pipeline.settings import Profile
from pipeline.types import Axis, Captioner, Classifier, Editor, Perturber, Scorer

CAPTIONERS = {
    "blip2": "pipeline.captions.captioning:Blip2Captioner",
    "blip": "pipeline.captions.captioning:BlipCaptioner",
}
PERTURBERS = {"llama": "pipeline.captions.perturbation:LlamaPerturber"}
EDITORS = {
    "stable-diffusion": "pipeline.editing.prompt_to_prompt:StableDiffusionEditor",
    "instruct-pix2pix": "pipeline.editing.instruction:InstructPix2PixEditor",
}
SCORERS = {"open_clip": "pipeline.scoring.clip:OpenClipScorer"}
CLASSIFIERS = {
    "timm": "pipeline.classifiers.families:TimmClassifier",
    "torchvision": "pipeline.classifiers.families:TorchvisionClassifier",
    "transformers": "pipeline.classifiers.families:TransformersClassifier",
}

ROLES: dict[str, Mapping[str, str]] = {
    "captioner": CAPTIONERS,
    "perturber": PERTURBERS,
    "editor": EDITORS,
    "scorer": SCORERS,
}

TEXTS = {"editor": "diffusion", "scorer": "clip"}  # part -> what a profile calls it, where that differs

# What the model libraries raise for a folder that is missing, cut off or of another family.
FOREIGN = (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ImportError, SafetensorError)

Part = TypeVar("Part")
logger = logging.getLogger(__name__)


class LoadedModels:
    """All parts of one profile; implements `types.Models`. Safe to share between threads."""

    def __init__(self, profile: Profile, where: Place, folder: Path | None = None) -> None:
        """Open nothing yet; `load` chooses the place."""
        self._given = self._profile = profile  # `adopt` adds to what was given
        self._folder = folder
        self._place = where
        # By role, path and version of the files; the part used last is at the end.
        self._parts: OrderedDict[tuple[str, str, str], object] = OrderedDict()
        # One lock for all: the model libraries switch global defaults while they load.
        self._lock = threading.RLock()

    @property
    def profile(self) -> Profile:
        """Return what the parts are made from."""
        return self._profile

    @property
    def device(self) -> str:
        """Return where the parts run, such as "cpu" or "cuda"."""
        return self._place.device

    @property
    def dtype(self) -> str:
        """Return the precision of the large models there; `devices.place` gives the reason."""
        return self._place.dtype

    @property
    def _to(self) -> dict[str, object]:
        """Return what every large part is opened with."""
        return {"device": self.device, "dtype": self.dtype}

    @property
    def axis(self) -> Axis:
        """Return what tau means to the profile's editor; opens nothing."""
        return AXES[_family(self._profile, "editor")]

    @property
    def captioner(self) -> Captioner:
        """Return the captioner. Raises `ModelError` when it cannot be opened, as all parts do."""
        path, to = self._profile.captioner, {**self._to, "quantization": self._place.quantization}
        return self._part("captioner", path, lambda make: make(located("captioner", path), **to))

    @property
    def perturber(self) -> Perturber:
        """Return the language model with its adapter, sentence encoder and the editor's tokenizer."""
        profile, to = self._profile, {**self._to, "quantization": self._place.quantization}

        def open_with(make: Callable[..., Perturber]) -> Perturber:
            adapter = located("perturber_adapter", profile.perturber_adapter)
            sentences, diffusion = located("sentences", profile.sentences), located("diffusion", profile.diffusion)
            return make(located("perturber", profile.perturber), adapter, sentences, diffusion=diffusion, **to)

        return self._part("perturber", profile.perturber, open_with)

    @property
    def editor(self) -> Editor:
        """Return the diffusion model."""
        path, to = self._profile.diffusion, {**self._to, "compiled": self._profile.compiled}
        return self._part("editor", path, lambda make: make(located("diffusion", path), **to))

    @property
    def scorer(self) -> Scorer:
        """Return CLIP."""
        path = self._profile.clip
        return self._part("scorer", path, lambda make: make(located("clip", path), device=self.device))

    def classifier(self, name: str = "") -> Classifier:
        """Return a classifier by its name in the profile, "" for the first; no other text opens anything.

        A folder whose files were written anew is opened anew.
        Raises `InputError` for an unknown name, `ModelError` for an added one that is no longer on this computer: what
        visitors add is fetched by a job (`fetching.py`) and never here, where everybody waits.
        """
        name = name or next(iter(self._profile.classifiers))
        path = self._profile.classifiers.get(name, "")
        if not path:
            known = ", ".join(map(display_name, self._profile.classifiers))
            raise InputError(f"There is no classifier of this name here; choose one of {known}.")
        if name not in self._given.classifiers and ("classifier", path, "") not in self._parts and not is_folder(path):
            _refuse_absent(name, path)
        to = {"name": name, "device": self.device}
        return self._part(
            "classifier", path, lambda make: try_out(make(located("classifier", path), **to)), _version(path)
        )

    def admit(self, text: str) -> str:
        """Make what the command line names selectable under that very text, which is returned.

        Not for what a visitor sends: it may be a folder, 'architecture + weights.safetensors + labels.txt', a name that
        timm lists, torchvision:NAME or hf-hub:OWNER/NAME. Raises `InputError` for anything else.
        """
        if not text or text in self._profile.classifiers:
            return text
        path = resolve_paths(text, Path.cwd())
        if Path(path).is_dir():
            path = str(Path(path).resolve())
        elif not (names_classifier(path) or _timm_lists(path)):
            known = ", ".join(map(display_name, self._profile.classifiers))
            raise InputError(
                f"There is no classifier '{display_name(text)}'; choose one of {known}, the folder of a classifier, "
                "hf-hub:owner/name, torchvision:name, a name that timm lists, or "
                "'architecture + weights.safetensors + labels.txt'.",
                path=text,
            )
        self._given, self._profile = (
            replace(profile, classifiers={**profile.classifiers, text: path})
            for profile in (self._given, self._profile)
        )
        return text

    def adopt(self, root: Path) -> None:
        """Make the classifiers of this data folder selectable beside the profile's; what is gone from it goes."""
        self._profile = with_promoted(self._given, root, self._folder)

    def check(self) -> None:
        """Look for every local folder that the profile names, without opening any model.

        Raises one `ModelError` that lists all that are missing.
        """
        named = [(key, path) for _, key, path in models_of(self._profile) if Path(path).is_absolute()]
        missing = {key: path for key, path in named if not Path(path).is_dir()}
        if missing:
            raise ModelError(
                f"The profile '{self._profile.name}' lacks {len(missing)} of its model folders: {', '.join(missing)}. "
                "Fetch them with the repository, make the small ones with `python -m pipeline.tiny`, "
                "or correct the paths in the profile.",
                detail=", ".join(f"{key}: {path}" for key, path in missing.items()),
            )

    def warm(self) -> None:
        """Open every part the first visitor needs, so that they do not wait; a fault is told when the part is used."""
        try:
            _ = self.classifier(), self.captioner, self.perturber, self.scorer, self.editor
        except PipelineError as error:
            logger.warning("not everything could be opened beforehand: %s", error.in_full())

    def _part(self, role: str, path: str, opened: Callable[[Callable[..., Part]], Part], version: str = "") -> Part:
        """Return the part of this role, path and version: from memory, or opened now and kept while there is room."""
        key = (role, path, version)
        with self._lock:
            if key not in self._parts:
                for other in [part for part in self._parts if part[:2] == key[:2]]:
                    del self._parts[other]
                _hide_progress_bars()
                try:
                    self._make_room(role, path)
                    logger.info("opening the %s %s on %s in %s", role, path, self.device, self._precision(role))
                    self._parts[key] = opened(cast("Callable[..., Part]", self._maker(role, path)))
                except FOREIGN as error:
                    raise ModelError(
                        f"The {role} '{display_name(path)}' of the profile '{self._profile.name}' could not be opened "
                        f"({type(error).__name__}); check that it is there, complete, and of the family the profile "
                        "names.",
                        path=path,
                        detail=_first_line(error),
                    ) from error
            self._parts.move_to_end(key)
            return cast("Part", self._parts[key])

    def _make_room(self, role: str, path: str) -> None:
        """Let go of the parts used longest ago while the next one would not fit beside them."""
        text = TEXTS.get(role, role)
        needed = ROOM * weight_bytes(located(text, path).rpartition(":")[2], self._precision(role))
        while self._parts and free_memory(self.device) < needed:
            (gone, _, _), _ = self._parts.popitem(last=False)
            logger.info("letting go of the %s: %.1f GB are needed for the %s", gone, needed / 1e9, role)
            release(self.device)

    def _precision(self, role: str) -> str:
        return self._place.precision(TEXTS.get(role, role))

    def _maker(self, role: str, path: str) -> object:
        """Return `from_pretrained` of the class that the profile chose for this role, or that the classifier needs."""
        if role == "classifier":
            entry = CLASSIFIERS[family_of(located(role, path))]
        else:
            entry = ROLES[role][_family(self._profile, role)]
        module, _, name = entry.partition(":")
        return getattr(importlib.import_module(module), name).from_pretrained


def load(profile: Profile, device: str = "", folder: Path | None = None) -> LoadedModels:
    """Return the models of a profile on a device: "" for CUDA where there is one, otherwise the CPU.

    `folder` is where classifiers to be chosen from lie (`model_folder.py`); the data folder's own without it.

    No model is opened yet. Raises `ProfileError` for an unknown family or inversion and `InputError` for a device or a
    precision that is not here.
    """
    for role, family in profile.families.items():
        if family not in ROLES.get(role, {}):
            known = "; ".join(f"{role}: {', '.join(families)}" for role, families in ROLES.items())
            raise ProfileError(f"The profile '{profile.name}' says {role} = '{family}' under families; use {known}.")
    try:
        method_of(profile.settings)
    except SettingsError as error:
        raise ProfileError(f"The profile '{profile.name}' has a setting that cannot be used: {error}") from error
    where = place(device, profile.dtype, profile.quantization)
    if where.obstacle:
        raise InputError(
            f"The profile '{profile.name}' asks for quantization = '{profile.quantization}', but {where.obstacle}; "
            "take the key out, or use a computer with CUDA and `pip install bitsandbytes`."
        )
    logger.info("the models of %s run on %s in %s: %s", profile.name, where.device, where.dtype, where.reason)
    return LoadedModels(profile, where, folder)


def _family(profile: Profile, role: str) -> str:
    """Return what the profile chose for this role, or the role's first family."""
    return profile.families.get(role, next(iter(ROLES[role])))


def _version(path: str) -> str:
    """Return the names, sizes and times of a folder's files; "" for what is no folder."""
    if not is_folder(path):
        return ""
    files = sorted((file.name, file.stat()) for file in Path(path).iterdir() if file.is_file())
    return repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in files])


def _refuse_absent(name: str, path: str) -> None:
    """Raise `ModelError` when an added classifier would have to be fetched again."""
    if here(published_model(path)) is None:
        raise ModelError(
            f"The classifier '{name}' is no longer on this computer; add it once more under another name, or have it "
            "fetched by `python -m pipeline fetch` with a profile that names it."
        )


def _timm_lists(name: str) -> bool:
    from timm import is_model

    return is_model(name)


def _hide_progress_bars() -> None:
    """Hide the bar that the libraries draw for every file they open: it buries what the command line has to say."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"
