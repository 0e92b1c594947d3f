"""Models by hub id: where a model of a profile lies on this computer, and how it gets there.

A profile writes "owner/name@revision"; every stage gets a folder. Only safetensors, configurations and vocabularies are
fetched, never a pickle and never code. Knows huggingface_hub and its cache, and no model. Every way in which fetching
fails becomes one `ModelError` that says what to do.
"""

from __future__ import annotations

import errno
import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from huggingface_hub.file_download import DryRunFileInfo
    from tqdm.auto import tqdm

# No part of it begins with a dot, a dash or a slash: the hub's cache has folders and files of these names.
HUB_ID = re.compile(
    r"(?P<before>hf-hub:|[\w.-]+:)?(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>\w[\w-]*(?:[./][\w-]+)*))?",
    re.ASCII,
)
COMMIT = re.compile(r"[0-9a-f]{40}")
WANTED = ("*.json", "*.txt", "*.model", "*.safetensors")
UNWANTED = ("*.fp16.*", "*.non_ema.*", "*/*.index.fp16.json")  # the same weights again
PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")  # of a diffusion model; its root holds them once more
ONLY = {
    "diffusion": ("model_index.json", *(f"{part}/{pattern}" for part in PARTS for pattern in WANTED)),
    "clip": ("open_clip_*.json", "open_clip_model.safetensors", "tokenizer*", "vocab.json", "merges.txt"),
}
SPARE = 2**30  # bytes of the disk that stay free

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubModel:
    """A model on the hub, as a profile names it for a role."""

    role: str
    repo: str  # owner/name
    revision: str  # commit, tag or branch; "" for the newest
    architecture: str = ""  # open_clip's name for it, where the repository's own configuration does not say it

    @property
    def is_pinned(self) -> bool:
        """Return whether the revision is a commit, which nobody can change."""
        return bool(COMMIT.fullmatch(self.revision))

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


def hub_model(role: str, text: str) -> HubModel | None:
    """Return the hub's model that a profile names; None for a folder and for the libraries' own names."""
    if Path(text).is_absolute() or Path(text).is_dir() or not (match := HUB_ID.fullmatch(text)):
        return None
    before = (match["before"] or "").removesuffix(":")
    architecture = "" if before == "hf-hub" else before
    if architecture and role != "clip":
        return None
    return HubModel(role=role, repo=match["repo"], revision=match["revision"] or "", architecture=architecture)


def here(model: HubModel) -> HubModel | None:
    """Return the model at the commit that lies on this computer, when all of it is there."""
    folder = cached(model)
    return None if folder is None else replace(model, revision=folder.name)


def offered(model: HubModel) -> tuple[HubModel, int]:
    """Return the model at the commit that the hub has now, and the bytes of it that are still to be fetched.

    Raises `ModelError` when the hub does not tell, and for a model without safetensors.
    """
    listing = _listing(model)
    size = sum(file.file_size or 0 for file in listing if file.will_download)
    return replace(model, revision=listing[0].commit_hash), size


def located(role: str, text: str) -> str:
    """Return what to open: a hub id becomes its folder here, fetched when it is not; anything else stays.

    Raises `ModelError` when it is not here and cannot be fetched.
    """
    model = hub_model(role, text)
    if model is None:
        return text
    folder = cached(model) or fetch(model)
    if not model.architecture:
        return str(folder)
    return f"{model.architecture}:{folder / 'open_clip_model.safetensors'}"


def cached(model: HubModel) -> Path | None:
    """Return the model's folder in the hub cache, when all of it is there; nothing is asked of the network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                model.repo,
                revision=model.revision or None,
                allow_patterns=list(ONLY.get(model.role, WANTED)),
                ignore_patterns=list(UNWANTED),
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError:
        return None


def fetch(model: HubModel, progress: type[tqdm] | None = None) -> Path:
    """Fetch the model and return its folder; files that an earlier attempt completed are not fetched again.

    Progress is shown by huggingface_hub, on standard error, or by another class of bars. Raises `ModelError`.
    """
    from huggingface_hub import snapshot_download

    listing = _listing(model)
    size = sum(file.file_size or 0 for file in listing if file.will_download)
    _check_disk(model, size)
    logger.info("fetching %s, %.2f GB", model, size / 1e9)
    try:
        return Path(
            snapshot_download(
                model.repo,
                revision=listing[0].commit_hash,
                allow_patterns=list(ONLY.get(model.role, WANTED)),
                ignore_patterns=list(UNWANTED),
                tqdm_class=progress,
            )
        )
    except Exception as error:  # its own, the transport's, the disk's
        raise _refusal(model, error) from error


def cache_folder() -> Path:
    """Return where fetched models lie; the environment variable HF_HOME moves it."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk on which the folder is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _listing(model: HubModel) -> Sequence[DryRunFileInfo]:
    """Return the files that count, with size and whether they are here. Raises `ModelError` without safetensors."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError
    from tqdm.auto import tqdm

    class Silent(tqdm):
        """Listing takes no time that would need a bar."""

        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **{**options, "disable": True})

    try:
        listing = snapshot_download(
            model.repo,
            revision=model.revision or None,
            allow_patterns=list(ONLY.get(model.role, WANTED)),
            ignore_patterns=list(UNWANTED),
            dry_run=True,
            tqdm_class=Silent,
        )
    except DryRunError as error:
        raise _refusal(model, error.__cause__ or error) from error
    except Exception as error:  # its own, the transport's, the disk's
        raise _refusal(model, error) from error
    if not any(file.filename.endswith(".safetensors") for file in listing):
        raise ModelError(
            f"The model '{model}' of the {model.role} has no .safetensors weights, and other formats can run code and "
            "are not opened; name a repository or a revision that has them in the profile."
        )
    return listing


def _check_disk(model: HubModel, size: int) -> None:
    folder = cache_folder()
    free = free_bytes(folder)
    if size + SPARE > free:
        raise _full(model, f"{size / 1e9:.1f} GB are to be fetched and {free / 1e9:.1f} GB are free")


def _full(model: HubModel, why: str) -> ModelError:
    return ModelError(
        f"The disk of the hub's cache has no room for '{model}' ({why}); free some space, or set HF_HOME to a folder "
        "on another disk. Files that arrived whole are not fetched again.",
        path=cache_folder(),
    )


def _refusal(model: HubModel, error: BaseException) -> ModelError:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return _full(model, "the disk is full")
    return ModelError(_reason(model, error))


def _reason(model: HubModel, error: BaseException) -> str:
    """Return one sentence for each way in which the hub says no."""
    from huggingface_hub import constants, errors

    what = f"The {model.role} '{model}'"
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{what} is gated: sign in to the hub, accept its licence on the model's page, set the environment "
            "variable HF_TOKEN to a token of that account, and fetch again."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{what} has no such revision on the hub; correct what stands behind the @ in the profile."
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{what} is not on the hub, or is private; correct its name in the profile, or set the environment "
            "variable HF_TOKEN to a token that may read it."
        )
    if isinstance(error, errors.HfHubHTTPError):
        return f"{what} could not be fetched: the hub answered {error.response.status_code}; try again later."
    if constants.is_offline_mode() or isinstance(error, errors.OfflineModeIsEnabled):
        return (
            f"{what} is not on this computer, and HF_HUB_OFFLINE forbids to fetch it; unset that variable and run "
            "`python -m pipeline fetch`, or give the path of a local folder in the profile."
        )
    return (
        f"{what} could not be fetched, because the hub does not answer ({type(error).__name__}); check the network and "
        "fetch again (files that arrived whole stay), or copy the model here and give its folder in the profile."
    )
