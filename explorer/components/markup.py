"""HTML that cannot be injected into: whatever is not `Html` (MarkupSafe's) already is escaped on its way in.

Knows no pipeline type. `gr.HTML` evaluates its template as a JavaScript template literal, and a Handlebars placeholder
there would let a caption such as `${...}` run as code. So every component of this project keeps the template `${value}`
and receives finished markup that was built here.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from PIL.Image import Image

Html = Markup  # markup that is safe to show

VOID = frozenset({"img", "input", "br", "hr"})

# One listener serves every component: an element with `data-do` reports its whole dataset to Python.
REPORT_CLICKS = """
element.addEventListener('click', (event) => {
  const part = event.target.closest('[data-do]');
  if (part && element.contains(part) && part.dataset.do !== 'none') trigger('act', {...part.dataset});
});
"""


def tag(name: str, /, *children: str, **attributes: str | bool | int | float | None) -> Html:
    """Return `<name attributes>children</name>`; text is escaped, `Html` is not.

    `class_` and `for_` lose their underscore and other underscores become hyphens (`aria_label`); True gives a bare
    attribute, False and None leave it out.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        parts.append(attribute if value is True else f'{attribute}="{escape(str(value))}"')
    opening = f"<{' '.join(parts)}>"
    return Html(opening if name in VOID else f"{opening}{join(*children)}</{name}>")


def join(*children: str) -> Html:
    """Return the children one after the other, each escaped unless it is `Html`."""
    return Html().join(children)


def picture_url(image: Image, side: int = 0) -> str:
    """Return the picture as a data URL in WebP: lossless, or reduced to at most `side` pixels for small frames.

    A data URL asks nothing of the server's file routes, so no folder has to be opened to the browser.
    """
    shown = image
    if side and max(image.size) > side:
        shown = image.copy()
        shown.thumbnail((side, side))
    buffer = io.BytesIO()
    shown.save(buffer, "WEBP", lossless=side == 0, quality=90)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
