"""Where the classifier looks: Grad-CAM on the original and on the edit, in one colour on one scale.

Reports `act` with `do="looks"` when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import gradio as gr
import numpy as np
from PIL import Image

from explorer.components.markup import REPORT_CLICKS, Html, picture_url, tag

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 288  # pixels: twice the size on the page, for sharp screens
HOT = (255, 196, 0)  # amber stands out from most pictures, in light and in dark
STRONGEST = 0.75  # opacity where the map is highest


def looks_card() -> gr.HTML:
    """Return an empty card; `ask_markup` and `looks_markup` give its values. Listen with `.act(...)`."""
    return gr.HTML(js_on_load=REPORT_CLICKS, apply_default_css=False, elem_id="looks", elem_classes="component")


def ask_markup() -> Html:
    """Return the link that asks for the maps."""
    return tag("button", "Where does the classifier look?", type="button", class_="link", data_do="looks")


def looks_markup(pictures: Sequence[Image.Image], maps: Sequence[NDArray[np.float32]], label: str) -> Html:
    """Return original and edit with what speaks for the label.

    A classifier without convolutions has no maps; a sentence says so.
    """
    if not maps:
        return tag("p", "This classifier ends in no convolution, and Grad-CAM is defined on none else.", class_="empty")
    highest = max(float(heat.max()) for heat in maps)
    if highest <= 0:
        return tag("p", f"Nothing in either picture speaks for {label}: both maps are zero.", class_="empty")
    figures = (
        tag(
            "figure",
            tag("img", src=picture_url(overlay(picture, heat / highest), SIDE), alt=f"What speaks for {label}: {name}"),
            tag("figcaption", f"{name}, highest {float(heat.max()) / highest:.0%}"),
        )
        for picture, heat, name in zip(pictures, maps, ("original", "edit"), strict=True)
    )
    scale = tag("p", f"Amber: what speaks for {label} (Grad-CAM), both pictures on one scale.", class_="said")
    return tag("div", tag("div", *figures, class_="pair-of-maps"), scale, class_="looks")


def overlay(picture: Image.Image, share: NDArray[np.float32]) -> Image.Image:
    """Return the picture in grey under `HOT`, whose opacity is the share (height, width) in 0..1 of `STRONGEST`."""
    mask = Image.fromarray((255 * STRONGEST * share.clip(0, 1)).astype(np.uint8))
    grey = picture.convert("L").convert("RGB")
    return Image.composite(Image.new("RGB", picture.size, HOT), grey, mask)
