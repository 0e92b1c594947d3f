"""What a message calls files and folders, and what of an error is for those alone who run the program."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path

import pytest

from pipeline.errors import DataError, ModelError, display_name, reason


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (Path("/srv/models/mine"), "mine"),
        (Path("photos/dogs"), "dogs"),
        (Path("."), "."),
        (Path("/"), "/"),
        ("/srv/models/mine", "mine"),
        ("owner/name@main", "owner/name@main"),
        ("hf-hub:owner/name", "hf-hub:owner/name"),
        ("resnet18 + /srv/weights.safetensors + /srv/labels.txt", "resnet18 + weights.safetensors + labels.txt"),
    ],
)
def test_a_file_or_folder_is_called_by_its_name(place: Path | str, name: str) -> None:
    assert display_name(place) == name


@pytest.mark.parametrize(
    ("error", "message", "full"),
    [
        (DataError("Nothing is here."), "Nothing is here.", "Nothing is here."),
        (DataError("'a' is empty.", path=Path("/srv/a")), "'a' is empty.", "'a' is empty. (/srv/a)"),
        (DataError("'a' is empty.", path=Path("a")), "'a' is empty.", "'a' is empty."),
        (
            ModelError("'a' did not open.", path="/srv/a", detail="no file /srv/a/b"),
            "'a' did not open.",
            "'a' did not open. (/srv/a: no file /srv/a/b)",
        ),
        (
            ModelError("It did not open.", detail="no file /srv/a"),
            "It did not open.",
            "It did not open. (no file /srv/a)",
        ),
    ],
)
def test_what_is_behind_a_message_is_told_in_full(error: ModelError, message: str, full: str) -> None:
    assert str(error) == message
    assert error.in_full() == full
    assert pickle.loads(pickle.dumps(error)).in_full() == full  # as it comes from the process that fetches


def test_the_reason_of_the_system_is_told_without_its_file() -> None:
    assert reason(OSError(errno.ENOSPC, "No space left on device", "/srv/a")) == ("No space left on device", "")
    assert reason(OSError("no file /srv/a\nmore")) == ("OSError", "no file /srv/a")
    assert reason(ValueError()) == ("ValueError", "")
