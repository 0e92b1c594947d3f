"""Everything that can go wrong, as one tree.

    PipelineError
    ├── InputError              something a person gave; they can mend it
    │   ├── ImageError          bytes that are not a picture we accept
    │   ├── CaptionError        an empty or overlong caption
    │   ├── LabelError          a label the classifier does not know
    │   ├── SettingsError       a setting outside its range
    │   ├── ProfileError        a profile that is missing or malformed
    │   └── DataError           a folder, run or set that cannot be used
    ├── ModelError              a model that is missing, foreign or gives NaN
    │   ├── PerturbationError   an answer of the language model nobody can read (carries the raw text)
    │   └── EditingError        inversion or editing failed
    ├── StoreError              what was to be saved could not be saved
    │   └── ConflictError       somebody else changed it first
    └── Cancelled               somebody asked to stop; not a fault

A message says what was attempted (with values), what happened, and what to do next, in one sentence or two. Anybody may
read it, so it names files by `display_name` and no folder of the computer; `path` and `detail` carry what only those
should read who run the program. `pipeline` raises; `explorer/alerts.py` shows the message, the command line and the log
show `in_full()`.
"""

from __future__ import annotations

from pathlib import Path


class PipelineError(Exception):
    """Root of all errors that are meant for a person's eyes."""

    def __init__(self, message: str, *, path: Path | str | None = None, detail: str = "") -> None:
        """Take the message, the whole of a path that it names, and what a library said in words of its own."""
        super().__init__(message)
        self.path = path
        self.detail = detail

    def in_full(self) -> str:
        """Return the message with path and detail behind it, for the command line and the log."""
        path = "" if self.path is None or f"'{self.path}'" in str(self) else str(self.path)
        behind = ": ".join(part for part in (path, self.detail) if part)
        return f"{self} ({behind})" if behind else str(self)


class InputError(PipelineError):
    """Something a person gave cannot be used."""


class ImageError(InputError):
    """The bytes are not a picture that is accepted."""


class CaptionError(InputError):
    """The caption is empty or too long."""


class LabelError(InputError):
    """The classifier does not know this label."""


class SettingsError(InputError):
    """A setting lies outside its range."""


class ProfileError(InputError):
    """A profile is missing or malformed."""


class DataError(InputError):
    """A folder, run or set cannot be used."""


class ModelError(PipelineError):
    """A model is missing, of another family, or gave values that are not numbers."""


class PerturbationError(ModelError):
    """The language model's answer could not be read; `raw` is what it said."""

    def __init__(self, message: str, *, raw: str) -> None:
        super().__init__(message)
        self.raw = raw


class EditingError(ModelError):
    """Inversion or editing failed."""


class StoreError(PipelineError):
    """Something could not be saved; nothing half-written is left behind."""


class ConflictError(StoreError):
    """Somebody else changed first what was to be changed; nothing was saved."""


class Cancelled(PipelineError):
    """The work was stopped on request."""


def reason(error: Exception) -> tuple[str, str]:
    """Return why it happened in words for a message, and its detail: words that may name folders."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror, ""
    return type(error).__name__, (str(error).strip().splitlines() or [""])[0]


def display_name(place: Path | str) -> str:
    """Return what a message calls a file or folder: its name, without the folders above it.

    Of what a profile says absolute paths alone are cut, also in 'architecture + weights + labels'; hub ids stay whole.
    """
    if isinstance(place, Path):
        return place.name or str(place)
    return " + ".join((Path(part).name if Path(part).is_absolute() else "") or part for part in place.split(" + "))
