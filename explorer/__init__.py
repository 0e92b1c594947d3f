"""The browser application: six pages around one desk. The only place that knows Gradio.

`build_app` makes the pages; `serving` says how to launch them: all local, nothing sent anywhere, no traces shown.
"""

from __future__ import annotations

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read by Gradio while it is imported

from pathlib import Path
from typing import Protocol, TypedDict

import gradio as gr
from starlette.middleware import Middleware

from explorer import api
from explorer.components.masthead import masthead
from explorer.desk import Desk
from explorer.middleware import Door
from explorer.pages.curate import curate
from explorer.pages.explore import explore
from explorer.pages.insights import insights
from explorer.pages.jobs import jobs
from explorer.pages.labels import labels
from explorer.pages.reinforce import reinforce

STYLE = Path(__file__).resolve().parent.parent / "assets" / "style.css"
# Seconds: every quarter of an hour, files as they were uploaded go when they are an hour old.
UPLOADS_STAY = (900, 3600)


class PageModule(Protocol):
    """A module of `explorer/pages`."""

    TITLE: str
    ROUTE: str

    def build(self, demo: gr.Blocks, desk: Desk) -> None:
        """Draw the page, below its head, into the current Blocks and wire it."""
        ...


PAGES: tuple[PageModule, ...] = (explore, curate, insights, reinforce, jobs)
"""The pages in the order of the masthead, the first one at the application's own address."""
UNLISTED: tuple[PageModule, ...] = (labels,)
"""Further pages, which others lead to: this one from where photos are left out."""


class Serving(TypedDict):
    """What every launch has in common."""

    theme: gr.themes.Base
    css_paths: Path
    share: bool
    show_error: bool
    enable_monitoring: bool
    run_history: bool
    ssr_mode: bool
    max_file_size: str
    state_session_capacity: int
    app_kwargs: dict[str, list[Middleware]]
    _frontend: bool


def build_app(desk: Desk) -> gr.Blocks:
    """Build the application over the desk's models and data folder, ready for `launch(**serving())`."""
    demo = gr.Blocks(
        title="Counterfactual Explorer", analytics_enabled=False, fill_width=True, delete_cache=UPLOADS_STAY
    )
    first, *others = (*PAGES, *UNLISTED)
    with demo:
        api.build(desk)  # first, because whoever comes first has the name
        _draw(first, demo, desk)
    for page in others:
        with demo.route(page.TITLE, page.ROUTE):
            _draw(page, demo, desk)
    demo.queue(max_size=64)
    return demo


def _draw(page: PageModule, demo: gr.Blocks, desk: Desk) -> None:
    masthead(page.TITLE, [(listed.TITLE, listed.ROUTE) for listed in PAGES], desk.models.profile.name)
    page.build(demo, desk)


def serving(host: str = "127.0.0.1") -> Serving:
    """Return options for `Blocks.launch`: nothing shared, no traces shown, the door for what listens on `host`."""
    return Serving(
        theme=theme(),
        css_paths=STYLE,
        share=False,
        show_error=False,
        enable_monitoring=False,
        run_history=False,
        ssr_mode=False,
        max_file_size="500mb",
        state_session_capacity=400,
        app_kwargs={"middleware": [Middleware(Door, host=host, pages=[page.ROUTE for page in (*PAGES, *UNLISTED)])]},
        _frontend=False,  # else a machine that is too busy to answer itself within 3 s does not start at all
    )


def theme() -> gr.themes.Base:
    """Return Gradio's theme in the colours of style.css, whose variables know light and dark."""
    fonts = [gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"]
    mono = [gr.themes.LocalFont("IBM Plex Mono", weights=(400,)), "ui-monospace", "monospace"]
    base = gr.themes.Base(font=fonts, font_mono=mono, radius_size="sm", spacing_size="md", text_size="md")
    colours = {
        "body_background_fill": "var(--paper)",
        "body_text_color": "var(--ink)",
        "body_text_color_subdued": "var(--ink-2)",
        "background_fill_primary": "var(--card)",
        "background_fill_secondary": "var(--paper)",
        "block_background_fill": "transparent",
        "block_border_width": "0px",
        "block_label_text_color": "var(--ink-2)",
        "block_label_background_fill": "transparent",
        "block_title_text_color": "var(--ink-2)",
        "block_info_text_color": "var(--ink-3)",
        "border_color_primary": "var(--line)",
        "border_color_accent": "var(--accent)",
        "color_accent": "var(--accent)",
        "color_accent_soft": "var(--accent-soft)",
        "input_background_fill": "var(--card)",
        "input_background_fill_focus": "var(--card)",
        "input_border_color": "var(--line-2)",
        "input_border_width": "1px",
        "input_border_color_focus": "var(--accent)",
        "input_placeholder_color": "var(--ink-3)",
        "button_primary_background_fill": "var(--accent)",
        "button_primary_background_fill_hover": "var(--accent-2)",
        "button_primary_text_color": "var(--on-accent)",
        "button_primary_border_color": "var(--accent)",
        "button_secondary_background_fill": "var(--card)",
        "button_secondary_background_fill_hover": "var(--hover)",
        "button_secondary_text_color": "var(--ink)",
        "button_secondary_border_color": "var(--line)",
        "checkbox_background_color": "var(--card)",
        "checkbox_background_color_selected": "var(--accent)",
        "checkbox_border_color": "var(--line-2)",
        "checkbox_border_color_selected": "var(--accent)",
        "checkbox_label_background_fill": "transparent",
        "checkbox_label_background_fill_hover": "var(--hover)",
        "checkbox_label_background_fill_selected": "var(--accent-soft)",
        "checkbox_label_text_color_selected": "var(--ink)",
        "checkbox_label_border_color": "var(--line)",
        "slider_color": "var(--accent)",
    }
    both = {key + suffix: value for key, value in colours.items() for suffix in ("", "_dark")}
    return base.set(**{key: value for key, value in both.items() if hasattr(base, key)})
