"""Where the analyst is: which photo under which classifier, which frame, and the address that leads back there.

A place is written `KEY@CLASSIFIER`; it is all that a session remembers besides the selected frame's key.
"""

from __future__ import annotations

from urllib.parse import urlencode

from explorer.components.markup import Html
from explorer.components.shelf import history_markup
from explorer.desk import Desk
from pipeline.errors import DataError
from pipeline.types import Counterfactual, Study


def place_of(study: Study) -> str:
    """Return the place of a study."""
    return f"{study.photo.key}@{study.photo.classifier}"


def require_study(desk: Desk, place: str) -> Study:
    """Return the study at a place. Raises `DataError` when the store does not hold it."""
    key, _, classifier = place.partition("@")
    study = desk.store.load_study(key, classifier)
    if study is None:
        raise DataError("This photo is not in the store; choose an example or upload a picture first.")
    return study


def find_counterfactual(study: Study, key: str) -> Counterfactual | None:
    """Return the study's counterfactual of this key; None when it has none."""
    return next((item for item in study.counterfactuals if item.key == key), None)


def history(desk: Desk, study: Study | None, frame: str = "") -> Html:
    """Return the history, and with it the address of what is shown."""
    photo = study.photo.key if study else ""
    values = {"photo": photo, "classifier": study.photo.classifier if study else "", "frame": frame}
    query = urlencode({name: value for name, value in values.items() if value})
    return history_markup(desk.store, desk.store.studies(), photo, f"?{query}" if query else "")
