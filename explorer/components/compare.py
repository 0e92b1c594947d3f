"""The compare viewer: original and edit on the same spot, as slider, side by side, fade or difference.

Everything happens in the browser. The slider is a native range input, so it works with the keyboard; while the viewer
has the focus, holding Space shows the original. Both pictures are zoomed and moved together: wheel (while the viewer
has the focus, so that the page still scrolls past it), drag, double click, + - 0 and Shift with the arrows.
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
let zoom = 1, x = 0, y = 0, held = null;  // x, y: shift of the pictures in percent of one picture's side
const within = (value, low, high) => Math.min(high, Math.max(low, value));
const place = () => {
  x = within(x, 100 - 100 * zoom, 0);
  y = within(y, 100 - 100 * zoom, 0);
  if (!viewer()) return;
  for (const [name, value] of [['--zoom', zoom], ['--x', x + '%'], ['--y', y + '%']]) {
    viewer().style.setProperty(name, value);
  }
  viewer().classList.toggle('zoomed', zoom > 1);
  viewer().querySelector('[data-zoom=reset]').textContent = Math.round(100 * zoom) + ' %';
};
const figureAt = (event) => {
  const all = [...viewer().querySelectorAll('figure')].map((figure) => figure.getBoundingClientRect());
  return all.find((box) => event.clientX >= box.left && event.clientX <= box.right) || all[0];
};
const zoomTo = (wanted, event) => {
  const box = event && figureAt(event);
  const atX = box ? 100 * (event.clientX - box.left) / box.width : 50;
  const atY = box ? 100 * (event.clientY - box.top) / box.height : 50;
  const next = within(wanted, 1, 12);
  x = atX - (atX - x) * next / zoom;
  y = atY - (atY - y) * next / zoom;
  zoom = next;
  place();
};
element.addEventListener('click', (event) => {
  const asked = event.target.closest('[data-zoom]')?.dataset.zoom;
  if (asked) zoomTo({in: zoom * 1.5, out: zoom / 1.5, reset: 1}[asked]);
});
element.addEventListener('wheel', (event) => {
  if (!event.target.closest('.stage') || !(element.contains(document.activeElement) || event.ctrlKey)) return;
  event.preventDefault();
  zoomTo(zoom * Math.exp(-event.deltaY / 400), event);
}, {passive: false});
element.addEventListener('dblclick', (event) => {
  if (event.target.closest('.stage')) zoomTo(zoom > 1 ? 1 : 2.5, event);
});
element.addEventListener('pointerdown', (event) => {
  const stage = event.target.closest('.stage');
  if (!stage || zoom === 1) return;
  const box = stage.getBoundingClientRect();
  const split = box.left + box.width * (element.dataset.split || 50) / 100;
  const slides = event.target.matches('input') && (element.dataset.mode || 'slide') === 'slide';
  if (slides && Math.abs(event.clientX - split) < 22) return;  // the handle stays the slider's
  event.preventDefault();
  (stage.querySelector('input').offsetParent ? stage.querySelector('input') : viewer()).focus({preventScroll: true});
  held = {id: event.pointerId, left: event.clientX, top: event.clientY, box: figureAt(event)};
  stage.setPointerCapture(event.pointerId);
});
element.addEventListener('pointermove', (event) => {
  if (held?.id !== event.pointerId) return;
  x += 100 * (event.clientX - held.left) / held.box.width;
  y += 100 * (event.clientY - held.top) / held.box.height;
  held = {...held, left: event.clientX, top: event.clientY};
  place();
});
for (const end of ['pointerup', 'pointercancel']) element.addEventListener(end, () => { held = null; });
element.addEventListener('keydown', (event) => {
  if (!viewer() || event.ctrlKey || event.metaKey || event.altKey) return;
  const zooms = {'+': zoom * 1.25, '=': zoom * 1.25, '-': zoom / 1.25, '0': 1};
  const moves = {ArrowLeft: [10, 0], ArrowRight: [-10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10]};
  const move = event.shiftKey && moves[event.key];
  if (!(event.key in zooms) && !move) return;
  event.preventDefault();
  if (move) { x += move[0]; y += move[1]; place(); } else zoomTo(zooms[event.key]);
});
const hold = (on) => (event) => {
  if (event.code !== 'Space' || event.target.matches('button') || !viewer()) return;
  event.preventDefault();
  viewer().classList.toggle('held', on);
};
element.addEventListener('keydown', hold(true));
element.addEventListener('keyup', hold(false));
watch('value', () => { show(); place(); });
show();
"""


def compare_viewer() -> gr.HTML:
    """Return an empty viewer; `compare_markup` gives its values."""
    return gr.HTML(
        value=empty(), js_on_load=BEHAVIOUR, apply_default_css=False, elem_id="compare", elem_classes="component"
    )


def empty() -> Html:
    """Return the markup before a photo is opened."""
    return Html()


def photo_alone(image: Image) -> Html:
    """Return the photo, while there is no edit to compare it with."""
    return tag("figure", _picture(image, "the photo under study"), class_="alone")


def compare_markup(before: Image, after: Image, before_title: str, after_title: str) -> Html:
    """Return both pictures, which have the same size, with their titles."""
    stage = tag(
        "div",
        tag("figure", _picture(before, before_title), tag("figcaption", before_title), class_="before"),
        tag("figure", _picture(after, after_title), tag("figcaption", after_title), class_="after"),
        tag("span", class_="divider", aria_hidden="true"),
        tag("input", type="range", min=0, max=100, value=50, aria_label="How much of the original is shown"),
        class_="stage",
    )
    modes = tag("div", *(_mode(name, title) for name, title in MODES), class_="modes", role="group", aria_label="View")
    name = "Original and edit"
    return tag(
        "div", stage, modes, _zoom(), class_="compare", data_mode="slide", tabindex=0, role="group", aria_label=name
    )


def _zoom() -> Html:
    steps = (("out", "Zoom out", "−"), ("reset", "Whole picture", "100 %"), ("in", "Zoom in", "+"))
    buttons = (tag("button", text, type="button", data_zoom=name, aria_label=title) for name, title, text in steps)
    keys = "Wheel or + − 0 to zoom, drag to move; hold Space for the original."
    return tag("div", tag("span", *buttons, role="group", aria_label="Zoom"), tag("small", keys), class_="zoom")


def _picture(image: Image, title: str) -> Html:
    return tag("img", src=picture_url(image), alt=title, draggable="false")


def _mode(name: str, title: str) -> Html:
    pressed = "true" if name == "slide" else "false"
    return tag("button", title, type="button", class_="mode", data_mode=name, aria_pressed=pressed)
