"""The compare viewer: original and edit on the same spot, as slider, side by side, fade or difference.

Everything happens in the browser. The slider is a native range input, so it works with the keyboard; while the viewer
has the focus, holding Space shows the original.
"""

from __future__ import annotations

import gradio as gr
from PIL.Image import Image

from explorer.components.markup import Html, picture_url, tag

MODES = (("slide", "Slider"), ("side", "Side by side"), ("fade", "Fade"), ("difference", "Difference"))

BEHAVIOUR = """
const viewer = () => element.querySelector('.compare');
element.addEventListener('click', (event) => {
  const mode = event.target.closest('[data-mode]');
  if (!mode || !viewer()) return;
  element.dataset.mode = mode.dataset.mode;
  show();
});
element.addEventListener('input', (event) => {
  if (event.target.matches('.compare input')) element.dataset.split = event.target.value;
  show();
});
const show = () => {
  if (!viewer()) return;
  const mode = element.dataset.mode || 'slide';
  viewer().dataset.mode = mode;
  viewer().style.setProperty('--split', (element.dataset.split || 50) + '%');
  for (const button of element.querySelectorAll('[data-mode].mode')) {
    button.setAttribute('aria-pressed', button.dataset.mode === mode);
  }
};
const hold = (on) => (event) => {
  if (event.code !== 'Space' || event.target.matches('button') || !viewer()) return;
  event.preventDefault();
  viewer().classList.toggle('held', on);
};
element.addEventListener('keydown', hold(true));
element.addEventListener('keyup', hold(false));
watch('value', show);
show();
"""


def compare_viewer() -> gr.HTML:
    """An empty viewer; `compare_markup` gives its values."""
    return gr.HTML(
        value=empty(), js_on_load=BEHAVIOUR, apply_default_css=False, elem_id="compare", elem_classes="component"
    )


def empty() -> Html:
    """What to do when no frame is selected."""
    return tag("p", "Select a frame to compare it with the original.", class_="empty tall")


def compare_markup(before: Image, after: Image, before_title: str, after_title: str) -> Html:
    """Both pictures, which have the same size, with their titles."""
    stage = tag(
        "div",
        tag("figure", _picture(before, before_title), tag("figcaption", before_title), class_="before"),
        tag("figure", _picture(after, after_title), tag("figcaption", after_title), class_="after"),
        tag("span", class_="divider", aria_hidden="true"),
        tag("input", type="range", min=0, max=100, value=50, aria_label="How much of the original is shown"),
        class_="stage",
    )
    modes = tag("div", *(_mode(name, title) for name, title in MODES), class_="modes", role="group", aria_label="View")
    return tag("div", stage, modes, class_="compare", data_mode="slide", tabindex=0)


def _picture(image: Image, title: str) -> Html:
    return tag("img", src=picture_url(image), alt=title, draggable="false")


def _mode(name: str, title: str) -> Html:
    pressed = "true" if name == "slide" else "false"
    return tag("button", title, type="button", class_="mode", data_mode=name, aria_pressed=pressed)
